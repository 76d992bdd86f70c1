"""Average ranks, Friedman's and Nemenyi's tests, and wins, against SciPy, published tables and counting."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bench.report.choices import EVERY, PAPERS, Choice
from bench.report.ranks import RowRanks, critical_difference, friedman, ranking
from bench.table import load_results
from bench.table.frame import Frame
from bench.table.manifest import Row
from tests.bench.small_results import SEEDS, make_results


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    return load_results(make_results(tmp_path_factory.mktemp("results")))


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys(ties: bool) -> None:
    values = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5) / 4
    values = np.round(values) if ties else values
    ranks = scipy.stats.rankdata(values, axis=1)
    assert friedman(ranks) == pytest.approx(scipy.stats.friedmanchisquare(*values.T).pvalue, rel=1e-9)
    assert friedman(np.full((4, 3), 2.0)) == 1.0


def test_the_critical_difference_is_demsars() -> None:
    """Table 5a of Demšar 2006: q of 2, 5 and 10 classifiers at .05."""
    for k, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        assert critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1.5e-3)
    # His example: four classifiers on fourteen data sets at .05 differ from 1.25 on.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)


def test_rows_that_have_every_number_are_ranked(frame: Frame) -> None:
    found = ranking(frame, Choice("table", PAPERS, EVERY))
    assert found is not None
    # DR has no number on KuaiRec, JL none at all, and the item mean is a control.
    assert {row.method for row in found.rows} == {"mf", "ips"}
    assert [row.method for row in found.left_out] == ["dr"]
    assert found.blocks == 2 * len(SEEDS)
    assert found.average.sum() == pytest.approx(3.0)
    assert (found.low <= found.average).all() and (found.average <= found.high).all()


def test_wins_are_counted(frame: Frame) -> None:
    found = ranking(frame, Choice("table", "coat", "auc"))
    assert found is not None
    names = [row.method for row in found.rows]
    assert names[0] == "dr" and found.left_out == []
    values = {
        line.row.method: line.values
        for line in frame.lines
        if (line.protocol, line.dataset.dataset, line.metric) == ("table", "coat", "auc")
    }
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            if i == j:
                assert np.isnan(found.wins[i, j])
                continue
            pairs = [(values[one][seed], values[other][seed]) for seed in SEEDS]
            expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
            assert found.wins[i, j] == pytest.approx(expected)


def test_too_few_rows_are_not_ranked(frame: Frame) -> None:
    assert ranking(frame, Choice("table", "coat", "ideal_loss")) is None
    assert ranking(frame, Choice("text", "kuairec", EVERY)) is None


def test_cliques_are_the_longest_stretches_without_a_difference() -> None:
    rows = [Row(method=name, title=name, uses_unbiased="no") for name in "abcd"]
    average = np.array([1.0, 1.6, 2.4, 4.0])
    known = RowRanks(
        rows=rows,
        average=average,
        low=average,
        high=average,
        blocks=9,
        p_value=0.01,
        critical=1.0,
        wins=np.zeros((4, 4)),
        left_out=[],
    )
    assert known.cliques == [(0, 1), (1, 2)]
