"""Forest plots: interval and dot are of one test."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.report.forest import forests, levels
from bench.table import load_frame
from bench.table.comparisons import seed_differences
from bench.table.frame import Frame
from bench.table.lines import ALPHA

ROOT = Path(bench.__file__).parents[1]


@pytest.fixture(scope="module")
def frame() -> Frame:
    folder = ROOT / "results" / "published"
    return load_frame(folder, None, folder)


def test_a_dot_is_filled_where_the_corrected_interval_is_free_of_zero(frame: Frame) -> None:
    """In every comparison of the published table, rows of ten seeds and of twenty, significant and not."""
    found = forests(frame)
    rows = [row for forest in found for row in forest.rows]
    assert len(rows) > 100 and {row.significant for row in rows} == {False, True}
    for row in rows:
        low, high = row.corrected
        assert row.significant == (not low <= 0 <= high), row.comparison
        # The correction widens: what is drawn thin holds what is drawn thick.
        assert low <= row.interval[0] and row.interval[1] <= high
        assert row.mean == pytest.approx(seed_differences(row.comparison).mean())


def test_a_test_is_held_to_the_level_of_its_place(frame: Frame) -> None:
    place = next(each for each in frame.comparisons if each.line.metric == "auc")
    column = [
        each
        for each in frame.comparisons
        if (each.line.protocol, each.line.dataset, each.line.metric, each.against)
        == (place.line.protocol, place.line.dataset, "auc", place.against)
    ]
    held = levels(column)
    assert held.keys() == {each.line.row.method for each in column}
    for each in column:
        assert (each.p_value < held[each.line.row.method]) == (each.p_holm < ALPHA)
