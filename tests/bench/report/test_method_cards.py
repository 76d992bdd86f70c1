"""The cards of the methods: what stands at the head of each file, read without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.report.method_cards import METHODS, method_card
from bench.table.manifest import Row, TableManifest

ROOT = Path(bench.__file__).parents[1]
ROWS = TableManifest.read(ROOT / "results" / "published").rows


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.method)
def test_every_row_of_the_published_table_has_a_card(row: Row) -> None:
    card = method_card(row)
    assert card is not None
    assert card.summary.endswith((".", ":")) and "\n" not in card.summary
    assert card.formula and "(G,)" not in card.formula and not card.formula.startswith(" ")
    assert card.source and card.differences and (ROOT / card.file).is_file()
    assert all(each and "\n" not in each for each in (*card.remarks, *card.differences))


def test_a_card_says_what_the_file_says() -> None:
    card = method_card(Row(method="ips", title="IPS", uses_unbiased="mean label"))
    assert card is not None
    assert (card.summary, card.year) == ("Inverse propensity scoring.", "2016")
    assert card.idea == "MF whose observed pairs count by their inverse propensity."
    assert card.source.startswith("Schnabel") and len(card.differences) == 3 and card.shared == {}


def test_a_card_shows_the_losses_of_the_file_that_it_names() -> None:
    card = method_card(Row(method="ultd_jl", title="ULTD-JL", uses_unbiased="yes"))
    assert card is not None
    assert "α_u    = σ(s_u · L_A(u) + b_u)" in card.shared["methods/ultd.py"]


@pytest.mark.parametrize(
    ("method", "file", "term"),
    [
        ("escm2_dr", "entire_space", "corrected(O,D) = mean_D ê + mean_O w · (e − ê)"),
        ("ips_v2", "entire_space", "imbalance(O,D)"),
        ("rd_dr", "robust", "Γ"),
    ],
)
def test_a_card_shows_the_terms_that_stand_in_a_file_beside_the_rows(
    method: str, file: str, term: str
) -> None:
    card = method_card(Row(method=method, title=method, uses_unbiased="no"))
    assert card is not None and term in card.shared[f"methods/{file}.py"]


def test_a_row_that_a_remark_names_has_a_card_of_its_own() -> None:
    card = method_card(Row(method="brd_dr", title="BRD-DR", uses_unbiased="no"))
    assert card is not None and card.shared == {} and any("`rd_dr.py`" in each for each in card.remarks)


def test_a_method_of_ones_own_may_have_no_card(tmp_path: Path) -> None:
    row = Row(method="mine", title="Mine", uses_unbiased="no", guest=True)
    assert method_card(row) is None
    for text in ("", "def :", "x = 1"):
        (tmp_path / "mine.py").write_text(text)
        assert method_card(row, tmp_path) is None
    assert METHODS == ROOT / "methods"
