"""The page at a glance: the counts of the claims, and the heat map."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.report.choices import EVERY, PAPERS, Choice, part
from bench.report.verdict import cards, heat
from bench.table import layout, load_frame, load_results
from bench.table.claims import claims, row_verdict, verdict
from bench.table.frame import Frame
from tests.bench.small_results import make_results

ROOT = Path(bench.__file__).parents[1]


@pytest.fixture(scope="module")
def committed() -> Frame:
    folder = ROOT / "results" / "published"
    return load_frame(folder, None, folder)


def test_the_cards_count_as_the_claims_do(committed: Frame) -> None:
    agreement, own, baselines, *_ = cards(committed)
    found = claims(committed)
    assert agreement.number == f"{found.reproduced.inside} of {found.reproduced.n}"
    for card, claim in ((own, found.proposed.comparable), (baselines, found.baselines.comparable)):
        assert claim.n > 0
        assert card.number == f"in {claim.above} of {claim.n}"
        assert f"in {claim.below} significantly worse, in {claim.undecided} undecided" in card.text
        assert card.conditions.startswith(claim.conditions.partition("`")[0])


def test_without_numbers_of_the_papers_the_cards_say_so(tmp_path: Path) -> None:
    def other_data(cell: dict[str, str], record: dict[str, object]) -> None:
        record["comparable"] = False

    frame = load_results(make_results(tmp_path, other_data))
    agreement, own, baselines, *_ = cards(frame)
    assert (agreement.number, own.number) == ("—", "—")
    assert "compared" in agreement.text and "compared" in own.text
    # Rows can be tested against each other all the same.
    assert baselines.number == f"in {claims(frame).baselines.above} of {claims(frame).baselines.n}"
    assert heat(frame, layout.column_groups(frame, "table")) is None


def test_the_heat_map_judges_every_number_and_row(tmp_path: Path) -> None:
    frame = load_results(make_results(tmp_path))
    found = heat(frame, layout.column_groups(frame, "table"))
    assert found is not None
    assert [(group.dataset.title, columns) for group, columns in found.groups] == [("Coat", 3)]
    assert [metric for _, metric in found.columns] == ["auc", "ndcg", "recall"]
    assert [row.row.method for row in found.rows] == ["mf", "ips", "dr"]
    shares = []
    for row in found.rows:
        cells = [cell for cell in row.cells if cell is not None]
        assert row.verdicts == [cell.verdict for cell in cells] == [verdict(cell.line) for cell in cells]
        assert row.verdict is row_verdict(row.verdicts) and row.count == row.verdicts.count(row.verdict)
        for cell in cells:
            assert cell.line.delta is not None
            assert cell.kind == ("low" if cell.line.delta < 0 else "high")
            assert cell.share == pytest.approx(abs(cell.line.delta) / found.darkest)
        shares += [cell.share for cell in cells]
    assert 0.5 < max(shares) <= 1.0  # the colours end just above the largest difference


def test_a_card_counts_the_data_sets_that_are_chosen(committed: Frame) -> None:
    everywhere = cards(part(committed, Choice("table", PAPERS, EVERY)))
    assert [card.number for card in everywhere[:3]] == [card.number for card in cards(committed)[:3]]
    one = claims(part(committed, Choice("table", "kuairec", "auc"))).proposed
    assert one.n == 2 and {each.line.dataset.dataset for each in one.comparisons} == {"kuairec"}
    agreement, own, *_ = cards(part(committed, Choice("table", "kuairec", "auc")))
    assert agreement.number == "—" and own.number == f"in {one.above} of 2"
    assert "KuaiRec" in own.conditions and "Coat" not in own.conditions
