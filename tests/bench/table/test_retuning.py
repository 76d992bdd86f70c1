"""The spread over re-tunings, what it does to the tests, and how the best baseline is chosen."""

from __future__ import annotations

import csv
import io
import itertools
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from bench import table
from bench.files import CHECKOUT
from bench.records.points import Points, Training
from bench.table.claims import chosen_by
from bench.table.comparisons import SeedComparison
from bench.table.manifest import TableManifest
from bench.table.retuning import criterion_of, retuned
from bench.table.statistics import t_test
from tests.bench.small_results import MEANS, SEEDS, make_results

RATES = (0.01, 0.05, 0.1)
HELD_OUT = np.array([[0.70, 0.72, 0.78], [0.74, 0.73, 0.72], [0.60, 0.60, 0.60]])  # (points, seeds)
TEST_AUC = np.array([[0.71, 0.72, 0.73], [0.75, 0.74, 0.76], [0.90, 0.90, 0.90]])


def swept(held_out: Any = HELD_OUT, auc: Any = TEST_AUC, metrics: tuple[str, ...] = ("auc",)) -> Points:
    """Three finalists, and a point that was tried with one seed."""

    def training(rate: float, seed: int, stage: str, value: float, test: float) -> Training:
        return Training(
            stage=stage,
            point=(rate,),
            seed=seed,
            validation_auc=value,
            held_out_auc=value,
            epoch=1.0,
            seconds=1.0,
            test=tuple(test + 0.01 * place for place in range(len(metrics))),
        )

    made = [training(0.5, 0, "first", 0.99, math.nan)]
    made += [
        training(rate, seed, "confirm", held_out[row][seed], auc[row][seed])
        for row, rate in enumerate(RATES)
        for seed in range(3)
    ]
    return Points(("learning_rate",), tuple(made), metrics)


def test_the_spread_is_that_of_all_draws_of_the_seeds() -> None:
    found = retuned(swept(), "held_out_auc")
    assert found is not None and (found.finalists, found.seeds, found.resamples) == (3, 3, 10_000)
    read = []
    for draw in itertools.product(range(3), repeat=3):
        chosen = int(np.argmax([row[list(draw)].mean() for row in HELD_OUT]))
        read.append(TEST_AUC[chosen].mean())
    # The point that is best on the test set is never chosen.
    assert set(read) == {TEST_AUC[0].mean(), TEST_AUC[1].mean()}
    assert found.std["auc"] == pytest.approx(np.std(read), rel=0.02)
    assert retuned(swept(), "held_out_auc") == found  # the same draws each time
    sure = retuned(swept(HELD_OUT + np.array([[0.2], [0.0], [0.0]])), "held_out_auc")
    assert sure is not None and sure.std["auc"] == pytest.approx(0, abs=1e-12)


def test_without_the_finalists_test_metrics_nothing_is_said() -> None:
    assert retuned(swept(metrics=()), "held_out_auc") is None
    lost = np.where(np.arange(3)[:, None] < 1, TEST_AUC, np.nan)  # all but one diverged in some seed
    assert retuned(swept(auc=lost), "held_out_auc") is None


def test_a_sweep_tells_of_the_configuration_that_it_chose() -> None:
    assert criterion_of(swept(), {"learning_rate": 0.01, "loss": "bce"}) == "held_out_auc"
    assert criterion_of(swept(), {"learning_rate": 0.05}) is None
    assert criterion_of(swept(), {"loss": "bce"}) is None


def test_the_test_with_tuning_is_students_where_there_is_none() -> None:
    d = [0.01, 0.02, 0.015, 0.03, -0.001]
    assert t_test(d) == pytest.approx(scipy.stats.ttest_1samp(d, 0).pvalue)
    t = np.mean(d) / math.sqrt(np.var(d, ddof=1) / 5 + 0.02**2)
    assert t_test(d, 0.02**2) == pytest.approx(2 * scipy.stats.t.sf(t, 4))
    assert (t_test([0.0, 0.0]), t_test([0.1, 0.1])) == (1.0, 0.0)


