"""The table from records: a golden file, missing cells, honest comparisons, refusals.

`PYTHONPATH=. python tests/bench/table/test_table.py` rewrites the golden files after an intended change.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from bench import table
from bench.errors import BenchError
from bench.table import layout
from bench.table.statistics import holm
from tests.bench.small_results import SEEDS, make_record, make_results, make_sweep

GOLDEN = Path(__file__).with_name("golden_table")
CSV = ("table1.csv", "comparisons.csv", "users.csv", "provenance.csv")
GOLDEN_FILES = (*CSV, "table1.md", "table1.tex", "table1.html")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path)


def lines(results: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """(protocol, data set, method, metric, convention) → line of table1.csv."""
    keys = ("protocol", "dataset", "method", "metric", "no_positive")
    rows = csv.DictReader(io.StringIO(table.build(results)["table1.csv"]))
    return {tuple(row[key] for key in keys): row for row in rows}


def in_cell(place: tuple[str, str, str], values: dict[str, Any]) -> Any:
    """A change of the record of one cell (protocol, data set, method)."""

    def change(cell: dict[str, str], record: dict[str, Any]) -> None:
        if (cell["protocol"], cell["dataset"], cell["method"]) == place:
            record.update(values)

    return change


# --- What is written ----------------------------------------------------------------------------------


def test_a_column_says_by_what_its_rows_were_tuned(results: Path) -> None:
    # Two points with two seeds, one of them again with four: what one row has, and another has more of.
    stages = [("shared", 4, 0), ("shared", 4, 1), ("shared", 8, 0), ("shared", 8, 1)]
    stages += [("confirm", 8, seed) for seed in range(2, 6)]
    for method, more in (("mf", []), ("ips", [("shared", 16, 0), ("shared", 16, 1)])):
        file = results / "sweep" / "table" / "coat" / f"{method}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        make_sweep(file, stages + more)
    said = "Tuned over (points × seeds): shared 2–3 × 2, confirm 1 × 6; 8–10 trainings; "
    said += "embedding sizes 4, 8, 16."
    texts = table.build(results)
    assert texts["table1.md"].count(said) == 1 and said in texts["table1.html"]
    file.write_text("learning_rate,seeds\n0.1,5\n")
    with pytest.raises(BenchError, match=r"ips.csv is not as `python -m bench.tuned` writes it"):
        table.build(results)


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_golden(results: Path, name: str) -> None:
    assert table.build(results)[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_command_writes_what_is_built_twice_alike(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = table.build(results)
    for _ in range(2):
        assert table.main(["--results", str(results)]) == 0
        found = {
            f.name: f.read_bytes().decode() for f in (results / "table1").iterdir() if f.suffix != ".json"
        }
        assert found == expected
    assert "table1.md" in capsys.readouterr().out


def test_the_order_of_cells_does_not_count(results: Path) -> None:
    expected = table.build(results)
    file = results / "table1" / "cells.json"
    manifest = json.loads(file.read_text())
    manifest["cells"].reverse()
    file.write_text(json.dumps(manifest))
    assert table.build(results) == expected


def test_the_header_grows_at_its_end_alone_and_every_line_is_there(results: Path) -> None:
    text = table.build(results)["table1.csv"]
    assert text.splitlines()[0] == (
        "protocol,dataset,source,method,metric,k,no_positive,mean,std,n,"
        "paper,delta,within,reference,p_value,p_holm,points,cell,origin,tuning_std"
    )
    assert len(lines(results)) == len(text.splitlines()) - 1 == 2 * 2 * 5 * 7


def test_seeds_csv_holds_the_records_values(results: Path) -> None:
    text = table.build(results)["seeds.csv"]
    assert text.splitlines()[0] == "protocol,dataset,method,seed,metric,no_positive,value"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 10 * 7 * len(SEEDS)
    record = make_record("table", "coat", "ips")
    found = [
        float(row["value"])
        for row in rows
        if (row["protocol"], row["dataset"], row["method"]) == ("table", "coat", "ips")
        and (row["metric"], row["no_positive"]) == ("ndcg", "one")
    ]
    assert found == record["test"]["ndcg"]["one"]


def test_p_values_and_their_correction(results: Path) -> None:
    found = lines(results)
    reference = make_record("table", "coat", "mf")["test"]["auc"]
    expected = [
        scipy.stats.wilcoxon(
            [
                round(a - b, 9)
                for a, b in zip(make_record("table", "coat", m)["test"]["auc"], reference, strict=True)
            ],
            method=scipy.stats.PermutationMethod(n_resamples=2**9),
        ).pvalue
        for m in ("ips", "dr", "item_mean")
    ]
    rows = [found["table", "coat", method, "auc", ""] for method in ("ips", "dr", "item_mean")]
    assert [float(row["p_value"]) for row in rows] == pytest.approx(expected, rel=1e-5)
    # The rows of the paper are one family, the control another.
    corrected = [*holm(expected[:2]), *holm(expected[2:])]
    assert [float(row["p_holm"]) for row in rows] == pytest.approx(corrected, rel=1e-5)
    assert {row["reference"] for row in rows} == {"mf"}
    own = found["table", "coat", "mf", "auc", ""]
    assert (own["reference"], own["p_value"], own["p_holm"]) == ("", "", "")


def comparisons(results: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """(data set, method, metric, against) → line of comparisons.csv, of the first protocol."""
    keys = ("dataset", "method", "metric", "against")
    rows = csv.DictReader(io.StringIO(table.build(results)["comparisons.csv"]))
    return {tuple(row[key] for key in keys): row for row in rows if row["protocol"] == "table"}


def test_comparisons_are_made_with_the_reference_and_the_best_baseline(results: Path) -> None:
    found, main = comparisons(results), lines(results)
    assert {row["reference"] for key, row in found.items() if key[3] == "reference"} == {"mf"}
    for metric, best in (("auc", "dr"), ("ndcg", "ips"), ("recall", "mf")):
        place = ("coat", metric, "best baseline")
        column = {key[1]: row for key, row in found.items() if (key[0], *key[2:]) == place}
        assert {row["reference"] for row in column.values()} == {best}
        assert column.keys() == {"mf", "ips", "dr", "item_mean"} - {best}
    row = found["coat", "ips", "auc", "reference"]
    csv_row = main["table", "coat", "ips", "auc", ""]
    assert (row["p_value"], row["p_holm"]) == (csv_row["p_value"], csv_row["p_holm"])
    assert (row["n"], row["smallest_p"], row["no_positive"]) == ("8", "0.0078125", "")
    ours, theirs = (make_record("table", "coat", m)["test"]["auc"] for m in ("ips", "mf"))
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    assert float(row["median"]) == pytest.approx(statistics.median(differences), abs=1e-6)
    assert min(differences) - 1e-6 <= float(row["low"]) <= float(row["median"]) <= float(row["high"])
    assert ("kuairec", "dr", "auc", "reference") not in found


def test_a_row_that_is_no_baseline_is_never_the_best_one(results: Path) -> None:
    file = results / "table1" / "cells.json"
    manifest = json.loads(file.read_text())
    manifest["rows"][2]["baseline"] = False  # dr, the best of Coat's AUC
    file.write_text(json.dumps(manifest))
    found = comparisons(results)
    assert found["coat", "dr", "auc", "best baseline"]["reference"] == "mf"


def test_no_reference_no_test(tmp_path: Path) -> None:
    make_results(tmp_path)
    file = tmp_path / "table1" / "cells.json"
    manifest = json.loads(file.read_text())
    del manifest["reference"]
    file.write_text(json.dumps(manifest))
    assert {row["p_value"] + row["reference"] for row in lines(tmp_path).values()} == {""}
    assert "†" not in table.build(tmp_path)["table1.md"]


# --- Honesty ------------------------------------------------------------------------------------------


def test_only_like_is_compared_with_the_paper(results: Path) -> None:
    compared = {key for key, row in lines(results).items() if row["paper"]}
    assert compared == {
        ("table", "coat", method, metric, "" if metric == "auc" else "skip")
        for method in ("mf", "ips", "dr", "ultd_jl")
        for metric in ("auc", "ndcg", "recall")
        if method != "ultd_jl"
    }
    for key, row in lines(results).items():
        assert (row["delta"] != "", row["within"] != "") == (key in compared,) * 2


@pytest.mark.parametrize(
    ("mean", "delta", "within"),
    [(0.757, "0.010000", "True"), (0.737, "-0.010000", "True"), (0.7571, "0.010100", "False")],
)
def test_within_includes_its_edge(tmp_path: Path, mean: float, delta: str, within: str) -> None:
    test = {**make_record("table", "coat", "mf")["test"], "auc": [mean] * len(SEEDS)}
    make_results(tmp_path, in_cell(("table", "coat", "mf"), {"test": test}))
    row = lines(tmp_path)["table", "coat", "mf", "auc", ""]
    assert (row["paper"], row["delta"], row["within"]) == ("0.747", delta, within)


def test_a_missing_cell_is_an_empty_line_and_a_footnote(results: Path) -> None:
    row = lines(results)["table", "kuairec", "dr", "ndcg", "skip"]
    assert (row["n"], row["k"], row["no_positive"]) == ("0", "50", "skip")
    assert {
        row[name] for name in ("source", "mean", "std", "paper", "p_value", "points", "cell", "origin")
    } == {""}
    page = table.build(results)["table1.md"]
    section = page.split("### KuaiRec")[1].split("## Protocol")[0]
    assert section.count("X<sup>") == 3 * 3
    assert section.count("\n1. ") == section.count("\n2. ") == 1
    assert "\n3. " not in section


def test_a_data_set_without_a_cell_is_a_sentence(results: Path) -> None:
    page = table.build(results)["table1.md"]
    assert page.split("## Protocol")[2].split("### KuaiRec")[1].split("\n")[2] == "No kuairec | here."


def test_the_ideal_loss_is_a_column_of_the_data_sets_that_know_it(tmp_path: Path) -> None:
    losses = {"mf": 0.6111, "ips": 0.5811, "dr": 0.6011, "item_mean": 0.5011}

    def known(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["dataset"] == "kuairec" or cell["protocol"] == "text":
            return
        loss = losses[cell["method"]]
        record["test"]["ideal_loss"] = [loss + seed / 1000 for seed in SEEDS]

    make_results(tmp_path, known)
    row = lines(tmp_path)["table", "coat", "ips", "ideal_loss", ""]
    assert (row["k"], row["mean"], row["paper"], row["p_value"]) == ("", "0.584600", "", "0.0078125")
    assert ("table", "kuairec", "ips", "ideal_loss", "") not in lines(tmp_path)
    page = table.build(tmp_path)["table1.md"]
    coat, kuairec = page.split("### ")[1:3]
    assert "Ideal loss" in coat and "Ideal loss" not in kuairec
    means = {m: float(lines(tmp_path)["table", "coat", m, "ideal_loss", ""]["mean"]) for m in losses}
    assert f"<u>{means['ips']:.3f}</u>" in coat  # the best baseline has the lowest loss
    plain = coat.replace("<u>", "").replace("</u>", "")
    bold = {method: f"**{mean:.3f}**" in plain for method, mean in means.items()}
    assert bold == {"mf": False, "ips": True, "dr": True, "item_mean": False}
    assert "ips,3,ideal_loss,,0.5841" in table.build(tmp_path)["seeds.csv"]


def test_a_record_without_the_ideal_loss_of_the_others_is_an_x(tmp_path: Path) -> None:
    def known(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["dataset"] == "coat" and cell["method"] != "dr":
            record["test"]["ideal_loss"] = [0.5 + seed / 1000 for seed in SEEDS]

    make_results(tmp_path, known)
    row = lines(tmp_path)["table", "coat", "dr", "ideal_loss", ""]
    assert (row["n"], row["mean"], row["points"]) == ("0", "", "80")
    coat = table.build(tmp_path)["table1.md"].split("### ")[1]
    assert coat.count("X<sup>1</sup>") == 1 and "1. The record holds no ideal loss." in coat


def test_a_seed_without_a_number_makes_no_mean_over_fewer_seeds(tmp_path: Path) -> None:
    test = make_record("table", "coat", "ips")["test"]
    test["auc"][3] = float("nan")  # stored as null
    make_results(tmp_path, in_cell(("table", "coat", "ips"), {"test": test}))
    row = lines(tmp_path)["table", "coat", "ips", "recall", "skip"]
    assert (row["n"], row["mean"]) == ("0", "")
    assert "Seed 3 gave no auc." in table.build(tmp_path)["table1.md"]


def test_bold_are_the_best_two_above_the_controls(results: Path) -> None:
    page = table.build(results)["table1.md"].split("### ")[1]
    bold = {
        entries[1].strip(): "**" in entries[4]
        for entries in (line.split("|") for line in page.splitlines() if line.startswith("| "))
        if "0." in entries[4]
    }
    assert bold == {"MF": True, "IPS": False, "DR": True, "Mean": False}


def test_a_tie_for_the_first_place_leaves_none_for_a_third(tmp_path: Path) -> None:
    test = make_record("table", "coat", "dr")["test"]
    test["auc"] = make_record("table", "coat", "mf")["test"]["auc"]
    make_results(tmp_path, in_cell(("table", "coat", "dr"), {"test": test}))
    page = table.build(tmp_path)["table1.md"].split("### ")[1]
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    bold = [entries[1].strip() for entries in rows if "**" in entries[4]]
    assert bold == ["MF", "DR"]


# --- Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seeds": [*SEEDS[:-1], 99]}, "7, 99"),
        ({"seeds": SEEDS[:-1]}, "one auc for each seed"),
        ({"source": "other ratings"}, "their source is"),
        ({"method": {"name": "dr"}}, "table/coat/dr"),
        ({"points": None}, "lacks a field"),
        ({"test": {"auc": []}}, "one auc for each seed"),
        ({"test": {}}, "has no auc"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    make_results(tmp_path, in_cell(("table", "coat", "ips"), changed))
    with pytest.raises(BenchError, match=said):
        table.build(tmp_path)


def test_an_altered_record_ends_with_one_sentence(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next((results / "runs").glob("*/record.json"))
    file.write_text(file.read_text().replace("0.7", "0.8"))
    assert table.main(["--results", str(results)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (results / "table1" / "table1.csv").exists()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"cells": []}'])
def test_a_bad_list_of_cells_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    (tmp_path / "table1").mkdir()
    if text is not None:
        (tmp_path / "table1" / "cells.json").write_text(text)
    assert table.main(["--results", str(tmp_path)]) == 1
    assert "cells.json" in capsys.readouterr().err


def test_a_cell_named_twice_is_refused(results: Path) -> None:
    file = results / "table1" / "cells.json"
    manifest = json.loads(file.read_text())
    manifest["cells"].append(manifest["cells"][0])
    file.write_text(json.dumps(manifest))
    with pytest.raises(BenchError, match="twice"):
        table.build(results)


def test_the_papers_table_is_complete() -> None:
    numbers = table.read_paper(table.PAPER)
    assert len(numbers) == 13 * 3 * 3
    assert all(0.5 < float(value) < 0.9 for value in numbers.values())
    assert numbers["mf", "coat", "recall@5"] == "0.550"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in table.build(make_results(Path(folder))).items():
            if name in GOLDEN_FILES:
                (GOLDEN / name).write_text(text, encoding="utf-8")


def test_a_difference_of_zero_has_no_sign() -> None:
    assert [layout.signed(each) for each in (0.0004, -0.0004, -0.0, 0.0006, -0.0125, 1.0)] == [
        "0.000", "0.000", "0.000", "+0.001", "-0.013", "+1.000",
    ]  # fmt: skip
    assert [layout.signed(each, 4) for each in (0.0004, -0.00004)] == ["+0.0004", "0.0000"]
