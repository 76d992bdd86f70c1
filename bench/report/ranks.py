"""Average ranks of the rows, and how sure their order is: bootstrap, Friedman's and Nemenyi's tests.

A block is one seed of one data set: there, every row is ranked in each metric (1 is best, ties share), and
its mean rank over the metrics ranks it in the block. Every data set of a choice has the same number of
blocks, seeds that all of its rows have, so that data sets count alike. A row that lacks a number somewhere
is left out; controls are, too, since they are no methods of debiasing.

Friedman's test asks whether the rows' ranks differ at all over the blocks. Two rows differ by Nemenyi's test
where their average ranks are further apart than the critical difference

    CD = q_α · √(k (k + 1) / (6 N)),

k rows, N blocks, q_α the quantile of the studentised range of k groups divided by √2 (Demšar, "Statistical
Comparisons of Classifiers over Multiple Data Sets", JMLR 2006). Blocks of one data set share its ratings:
both tests speak of these data sets, not of others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata, studentized_range

from bench.report.choices import Choice, part
from bench.table.frame import Frame
from bench.table.lines import ALPHA, Column
from bench.table.manifest import Row

_Floats = NDArray[np.float64]

_RESAMPLES = 2000
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class RowRanks:
    """The rows of a choice by average rank, the best first.

    average: (k,). low, high: (k,), bootstrap intervals over the seeds of each data set. blocks: N. p_value:
    Friedman's. critical: Nemenyi's difference. wins: (k, k), the share of blocks and metrics in which one row
    is better than another, ties half; NaN on the diagonal. left_out: rows that lack a number.
    """

    rows: list[Row]
    average: _Floats
    low: _Floats
    high: _Floats
    blocks: int
    p_value: float
    critical: float
    wins: _Floats
    left_out: list[Row]

    @property
    def cliques(self) -> list[tuple[int, int]]:
        """Stretches of the order, first and last place, within which no two rows differ by Nemenyi's test."""
        found: list[tuple[int, int]] = []
        for first, rank in enumerate(self.average):
            last = int(np.flatnonzero(self.average <= rank + self.critical)[-1])
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def ranking(frame: Frame, choice: Choice) -> RowRanks | None:
    """The ranking of a choice; None where fewer than two rows have every number."""
    chosen = part(frame, choice)
    per_dataset: dict[str, list[Column]] = {}
    for column in chosen.columns():
        if not column.dataset.repeats:
            per_dataset.setdefault(column.dataset.dataset, []).append(column)
    columns = [column for found in per_dataset.values() for column in found]
    known = [row for row in chosen.manifest.rows if row.family != "control"]
    there = [row for row in known if any(column.line(row.method) for column in columns)]
    rows = [row for row in there if all(column.line(row.method) for column in columns)]
    if len(rows) < 2:
        return None
    seeds = {name: _common_seeds(found, rows) for name, found in per_dataset.items()}
    size = min(map(len, seeds.values()))
    if size == 0:
        return None
    tables = [_ranks(found, rows, seeds[name][:size]) for name, found in per_dataset.items()]
    blocks = np.concatenate([_reranked(each.mean(0)) for each in tables])  # (N, k)
    order = np.argsort(blocks.mean(0), kind="stable")
    blocks = blocks[:, order]
    low, high = _intervals(blocks.reshape(len(tables), size, len(rows)))
    return RowRanks(
        rows=[rows[place] for place in order],
        average=blocks.mean(0),
        low=low,
        high=high,
        blocks=len(blocks),
        p_value=friedman(blocks),
        critical=critical_difference(len(rows), len(blocks)),
        wins=_wins(np.concatenate([each.reshape(-1, len(rows)) for each in tables])[:, order]),
        left_out=[row for row in there if row not in rows],
    )


def _common_seeds(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    shared: set[int] | None = None
    for column in columns:
        for row in rows:
            line = column.line(row.method)
            assert line is not None
            shared = set(line.values) if shared is None else shared & set(line.values)
    return sorted(shared or ())


def _ranks(columns: Sequence[Column], rows: Sequence[Row], seeds: Sequence[int]) -> _Floats:
    """(metrics, seeds, rows): ranks within a metric and a seed, 1 the best."""
    found = []
    for column in columns:
        lines = [column.line(row.method) for row in rows]
        values = np.array([[line.values[seed] for line in lines if line is not None] for seed in seeds])
        found.append(_reranked(-values if column.metric.more_is_better else values))
    return np.array(found)


def _reranked(values: _Floats) -> _Floats:
    """Ranks along the last axis, the smallest 1. Values that agree to nine digits tie."""
    return np.asarray(rankdata(np.round(values, 9), axis=-1), float)


def _intervals(blocks: _Floats, seed: int = 0) -> tuple[_Floats, _Floats]:
    """Percentile bootstrap of the average ranks. blocks: (data sets, seeds, rows); seeds are drawn anew."""
    datasets, seeds, _ = blocks.shape
    rng = np.random.default_rng(seed)
    drawn = np.zeros((_RESAMPLES, blocks.shape[-1]))
    for ranks in blocks:
        counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES)
        drawn += counts @ ranks / (seeds * datasets)
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return low, high


def _wins(ranks: _Floats) -> _Floats:
    """(k, k) shares of the lines of `ranks` (n, k) in which a row is before another, ties half."""
    ours, theirs = ranks[:, :, None], ranks[:, None, :]
    shares = ((ours < theirs) + 0.5 * (ours == theirs)).mean(0)
    np.fill_diagonal(shares, np.nan)
    return np.asarray(shares)


def friedman(ranks: _Floats) -> float:
    """p of Friedman's test that all k rows rank alike, corrected for ties (χ², k - 1 degrees of freedom).

    Args:
        ranks: (N, k), of each block.

    Returns:
        p; 1 where all ranks of every block tie.
    """
    n, k = ranks.shape
    spread = float(np.square(ranks - (k + 1) / 2).sum())
    if spread == 0:
        return 1.0
    between = n * float(np.square(ranks.mean(0) - (k + 1) / 2).sum())
    return float(chi2.sf(n * (k - 1) * between / spread, k - 1))


def critical_difference(k: int, n: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of k rows over n blocks."""
    return _quantile(k, alpha) * math.sqrt(k * (k + 1) / (6 * n))


@cache
def _quantile(k: int, alpha: float) -> float:
    return float(studentized_range.ppf(1 - alpha, k, math.inf)) / math.sqrt(2)
