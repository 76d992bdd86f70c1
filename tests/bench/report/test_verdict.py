"""The page at a glance: the counts of the claims, and the heat map."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.report.verdict import cards, heat
from bench.table import layout, load_results
from bench.table.claims import claims
from bench.table.frame import Frame
from tests.bench.small_results import make_results

ROOT = Path(bench.__file__).parents[1]


@pytest.fixture(scope="module")
def committed() -> Frame:
    return load_results(ROOT / "results")


def test_the_cards_count_as_the_claims_do(committed: Frame) -> None:
    agreement, own, baselines, _ = cards(committed)
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
    agreement, own, baselines, _ = cards(frame)
    assert (agreement.number, own.number) == ("—", "—")
    assert "compared" in agreement.text and "compared" in own.text
    # Rows can be tested against each other all the same.
    assert baselines.number == f"in {claims(frame).baselines.above} of {claims(frame).baselines.n}"
    assert heat(frame, layout.column_groups(frame, "table")) is None


def test_the_heat_map_counts_what_holds(tmp_path: Path) -> None:
    frame = load_results(make_results(tmp_path))
    found = heat(frame, layout.column_groups(frame, "table"))
    assert found is not None
    assert [title for title, _ in found.datasets] == ["Coat"] and found.headings == ["AUC", "N@5", "R@5"]
    for row in found.rows:
        kinds = [cell.kind for cell in row.cells if cell is not None]
        assert (row.within, row.compared) == (kinds.count("in"), len(kinds))
        assert row.word == (
            "holds" if row.within == row.compared else "partly" if row.within else "does not hold"
        )
        for cell in row.cells:
            if cell is not None and cell.line.delta is not None:
                assert (cell.kind == "in") == (abs(cell.line.delta) <= 0.01)
                assert cell.share == min(1.0, abs(cell.line.delta) / 0.05)
