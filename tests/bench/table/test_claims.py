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
from bench.table.claims import Claim, claims
from bench.table.comparisons import SeedComparison
from bench.table.frame import Frame
from bench.table.lines import ALPHA
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
