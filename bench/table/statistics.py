"""Paired statistics: Wilcoxon signed-rank test, Holm's correction, intervals.

Over seeds, few of them: exact test, median difference with a bootstrap interval. Over users, many of
them: normal approximation, mean difference with a normal interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import BenchError

_Floats = NDArray[np.float64]

_DECIMALS = 12  # differences that agree this far are equal; below it there is only rounding error
_EXACT = 50  # differences; above it the normal approximation is off by less than 1e-3 and far faster


def paired(ours: Mapping[int, float], reference: Mapping[int, float]) -> tuple[_Floats, _Floats]:
    """Two arrays in the order of the seeds, from two mappings seed → value.

    Raises:
        BenchError: the seeds are not the same.
    """
    if ours.keys() != reference.keys():
        odd = sorted(ours.keys() ^ reference.keys())
        raise BenchError(
            f"The seeds are not paired: {', '.join(map(str, odd))} "
            "occur on one side only; train both rows with the same seeds."
        )
    seeds = sorted(ours)
    return np.array([ours[s] for s in seeds], float), np.array([reference[s] for s in seeds], float)


def wilcoxon(ours: ArrayLike, reference: ArrayLike) -> tuple[float, float]:
    """Exact two-sided Wilcoxon signed-rank test of paired values.

    Zero differences are dropped (Wilcoxon 1945). Tied absolute differences share their mid-rank, and
    the null distribution is that of these very ranks under random signs, so p is exact with ties too.

    Args:
        ours, reference: (n,) values; equal positions belong to the same seed.

    Returns:
        p and the statistic min(W+, W-); p = 1 and 0 where all differences are zero.

    Raises:
        BenchError: lengths differ, there are no values, or one is not finite.
    """
    a, b = np.asarray(ours, float), np.asarray(reference, float)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise BenchError(
            f"{a.size} and {b.size} values cannot be paired; the test needs one value per seed on both sides."
        )
    differences = np.round(a - b, _DECIMALS)
    if not np.isfinite(differences).all():
        raise BenchError("A paired difference is not finite; the test needs a number for every seed.")
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0, 0.0

    from scipy.stats import rankdata  # half a second, which not every command needs

    doubled = np.rint(2 * rankdata(np.abs(differences))).astype(int)  # whole numbers, mid-ranks too
    above = int(doubled[differences > 0].sum())
    least = min(above, int(doubled.sum()) - above)
    mass = np.zeros(doubled.sum() + 1)  # mass[w] = P(2 W+ = w)
    mass[0] = 1.0
    for rank in doubled:
        mass *= 0.5
        mass[rank:] += mass[:-rank].copy()
    return min(1.0, 2 * float(mass[: least + 1].sum())), least / 2


def wilcoxon_interval(differences: ArrayLike, alpha: float = 0.05) -> tuple[float, float]:
    """The shifts of paired differences that the exact signed-rank test does not reject, p < alpha.

    They lie between two of the sorted means of pairs of differences, each with itself included
    (Hollander, Wolfe & Chicken, "Nonparametric Statistical Methods", 2014, §3.3), so that zero lies outside
    exactly where `wilcoxon` is significant, ties and zeros aside.

    Args:
        differences: (n,) ours minus reference.
        alpha: level of the test.

    Returns:
        low, high; infinite where so few differences cannot be significant at that level.

    Raises:
        BenchError: there are no values, or one is not finite.
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BenchError("The interval needs at least one paired difference, all of them finite.")
    below = int((2 * _null_distribution(len(values)) < alpha).sum())  # as many W+ are rejected on a side
    if below == 0:
        return -math.inf, math.inf
    first, second = np.triu_indices(len(values))
    means = np.sort((values[first] + values[second]) / 2)
    return float(means[below - 1]), float(means[-below])


