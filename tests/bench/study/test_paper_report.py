"""The report: its counts against counts by hand, its verdicts, and what it does where things are missing."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from bench import table
from bench.data.split import split
from bench.errors import BenchError
from bench.study import report as findings
from bench.study.answered import write_answered
from bench.study.files import Chosen, Scored, StudyResult
from bench.study.printed import answered, answers
from bench.study.report import Findings
from bench.study.variants import Study
from bench.table import layout
from bench.table.comparisons import BEST_BASELINE, REFERENCE, compare_seeds
from bench.table.frame import Frame
from bench.table.lines import CellResult, Column, Line
from bench.table.manifest import Dataset, Row, TableManifest
from tests.bench.small_results import make_results, make_sweep

N = 10
PRINTED = ("auc", "ndcg", "recall")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A published table, whose records are not here."""
    made = make_results(tmp_path)
    table.write_table(made)
    shutil.rmtree(made / "runs")
    (made / "table1").rename(made / "published")
    return made


def found(*columns: dict[str, float], paper: str = "0.7", dataset: str = "coat") -> Findings:
    """Findings of a data set's AUC, NDCG, Recall.

    columns: method → how far its every seed lies above a common wave.
    """
    place = Dataset(dataset=dataset, title=dataset, k=5)
    rows = [
        Row(
            method=method,
            title=method,
            uses_unbiased="no",
            control=method in findings.PLAIN,
            baseline=method not in (findings.TWO_PHASES, findings.JOINT),
        )
        for method in columns[0]
    ]
    cells = {row.method: CellResult(digest=row.method, no_positive="skip", points=1) for row in rows}
    lines, comparisons = [], []
    for metric, shifts in zip(PRINTED, columns, strict=False):
        convention = "" if metric == "auc" else "skip"
        made = []
        for row in rows:
            values = {seed: 0.7 + shifts[row.method] + 0.001 * np.sin(seed) for seed in range(N)}
            cells[row.method].values[metric, convention] = values
            made.append(
                Line(
                    protocol="table",
                    dataset=place,
                    row=row,
                    cell=cells[row.method],
                    metric=metric,
                    no_positive=convention,
                    paper=paper,
                )
            )
        column = Column("table", place, findings.METRICS[metric], made)
        comparisons += compare_seeds(made, column.line("mf"), REFERENCE)
        comparisons += compare_seeds(made, column.best_baseline, BEST_BASELINE)
        lines += made
    manifest = TableManifest(protocols=["table"], datasets=[place], rows=rows, reference="mf", cells={})
    return Findings(Frame(manifest, lines, comparisons, []))


