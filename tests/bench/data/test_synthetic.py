"""The generated data set: its propensities are the ones that its ratings were drawn by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.data import Ratings, Truth, synthetic

BY_USERS = {"item_selection_strength": 0.0, "selection_strength": 1.5}  # users alone select


def generate(**fields: object) -> Ratings:
    return synthetic.load(synthetic.Config(name="synthetic", **fields), Path("nowhere"))  # type: ignore[arg-type]


def truth_of(ratings: Ratings) -> Truth:
    assert ratings.truth is not None
    return ratings.truth


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(2, 60),
    spread=st.sampled_from([0.0, 0.5, 2.0, 30.0, 1000.0]),
)
@example(seed=0, n_items=2, spread=1000.0)
def test_propensities_follow_their_formula(seed: int, n_items: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((20, n_items)) < random.random((20, 1))
    strength = random.normal(0, spread, 20)
    strength[0] = 0
    activity = random.uniform(0.01, 0.8, 20) * n_items
    with np.errstate(all="raise", under="ignore"):
        p = synthetic.propensities(labels, strength[:, None], activity)
    np.testing.assert_allclose(p.sum(1), activity, rtol=1e-9)
    assert (p >= 0).all() and (p <= 0.95).all()
    np.testing.assert_allclose(p[0], activity[0] / n_items)  # kappa = 0 is a random rater
    for row, liked, kappa in zip(p, labels, strength, strict=True):
        if liked.any() and not liked.all():
            positive, negative = row[liked], row[~liked]
            assert np.ptp(positive) == np.ptp(negative) == 0
            if positive[0] < 0.95 and negative[0] < 0.95 and abs(kappa) < 100:
                assert np.log(positive[0] / negative[0]) == pytest.approx(2 * kappa, abs=1e-9)
            else:
                assert (positive[0] > negative[0]) == (kappa > 0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(2, 60), spread=st.sampled_from([0.5, 2.0, 300.0]))
def test_items_select_as_well(seed: int, n_items: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((20, n_items)) < random.random((20, 1))
    strength = random.normal(0, 1, (20, 1)) + random.normal(0, spread, n_items)
    activity = random.uniform(0.01, 0.8, 20) * n_items
    p = synthetic.propensities(labels, strength, activity)
    np.testing.assert_allclose(p.sum(1), activity, rtol=1e-9)
    assert (p >= 0).all() and (p <= 0.95).all()
    logs = np.where(labels, strength, -strength)
    for row, log in zip(p, logs, strict=True):
        free = (row < 0.95) & (row > 1e-200)
        if free.any():
            scale = np.log(row[free]) - log[free]  # log c_u
            np.testing.assert_allclose(scale, scale[0], atol=1e-8)
            bounded = row == 0.95
            assert (scale[0] + log[bounded] >= np.log(0.95) - 1e-8).all()


def test_what_is_rated_is_the_preference_plus_twice_the_strength() -> None:
    """The docstring's sentence: by Bayes, from propensities far from their bound."""
    like = np.full((1, 2000), 0.3)
    labels = np.random.default_rng(0).random((400, 2000)) < like
    strength = np.array([[0.4]]) + np.repeat([0.0, 0.5], 1000)
    p = synthetic.propensities(labels, np.broadcast_to(strength, labels.shape), np.full(400, 20.0))
    for half, shift in ((slice(0, 1000), 0.8), (slice(1000, 2000), 1.8)):
        seen = np.average(labels[:, half], weights=p[:, half])
        logit = np.log(seen / (1 - seen))
        assert logit == pytest.approx(np.log(0.3 / 0.7) + shift, abs=0.02)


def test_a_seed_fixes_the_data_set_bit_for_bit() -> None:
    one, again, other = generate(), generate(), generate(data_seed=1)
    for part in ("biased", "unbiased", "truth"):
        for name, array in vars(getattr(one, part)).items():
            np.testing.assert_array_equal(array, getattr(getattr(again, part), name), strict=True)
    assert one.checksum == again.checksum
    assert one.checksum != other.checksum
    # The default data set is part of the table's identity: its change is a deliberate one.
    assert one.checksum == "ba87ee50e5c15a8eb5e3f228c739a59361b843bdd8f460f12edc20c67e1db210"


@pytest.mark.parametrize(
    "changed",
    [
        {"data_seed": 1},
        {"rank": 3},
        {"positive_share": 0.3},
        {"n_items": 301},
        {"selection_strength": 1.0},
        {"item_selection_strength": 0.5},
    ],
)
def test_every_parameter_is_in_the_checksum(changed: dict[str, float]) -> None:
    assert generate(**changed).checksum != generate().checksum


def test_what_does_not_shape_the_data_is_not_in_the_checksum() -> None:
    assert generate(threshold=1, k=10, title="Synthetic").checksum == generate().checksum


