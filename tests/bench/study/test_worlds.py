"""What generated and simulated ratings can tell: counted by hand, and that the default world can."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bench
from bench import compose
from bench.data import Interactions, Ratings
from bench.study import world_table, worlds
from bench.study.world_table import World

KNOWN = World(
    world="a",
    title="World A",
    data_seed=0,
    ratings_per_user=20,
    ratings_per_item=30,
    users=0.1,
    items=0.25,
    rest=0.65,
    item_correlation=0.5,
    item_mean_auc=0.6,
    mf_auc=0.7,
    oracle_auc=0.75,
    item_mean_ndcg=0.5,
    mf_ndcg=0.6,
    oracle_ndcg=0.58,
)


def changed(**fields: Any) -> World:
    return World(**{**vars(KNOWN), **fields})


def test_shares_of_a_table_by_hand() -> None:
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool)
    # Mean 1/2, variance 1/4; both users have 1/2; items 1, 1/2, 0, 1/2, whose variance is 1/8.
    assert worlds.shares(labels) == pytest.approx((0, 0.5, 0.5))
    assert worlds.shares(labels.T) == pytest.approx((0.5, 0, 0.5))


def test_item_means_over_what_is_rated_beside_those_over_all() -> None:
    labels = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 0]], bool)  # means 1, 2/3, 0, 1/3
    biased = Interactions(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 3]), np.float32([1, 1, 0, 0]))
    ratings = Ratings("a", "", 3, 4, biased, biased, "")
    # Over O: 1, 1, 0, 0; ranks 3.5, 3.5, 1.5, 1.5 beside 4, 3, 1, 2.
    assert worlds.item_correlation(ratings, labels, 1) == pytest.approx(4 / math.sqrt(4 * 5))


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    lines = [KNOWN, changed(world="b", data_seed=1)]
    file = world_table.write_worlds(tmp_path / "worlds.csv", lines)
    assert world_table.read_worlds(file) == lines
    (unknown,) = world_table.read_worlds(
        world_table.write_worlds(file, [changed(oracle_auc=math.nan, oracle_ndcg=math.nan)])
    )
    assert math.isnan(unknown.oracle_auc) and unknown.mf_auc == 0.7


def test_what_the_report_says() -> None:
    said = world_table.described([KNOWN, changed(data_seed=1, mf_auc=0.9, oracle_auc=0.85)])
    assert "| World A | 20, 30" in said and "| 10% / 25% / 65%" in said and "| 0.800 / 0.600" in said
    assert (
        "- World A: the item mean is below MF. Between items is 25% of the labels' variance, and items' "
        "means over O and over all pairs correlate by 0.50. True propensities move MF by +0.000 in AUC and "
        "-0.020 in NDCG."
    ) in said
    other = world_table.described([changed(mf_auc=0.5, oracle_auc=math.nan, oracle_ndcg=math.nan)])
    assert "the item mean is above in one metric and below in the other MF" not in other
    assert "the item mean is above MF in AUC and below in NDCG" in other and "True propensities" not in other


@pytest.mark.parametrize(
    ("mf_ndcg", "said"),
    [
        (
            0.45,
            "is -0.100 from MF with the rule and +0.050 without any selection, so its place is the rule's",
        ),
        (0.55, "is -0.100 from MF with the rule and -0.050 without any selection, so its place is not the"),
    ],
)
def test_a_world_beside_itself_without_selection(mf_ndcg: float, said: str) -> None:
    at_random = changed(world="a_at_random", title="World A at random", mf_ndcg=mf_ndcg)
    assert f"World A beside World A at random: in NDCG the item mean {said}" in world_table.described(
        [KNOWN, at_random]
    )


def test_every_world_composes_and_draws_anew() -> None:
    compose.register()
    study = worlds.study_of_worlds(worlds.WORLDS, [0, 1])
    assert len({each.key for each in study.variants}) == len(study.variants) == 2 * (3 + 3 + 2 + 2)
    # The row changes nothing of a world: composing each world with one row is enough.
    of_mf = [each.overrides for each in study.variants if "method=mf" in each.overrides]
    assert len(of_mf) == 2 * 4
    configs: list[Any] = [compose.composed(overrides) for overrides in of_mf]
    kuairec = [config.dataset for config in configs if config.dataset.name == "kuairec"]
    assert {each.selection_seed for each in kuairec} == {0, 1}
    assert {(each.selection_strength > 0, each.positive_boost > 0) for each in kuairec} == {
        (True, True),
        (False, False),
    }


def test_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("n_users=40", "n_items=30", "ratings_per_user=12")
    words = ["seeds=1", "engine.max_epochs=1", f"results={tmp_path}", *(f"dataset.{size}" for size in sizes)]
    place = ["--worlds", "synthetic", "--data-seeds", "3", "--jobs", "1", "--output", str(tmp_path)]
    assert worlds.main([*place, *words]) == 0
    (found,) = world_table.read_worlds(tmp_path / "worlds.csv")
    assert found.data_seed == 3 and found.users + found.items + found.rest == pytest.approx(1, abs=1e-5)
    assert "Generated, items select" in capsys.readouterr().out
    assert worlds.main(["--worlds", "x"]) == 1
    assert "names none of the worlds: synthetic," in capsys.readouterr().err


@pytest.mark.slow
def test_true_propensities_beat_mf_and_mf_the_item_mean(tmp_path: Path) -> None:
    """In the default world, at its default point, for every draw of the data."""
    for data_seed in (0, 1, 2):
        means = SimpleNamespace()
        for key in ("item_mean", "mf", "ips_oracle"):
            words = [
                "dataset=synthetic",
                f"dataset.data_seed={data_seed}",
                f"method={key}",
                "sweep=none",
                "seeds=3",
            ]
            record = bench.run([*words, f"results={tmp_path}"])
            setattr(means, key, np.array([record.mean("auc"), record.mean("ndcg")]))
        assert (means.ips_oracle > means.mf + 0.02).all(), data_seed
        assert (means.mf > means.item_mean + 0.05).all(), data_seed
