"""An answer for every printed number, from a table and a study's files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bench import table
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF
from bench.study import printed
from bench.study.files import Scored, StudyResult
from bench.study.printed import NONE, TUNED, NumberAnswer, answers, answers_page, changes, csv_rows
from bench.study.variants import Study, Variant, read_study
from bench.table.frame import Frame
from tests.bench.small_results import make_results

SEEDS = 4
ROWS = ("mf", "ips", "dr")
NAMES = {"plain": "fewer points", "mse": "squared error", "leak": "leak: of the test"}


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    return table.load_results(make_results(tmp_path_factory.mktemp("results")))


def study() -> Study:
    variants = tuple(
        Variant(f"{method} on Coat", name, title, ("dataset=coat", f"method={method}"))
        for method in ROWS
        for name, title in NAMES.items()
    )
    return Study("printed", "Title", "What it asks.", ("plain",), variants)


def scored(means: dict[tuple[str, str], float]) -> StudyResult:
    """AUC of (method, variant) around its mean."""
    scores = [
        Scored(
            group=f"{method} on Coat",
            variant=variant,
            method=method,
            metric="auc",
            seed=seed,
            value=mean + shift,
        )
        for (method, variant), mean in means.items()
        for seed, shift in enumerate(np.linspace(-0.003, 0.003, SEEDS))
    ]
    return StudyResult(scores=scores, variants=(), differences=())


def auc(found: list[NumberAnswer]) -> dict[str, NumberAnswer]:
    return {method: each for each in found for (dataset, method, metric) in [each.place] if metric == "auc"}


def test_a_number_comes_out_as_tuned_or_under_the_first_change_or_under_none(frame: Frame) -> None:
    bare = auc(answers(frame, study(), scored({})))
    outside = [
        method for method, each in bare.items() if not each.reproduced and method in ("mf", "ips", "dr")
    ]
    inside = [method for method, each in bare.items() if each.reproduced and method in ("mf", "ips", "dr")]
    assert outside and inside
    off, on = outside[0], inside[0]
    target = bare[off].printed
    means = {(on, "mse"): bare[on].printed, (off, "plain"): target + 0.02}
    means |= {("mf", "mse"): 0.7, (off, "mse"): target - 0.0099, (off, "leak"): target}
    found = auc(answers(frame, study(), scored(means)))
    assert bare[off].verdict == NONE and bare[off].nearest is None
    assert found[off].verdict == "mse" and found[off].change is not None
    assert [each.name for each in found[off].tried] == list(NAMES)
    assert found[off].nearest is not None and found[off].nearest.name == "leak"
    measured, control = found[off].measured, found[off].control
    assert measured is not None and control is not None
    assert measured.mean == pytest.approx(target - 0.0099) and measured.n == SEEDS
    assert control.mean == pytest.approx(target - 0.0099 if off == "mf" else 0.7)
    assert found[on].verdict == TUNED and found[on].change is None


def test_what_is_tried_without_success_is_listed(frame: Frame) -> None:
    bare = auc(answers(frame, study(), scored({})))
    off = next(
        method for method, each in bare.items() if not each.reproduced and method in ("mf", "ips", "dr")
    )
    means = {(off, "plain"): bare[off].printed + 0.011, (off, "leak"): bare[off].printed - 0.03}
    found = answers(frame, study(), scored(means))
    assert auc(found)[off].verdict == NONE
    text = answers_page(found, study())
    assert "tried: plain and leak; nearest plain" in text
    n = sum(each.reproduced for each in found)
    assert (
        f"Of {len(found)} printed numbers that can be compared, {n} come out within ±0.01 as tuned, 0 under"
        in text
    )
    header, *rows = csv_rows(found)
    row = dict(zip(header, next(row for row in rows if row[1] == off and row[2] == "auc"), strict=True))
    assert (row["answer"], row["tried"], row["nearest"]) == (NONE, "plain leak", "plain")
    assert float(row["nearest_mean"]) == pytest.approx(bare[off].printed + 0.011)


def test_another_count_of_users_without_a_positive_is_a_change(frame: Frame) -> None:
    found = {each.name: each for each in changes(frame, study(), scored({}))}
    assert {"no_positive_one", "no_positive_zero"} <= found.keys()
    assert {metric for _, _, metric in found["no_positive_one"].found} == {"ndcg", "recall"}
    assert "no_positive_skip" not in found


def test_every_printed_number_has_a_line_and_the_files_are_written(tmp_path: Path) -> None:
    results = CHECKOUT / "results"
    written = printed.write_answers(results, tmp_path)
    assert [file.name for file in written] == [f"printed_numbers.{kind}" for kind in ("csv", "md", "svg")]
    rows = list(csv.DictReader(written[0].open(encoding="utf-8")))
    committed = csv.DictReader((results / "published" / "table1.csv").open(encoding="utf-8"))
    own = [line for line in committed if line["paper"] and line["dataset"] in ("coat", "yahoo_r3")]
    assert len(rows) == len(own) > 0
    within = [row for row in rows if row["answer"] == TUNED]
    assert len(within) == sum(line["within"] == "True" for line in own) > 0


def test_the_study_names_what_it_changes() -> None:
    own = read_study(CONF / "study" / "printed.yaml")
    assert {printed.place_of(each) for each in own.variants} >= {("coat", "mf"), ("yahoo_r3", "ultd_jl")}
    for each in own.variants:
        leaks = any("leak_" in word or "oracle_test" in word for word in each.overrides)
        assert leaks == each.title.startswith("leak: "), each.key
        assert "Yahoo" not in each.group or "method.backbone=features" not in each.overrides
    with pytest.raises(BenchError, match="names no data set or no method"):
        printed.place_of(Variant("", "x", "x", ("method=mf",)))