def test_shapes_and_what_is_known_about_them() -> None:
    ratings = generate(n_users=50, n_items=40, ratings_per_user=15, unbiased_per_user=7)
    truth = truth_of(ratings)
    assert (ratings.n_users, ratings.n_items) == truth.labels.shape == truth.propensity.shape == (50, 40)
    assert truth.selection_strength.shape == (50,)
    assert (np.bincount(ratings.unbiased.users) == 7).all()
    for part in (ratings.biased, ratings.unbiased):
        assert len(np.unique(part.users * 40 + part.items)) == len(part)
        np.testing.assert_array_equal(part.values, truth.labels[part.users, part.items])
    assert not ratings.comparable


def test_the_share_of_positives_is_the_one_asked_for() -> None:
    for share in (0.1, 0.4, 0.8):
        ratings = generate(positive_share=share)
        # 90,000 labels drawn by their probabilities: a standard deviation of at most .0017.
        assert truth_of(ratings).labels.mean() == pytest.approx(share, abs=0.007)
        assert ratings.unbiased.values.mean() == pytest.approx(share, abs=0.03)


def test_a_third_of_the_users_rate_at_random() -> None:
    truth = truth_of(generate(**BY_USERS))
    at_random = truth.selection_strength == 0
    assert at_random.sum() == 100
    assert (np.ptp(truth.propensity[at_random], axis=1) == 0).all()
    assert (np.ptp(truth.propensity[~at_random], axis=1) > 0).all()


def test_pairs_are_observed_as_often_as_their_propensity_says() -> None:
    """Standardised counts of each band of propensities and of each kind of user, over five data sets."""
    edges = np.array([0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 0.8])
    surplus, variance = np.zeros((3, len(edges))), np.zeros((3, len(edges)))
    for seed in range(5):
        ratings = generate(data_seed=seed)
        truth = truth_of(ratings)
        p = truth.propensity.astype(np.float64)
        observed = np.zeros_like(p)
        observed[ratings.biased.users, ratings.biased.items] = 1
        kind = np.broadcast_to(np.sign(truth.selection_strength).astype(int)[:, None] + 1, p.shape)
        band = np.searchsorted(edges, p, side="right") - 1
        np.add.at(surplus, (kind, band), observed - p)
        np.add.at(variance, (kind, band), p * (1 - p))
    filled = variance > 5
    assert filled.sum() > 12
    assert np.abs(surplus[filled] / np.sqrt(variance[filled])).max() < 4.5


def test_users_rate_as_much_as_asked_for() -> None:
    # Log-normal activities with a spread of .5 over 300 users: the mean's standard error is 3 %.
    truth = truth_of(generate(ratings_per_user=30))
    assert truth.propensity.sum(1).mean() == pytest.approx(30, rel=0.12)
    equal = truth_of(generate(ratings_per_user=30, activity_spread=0)).propensity.sum(1)
    np.testing.assert_allclose(equal, 30, rtol=1e-5)


def test_self_selection_biases_what_is_seen() -> None:
    ratings = generate(**BY_USERS)
    strength = truth_of(ratings).selection_strength[ratings.biased.users]
    assert ratings.biased.values[strength > 1].mean() > 0.8
    assert ratings.biased.values[strength < -1].mean() < 0.2


def test_an_extreme_strength_is_no_error() -> None:
    ratings = generate(selection_strength=1e4, item_selection_strength=1e4)
    assert np.isfinite(truth_of(ratings).propensity).all()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("n_users", 0, "dataset.n_users must be at least 1, but it is 0."),
        ("rank", -1, "dataset.rank must be at least 1, but it is -1."),
        ("unbiased_per_user", 301, "dataset.unbiased_per_user=301 is more than dataset.n_items=300."),
        (
            "ratings_per_user",
            241.0,
            "dataset.ratings_per_user must lie above 0 and not above 240 (0.8 of dataset.n_items), "
            "but it is 241.0.",
        ),
        ("positive_share", 1.0, "dataset.positive_share must lie between 0 and 1, but it is 1.0."),
        ("random_raters", 1.5, "dataset.random_raters must lie in 0 to 1, but it is 1.5."),
        (
            "selection_strength",
            -1.0,
            "dataset.selection_strength must be a finite number of at least 0 and at most 1e+06, but it "
            "is -1.0.",
        ),
        (
            "item_spread",
            float("nan"),
            "dataset.item_spread must be a finite number of at least 0 and at most 10, but it is nan.",
        ),
        (
            "item_spread",
            1e300,
            "dataset.item_spread must be a finite number of at least 0 and at most 10, but it is 1e+300.",
        ),
        (
            "n_users",
            99999999,
            "dataset.n_users=99999999 times dataset.n_items=300 are more than the 33,554,432 pairs that can "
            "be generated, so choose smaller numbers.",
        ),
        ("rank", 10**9, "dataset.rank must be at most 1000, but it is 1000000000."),
    ],
)
def test_a_field_out_of_range(refusal: Callable[..., str], field: str, value: float, said: str) -> None:
    assert refusal(generate, **{field: value}) == said
