"""Plans of seeds are judged by what their points are worth on ratings that no training has seen."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import cell as cells
from bench import compose
from bench.data.split import split
from bench.errors import BenchError
from bench.study import plan_regret
from bench.study.plan_regret import Trainings

TINY = (
    *("dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10", "engine.max_epochs=2"),
    *("dataset.unbiased_per_user=20", "grid.embedding_size=[4]", "grid.weight_decay=[0.0,0.001]"),
)


def test_regret_is_what_the_best_point_is_worth_more() -> None:
    worth = np.array([[0.70], [0.74], [0.72]]).repeat(10, 1)
    held_out = worth.copy()
    held_out[0, :2] = 0.85  # two seeds flatter the worst point
    lines = {line[2]: line for line in plan_regret.regret_lines(Trainings("here", "mf", held_out, worth))}
    assert float(lines["2 seeds"][4]) == pytest.approx(0.04)
    assert float(lines["5 seeds, then 10 for the best 12"][4]) == 0.0
    assert float(lines["10 seeds"][4]) == float(lines["10 seeds"][5]) == 0.0
    # Of five seeds without the two that flatter, none is wrong.
    assert 0 < float(lines["2 seeds"][5]) < 0.04


@pytest.mark.parametrize("dataset", ["yahoo_r3", "kuairec"])
def test_the_reduced_plan_is_judged_as_it_stands(dataset: str) -> None:
    compose.register()
    *before, confirm = compose.composed(["sweep=reduced", f"dataset={dataset}"]).sweep.stages
    (seeds,) = {stage.seeds for stage in before}
    name = f"{seeds} seeds, then {confirm.seeds} for the best {confirm.around}"
    (plan,) = (plan for plan in plan_regret.PLANS if plan.name == name)
    assert (plan.seeds, plan.confirmed(43), confirm.lists) == (seeds, confirm.around, [])


def test_all_seeds_decide_among_the_best_by_some() -> None:
    held_out = np.array([[0.9, 0.1], [0.8, 0.8], [0.7, 1.0]])
    first = np.array([0])
    assert plan_regret.finally_chosen(held_out, first, 0) == 0
    assert plan_regret.finally_chosen(held_out, first, 2) == 1
    assert plan_regret.finally_chosen(held_out, first, 3) == 2


def test_what_a_training_has_seen_does_not_judge_it() -> None:
    compose.register()
    config = compose.composed(["dataset=synthetic", *TINY, "method=mf", "sweep=none", "seeds=3"])
    ratings = cells.load_ratings(config)
    cell = cells.prepare(config, ratings)
    truth = ratings.truth
    assert truth is not None
    users, items, labels = plan_regret.unseen_ratings(cell)[1]
    assert len(users) == truth.labels.size
    np.testing.assert_array_equal(truth.labels[users, items], labels)

    unbiased = ratings.unbiased
    splits = [split(len(unbiased), seed) for seed in range(3)]
    found = plan_regret.unseen_ratings(replace(cell, ratings=replace(ratings, truth=None)))
    for seed, (users, items, labels) in enumerate(found):
        mine = set(zip(users.tolist(), items.tolist(), strict=True))
        assert len(mine) == len(labels)
        own = np.concatenate([splits[seed].train, splits[seed].validation])
        assert not mine & set(zip(unbiased.users[own].tolist(), unbiased.items[own].tolist(), strict=True))
        theirs = np.concatenate([each.validation for s, each in enumerate(splits) if s != seed])
        assert mine <= set(zip(unbiased.users[theirs].tolist(), unbiased.items[theirs].tolist(), strict=True))


def test_the_study_judges_again_what_it_has_trained(tmp_path: Path) -> None:
    file = tmp_path / "plans.csv"
    arguments = ["--worlds", "synthetic 11", "--methods", "mf", "--seeds", "5", "--output", str(file)]
    assert plan_regret.main([*arguments, *TINY]) == 0
    rows = list(csv.DictReader(file.open()))
    assert [row["plan"] for row in rows] == [plan.name for plan in plan_regret.PLANS if plan.seeds <= 5]
    assert {row["points"] for row in rows} == {"6"}
    assert all(float(row["regret"]) >= 0 for row in rows)
    before = file.read_text()
    assert plan_regret.main([*arguments, "--again"]) == 0
    assert file.read_text() == before

    trainings = tmp_path / "plans_trainings.csv"
    trainings.write_text(trainings.read_text().replace(",0.", ",x.", 1))
    with pytest.raises(BenchError, match="is not as `python"):
        plan_regret.read_trainings(trainings)