def cells(text: str) -> list[list[str]]:
    """The rows of a table in Markdown."""
    return [[entry.strip() for entry in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_what_holds_is_counted_from_the_tables_own_files(results: Path) -> None:
    text = (results / "published" / "table1.csv").read_text(encoding="utf-8")
    compared = [line for line in csv.DictReader(io.StringIO(text)) if line["within"]]
    made = findings.published_findings(results)
    counted = made.claims.reproduced
    assert (counted.inside, counted.n) == (
        sum(line["within"] == "True" for line in compared),
        sum(line["method"] != "item_mean" for line in compared),
    )
    assert [row[1] for row in cells(findings.holds(made))] == [
        f"{sum(x['within'] == 'True' for x in compared if x['metric'] == metric)} of 3" for metric in PRINTED
    ]
    auc = [line for line in compared if line["metric"] == "auc"]
    rho = scipy.stats.spearmanr([float(x["mean"]) for x in auc], [float(x["paper"]) for x in auc]).statistic
    assert f"{rho:+.2f}" in findings.holds(made).splitlines()[2]
    for line in compared:
        row = f"| {float(line['paper']):.3f} | {float(line['mean']):.3f} ±".replace(" ", "")
        listed = row in findings.outside(made).replace(" ", "")
        assert listed == (line["within"] == "False"), line


def test_the_claims_are_tested_as_the_table_tests_them() -> None:
    good = {"mf": 0.0, "ips": 0.02, "ultd_tp": 0.03, "ultd_jl": 0.04}
    bad = {"mf": 0.0, "ips": -0.02, "ultd_tp": -0.03, "ultd_jl": -0.04}
    claims = findings.paper_claims(found(good))
    # Neither Res-DR nor AutoDebias is there.
    untold = ("not testable", "not testable")
    assert [x.verdict for x in claims] == ["supported", *untold, "supported", "supported"]
    assert [x.verdict for x in findings.paper_claims(found(bad))] == [
        *("not supported", *untold, "not supported", "not supported")
    ]
    assert cells(findings.claim_table(found(good, bad))) == [
        [claims[0].text, "1 / 1 of 2", "not supported"],
        [claims[1].text, "", "not testable"],
        [claims[2].text, "", "not testable"],
        [claims[3].text, "2 / 2 of 4", "not supported"],
        [claims[4].text, "1 / 1 of 2", "not supported"],
    ]
    # Holm's family is the column's rows of the paper, the best baseline aside: three comparisons here.
    (test, _) = claims[3].comparisons
    assert test.p_holm == pytest.approx(3 * test.p_value)
    # Data sets that are not the paper's do not count.
    assert cells(findings.claim_table(found(good, paper="")))[0][1:] == ["1 / 0 of 1", "not testable"]


def test_opposite_results_on_two_data_sets_are_not_one_word() -> None:
    good = {"mf": 0.0, "ips": 0.02, "ultd_tp": 0.03, "ultd_jl": 0.04}
    bad = {"mf": 0.0, "ips": -0.02, "ultd_tp": -0.03, "ultd_jl": -0.04}
    one, other = found(good).frame, found(bad, dataset="yahoo").frame
    manifest = replace(one.manifest, datasets=[*one.manifest.datasets, *other.manifest.datasets])
    both = Frame(manifest, one.lines + other.lines, one.comparisons + other.comparisons, [])
    row = cells(findings.claim_table(Findings(both)))[0]
    assert row[1:] == ["1 / 0 of 1", "0 / 1 of 1", "coat: supported; yahoo: not supported"]


def test_a_row_is_what_the_worst_of_its_numbers_is() -> None:
    shifts = ({"mf": 0.0, "ips": shift, "dr": -0.008} for shift in (0.0, 0.0, 0.03))
    made = found(*shifts, paper="0.700")
    rows = {row[0]: row[1:] for row in cells(findings.verdicts(made))}
    assert rows["mf"] == ["3 of 3", "3", "0", "0", "0", "reproduced"]
    assert rows["ips"] == ["2 of 3", "2", "0", "1", "0", "differs surely"]
    assert rows["dr"] == ["3 of 3", "0", "3", "0", "0", "surely within ±0.01"]


def test_the_nearer_threshold_is_counted() -> None:
    first = found({"mf": 0.0, "ips": 0.02}).frame
    second = found({"mf": 0.01, "ips": 0.01}).frame
    for line in second.lines:
        line.protocol, line.paper = "text", ""
    manifest = replace(first.manifest, protocols=["table", "text"])
    made = Findings(Frame(manifest, first.lines + second.lines, [], []))
    assert findings.nearer_threshold(made) == (
        "Of 2 printed numbers, 1 lie nearer to our mean under `table` than to that under `text`; "
        "of MF's 1, 1."
    )
    assert [row[1:] for row in cells(findings.thresholds(made))] == [["0.700", "0.710", "0.7"]]


def test_the_front_page_and_the_table_count_the_same(results: Path) -> None:
    made = findings.published_findings(results)
    claim = made.claims.proposed.comparable
    assert findings.sentences(made)[1] == claim.sentence
    assert findings.sentences(made)[0].startswith(made.claims.reproduced.sentence)


def test_a_gain_that_a_plain_control_has_too_does_not_remain() -> None:
    shifts = {"mf": 0.0, "eib": 0.02, "mf_combine": 0.01, "ips": 0.015, "dr": 0.03, "dr_jl": -0.01}
    assert findings.lasting_gains(found(shifts)) == (2, 1)
    beside = {row[1]: row[2:] for row in cells(findings.remains(found(shifts)))}
    assert beside == {
        "ips": ["+0.015†", "-0.005†", "+0.005†"],
        "dr": ["+0.030†", "+0.010†", "+0.020†"],
        "dr_jl": ["-0.010†", "-0.030†", "-0.020†"],
    }


def test_the_noise_of_a_run_is_what_the_seeds_show() -> None:
    random = np.random.default_rng(0)
    common = random.normal(0, 0.003, 500)
    made = found({m: 0.0 for m in ("mf", "ips", "ultd_tp", "ultd_jl")}, paper="0.71")
    for line in made.frame.lines:
        line.paper = "0.71" if line.row.proposed else "0.70"
        line.cell.values["auc", ""] = dict(enumerate(0.7 + common + random.normal(0, 0.004, 500)))
    (fields,) = cells(findings.noise(made))
    assert float(fields[1]) == pytest.approx(0.005, rel=0.1)  # √(.003² + .004²)
    assert float(fields[2]) == pytest.approx(0.004 * 2**0.5, rel=0.1)
    assert fields[3] == "+0.010"
    assert float(fields[4]) == pytest.approx(2 * scipy.stats.norm.sf(0.01 / float(fields[2])), rel=0.1)
    assert float(fields[5]) == pytest.approx(9 / 25, abs=0.08)
    assert fields[8] == "100%"


def test_the_share_of_validated_ratings_is_that_of_the_splits() -> None:
    splits = [split(2000, seed).validation for seed in range(10)]
    share = len(np.unique(np.concatenate(splits))) / 2000
    assert findings.validated_share("table", 10) == pytest.approx(share, abs=0.03)


def test_the_naive_row_is_held_against_the_study_of_it(tmp_path: Path) -> None:
    made = found(*({"mf": 0.02, "ips": 0.0} for _ in PRINTED))
    assert "make study STUDY=naive" in findings.naive(made, tmp_path)
    tested = {"auc": 0.7, "ndcg": 0.71, "recall": 0.716}
    StudyResult(
        scores=[
            Scored(group="", variant="few", method="mf", metric=metric, seed=seed, value=value)
            for metric, value in tested.items()
            for seed in range(2)
        ],
        variants=[
            Chosen(
                group="",
                variant="few",
                title="Few points",
                method="mf",
                points=40,
                validation_auc=0.7,
                held_out_auc=None,
                alpha_mean=None,
                selected={},
                training_seconds=1.0,
                commit="",
                command="",
            )
        ],
        differences=[],
    ).write(tmp_path, "naive")
    rows = cells(findings.naive(made, tmp_path))
    assert [row[0] for row in rows] == ["The table's row", "Few points"]
    assert rows[0][-1] == "0 of 3" and all(field.endswith("(+0.020)") for field in rows[0][2:5])
    few = ["40", "0.700 ± 0.000 (0.000)", "0.710 ± 0.000 (+0.010)", "0.716 ± 0.000 (+0.016)", "2 of 3"]
    assert rows[1][1:] == few


def test_the_command(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "study").mkdir()
    (results / "study" / "ultd.md").write_text("# Readings\n\nWhy.\n\nA table.\n")
    make_sweep(results / "sweep" / "table" / "coat" / "mf.csv", [("shared", 8, 0), ("shared", 8, 1)], 1800.0)
    file = results / "published" / "REPORT.md"
    assert findings.main(["--results", str(results)]) == 0
    text = file.read_text()
    assert (
        "### Readings\n\nWhy.\n\n<details>" in text and "make study STUDY=bounds" in text and "$" not in text
    )
    coat = next(line for line in text.splitlines() if line.startswith("| Coat") and "table" in line)
    tuned = "shared 1 × 2; 2 trainings; embedding sizes 8"
    assert [field.strip() for field in coat.split("|")][5:9] == ["80", tuned, "2", "1.0"]
    assert findings.main(["--results", str(results)]) == 0
    assert file.read_text() == text
    # Where the printed numbers come from is said where it has been tried, and moves nothing else.
    made = findings.published_findings(results)
    asked = Study("printed", "", "", (), ())
    tried = StudyResult(scores=(), variants=(), differences=())
    write_answered(results / "study", answered(answers(made.frame, asked, tried)))
    said = findings.report(results, made)
    start = said.index("### Where the printed numbers come from")
    end = said.index("## What the paper claims")
    assert said[:start] + said[end:] == text and "study/printed_numbers.md" in said[start:end]
    drawn = (results / "published" / findings.FIGURE).read_text()
    assert "](heatmap.svg)" in text and "python -m bench.study.report" in drawn
    for row in csv.DictReader(io.StringIO((results / "published" / "table1.csv").read_text())):
        if row["delta"] and row["protocol"] == "table":
            shown = layout.signed(float(row["delta"])).replace("-", "\N{MINUS SIGN}")
            assert shown in drawn or shown.replace("\N{MINUS SIGN}", "-") in drawn
    assert findings.main(["--results", str(results / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_without_real_ratings_there_is_nothing_to_report(results: Path) -> None:
    manifest = TableManifest.read(results / "published")
    manifest.cells.clear()
    manifest.write(results / "published")
    with pytest.raises(BenchError, match="no numbers of real ratings"):
        findings.report(results, findings.published_findings(results))


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")  # all numbers of this paper are .7
def test_another_reading_of_a_data_set_has_a_section_and_counts_nowhere_else() -> None:
    good = {"mf": 0.0, "ips": 0.02, "ultd_tp": 0.03, "ultd_jl": 0.04}
    alone = found(good).frame
    again = found({each: -shift for each, shift in good.items()}, dataset="coat_features").frame
    place = replace(again.manifest.datasets[0], title="Coat, more", paper="coat", note="Why it is there.")
    lines = [replace(line, dataset=place) for line in again.lines]
    renewed = dict(zip(map(id, again.lines), lines, strict=True))
    comparisons = [replace(each, line=renewed[id(each.line)]) for each in again.comparisons]
    manifest = replace(alone.manifest, datasets=[*alone.manifest.datasets, place])
    both = Findings(Frame(manifest, alone.lines + lines, alone.comparisons + comparisons, []))
    section = findings.repeated(both)
    assert section.startswith("### Coat, more\n\nWhy it is there.\n\n| Row")
    assert [row[0] for row in cells(section[section.index("| Row") :].strip())] == list(good)
    assert "0.660 ± 0.001, -0.040" in section  # ultd_jl, beside 0.7
    assert findings.repeated(Findings(alone)) == ""
    for part in (
        findings.verdicts,
        findings.holds,
        findings.claim_table,
        findings.outside,
        findings.noise,
        findings.lasting_gains,
    ):
        assert part(both) == part(Findings(alone))
