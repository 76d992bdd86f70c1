"""Rows of two editions in one table: what says so, and what is said of numbers that earlier code trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import table
from bench.records.fingerprint import Identity
from bench.table import terminal
from bench.table.frame import Frame
from tests.bench.small_results import make_results
from tests.bench.table.test_own_rows import both


def coded(code: str) -> Any:
    """A change that writes the fingerprint of the code into every record."""

    def change(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["identity"] = vars(Identity(config={}, data="", code=code))

    return change


def test_a_caption_says_which_rows_are_of_which_edition(tmp_path: Path) -> None:
    def tuned(cell: dict[str, str], record: dict[str, Any]) -> None:
        new = cell["dataset"] == "coat" and cell["method"] == "dr"
        record["sweep"] = "wide" if new else "none"
        record["provenance"]["commit"] = ("a" if new else "b") * 40
        if cell["method"] == "item_mean":  # it is not tuned, and of no plan
            record["points"] = 1

    texts = table.build(make_results(tmp_path, tuned))
    said = (
        "Editions: plan wide (commit aaaaaaa): DR; a plan whose name was not kept (commit bbbbbbb): the "
        "other tuned rows."
    )
    for name in ("table1.md", "table1.html", "table1.tex"):
        assert texts[name].count(said) == 2, name  # of Coat under both protocols, and not of KuaiRec


def repeated(results: Path) -> Frame:
    frame = table.load_results(results)
    assert frame.both
    return frame


@pytest.mark.parametrize(
    ("published", "mine", "earlier"), [("one", "two", True), ("one", "one", False), ("", "two", True)]
)
def test_numbers_of_earlier_code_are_no_failure(
    tmp_path: Path, published: str, mine: str, earlier: bool
) -> None:
    """Other numbers under another digest; the same numbers under the same digest are never earlier."""
    results = both(tmp_path, coded(published), published=coded(published))
    assert not any(each.earlier_code for each in repeated(results).both)

    def other(cell: dict[str, str], record: dict[str, Any]) -> None:
        coded(mine)(cell, record)
        if cell["dataset"] == "coat":
            record["test"]["auc"] = [value + 0.1 for value in record["test"]["auc"]]

    make_results(results, other, methods=("mf", "mine"), edition="two")
    frame = repeated(results)
    assert {each.earlier_code for each in frame.both} == {earlier}
    said, shown, page = terminal.agreement(frame), terminal.text(frame, 100), table.files(frame)["table1.md"]
    n = len(frame.both)
    if earlier:
        assert said.startswith(f"{n} numbers of 3 cells were published by earlier code: {n - 2} agree")
        assert "0.850°" in shown and "0.850*" not in shown and "which earlier code trained" in shown
    else:
        assert said.startswith(f"Of {n} numbers") and "MF on Coat, AUC +0.100" in said
        assert "0.850*" in shown and "°" not in shown
    assert ("3 are published by earlier code" in page) == earlier
