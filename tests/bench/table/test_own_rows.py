"""A row of one's own, and a table of one's own beside the published one."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import table
from bench.errors import BenchError
from bench.records import store
from bench.records.trials import trial_name
from bench.table.frame import Frame, Repeated
from bench.table.lines import CellResult, Line
from bench.table.manifest import FILE, Dataset, Row, TableManifest
from bench.table.terminal import text as in_terminal
from tests.bench.small_results import ROWS, SEEDS, make_record, make_results

PAPER_ROWS = tuple(row[0] for row in ROWS)
WITH_MINE = (*PAPER_ROWS, "mine")

Change = Callable[[dict[str, str], dict[str, Any]], None]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- A row of one's own -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return table.build(make_results(tmp_path_factory.mktemp("without")))


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return table.build(make_results(tmp_path_factory.mktemp("with"), methods=WITH_MINE))


@pytest.mark.parametrize(
    "name", ["table1.csv", "seeds.csv", "comparisons.csv", "users.csv", "provenance.csv"]
)
def test_a_row_of_ones_own_changes_no_line_of_the_others(
    without: dict[str, str], beside: dict[str, str], name: str
) -> None:
    others = [line for line in beside[name].splitlines() if ",mine," not in line]
    assert others == without[name].splitlines()
    assert len(beside[name].splitlines()) > len(others)


def test_a_row_of_ones_own_changes_no_line_of_the_table(
    without: dict[str, str], beside: dict[str, str]
) -> None:
    mine = ("| Mine |", "| *Own rows* |", "- Own rows:")
    lines = beside["table1.md"].splitlines()
    assert [line for line in lines if not line.startswith(mine)] == without["table1.md"].splitlines()
    assert sum(line.startswith("| Mine |") for line in lines) == 4  # two overviews of one, three sections


def test_a_row_of_ones_own_is_tested_in_a_family_of_its_own(beside: dict[str, str]) -> None:
    tests = [row for row in rows(beside["comparisons.csv"]) if row["method"] == "mine"]
    assert {row["against"] for row in tests} == {"reference", "best baseline"}
    assert len(tests) == 2 * 2 * 3 and all(row["p_holm"] == row["p_value"] for row in tests)
    assert "mine" not in {row["reference"] for row in rows(beside["comparisons.csv"])}


def test_a_row_of_ones_own_is_neither_bold_nor_underlined(beside: dict[str, str]) -> None:
    section = beside["table1.md"].split("### ")[1]
    mine = next(line for line in section.splitlines() if line.startswith("| Mine"))
    assert "0.810†‡" in mine and "**" not in mine and "<u>" not in mine
    assert section.index("*Controls*") < section.index("*Own rows*") < section.index("| Mine")


def test_two_rows_of_ones_own_are_corrected_together(tmp_path: Path) -> None:
    results = make_results(tmp_path, methods=WITH_MINE)
    manifest = TableManifest.read(results / "table1")
    listed = [
        row if row.method != "ips" else Row(method="ips", title="IPS", uses_unbiased="", guest=True)
        for row in manifest.rows
    ]
    changed = TableManifest(**{**vars(manifest), "rows": listed})
    changed.write(results / "table1")
    tests = [
        row
        for row in rows(table.build(results)["comparisons.csv"])
        if (row["protocol"], row["dataset"], row["metric"], row["against"])
        == ("table", "coat", "auc", "reference")
    ]
    corrected = {row["method"]: float(row["p_holm"]) / float(row["p_value"]) for row in tests}
    assert corrected == {"dr": 1.0, "ips": 2.0, "mine": 2.0, "item_mean": 1.0}


def test_a_row_that_another_sweeper_chose_is_marked_and_its_trials_are_counted(tmp_path: Path) -> None:
    """By its record or by one of the same configuration, and from the CSV files when the store is gone."""
    trial = {"sweep": trial_name("default", "optuna"), "points": 1, "tried": [], "plan": []}

    def change(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["method"] == "mine":  # of protocol text the run that follows, with more seeds
            record.update(trial if cell["protocol"] == "table" else {**trial, "sweep": "default"})

    results = make_results(tmp_path, change, methods=WITH_MINE)
    for protocol, rates in (("table", (0.02, 0.03)), ("text", (0.01,))):
        for rate in rates:
            record = make_record(protocol, "coat", "mine") | trial
            record["method"]["learning_rate"] = rate
            store.write(results / "runs", f"{len(protocol)}{rate:.6f}".replace(".", "0" * 16), record, {})
    made = table.build(results)
    table_section, *_, text_section = (
        part for part in made["table1.md"].split("### ") if part.startswith("Coat")
    )
    assert "| Mine | yes | 3 | 0.810†‡§" in table_section
    assert "| Mine | yes | 1 | 0.810†‡§" in text_section
    assert "- §: chosen among the trials of optuna (points: Mine on Coat 1/3), not by" in made["table1.md"]
    assert all("§" not in line or "Mine" in line for line in made["table1.md"].splitlines())
    assert "S}" in made["table1.tex"] and "chosen among the trials" in made["table1.html"]
    shown = in_terminal(table.load_frame(results / "table1", results / "runs"), 120)
    assert "0.810§" in shown and "§: chosen among" in shown
    for name, text in made.items():
        (results / "table1" / name).write_text(text, encoding="utf-8")
    shutil.rmtree(results / "runs")
    assert "0.810†‡§" in table.build(results)["table1.md"]


# --- Beside the published table -----------------------------------------------------------------------


def same(cell: dict[str, str], record: dict[str, Any]) -> None:
    """No change."""


def both(
    folder: Path,
    change: Change = same,
    methods: tuple[str, ...] = ("mf", "mine"),
    published: Change = same,
) -> Path:
    """A published table of the paper's rows, and records of some rows of one's own.

    published: a change of the published records, as `change` is one of one's own.
    """
    make_results(folder, published)
    (folder / "published").mkdir()
    TableManifest.read(folder / "table1").write(folder / "published")
    table.write_table(folder, published=True)
    shutil.rmtree(folder / "runs")
    shutil.rmtree(folder / "table1")
    return make_results(folder, change, methods=methods)


def shifted(by: float, *methods: str) -> Change:
    """Moves every seed's AUC of some methods on Coat."""

    def change(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["dataset"] == "coat" and cell["method"] in methods:
            record["test"]["auc"] = [value + by for value in record["test"]["auc"]]

    return change


def origins(frame: Frame) -> dict[tuple[str, str, str], str]:
    return {(x.protocol, x.dataset.dataset, x.row.method): x.cell.origin for x in frame.lines}


def test_each_line_says_where_it_was_trained(tmp_path: Path) -> None:
    results = both(tmp_path)
    frame = table.load_results(results)
    where = origins(frame)
    assert {method: where["table", "coat", method] for method in WITH_MINE} == {
        **{"mf": "here", "ips": "published", "dr": "published", "ultd_jl": ""},
        **{"item_mean": "published", "mine": "here"},
    }
    assert frame.mixed and [row.method for row in frame.manifest.rows] == list(WITH_MINE)
    text = table.files(frame)
    assert {r["origin"] for r in rows(text["table1.csv"]) if r["method"] == "mine"} == {"here", ""}
    assert "| Method | A | Points | Origin |" in text["table1.md"]
    html, latex = text["table1.html"], text["table1.tex"]
    assert 'data-origin="published" data-ours="0.770000"' in html and "Grey: by the suite's" in unescape(html)
    assert r"\textit{\textbf{\underline{0.770}}}" in latex and "Italic: by the suite's" in latex
    assert r"Mine & yes & 0.810$^{\dagger\ddagger}$" in latex
    # The caption of a data set explains no sign that stands in another's only.
    of_coat, of_kuairec = (part for part in latex.split(r"\caption")[1:3])
    assert r"$\checkmark$ where" in of_coat and r"\checkmark" not in of_kuairec
    assert "Own rows" in of_coat and text["table1-table-coat.tex"].strip() in of_coat


def test_the_published_table_is_published_whole(tmp_path: Path) -> None:
    results = both(tmp_path, methods=PAPER_ROWS)
    frame = table.load_results(results, published=True)
    assert set(origins(frame).values()) == {"published", ""} and not frame.mixed and not frame.both
    assert "Origin" not in table.files(frame)["table1.md"]


def test_a_run_of_ones_own_leaves_the_published_files_alone(tmp_path: Path) -> None:
    results = both(tmp_path, shifted(0.01, "mf"))
    before = {file.name: file.read_bytes() for file in (results / "published").iterdir()}
    table.write_table(results)
    assert {file.name: file.read_bytes() for file in (results / "published").iterdir()} == before


def test_a_new_row_is_tested_beside_the_published_ones(tmp_path: Path) -> None:
    results = both(tmp_path, methods=("mine",))
    tests = [row for row in rows(table.build(results)["comparisons.csv"]) if row["method"] == "mine"]
    assert {(row["against"], row["reference"], row["n"]) for row in tests if row["metric"] == "auc"} == {
        ("reference", "mf", "8"),
        ("best baseline", "dr", "8"),
    }


def test_what_is_here_twice_is_read_from_here(tmp_path: Path) -> None:
    frame = table.load_results(both(tmp_path, shifted(0.1, "mf")))
    (line,) = [
        x
        for x in frame.lines
        if (x.protocol, x.dataset.dataset, x.row.method, x.metric) == ("table", "coat", "mf", "auc")
    ]
    assert line.mean == pytest.approx(0.85)
    (repeated,) = [x for x in frame.both if x.line is line]
    assert (repeated.mean, repeated.n) == (pytest.approx(0.75), 8)
    assert not repeated.agrees and not repeated.equal
    others = [x for x in frame.both if x.line is not line and x.line.protocol == "table"]
    assert {x.line.metric for x in others} == {"auc", "ndcg", "recall"} and all(x.equal for x in others)


def test_what_was_trained_here_stays_here_without_its_record(tmp_path: Path) -> None:
    results = both(tmp_path, shifted(0.1, "mf"))
    table.write_table(results)
    expected = table.build(results)["table1.csv"]
    shutil.rmtree(results / "runs")
    assert table.build(results)["table1.csv"] == expected


def test_without_a_list_of_ones_own_the_table_is_the_published_one(tmp_path: Path) -> None:
    results = both(tmp_path)
    (results / "table1" / FILE).unlink()
    published = (results / "published" / "table1.csv").read_text()
    changed = {row["method"] for row in rows(table.build(results)["table1.csv"]) if row["origin"] == "here"}
    assert changed == {"mf"}  # its record is in the store
    shutil.rmtree(results / "runs")
    assert table.build(results)["table1.csv"] == published


def test_fewer_seeds_are_tested_over_those_that_both_have(tmp_path: Path) -> None:
    def three(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["seeds"] = SEEDS[:3]
        tests = record["test"]
        record["test"] = {"auc": tests["auc"][:3]} | {
            metric: {rule: values[:3] for rule, values in tests[metric].items()}
            for metric in ("ndcg", "recall")
        }

    results = both(tmp_path, three, methods=("mine",))
    text = table.build(results)
    tests = [row for row in rows(text["comparisons.csv"]) if row["method"] == "mine"]
    assert len(tests) == 2 * 2 * 3 and {(row["n"], row["smallest_p"]) for row in tests} == {("3", "0.25")}
    over_users = [row for row in rows(text["users.csv"]) if row["method"] == "mine"]
    assert not over_users  # the published rows' users are not here
    assert {row["n"] for row in rows(text["table1.csv"]) if row["method"] == "mine"} == {"3", "0"}
    # Captions and legend are those of the other rows.
    assert "n = 8." in text["table1.md"] and "n = 3" not in text["table1.md"]


def test_published_numbers_of_other_conditions_are_left_out(tmp_path: Path) -> None:
    def other(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["dataset"]["threshold"] = 3.0

    results = both(tmp_path, other, methods=("mine",))
    section = table.build(results)["table1.md"].split("### Coat")[1]
    assert (
        "Positive: ≥ 3" in section
        and "The published number is of another threshold of a positive rating." in section
    )


def test_a_cell_that_is_nowhere_is_a_sentence(tmp_path: Path) -> None:
    results = both(tmp_path)
    shutil.rmtree(results / "runs")
    (results / "published" / "table1.csv").unlink()
    with pytest.raises(store.NoRecord, match="make table1"):
        table.build(results)


@pytest.mark.parametrize(
    ("difference", "spread", "equal", "agrees"),
    [
        (0.0, 0.01, True, True),
        (0.0000004, 0.01, True, True),
        (0.003, 0.001, False, True),  # below the gate's floor of the AUC
        (0.005, 0.001, False, False),
        (0.005, 0.01, False, True),  # two standard errors are .009
        (0.010, 0.01, False, False),
    ],
)
def test_two_means_agree_within_noise(difference: float, spread: float, equal: bool, agrees: bool) -> None:
    wave = spread * np.array([-1.0, 1.0] * 5) * np.sqrt(0.9)  # its standard deviation is the spread
    values = dict(enumerate(0.5 + difference + wave))
    line = Line(
        protocol="table",
        dataset=Dataset(dataset="coat", title="Coat", k=5),
        row=Row(method="mf", title="MF", uses_unbiased=None),
        cell=CellResult(values={("auc", ""): values}),
        metric="auc",
        no_positive="",
        paper="",
    )
    repeated = Repeated(line, dict(enumerate(0.5 + wave)))
    assert (repeated.equal, repeated.agrees) == (equal, agrees)


def test_records_of_the_same_origin_must_have_the_same_seeds(tmp_path: Path) -> None:
    def fewer(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["method"] == "mine":
            record.update(make_record(cell["protocol"], cell["dataset"], "mine"), seeds=[*SEEDS[:-1], 99])

    with pytest.raises(BenchError, match="7, 99"):
        table.build(both(tmp_path, fewer))
