"""The study on generated data: its statistics, and the whole command on a small set."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from bench.study import known_truth

TINY = (
    *("dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8", "seeds=6"),
    *("dataset.unbiased_per_user=12", "engine.max_epochs=2", "method.learning_rate=0.05"),
)


def test_rho_is_scipys_averaged_over_seeds() -> None:
    random = np.random.default_rng(0)
    strength = random.normal(size=60)
    alpha = np.abs(strength) + random.normal(size=(4, 60))
    alpha[:, :10] = alpha[:, :1]  # ties
    rho, low, high = known_truth.spearman(alpha, strength)
    expected = [scipy.stats.spearmanr(row, np.abs(strength)).statistic for row in alpha]
    assert rho == pytest.approx(np.mean(expected), abs=1e-12)
    assert low < rho < high and low > 0
    assert known_truth.spearman(-alpha, strength)[0] == pytest.approx(-rho)


def test_an_unrelated_rate_has_an_interval_around_zero() -> None:
    random = np.random.default_rng(1)
    inside = [
        low < 0 < high
        for low, high in (
            known_truth.spearman(random.normal(size=(1, 80)), random.normal(size=80), seed, 200)[1:]
            for seed in range(20)
        )
    ]
    assert np.mean(inside) >= 0.8


def test_further_methods_are_a_family_of_their_own_and_tested_against_the_best_row(tmp_path: Path) -> None:
    def lines(rows: str, name: str) -> dict[tuple[str, str], dict[str, str]]:
        words = ["--jobs", "1", "--methods", rows, "--output", str(tmp_path / name)]
        assert known_truth.main([*words, *TINY, f"results={tmp_path}"]) == 0
        found = csv.DictReader((tmp_path / name / "known_truth.csv").open())
        return {(row["method"], row["metric"]): row for row in found}

    without = lines("ips,eib", "without")
    beside = lines("ips,eib,invpref", "beside")
    assert {place: row for place, row in beside.items() if place[0] != "invpref"} == without
    for metric in ("ideal_loss", "auc"):
        row = beside["invpref", metric]
        means = {name: float(beside[name, metric]["mean"]) for name in ("mf", "ips")}
        best = (min if metric == "ideal_loss" else max)(means, key=means.__getitem__)
        assert row["best_row"] == best and row["p_holm"] == row["p_value"]
        assert row["p_value_best"] and (best != "mf" or row["p_value_best"] == row["p_value"])
    assert {row["best_row"] for row in without.values()} == {""}
    text = (tmp_path / "beside" / "known_truth.md").read_text()
    assert "- Further methods better than the best row of the paper in Ideal loss, " in text
    assert "Further" not in (tmp_path / "without" / "known_truth.md").read_text()


def test_the_command(tmp_path: Path) -> None:
    arguments = ["--jobs", "1", "--methods", "ips_oracle,ultd_jl", "--output", str(tmp_path)]
    assert known_truth.main([*arguments, *TINY, f"results={tmp_path}"]) == 0
    rows = list(csv.DictReader((tmp_path / "known_truth.csv").open()))
    assert len(rows) == 3 * 3
    for row in rows:
        assert (row["p_value"] == "") == (row["method"] == "mf")
        assert row["n"] == "6"
    text = (tmp_path / "known_truth.md").read_text()
    assert "ULTD-JL: Spearman's rho" in text and "Better than MF in Ideal loss" in text
