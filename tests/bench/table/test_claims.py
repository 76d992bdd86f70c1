"""What the claims count, against the files that the table writes."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import table
from bench.records.metric import CONVENTIONS
from bench.table import layout
from bench.table.claims import (
    Claim,
    Reproduced,
    Verdict,
    claims,
    controls_above,
    difference_interval,
    once_more,
    row_verdict,
    verdict,
)
from bench.table.comparisons import SeedComparison
from bench.table.frame import Frame
from bench.table.lines import ALPHA, CellResult, Line
from bench.table.manifest import Dataset, Row, TableManifest
from bench.table.retuning import Retuned
from tests.bench.small_results import SEEDS, make_results

PROPOSED = {"auc": 0.790, "ndcg": 0.526, "recall": 0.500}  # above all baselines, between them, below them


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `dr` as the paper's own method."""

    def own(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["dataset"] == "coat" and cell["method"] == "dr":
            for metric, mean in PROPOSED.items():
                values = [mean + seed / 10_000 for seed in SEEDS]
                conventions = dict.fromkeys(CONVENTIONS, values)
                record["test"][metric] = values if metric == "auc" else conventions

    return make_results(tmp_path_factory.mktemp("results"), own, proposed=("dr", "ultd_jl"))


@pytest.fixture(scope="module")
def frame(results: Path) -> Frame:
    return table.load_results(results)


def rows(results: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.build(results)[name])))


def test_the_proposed_rows_are_counted_as_the_file_has_them(frame: Frame, results: Path) -> None:
    claim = claims(frame).proposed
    tests = [
        row
        for row in rows(results, "comparisons.csv")
        if (row["protocol"], row["method"], row["against"]) == ("table", "dr", "best baseline")
    ]
    sure = [float(row["median"]) for row in tests if float(row["p_holm"]) < ALPHA]
    assert (claim.n, claim.above, claim.below) == (3, sum(x > 0 for x in sure), sum(x < 0 for x in sure))
    assert (claim.above, claim.below, claim.verdict) == (1, 2, "not supported")
    assert {each.base.row.method for each in claim.comparisons} <= {"mf", "ips"}
    assert claim.comparable.comparisons == claim.comparisons and claim.on("kuairec").verdict == "not testable"


def test_a_sentence_names_its_comparisons(frame: Frame) -> None:
    sentence = claims(frame).proposed.sentence
    for words in (
        "DR is significantly better",
        "1 of 3",
        "worse in 2",
        "1 row in 3 columns",
        "Coat",
        "`table`",
    ):
        assert words in sentence
    for words in ("AUC, NDCG and Recall", "Wilcoxon", "Holm's correction", "chosen by its mean on the test"):
        assert words in sentence


def test_the_baselines_are_tested_against_the_reference(frame: Frame) -> None:
    claim = claims(frame).baselines
    assert {(each.line.row.method, each.base.row.method) for each in claim.comparisons} == {("ips", "mf")}
    assert {each.line.dataset.dataset for each in claim.comparisons} == {"coat", "kuairec"}
    assert {each.line.dataset.dataset for each in claim.comparable.comparisons} == {"coat"}


def test_numbers_that_come_out_are_counted_as_the_table_has_them(frame: Frame, results: Path) -> None:
    counted = claims(frame).reproduced
    compared = [row for row in rows(results, "table1.csv") if row["within"]]
    assert (counted.n, counted.inside) == (len(compared), sum(row["within"] == "True" for row in compared))
    assert counted.lower == sum(float(row["delta"]) < -0.01 for row in compared)
    assert counted.inside + counted.lower + counted.higher == counted.n
    assert "On Coat (protocol `table`)" in counted.sentence


def of(frame: Frame, *signs: int) -> Claim:
    """A claim whose comparisons differ in these directions."""
    made: list[SeedComparison] = [
        replace(frame.comparisons[0], median=0.1 * sign, p_holm=0.01 if sign else 0.5) for sign in signs
    ]
    return Claim("", "", made)


def test_the_verdict(frame: Frame) -> None:
    assert of(frame, 1, 1).verdict == "supported"
    assert of(frame, 1, 0).verdict == of(frame, 1, 1, -1).verdict == "supported in part"
    assert of(frame, 1, -1).verdict == of(frame, 0, 0).verdict == "not supported"
    assert of(frame).verdict == "not testable"
    assert of(frame, 1, 0, -1).undecided == 1


def test_a_lower_loss_is_better(frame: Frame) -> None:
    loss = replace(of(frame, -1).comparisons[0], line=replace(frame.comparisons[0].line, metric="ideal_loss"))
    assert (Claim("", "", [loss]).above, Claim("", "", [loss]).below) == (1, 0)


