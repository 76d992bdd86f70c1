"""The study of selection rules judges them by what the chosen point is worth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from bench.cell.selection import Merits
from bench.study import selection_rules as selection_study

TINY = (
    *("dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10", "engine.max_epochs=2"),
    *("dataset.unbiased_per_user=20", "grid.batch_size=[64]", "grid.embedding_size=[4]"),
)


def test_regret_is_what_the_best_point_has_more() -> None:
    test = np.array([[0.70, 0.72], [0.75, 0.77], [0.60, 0.62]])
    restless = np.array([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7]])  # puts the second best first
    lines = selection_study.judged(11, Merits(restless, test, test), 2)
    by_rule = {line[2]: line for line in lines}
    assert float(by_rule["validation_auc"][4]) == pytest.approx(0.05)
    assert float(by_rule["validation_held_out"][4]) == 0.0
    assert float(by_rule["validation_held_out"][5]) == pytest.approx(1.0)


def test_the_study_writes_a_line_for_each_rule_and_number_of_seeds(tmp_path: Path) -> None:
    file = tmp_path / "rules.csv"
    arguments = ["--data-seeds", "11", "--seeds", "4", "--output", str(file), *TINY]
    # The grid's lists that TINY replaces stand before it.
    assert selection_study.main(arguments) == 0
    rows = list(csv.DictReader(file.open()))
    assert [(row["rule"], row["seeds"]) for row in rows] == [
        (rule, seeds) for seeds in ("3", "4") for rule in ("validation_auc", "validation_held_out")
    ]
    assert {row["points"] for row in rows} == {"8"}
    assert all(float(row["mean_regret"]) >= 0 for row in rows)
