"""The report: its counts against counts by hand, its verdicts, and what it does where things are missing."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from bench import table
from bench.errors import BenchError
from bench.study import report as findings
from bench.study.report import Claim, Column
from bench.table.lines import CellResult, Line
from bench.table.manifest import Dataset, Row
from tests.bench.small_results import make_results, make_sweep

N = 10


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A published table, without the records that it was made from."""
    make_results(tmp_path)
    (tmp_path / "table1").rename(tmp_path / "published")
    table.write(tmp_path, published=True)
    shutil.rmtree(tmp_path / "runs")
    return tmp_path


def column(dataset: str, metric: str, shifts: dict[str, float], paper: str = "0.7") -> Column:
    """A column of rows whose every seed lies a shift above a common wave."""
    rows = {}
    for method, shift in shifts.items():
        values = {seed: 0.7 + shift + 0.001 * np.sin(seed) for seed in range(N)}
        rows[method] = Line(
            protocol="table",
            dataset=Dataset(dataset=dataset, title=dataset, k=5),
            row=Row(method=method, title=method, uses_unbiased="no", control=False),
            cell=CellResult(digest=method, values={(metric, ""): values}),
            metric=metric,
            no_positive="",
            paper=paper,
        )
    controls = {m: line for m, line in rows.items() if m in findings.PLAIN}
    return Column(
        "table", dataset, "x AUC", {m: line for m, line in rows.items() if m not in controls}, controls
    )


def test_what_holds_is_counted_from_the_tables_own_files(results: Path) -> None:
    lines = list(csv.DictReader((results / "published" / "table1.csv").open(encoding="utf-8")))
    compared = [line for line in lines if line["within"]]
    found = findings.columns(findings.published(results))
    assert findings.counted(found) == (
        sum(line["within"] == "True" for line in compared),
        sum(line["method"] != "item_mean" for line in compared),
    )
    auc = [line for line in compared if line["metric"] == "auc"]
    rho = scipy.stats.spearmanr([float(x["mean"]) for x in auc], [float(x["paper"]) for x in auc]).statistic
    assert f"{rho:+.2f}" in findings.holds(found).splitlines()[2]
    for line in compared:
        row = f"| {float(line['paper']):.3f} | {float(line['mean']):.3f} ±".replace(" ", "")
        listed = row in findings.outside(found).replace(" ", "")
        assert listed == (line["within"] == "False"), line


def test_a_claim_is_supported_where_every_test_agrees() -> None:
    good = column("coat", "auc", {"mf": 0.0, "ips": 0.02, "ultd_tp": 0.03, "ultd_jl": 0.04})
    naive, _, own, joint = findings.claims([good])
    assert [claim.verdict(["coat"]) for claim in (naive, own, joint)] == ["supported"] * 3
    bad = column("coat", "ndcg", {"mf": 0.0, "ips": -0.02, "ultd_tp": -0.03, "ultd_jl": -0.04})
    assert [claim.verdict(["coat"]) for claim in findings.claims([bad])] == [
        "not supported",
        "not testable",  # neither Res-DR nor AutoDebias is there
        "not supported",
        "not supported",
    ]
    mixed = [good, column("coat", "recall", {"mf": 0.0, "ips": 0.0, "ultd_tp": 0.02, "ultd_jl": 0.02})]
    assert findings.claims(mixed)[3].verdict(["coat"]) == "supported in part"
    # Data sets that are not the paper's do not count.
    assert findings.claims([good])[0].verdict(["kuairec"]) == "not testable"
    assert Claim("", []).verdict(["coat"]) == "not testable"


def test_a_gain_that_a_plain_control_has_too_does_not_remain() -> None:
    shifts = {"mf": 0.0, "eib": 0.02, "mf_combine": 0.01, "ips": 0.015, "dr": 0.03, "dr_jl": -0.01}
    assert findings.kept([column("coat", "auc", shifts)]) == (2, 1)


def test_the_noise_of_a_run_is_what_the_seeds_show() -> None:
    random = np.random.default_rng(0)
    common = random.normal(0, 0.003, 500)
    one = column("coat", "auc", {m: 0.0 for m in ("mf", "ips", "ultd_tp", "ultd_jl")}, paper="0.71")
    one.rows["ips"].paper = "0.70"
    one.rows["mf"].paper = "0.70"
    for line in one.rows.values():
        values = 0.7 + common + random.normal(0, 0.004, 500)
        line.cell.values[("auc", "")] = dict(enumerate(values))
    fields = [field.strip() for field in findings.noise([one]).splitlines()[2].strip("|").split("|")]
    assert float(fields[1]) == pytest.approx(0.005, rel=0.1)  # √(.003² + .004²)
    assert float(fields[2]) == pytest.approx(0.004 * 2**0.5, rel=0.1)
    assert fields[3] == "+0.010"
    assert float(fields[4]) == pytest.approx(2 * scipy.stats.norm.sf(0.01 / float(fields[2])), rel=0.1)
    assert float(fields[5]) == pytest.approx(9 / 25, abs=0.08)


def test_the_naive_row_is_held_against_the_study_of_it(tmp_path: Path) -> None:
    found = [column("coat", metric, {"mf": 0.02, "ips": 0.0}) for metric in ("auc", "ndcg", "recall")]
    found.append(column("yahoo_r3", "auc", {"mf": 0.0}))
    assert "make study STUDY=naive" in findings.naive(found, tmp_path)
    values = {"few": {"auc": 0.7, "ndcg": 0.71, "recall": 0.716}}
    lines = [f",{v},{m},{s},{x}" for v, own in values.items() for m, x in own.items() for s in range(2)]
    (tmp_path / "naive.csv").write_text("\n".join(["group,variant,metric,seed,value", *lines]))
    (tmp_path / "naive_variants.csv").write_text("group,variant,title,points\n,few,Few points,40\n")
    rows = [
        [field.strip() for field in line.strip("|").split("|")]
        for line in findings.naive(found, tmp_path).splitlines()[2:]
    ]
    assert [row[0] for row in rows] == ["The table's row", "Few points"]
    assert rows[0][-1] == "0 of 3" and all(field.endswith("(+0.020)") for field in rows[0][2:5])
    few = ["40", "0.700 ± 0.000 (+0.000)", "0.710 ± 0.000 (+0.010)", "0.716 ± 0.000 (+0.016)", "2 of 3"]
    assert rows[1][1:] == few


def test_the_command(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "study").mkdir()
    (results / "study" / "ultd.md").write_text("# Readings\n\nA table.\n")
    make_sweep(results / "sweep" / "table" / "coat" / "mf.csv", [("shared", 8, 0), ("shared", 8, 1)], 1800.0)
    assert findings.main(["--results", str(results)]) == 0
    text = (results / "published" / "REPORT.md").read_text()
    assert "### Readings" in text and "make study STUDY=bounds" in text and "$" not in text
    coat = next(line for line in text.splitlines() if line.startswith("| Coat") and "table" in line)
    assert [field.strip() for field in coat.split("|")][5:9] == [
        "80",
        "shared 1 × 2; embedding sizes 8",
        "2",
        "1.0",
    ]
    assert findings.main(["--results", str(results)]) == 0
    assert (results / "published" / "REPORT.md").read_text() == text
    assert findings.main(["--results", str(results / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_without_real_ratings_there_is_nothing_to_report(results: Path) -> None:
    manifest = results / "published" / "cells.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "cells": []}))
    with pytest.raises(BenchError, match="no numbers of real ratings"):
        findings.report(results)
