"""An answer for every printed number, from a table and a study's files."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import table
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF
from bench.study import printed
from bench.study.answered import NONE, TUNED, Answered, read_answered, where_from, write_answered
from bench.study.files import Scored, StudyResult
from bench.study.printed import NumberAnswer, answered, answers, answers_page, changes
from bench.study.variants import PlainControl, Study, Variant, read_study
from bench.table.frame import Frame
from bench.table.manifest import Dataset
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
    assert measured is not None and control is not None and control.measured is not None
    assert measured.mean == pytest.approx(target - 0.0099) and measured.n == SEEDS
    assert control.measured.mean == pytest.approx(target - 0.0099 if off == "mf" else 0.7)
    assert (control.control, control.title) == (PlainControl("mf", "mse"), "MF")
    assert found[on].verdict == TUNED and found[on].change is None and found[on].control is None


def row_outside(frame: Frame) -> tuple[str, float]:
    """A row beside MF whose AUC does not come out as tuned, and its printed number."""
    bare = auc(answers(frame, study(), scored({})))
    return next((row, bare[row].printed) for row in ("ips", "dr") if not bare[row].reproduced)


def test_a_change_that_mf_has_not_stands_beside_the_control_that_the_study_declares(frame: Frame) -> None:
    off, printed_number = row_outside(frame)
    control = PlainControl("mf", "plain")
    own = (Variant(f"{off} on Coat", "term", "a term", ("dataset=coat", f"method={off}"), (), control),)
    asked = replace(study(), variants=(*study().variants, *own))
    means = {(off, "term"): printed_number, ("mf", "plain"): 0.7, ("mf", "mse"): 0.6}
    found = answers(frame, asked, scored(means))
    answer = auc(found)[off]
    assert answer.verdict == "term" and answer.control is not None and answer.control.measured is not None
    assert answer.control.control == control and answer.control.measured.mean == pytest.approx(0.7)
    page = answers_page(found, asked)
    assert f"| MF, fewer points: 0.700 ± 0.003 (n {SEEDS}) [" in page
    row = next(each for each in answered(found) if (each.method, each.metric) == (off, "auc"))
    assert (row.control_method, row.control_change, row.control_n) == ("mf", "plain", SEEDS)
    assert row.control_mean == pytest.approx(0.7) and row.title == "a term"
    # Not trained yet: the control is named all the same.
    found = answers(frame, asked, scored({(off, "term"): printed_number}))
    beside = auc(found)[off].control
    assert beside is not None and beside.control == control and beside.measured is None
    assert "| MF, plain: X" in answers_page(found, asked)


def test_a_table_with_side_features_is_no_smaller_change_than_side_features(frame: Frame) -> None:
    off, printed_number = row_outside(frame)
    features = Dataset(dataset="coat_features", title="Coat, with side features", k=5, paper="coat")
    first = frame.manifest.protocols[0]
    again = [
        replace(line, dataset=features)
        for line in frame.lines
        if (line.protocol, line.dataset.dataset) == (first, "coat")
    ]
    for line in again:  # the same number, as tuned there
        if (line.row.method, line.metric) == (off, "auc"):
            line.cell = replace(line.cell, values={("auc", ""): dict.fromkeys(range(3), printed_number)})
    manifest = replace(frame.manifest, datasets=[*frame.manifest.datasets, features])
    both = Frame(manifest, [*frame.lines, *again], frame.comparisons, [])
    more = tuple(
        replace(each, name="features", title="side features")
        for each in study().variants
        if each.name == "mse"
    )
    asked = replace(study(), variants=(*study().variants, *more))
    names = ["plain", "mse", "features", "leak"]
    asked = replace(asked, order=tuple(names))
    means = {(row, name): 0.5 for row in ROWS for name in names}
    counts = [f"no_positive_{convention}" for convention in printed.COUNTED]
    assert [each.name for each in changes(both, asked, scored(means))] == [
        *counts,
        *("plain", "mse", "coat_features", "features", "leak"),
    ]
    assert auc(answers(both, asked, scored(means)))[off].verdict == "coat_features"
    means[off, "mse"] = printed_number
    assert auc(answers(both, asked, scored(means)))[off].verdict == "mse"
    # Of a study without side features it is the last.
    assert [each.name for each in changes(both, study(), scored(means))][-1] == "coat_features"


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
    row = next(each for each in answered(found) if (each.method, each.metric) == (off, "auc"))
    assert (row.answer, row.tried, row.nearest) == (NONE, "plain leak", "plain")
    assert row.nearest_mean == pytest.approx(bare[off].printed + 0.011)


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
    assert {each.place for each in own.variants} >= {("coat", "mf"), ("yahoo_r3", "ultd_jl")}
    for each in own.variants:
        leaks = any("leak_" in word or "oracle_test" in word for word in each.overrides)
        assert leaks == each.title.startswith("leak: "), each.key
        assert "Yahoo" not in each.group or "method.backbone=features" not in each.overrides
    with pytest.raises(BenchError, match="names no data set or no method"):
        _ = Variant("", "x", "x", ("method=mf",)).place


def test_every_change_of_the_study_has_a_plain_model_beside_it() -> None:
    own = read_study(CONF / "study" / "printed.yaml")
    known = {(*each.place, each.name) for each in own.variants}
    for each in own.variants:
        control = each.control or PlainControl("mf", each.name)
        assert (each.place[0], control.method, control.variant) in known, each.key
        # What a leak gives is in its control, too.
        leaks = {each.name.startswith("a_in_test"), control.variant.startswith("a_in_test")}
        assert len(leaks) == 1, each.key


def test_the_smaller_changes_come_first() -> None:
    titles = read_study(CONF / "study" / "printed.yaml").titles
    leaks = [title.startswith("leak: ") for title in titles.values()]
    assert leaks == sorted(leaks) and next(iter(titles)) == "plain"


# --- The file, and what the report says of it ---------------------------------------------------------


def answer(dataset: str, answer: str, title: str = "", tried: str = "plain") -> Answered:
    there = (0.7125, 0.003, 10)
    mean, std, n = there if title else (None, None, None)
    return Answered(
        dataset=dataset,
        method="ips",
        metric="auc",
        printed="0.700",
        tuned_mean=0.75,
        tuned_std=None,
        tuned_n=1,
        answer=answer,
        title=title,
        mean=mean,
        std=std,
        n=n,
        control_method="eib" if title else "",
        control_change="plain" if title else "",
        control_mean=mean,
        control_std=std,
        control_n=n,
        tried=tried,
        nearest=tried,
        nearest_mean=0.7125 if tried else None,
    )


def test_the_file_goes_round(tmp_path: Path) -> None:
    rows = (answer("coat", "mse", "squared error, “raw”"), answer("coat", NONE, tried=""))
    write_answered(tmp_path, rows)
    assert read_answered(tmp_path) == rows
    file = tmp_path / "printed_numbers.csv"
    file.write_text(file.read_text().replace(",10,", ",ten,", 1))
    with pytest.raises(BenchError, match=r"line 2, is not as `python -m bench\.study\.printed` writes it"):
        read_answered(tmp_path)


def test_the_report_counts_where_the_printed_numbers_come_from(tmp_path: Path) -> None:
    titles = {"coat": "Coat", "kuairec": "KuaiRec", "yahoo_r3": "Yahoo! R3"}
    assert where_from(tmp_path, titles, "../study") == ""
    leak = "leak: A stays in the test set"
    rows = [
        *(answer("coat", "mse", "squared error"), answer("yahoo_r3", TUNED), answer("coat", NONE, tried="")),
        *(answer("yahoo_r3", "a_in_test", leak), answer("coat", "a_in_test", leak), answer("coat", NONE)),
    ]
    write_answered(tmp_path, rows)
    heading, _, text = where_from(tmp_path, titles, "../study").partition("\n\n")
    assert heading == "### Where the printed numbers come from"
    assert text.startswith(
        "Of 6 printed numbers that can be compared, 1 come out within ±0.01 as tuned, 3 under a declared "
        "change, 2 under none that was tried (1 of them with no change tried yet). "
    )
    assert "](../study/printed_numbers.md)" in text and "](../study/printed_numbers.svg)" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert table[0] == ["Comes out", "Coat", "Yahoo! R3"]
    assert table[2:] == [
        ["as tuned", "0", "1"],
        [leak, "1", "1"],
        ["squared error", "1", "0"],
        ["under none that was tried", "2", "0"],
    ]