def test_another_reading_of_a_data_set_has_its_numbers_and_none_of_its_claims(
    frame: Frame, results: Path, tmp_path: Path
) -> None:
    """KuaiRec's records, told to be Coat's: the paper's numbers stand beside them, and count nowhere else."""
    manifest = frame.manifest
    coat, kuairec = manifest.datasets
    reading = replace(kuairec, title="Coat, read otherwise", paper="coat", note="Because of this.", k=5)
    assert (coat.printed, coat.repeats, reading.printed, reading.repeats) == ("coat", False, "coat", True)
    lines = [
        replace(line, dataset=reading, cell=line.cell, paper="0.75")
        if line.dataset == kuairec and line.values and line.metric == "auc"
        else line
        for line in frame.lines
    ]
    more = replace(frame, lines=lines)
    assert claims(more).reproduced.n == claims(frame).reproduced.n
    again = [line for line in lines if line.dataset == reading]
    inside = sum(bool(line.within) for line in again)
    said = f"On Coat, read otherwise, beside the same printed numbers, {inside} of {len(again)} do."
    assert again and once_more(lines) == said
    assert layout.in_tolerance(lines) == f"{layout.in_tolerance(frame.lines)} {said}"
    group = layout.column_groups(
        replace(more, manifest=replace(manifest, datasets=[coat, reading])), "table"
    )[1]
    assert group.caption.startswith("Because of this. ")


def test_the_papers_numbers_are_those_of_the_data_set_that_is_named(results: Path, tmp_path: Path) -> None:
    folder = results / "table1"
    manifest = TableManifest.read(folder)
    coat, kuairec = manifest.datasets
    other = replace(coat, paper="yahoo_r3", note="A note.")
    replace(manifest, datasets=[other, kuairec]).write(folder)
    try:
        assert TableManifest.read(folder).datasets == [other, kuairec]
        line = next(line for line in table.load_results(results).lines if line.paper)
    finally:
        manifest.write(folder)
    assert line.dataset == other and line.metric == "auc"
    assert line.paper == table.read_paper(table.PAPER)[line.row.method, "yahoo_r3", "auc"]


# --- Verdicts by interval -----------------------------------------------------------------------------


def line_around(mean: float, half: float, *, paper: str = "0.750", tuning: float | None = None) -> Line:
    """A line of two seeds, half to either side of the mean."""
    values = {0: mean - half, 1: mean + half}
    known = None if tuning is None else Retuned(std={"auc": tuning})
    return Line(
        protocol="table",
        dataset=Dataset(dataset="coat", title="Coat", k=5),
        row=Row(method="mf", title="MF", uses_unbiased="no"),
        cell=CellResult(digest="d", points=160, values={("auc", ""): values}, retuned=known),
        metric="auc",
        no_positive="",
        paper=paper,
    )


# Of two seeds, Student's 97.5 % quantile is 12.706 and the standard error is the half: a half of .0005
# reaches .00635 to either side, and the printed number's last digit .0005 more.
@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.7500, 0.0005, Verdict.REPRODUCED),
        (0.7530, 0.0005, Verdict.REPRODUCED),
        (0.7535, 0.0005, Verdict.UNDECIDED),  # within the tolerance, and not surely
        (0.7530, 0.0001, Verdict.WITHIN),
        (0.7650, 0.0001, Verdict.DIFFERS),
        (0.7350, 0.0001, Verdict.DIFFERS),
        (0.7605, 0.0005, Verdict.UNDECIDED),  # outside of the tolerance, and not surely
    ],
)
def test_a_number_is_judged_by_its_interval(mean: float, half: float, expected: Verdict) -> None:
    line = line_around(mean, half)
    assert verdict(line) is expected
    found = difference_interval(line)
    assert found is not None
    reach = 12.7062 * half + 0.0005
    assert found == pytest.approx((mean - 0.75 - reach, mean - 0.75 + reach), abs=1e-6)


def test_the_spread_over_re_tunings_widens_the_interval() -> None:
    assert verdict(line_around(0.765, 0.0001, tuning=0.0)) is Verdict.DIFFERS
    assert verdict(line_around(0.765, 0.0001, tuning=0.005)) is Verdict.UNDECIDED


def test_without_a_printed_number_or_an_interval_nothing_is_sure() -> None:
    assert verdict(line_around(0.75, 0.0, paper="")) is None
    single = line_around(0.75, 0.0)
    single.cell.values["auc", ""] = {0: 0.75}
    assert difference_interval(single) is None and verdict(single) is Verdict.UNDECIDED


def test_one_number_that_surely_differs_refutes_a_row() -> None:
    good, near, far, open_ = Verdict.REPRODUCED, Verdict.WITHIN, Verdict.DIFFERS, Verdict.UNDECIDED
    assert row_verdict([good, good]) is good
    assert row_verdict([good, near]) is near
    assert row_verdict([good, near, open_]) is open_
    assert row_verdict([good, open_, far]) is far


def test_every_number_has_one_verdict(frame: Frame) -> None:
    found = claims(frame).reproduced
    assert sum(found.verdicts.values()) == found.n > 0
    for each, number in found.verdicts.items():
        assert str(number) in found.certainty and each.meaning
    assert Reproduced([]).certainty == ""


def test_a_control_above_every_row_is_named(frame: Frame, results: Path) -> None:
    """The item mean's AUC on Coat is above all; its NDCG and Recall are not. KuaiRec has no control."""
    found, n = controls_above(frame)
    assert n == 3
    assert [(column.title, line.row.method) for column, line in found] == [("Coat AUC", "item_mean")]
