"""The generated data set: its propensities are the ones that its ratings were drawn by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import synthetic
from bench.errors import BenchError


def generate(**fields: object) -> synthetic.Ratings:
    return synthetic.load(synthetic.Config(name="synthetic", **fields), Path("nowhere"))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), n_items=st.integers(2, 60))
def test_propensities_sum_to_the_activity_and_stay_below_the_bound(seed: int, n_items: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((20, n_items)) < random.random((20, 1))
    strength = random.normal(0, 2, 20)
    activity = random.uniform(0.05, 0.8, 20) * n_items
    p = synthetic.propensities(labels, strength, activity)
    np.testing.assert_allclose(p.sum(1), activity, rtol=1e-9)
    assert (p > 0).all() and (p <= 0.95 + 1e-12).all()
    for user in range(20):
        liked, disliked = p[user][labels[user]], p[user][~labels[user]]
        if len(liked) and len(disliked):
            ratio = liked[0] / disliked[0]
            assert (ratio >= 1) == (strength[user] >= 0) or ratio == pytest.approx(1)
            if max(liked[0], disliked[0]) < 0.95:
                assert np.log(ratio) == pytest.approx(2 * strength[user], abs=1e-9)


def test_a_random_rater_has_one_propensity() -> None:
    ratings = generate()
    assert ratings.truth is not None
    at_random = ratings.truth.selection_strength == 0
    assert at_random.mean() == pytest.approx(1 / 3, abs=0.01)
    np.testing.assert_allclose(np.ptp(ratings.truth.propensity[at_random], axis=1), 0, atol=1e-6)


def test_pairs_are_observed_as_often_as_their_propensity_says() -> None:
    counts, expected, variance = np.zeros(10), np.zeros(10), np.zeros(10)
    for seed in range(5):
        ratings = generate(data_seed=seed)
        assert ratings.truth is not None
        p = ratings.truth.propensity.astype(float)
        bins = np.clip((p * 20).astype(int), 0, 9)
        observed = np.zeros_like(p)
        observed[ratings.biased.users, ratings.biased.items] = 1
        for each in range(10):
            counts[each] += observed[bins == each].sum()
            expected[each] += p[bins == each].sum()
            variance[each] += (p * (1 - p))[bins == each].sum()
    z = (counts - expected) / np.sqrt(np.maximum(variance, 1e-9))
    assert (np.abs(z) < 4).all()


def test_labels_ratings_and_shares_agree() -> None:
    ratings = generate(positive_share=0.3)
    assert ratings.truth is not None
    assert ratings.truth.labels.mean() == pytest.approx(0.3, abs=0.01)
    for part in (ratings.biased, ratings.unbiased):
        np.testing.assert_array_equal(ratings.truth.labels[part.users, part.items], part.values)
    assert (np.bincount(ratings.unbiased.users) == 16).all()
    assert ratings.unbiased.values.mean() == pytest.approx(0.3, abs=0.03)


def test_every_parameter_is_in_the_checksum() -> None:
    checksums = {generate(data_seed=seed, rank=rank).checksum for seed in (0, 1) for rank in (2, 4)}
    assert len(checksums) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("n_users", 0), ("unbiased_per_user", 301), ("ratings_per_user", 241.0), ("positive_share", 1.0)),
        *(("random_raters", 1.5), ("selection_strength", -1.0), ("item_spread", float("nan"))),
    ],
)
def test_a_field_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(BenchError, match=rf"dataset\.{field}"):
        generate(**{field: value})
