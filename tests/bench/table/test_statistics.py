"""Paired statistics against SciPy and plain enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.table.statistics import (
    bootstrap_median,
    holm,
    mean_interval,
    paired,
    paired_users,
    smallest_p,
    t_interval,
    wilcoxon,
    wilcoxon_interval,
    wilcoxon_normal,
)


def enumerated(differences: list[int]) -> float:
    """Two-sided p over all 2^n signs of the non-zero differences' mid-ranks."""
    kept = [d for d in differences if d]
    ranks = scipy.stats.rankdata(np.abs(kept))
    least = min(sum(r for r, d in zip(ranks, kept, strict=True) if (d > 0) is side) for side in (True, False))
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(kept))]
    return min(1.0, 2 * sum(total <= least for total in sums) / len(sums))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_wilcoxon_is_exact_with_ties_and_zeros(differences: list[int]) -> None:
    p, _ = wilcoxon(np.array(differences) / 1000, np.zeros(len(differences)))
    assert p == pytest.approx(enumerated(differences) if any(differences) else 1.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_wilcoxon_is_scipys_without_ties(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours = rng.permutation(np.arange(1, n + 1)) * rng.choice([-1.0, 1.0], n)
    expected = scipy.stats.wilcoxon(ours, method="exact")
    assert wilcoxon(ours, np.zeros(n)) == pytest.approx((expected.pvalue, expected.statistic), rel=1e-12)


def test_rounding_error_does_not_break_ties() -> None:
    ours, reference = [0.3, 0.1, 0.5, 0.1 + 0.2], [0.2, 0.2, 0.4, 0.3]
    assert len({abs(a - b) for a, b in zip(ours, reference, strict=True)}) > 2  # and yet:
    assert wilcoxon(ours, reference) == wilcoxon([1, -1, 1, 0], [0, 0, 0, 0])


def test_equal_values_differ_by_nothing() -> None:
    assert wilcoxon([0.5, 0.6], [0.5, 0.6]) == (1.0, 0.0)


@pytest.mark.parametrize("n", [1, 5, 6, 10, 20])
def test_smallest_p_is_reached_by_one_sign(n: int) -> None:
    assert wilcoxon(np.arange(1, n + 1), np.zeros(n))[0] == pytest.approx(smallest_p(n), rel=1e-12)


def test_smallest_p_of_ten_and_of_five_seeds() -> None:
    assert smallest_p(10) == pytest.approx(0.00195, abs=5e-6)
    assert smallest_p(5) > 0.05


@pytest.mark.parametrize(
    ("ours", "reference", "said"),
    [([1, 2], [1], "paired"), ([], [], "paired"), ([1, np.nan], [1, 2], "finite")],
)
def test_values_that_cannot_be_paired_are_refused(ours: list, reference: list, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        wilcoxon(ours, reference)


def test_paired_goes_by_seed_and_refuses_strangers() -> None:
    ours, reference = paired({2: 0.2, 1: 0.1}, {1: 1.0, 2: 2.0})
    assert (ours.tolist(), reference.tolist()) == ([0.1, 0.2], [1.0, 2.0])
    with pytest.raises(BenchError, match="3, 4"):
        paired({1: 0.1, 3: 0.2}, {1: 0.1, 4: 0.3})


def closed_testing(p_values: list[float]) -> list[float]:
    """The p of a closed test by Bonferroni: of each hypothesis, the largest over all subsets that have it.

    Marcus, Peritz and Gabriel 1976; Holm's correction is its shortcut.
    """
    found = [0.0] * len(p_values)
    for size in range(1, len(p_values) + 1):
        for subset in itertools.combinations(range(len(p_values)), size):
            p = min(1.0, size * min(p_values[place] for place in subset))
            for place in subset:
                found[place] = max(found[place], p)
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_a_closed_test(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(closed_testing(p_values), abs=1e-12)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def exact_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """The percentile interval of infinitely many bootstrap medians; n is odd.

    A resample's median is at most the j-th smallest value where more than half of the draws are,
    and each is with probability j / n.
    """
    n = len(values)
    at_most = scipy.stats.binom.sf(n // 2, n, np.arange(1, n + 1) / n)
    low, high = np.searchsorted(at_most, [(1 - level) / 2, (1 + level) / 2])
    return np.sort(values)[low], np.sort(values)[high]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("n", "level"), [(9, 0.95), (11, 0.95), (15, 0.9), (25, 0.95)])
def test_bootstrap_interval_is_the_exact_one_whatever_the_seed(n: int, level: float, seed: int) -> None:
    """The medians of few values' resamples are few as well: the interval's ends hit one of them exactly."""
    values = np.random.default_rng(n).normal(1, 1, n)
    median, low, high = bootstrap_median(values, seed, level=level)
    assert median == np.median(values)
    assert (low, high) == exact_interval(values, level)


@given(
    values=st.lists(st.sampled_from([-0.3, -0.1, 0.0, 0.1, 0.25, 1.5]), min_size=1, max_size=24),
    seed=st.integers(0, 3),
)
def test_bootstrap_is_of_the_medians_of_resamples(values: list[float], seed: int) -> None:
    picks = np.random.default_rng(seed).integers(len(values), size=(500, len(values)))
    medians = np.median(np.array(values)[picks], axis=1)
    low, high = np.quantile(medians, [(1 - 0.9) / 2, (1 + 0.9) / 2])
    assert bootstrap_median(values, seed, resamples=500, level=0.9) == (np.median(values), low, high)


def test_bootstrap_repeats_itself_and_of_many_values_follows_its_seed() -> None:
    few, many = (np.random.default_rng(0).normal(1, 1, n) for n in (10, 1000))
    median, low, high = bootstrap_median(few, seed=1)
    assert few.min() <= low < median < high <= few.max()
    first = bootstrap_median(many, seed=1, resamples=1000)
    assert first == bootstrap_median(many, seed=1, resamples=1000)
    assert first != bootstrap_median(many, seed=2, resamples=1000)
    assert first[2] - first[1] < (high - low) / 3


def test_bootstrap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_median(rng.normal(0, 1, 25), seed, resamples=400)[1:] for seed in range(200)]
    assert 0.88 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 1.0


def test_bootstrap_refuses_nothing_and_nan() -> None:
    for values in ([], [0.1, np.nan]):
        with pytest.raises(BenchError, match="bootstrap"):
            bootstrap_median(values, seed=0)


# --- Over users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [60, 400])
def test_many_differences_are_scipys_normal_approximation(n: int, ties: bool) -> None:
    rng = np.random.default_rng(n)
    differences = rng.integers(-5, 7, n) / 10 if ties else rng.normal(0.1, 1, n)
    expected = scipy.stats.wilcoxon(differences, zero_method="wilcox", correction=False, method="approx")
    assert wilcoxon_normal(differences) == pytest.approx(expected.pvalue, rel=1e-9)


def test_few_differences_are_tested_exactly_and_zeros_do_not_count() -> None:
    few = np.random.default_rng(0).normal(0.3, 1, 50)
    exact = wilcoxon(few, np.zeros(50))[0]
    assert wilcoxon_normal(few) == exact
    assert wilcoxon_normal([*few, *[0.0] * 1000]) == exact
    assert wilcoxon_normal(np.zeros(100)) == 1.0


def test_the_approximation_hands_over_without_a_jump() -> None:
    for seed in range(20):
        differences = np.random.default_rng(seed).normal(0.3, 1, 51)
        exact = wilcoxon(differences, np.zeros(51))[0]
        assert wilcoxon_normal(differences) == pytest.approx(exact, abs=1e-2)


def test_users_are_paired_within_a_seed_and_averaged_over_seeds() -> None:
    nan = np.nan
    ours = {0: ([4, 7, 9], [0.5, nan, 0.9]), 1: ([4, 9], [0.7, 0.1])}
    base = {1: ([4, 9], [0.1, 0.1]), 0: ([4, 7, 9], [0.3, nan, 0.5])}
    assert paired_users(ours, base) == pytest.approx([0.4, 0.2])  # of users 4 and 9; 7 has no positive
    assert paired_users({}, {}).tolist() == []


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({0: ([4, 7], [0.1, 0.2]), 1: ([4], [0.1])}, "1 occur"),
        ({0: ([4, 8], [0.1, 0.2])}, "Seed 0"),
        ({0: ([4, 7], [0.1, np.nan])}, "Seed 0"),
    ],
)
def test_unpaired_users_are_refused(base: dict[int, tuple[list[int], list[float]]], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        paired_users({0: ([4, 7], [0.1, 0.2])}, base)


def test_the_normal_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(1, 2, 300)
    error = scipy.stats.sem(values)
    mean, low, high = mean_interval(values)
    expected = scipy.stats.norm.interval(0.95, loc=values.mean(), scale=error)
    assert (mean, low, high) == pytest.approx((values.mean(), *expected), rel=1e-6)
    for few in ([], [1.0], [1.0, np.nan]):
        with pytest.raises(BenchError, match="interval"):
            mean_interval(few)


def test_the_t_interval_is_scipys_and_widens_by_a_known_variance() -> None:
    values = np.random.default_rng(1).normal(1, 2, 10)
    expected = scipy.stats.t.interval(0.95, 9, loc=values.mean(), scale=scipy.stats.sem(values))
    assert t_interval(values) == pytest.approx((values.mean(), *expected), rel=1e-9)
    error = np.sqrt(values.var(ddof=1) / 10 + 0.3)
    wider = scipy.stats.t.interval(0.95, 9, loc=values.mean(), scale=error)
    assert t_interval(values, 0.3) == pytest.approx((values.mean(), *wider), rel=1e-9)
    for few in ([], [1.0], [1.0, np.nan]):
        with pytest.raises(BenchError, match="interval"):
            t_interval(few)


@pytest.mark.parametrize("n", [5, 10, 20])
def test_zero_lies_outside_of_the_signed_rank_interval_where_the_test_is_significant(n: int) -> None:
    rng = np.random.default_rng(n)
    for alpha in (0.05, 0.05 / 12):
        for shift in np.linspace(0, 1.5, 16):
            values = rng.normal(shift, 1, n)
            low, high = wilcoxon_interval(values, alpha)
            assert (not low <= 0 <= high) == (wilcoxon(values, np.zeros(n))[0] < alpha)
            assert low < np.median([(a + b) / 2 for a in values for b in values]) < high


def test_the_signed_rank_interval_is_r_s() -> None:
    """Hollander and Wolfe's depression scores, as R's wilcox.test(conf.int = TRUE) has them."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    low, high = wilcoxon_interval(np.subtract(before, after), 0.05)
    assert (low, high) == pytest.approx((0.010, 0.786), abs=1e-9)
    assert wilcoxon_interval([1.0, 2.0, 3.0], 0.05) == (-np.inf, np.inf)
    with pytest.raises(BenchError, match="interval"):
        wilcoxon_interval([])
