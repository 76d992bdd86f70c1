"""KuaiRec's configuration is what the committed calibration says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench import compose
from bench.errors import BenchError
from bench.study import kuairec_selection as calibrate

RESULT = Path(__file__).parents[3] / "results" / "kuairec" / "calibration.csv"


def lines() -> list[list[float]]:
    header, *rows = csv.reader(RESULT.open(encoding="utf-8"))
    assert header == calibrate.HEADER
    return [[float(value) for value in row] for row in rows]


def test_the_configuration_is_the_calibrated_one() -> None:
    assert len(lines()) == len(calibrate.STRENGTHS) * len(calibrate.BOOSTS)
    strength, boost = calibrate.chosen(lines())[:2]
    compose.register()
    dataset = compose.composed(["dataset=kuairec"]).dataset
    assert (dataset.selection_strength, dataset.positive_boost) == (strength, boost)


def test_the_rule_prefers_what_lies_near_and_refuses_what_lies_far() -> None:
    def row(strength: float, auc: float, distance: float) -> list[float]:
        return [strength, 1.0, auc, 0.0, 0.0, distance, 3, 0.1]

    rows = [row(0.0, 0.827, 0.01), row(0.5, 0.9, 0.02), row(0.5, 0.82, 0.05), row(1.0, 0.83, 0.04)]
    assert calibrate.chosen(rows) == rows[3]
    with pytest.raises(BenchError, match="No pair"):
        calibrate.chosen(rows[:2])