@cache
def _null_distribution(n: int) -> _Floats:
    """P(W+ ≤ w) of n differences without ties, w from 0 to n (n + 1) / 2."""
    mass = np.zeros(n * (n + 1) // 2 + 1)
    mass[0] = 1.0
    for rank in range(1, n + 1):
        mass *= 0.5
        mass[rank:] += mass[:-rank].copy()
    return np.cumsum(mass)


def wilcoxon_normal(differences: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank test of many paired differences, by the normal approximation.

    Zeros are dropped, ties share their mid-rank and correct the variance (Hollander, Wolfe & Chicken,
    "Nonparametric Statistical Methods", 2014, §3.1), no continuity correction. Up to 50 differences
    that are not zero, the exact test takes its place.

    Args:
        differences: (n,) ours minus reference.

    Returns:
        p; 1 where all differences are zero.

    Raises:
        BenchError: there are no values, or one is not finite.
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BenchError("The test needs at least one paired difference, all of them finite.")
    values = np.round(values, _DECIMALS)
    values = values[values != 0]
    if len(values) <= _EXACT:
        return wilcoxon(values, np.zeros_like(values))[0] if len(values) else 1.0
    from scipy.stats import rankdata  # see `wilcoxon`

    ranks = rankdata(np.abs(values))
    # Each rank counts with a random sign: mean half the sum, variance a quarter of the squares' sum.
    # With mid-ranks that variance is the tie-corrected one.
    z = (ranks[values > 0].sum() - ranks.sum() / 2) / (math.sqrt(np.square(ranks).sum()) / 2)
    return math.erfc(abs(z) / math.sqrt(2))


def t_test(differences: ArrayLike, variance: float = 0.0) -> float:
    """Two-sided p of Student's t-test of paired differences, n - 1 degrees of freedom.

    Args:
        differences: (n,) ours minus reference.
        variance: of their mean, beside that which their own spread tells.

    Raises:
        BenchError: there are fewer than two values, or one is not finite.
    """
    mean, error, freedom = _mean_and_error(differences, variance, "The test", "paired differences")
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr  # see `wilcoxon`

    return float(2 * stdtr(freedom, -abs(mean) / error))


def t_interval(values: ArrayLike, variance: float = 0.0, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of a few values with Student's interval, n - 1 degrees of freedom.

    Args:
        values: (n,).
        variance: of their mean, beside that which their own spread tells.
        level: coverage of the interval.

    Returns:
        mean, low, high.

    Raises:
        BenchError: there are fewer than two values, or one is not finite.
    """
    mean, error, freedom = _mean_and_error(values, variance, "The interval", "values")
    from scipy.special import stdtrit  # see `wilcoxon`

    half = error * float(stdtrit(freedom, (1 + level) / 2))
    return mean, mean - half, mean + half


def _mean_and_error(values: ArrayLike, variance: float, who: str, what: str) -> tuple[float, float, int]:
    """The mean of values (n,), its standard error with a further variance in it, and n - 1.

    Args:
        who, what: for the sentence about values that are too few or not finite.
    """
    numbers = np.asarray(values, float)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise BenchError(f"{who} needs at least two {what}, all of them finite.")
    error = math.sqrt(float(numbers.var(ddof=1)) / len(numbers) + variance)
    return float(numbers.mean()), error, len(numbers) - 1


def paired_users(
    ours: Mapping[int, tuple[ArrayLike, ArrayLike]], reference: Mapping[int, tuple[ArrayLike, ArrayLike]]
) -> _Floats:
    """Each user's mean difference over the seeds that measured him.

    A seed's test ratings are the same for every method, so that within a seed the users are paired. One
    user's seeds are no independent observations: they are averaged before users are counted.

    Args:
        ours, reference: seed → users and values (n,) each; NaN for a user without a positive rating.

    Returns:
        (U,) differences, in the order of the users' numbers.

    Raises:
        BenchError: the seeds, the users of a seed or its users without a value are not the same.
    """
    if ours.keys() != reference.keys():
        odd = sorted(ours.keys() ^ reference.keys())
        raise BenchError(f"The seeds are not paired: {', '.join(map(str, odd))} occur on one side only.")
    users, differences = [], []
    for seed in sorted(ours):
        (ids, values), (other_ids, other_values) = (
            (np.asarray(side[seed][0]), np.asarray(side[seed][1], float)) for side in (ours, reference)
        )
        missing = np.isnan(values)
        if not np.array_equal(ids, other_ids) or not np.array_equal(missing, np.isnan(other_values)):
            raise BenchError(f"Seed {seed} measured other users on one side than on the other.")
        users.append(ids[~missing])
        differences.append((values - other_values)[~missing])
    if not users:
        return np.zeros(0)
    _, place, counts = np.unique(np.concatenate(users), return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(place, np.concatenate(differences)) / counts, float)


def mean_interval(differences: ArrayLike) -> tuple[float, float, float]:
    """The mean of many differences with its 95 % normal interval: mean ± 1.96 standard errors.

    Raises:
        BenchError: there are fewer than two values, or one is not finite.
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise BenchError("The interval needs at least two paired differences, all of them finite.")
    mean = float(values.mean())
    half = 1.959964 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n paired values can reach: all differences of one sign.

    >>> smallest_p(10)
    0.001953125
    """
    return float(min(1.0, 2.0 ** (1 - n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for the family-wise error rate (Holm 1979), in the given order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def bootstrap_median(
    differences: ArrayLike, seed: int, *, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float, float]:
    """The median of paired differences with its percentile bootstrap interval.

    Args:
        differences: (n,) ours minus reference.
        seed: of the resampling.
        resamples: number of bootstrap samples.
        level: coverage of the interval.

    Returns:
        median, low, high.

    Raises:
        BenchError: there are no values, or one is not finite.
    """
    values = np.asarray(differences, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BenchError("The bootstrap needs at least one paired difference, all of them finite.")
    n = len(values)
    # Sorting small integers is several times as fast as finding the medians of as many floats.
    order, small = np.argsort(values), np.int16 if n < 2**15 else np.int32
    ranks = np.empty(n, small)
    ranks[order] = np.arange(n, dtype=small)
    resampled = np.sort(ranks[_picks(seed, resamples, n)], axis=1)
    ordered = values[order]
    medians = (ordered[resampled[:, (n - 1) // 2]] + ordered[resampled[:, n // 2]]) / 2
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(np.median(values)), float(low), float(high)


@lru_cache(maxsize=8)
def _picks(seed: int, resamples: int, n: int) -> NDArray[np.int64]:
    """Places (resamples, n) of a bootstrap's values; a table asks for the same ones hundreds of times."""
    return np.random.default_rng(seed).integers(n, size=(resamples, n))
