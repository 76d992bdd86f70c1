"""Methods of the suite that are not the paper's, below a rule of their own."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench import table
from bench.report import page_files
from bench.table.frame import Frame
from bench.table.layout import row_blocks
from bench.table.manifest import TableManifest
from bench.table.terminal import text as in_terminal
from tests.bench.small_results import ROWS, make_results

PAPER_ROWS = tuple(row[0] for row in ROWS)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("further"), methods=(*PAPER_ROWS, "newer", "newest"))


@pytest.fixture(scope="module")
def frame(results: Path) -> Frame:
    return table.load_results(results)


@pytest.fixture(scope="module")
def text(frame: Frame) -> dict[str, str]:
    return table.files(frame)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    "name", ["table1.csv", "seeds.csv", "comparisons.csv", "users.csv", "provenance.csv"]
)
def test_they_change_no_line_of_the_others(tmp_path: Path, text: dict[str, str], name: str) -> None:
    without = table.build(make_results(tmp_path))[name].splitlines()
    others = [line for line in text[name].splitlines() if ",newer," not in line and ",newest," not in line]
    assert others == without and len(text[name].splitlines()) > len(others)


def test_they_stand_below_the_papers_rows_and_above_the_controls(
    results: Path, frame: Frame, text: dict[str, str]
) -> None:
    blocks = [(heading, [row.method for row in found]) for heading, found in row_blocks(frame)]
    assert blocks[1:] == [("Further methods", ["newer", "newest"]), ("Controls", ["item_mean"])]
    section = text["table1.md"].split("### ")[1]
    assert section.index("| JL") < section.index("*Further methods*") < section.index("| Newer")
    assert section.index("| Newest") < section.index("*Controls*")
    newer = next(line for line in section.splitlines() if line.startswith("| Newer"))
    assert "0.790†‡" in newer and "**" not in newer and "<u>" not in newer
    shown = in_terminal(frame, 100).splitlines()
    at = next(number for number, line in enumerate(shown) if line.startswith("Newer"))
    assert set(shown[at - 1]) <= set("- ") and set(shown[at + 2]) <= set("- ")
    assert text["table1-table-coat.tex"].count(r"\midrule") == 3
    assert text["table1.html"].count("<tbody>") == 2 * 3
    assert page_files(frame, results)["index.html"].count('data-method="newer"') == 2


def test_the_terminal_leaves_them_out_where_they_have_no_number(frame: Frame) -> None:
    """On KuaiRec alone they would be rows of dashes; a row of the paper's stays."""
    of = {
        block.split()[0]: block
        for block in in_terminal(frame, 60).split("\n\n")
        if "Newer" in block or "JL" in block
    }
    assert "Newer" in of["Coat"] and "Newest" in of["Coat"]
    assert "Newer" not in of["KuaiRec"] and "Newest" not in of["KuaiRec"] and "JL" in of["KuaiRec"]
    # Nor is there a rule for them: below the head, and above the controls.
    assert sum(line.startswith("---") for line in of["KuaiRec"].splitlines()) == 2
    assert sum(line.startswith("---") for line in of["Coat"].splitlines()) == 3


def test_they_are_corrected_together(text: dict[str, str]) -> None:
    tests = [
        row
        for row in rows(text["comparisons.csv"])
        if (row["protocol"], row["dataset"], row["metric"], row["against"])
        == ("table", "coat", "auc", "reference")
    ]
    p = {row["method"]: (float(row["p_value"]), float(row["p_holm"])) for row in tests}
    smallest = min(p["newer"][0], p["newest"][0])
    assert min(p["newer"][1], p["newest"][1]) == pytest.approx(2 * smallest)


def test_they_are_tested_against_the_best_row_of_the_paper_too(tmp_path: Path) -> None:
    """Its own method may be that row; no other row is tested against it."""
    made = make_results(tmp_path, proposed=("ultd_jl", "dr"), methods=(*PAPER_ROWS, "newer"))
    tests = rows(table.build(made)["comparisons.csv"])
    found = {
        (row["method"], row["reference"])
        for row in tests
        if (row["against"], row["metric"]) == ("best row", "auc")
    }
    assert found == {("newer", "dr")}
    baselines = {row["reference"] for row in tests if row["against"] == "best baseline"}
    assert baselines == {"mf", "ips"}


def test_the_list_of_cells_keeps_the_group(results: Path) -> None:
    listed = TableManifest.read(results / "table1")
    assert TableManifest.from_json(listed.to_json()) == listed
    assert [row.method for row in listed.rows if row.family == "further"] == ["newer", "newest"]