# --- In the table ---------------------------------------------------------------------------------------

METRICS = ("auc", "ndcg", "recall")
VALIDATION = {
    "mf": 0.80,
    "ips": 0.82,
    "dr": 0.81,
    "item_mean": 0.9,
}  # the order is not that of the test means


def tuned_by_others(cell: dict[str, str], record: dict[str, Any]) -> None:
    """A cell's point was chosen by a sweep whose file stands in the results; and its validation."""
    method = cell["method"]
    name = f"{cell['protocol']}/{cell['dataset']}/{method}"
    record["tried"], record["plan"], record["grid"] = record["tried"][:1], [], {}
    record["provenance"]["command"] = f"python -m bench method={method} +tuned={name}"
    record["validation"]["held_out"] = [VALIDATION[method]] * len(SEEDS)
    if method == "item_mean":
        record["points"] = 1


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = make_results(tmp_path, tuned_by_others)
    # MF's finalists differ by little, DR's by much; IPS was swept before their test metrics were kept.
    for method, scale, metrics in (("mf", 0.001, METRICS), ("dr", 1.0, METRICS), ("ips", 1.0, ())):
        auc = MEANS["coat", method][0] + scale * (TEST_AUC - 0.74)
        swept(auc=auc, metrics=metrics).write(results / "sweep" / "table" / "coat" / f"{method}.csv")
    return results


def read(text: str, **wanted: str) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(text))
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_the_table_prints_the_spread_beside_that_of_the_seeds(results: Path) -> None:
    texts = table.build(results)
    rows = {row["method"]: row for row in read(texts["tuning.csv"], protocol="table", dataset="coat")}
    spread = retuned(Points.read(results / "sweep" / "table" / "coat" / "dr.csv"), "held_out_auc")
    assert spread is not None
    assert float(rows["dr"]["tuning_std"]) == spread.std["recall"] > 0
    assert (rows["dr"]["finalists"], rows["dr"]["resamples"]) == ("3", "10000")
    assert (rows["ips"]["tuning_std"], rows["ips"]["held_out"]) == ("", "0.82")
    (line,) = read(texts["table1.csv"], protocol="table", dataset="coat", method="dr", metric="auc")
    assert float(line["tuning_std"]) == pytest.approx(spread.std["auc"], abs=1e-6)
    shown = f"± {float(line['std']):.3f}/{spread.std['auc']:.3f}"
    assert shown in texts["table1.md"] and shown in texts["table1.html"]
    assert shown.replace("± ", r"$\pm$").replace("0.", ".") in texts["table1.tex"]
    assert "Behind a slash" in texts["table1.md"]


def test_what_has_no_mean_has_no_spread() -> None:
    """As the ideal loss of rows with raw scores, whose sweeps have one."""
    rows = read((CHECKOUT / "results" / "published" / "table1.csv").read_text(encoding="utf-8"), mean="")
    assert rows and {row["tuning_std"] for row in rows} == {""}


def test_a_difference_survives_only_the_spread_that_does_not_explain_it(results: Path) -> None:
    texts = table.build(results)
    wanted = {"protocol": "table", "dataset": "coat", "metric": "auc", "against": "reference"}
    rows = {row["method"]: row for row in read(texts["comparisons.csv"], **wanted)}
    # DR and the item mean are significantly above MF; DR's finalists lie further apart than that.
    assert float(rows["dr"]["p_holm"]) < 0.05 and rows["dr"]["survives"] == "False"
    assert rows["item_mean"]["survives"] == "True"  # it is not tuned, and MF's finalists are alike
    assert (rows["ips"]["survives"], rows["ips"]["p_tuning"]) == ("", "")
    variance = sum(
        float(row["tuning_std"]) ** 2
        for row in read(texts["tuning.csv"], protocol="table", dataset="coat", metric="auc")
        if row["method"] in ("mf", "dr")
    )
    assert float(rows["dr"]["tuning_std"]) == pytest.approx(math.sqrt(variance), abs=1e-6)
    means = [line.split("|")[5] for line in texts["table1.md"].split("### ")[1].splitlines() if "†" in line]
    assert any("††" in mean for mean in means) and any("†" in mean and "††" not in mean for mean in means)


def test_the_best_baseline_is_the_best_on_validation(results: Path) -> None:
    texts = table.build(results)
    found = read(texts["comparisons.csv"], protocol="table", dataset="coat", against="best baseline")
    assert {(row["metric"], row["reference"]) for row in found} == {(metric, "ips") for metric in METRICS}
    assert "the best baseline, chosen by its held-out validation AUC" in texts["table1.md"]


def test_where_a_baselines_validation_is_not_known_it_is_said(tmp_path: Path) -> None:
    def partly(cell: dict[str, str], record: dict[str, Any]) -> None:
        tuned_by_others(cell, record)
        if (cell["dataset"], cell["method"]) == ("coat", "ips"):
            record["validation"]["held_out"] = []

    texts = table.build(make_results(tmp_path, partly))
    found = read(texts["comparisons.csv"], protocol="table", against="best baseline", metric="auc")
    assert {(row["dataset"], row["reference"]) for row in found} == {("coat", "dr"), ("kuairec", "ips")}
    said = (
        "on Coat chosen by its mean on the test ratings, which favours it; elsewhere chosen by its held-out"
    )
    assert said in texts["table1.md"]


def test_a_data_set_with_two_rules_is_named_with_its_protocol() -> None:
    def column(protocol: str, title: str, validated: bool) -> Any:
        dataset = SimpleNamespace(title=title)
        return SimpleNamespace(
            protocol=protocol, dataset=dataset, best_baseline="mf", chosen_by_validation=validated
        )

    columns = [
        column("table", "Coat", True),
        column("table", "KuaiRec", False),
        column("text", "Coat", False),
    ]

    def some(protocol: str | None) -> list[Any]:
        return [each for each in columns if protocol in (None, each.protocol)]

    frame: Any = SimpleNamespace(columns=some)
    assert chosen_by(frame).startswith("on KuaiRec and Coat (protocol `text`) chosen by its mean on the test")
    assert chosen_by(frame, "table").startswith("on KuaiRec chosen by its mean on the test ratings")
    assert chosen_by(frame, "text").startswith("chosen by its mean on the test ratings")


def test_the_files_tell_what_the_records_told(results: Path) -> None:
    (results / "published").mkdir()
    TableManifest.read(results / "table1").write(results / "published")
    table.write_table(results, published=True)
    expected = table.build(results, published=True)
    assert "/0.0" in expected["table1.md"] and "††" in expected["table1.md"]
    # A newer sweep, with another winner, says nothing about the cells that stand.
    newer = swept(HELD_OUT[::-1])
    newer.write(results / "sweep" / "table" / "coat" / "dr.csv")
    assert table.build(results, published=True)["tuning.csv"] == expected["tuning.csv"]
    shutil.rmtree(results / "runs")
    again = table.build(results, published=True)
    assert {name: again[name] for name in again if name.endswith(".csv")} == {
        name: expected[name] for name in expected if name.endswith(".csv")
    }


def test_a_comparison_survives_only_where_it_is_significant() -> None:
    def made(p_holm: float, p_tuning: float | None) -> bool | None:
        known = {"line": None, "base": None, "against": "", "n": 5, "median": 0.1, "low": 0.0, "high": 0.2}
        return SeedComparison(
            **known,  # type: ignore[arg-type]
            p_value=p_holm,
            p_holm=p_holm,
            p_tuning=p_tuning,
            p_tuning_holm=p_tuning,
        ).survives

    assert [made(0.01, 0.02), made(0.01, 0.2), made(0.1, 0.01), made(0.01, None)] == [
        True,
        False,
        False,
        None,
    ]
