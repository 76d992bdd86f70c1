"""Ratings generated from known preferences and known self-selection (protocol §2).

Users like items by a low-rank logistic model and rate by a propensity that depends on the label itself,
p_ui = min(.95, c_u exp(kappa_ui (2 r_ui - 1))), kappa_ui = kappa_u + kappa_i. A strongly negative or
positive kappa_u is a user who rates only what he dislikes or likes, 0 a random rater; a strongly positive
kappa_i an item that only those rate who like it. Labels, propensities and kappa_u are `Ratings.truth`.

Given that a pair is rated, its label's logit is that of the preference plus 2 kappa_u + 2 kappa_i. What the
users add, their biases take up, and no user's ranking moves: selection by users alone shows in AUC over all
pairs, not in a ranking. What the items add moves rankings, and re-weighting or unbiased ratings undo it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Interactions, Ratings, Truth
from bench.errors import BenchError
from bench.seeds import stream_seed

Matrix = NDArray[np.float64]

LARGEST_PROPENSITY = 0.95
LARGEST_ACTIVITY = 0.8  # share of all items; below LARGEST_PROPENSITY, so that c_u exists
MOST_PAIRS = 2**25  # users times items: about 2 GiB while they are drawn
# Largest spreads: beyond them logits say nothing but 0 and 1, and activities are all or nothing.
_LARGEST = {
    **{name: 10.0 for name in ("user_spread", "item_spread", "interaction_spread", "activity_spread")},
    "selection_strength": 1e6,
    "item_selection_strength": 1e6,
}
_LARGEST_RANK = 1000


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Sizes and strengths of the generated data; `data_seed` fixes them bit for bit."""

    data_seed: int = 0
    n_users: int = 300
    n_items: int = 300
    ratings_per_user: float = 60.0  # mean activity: expected number of biased ratings
    activity_spread: float = 0.5  # standard deviation of log activity
    unbiased_per_user: int = 16
    rank: int = 2
    positive_share: float = 0.4  # of all pairs
    user_spread: float = 0.5  # standard deviations of the parts of the preference's logit
    item_spread: float = 1.0
    interaction_spread: float = 2.0
    random_raters: float = 1 / 3  # share of users with kappa_u = 0
    selection_strength: float = 0.75  # standard deviation of the other users' kappa_u
    item_selection_strength: float = 1.0  # standard deviation of the items' kappa_i


def load(config: Config, data_dir: Path) -> Ratings:
    """Generate the data set; `data_dir` is not looked at.

    Biased ratings are drawn independently by their propensity, unbiased ones uniformly; a pair may
    stand in both sets, as in Coat.

    Raises:
        BenchError: a field is out of range.
    """
    _check(config)
    shape = (config.n_users, config.n_items)
    labels = _stream(config, "labels").random(shape) < _preferences(config)
    strength = _selection_strength(config)
    by_item = config.item_selection_strength * _stream(config, "item_selection").standard_normal(shape[1])
    propensity = propensities(labels, strength[:, None] + by_item, _activity(config))

    users, items = np.nonzero(_stream(config, "biased").random(shape) < propensity)
    biased = _rated(users, items, labels)
    order = np.argsort(_stream(config, "unbiased").random(shape), axis=1, kind="stable")
    items = np.sort(order[:, : config.unbiased_per_user], axis=1).ravel()
    unbiased = _rated(np.repeat(np.arange(config.n_users), config.unbiased_per_user), items, labels)

    # The floating-point truth is left out of the checksum: it follows from the parameters, and its
    # last bits may differ between processors.
    parameters = {name: value for name, value in vars(config).items() if name in _OWN_FIELDS}
    truth = Truth(labels.astype(np.uint8), propensity.astype(np.float32), strength.astype(np.float32))
    return Ratings(
        name=config.name,
        source=f"generated, data_seed {config.data_seed}",
        n_users=config.n_users,
        n_items=config.n_items,
        biased=biased,
        unbiased=unbiased,
        checksum=manifest.checksum(
            truth.labels, *manifest.contents(biased, unbiased), name=config.name, **parameters
        ),
        comparable=False,
        notes={
            "pairs_in_both": manifest.pairs_in_both(biased, unbiased, config.n_items),
            "positive_share_of_all_pairs": float(labels.mean()),
        },
        truth=truth,
    )


def propensities(labels: NDArray[np.bool_], strength: Matrix, activity: Matrix) -> Matrix:
    """p_ui = min(.95, c_u exp(kappa_ui (2 r_ui - 1))), c_u such that each row sums to the activity.

    Args:
        labels: (U, I) bool. strength: (U, I) or (U, 1), kappa_ui. activity: (U,), below .95 I.

    Returns:
        (U, I) float64.
    """
    logs = np.where(labels, strength, -strength)
    order = np.argsort(-logs, axis=1, kind="stable")
    falling = np.take_along_axis(logs, order, axis=1)
    # If the m likeliest cells of a row reach the bound, the others share the rest of its activity. In logs,
    # since an extreme strength would overflow.
    rest = np.logaddexp.accumulate(falling[:, ::-1], axis=1)[
        :, ::-1
    ]  # log of the sum over the cells from m on
    left = activity[:, None] - LARGEST_PROPENSITY * np.arange(logs.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.log(np.maximum(left, 0)) - rest  # log c_u
    fits = (left > 0) & (scale + falling <= np.log(LARGEST_PROPENSITY))
    bounded = np.argmax(fits, axis=1)[:, None]  # the first m after which the next cell is below the bound
    sorted_ = np.exp(np.minimum(np.take_along_axis(scale, bounded, axis=1) + falling, 0))
    sorted_ = np.where(np.arange(logs.shape[1]) < bounded, LARGEST_PROPENSITY, sorted_)
    propensity = np.empty_like(sorted_)
    np.put_along_axis(propensity, order, sorted_, axis=1)
    return propensity


_OWN_FIELDS = set(Config.__annotations__)


def _check(config: Config) -> None:
    for name in ("n_users", "n_items", "rank", "unbiased_per_user"):
        if getattr(config, name) < 1:
            raise BenchError(f"dataset.{name} must be at least 1, but it is {getattr(config, name)}.")
    if config.n_users * config.n_items > MOST_PAIRS:
        raise BenchError(
            f"dataset.n_users={config.n_users} times dataset.n_items={config.n_items} are more than the "
            f"{MOST_PAIRS:,} pairs that can be generated, so choose smaller numbers."
        )
    if config.rank > _LARGEST_RANK:
        raise BenchError(f"dataset.rank must be at most {_LARGEST_RANK}, but it is {config.rank}.")
    if config.unbiased_per_user > config.n_items:
        raise BenchError(
            f"dataset.unbiased_per_user={config.unbiased_per_user} is more than "
            f"dataset.n_items={config.n_items}."
        )
    largest = LARGEST_ACTIVITY * config.n_items
    if not 0 < config.ratings_per_user <= largest:
        raise BenchError(
            f"dataset.ratings_per_user must lie above 0 and not above {largest:g} "
            f"({LARGEST_ACTIVITY} of dataset.n_items), but it is {config.ratings_per_user}."
        )
    if not 0 < config.positive_share < 1:
        raise BenchError(
            f"dataset.positive_share must lie between 0 and 1, but it is {config.positive_share}."
        )
    if not 0 <= config.random_raters <= 1:
        raise BenchError(f"dataset.random_raters must lie in 0 to 1, but it is {config.random_raters}.")
    for name, largest in _LARGEST.items():
        value = getattr(config, name)
        if not (np.isfinite(value) and 0 <= value <= largest):
            raise BenchError(
                f"dataset.{name} must be a finite number of at least 0 and at most {largest:g}, but it is "
                f"{value}."
            )


def _stream(config: Config, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(stream_seed("synthetic", name, config.data_seed)))


def _preferences(config: Config) -> Matrix:
    """(U, I) probability that the label is 1; its mean over all pairs is `positive_share`."""
    random = _stream(config, "preferences")
    user_bias = config.user_spread * random.standard_normal((config.n_users, 1))
    item_bias = config.item_spread * random.standard_normal((1, config.n_items))
    user_factors = random.standard_normal((config.n_users, config.rank))
    item_factors = random.standard_normal((config.n_items, config.rank))
    interaction = config.interaction_spread / np.sqrt(config.rank) * (user_factors @ item_factors.T)
    logits = user_bias + item_bias + interaction
    low, high = -50.0, 50.0
    for _ in range(60):  # bisection for the global bias
        middle = (low + high) / 2
        too_low = _sigmoid(logits + middle).mean() < config.positive_share
        low, high = (middle, high) if too_low else (low, middle)
    return _sigmoid(logits + low)


def _sigmoid(logits: Matrix) -> Matrix:
    result: Matrix = 0.5 * (1 + np.tanh(logits / 2))
    return result


def _selection_strength(config: Config) -> Matrix:
    """(U,) kappa_u: 0 for a random part of the users, normal for the others."""
    random = _stream(config, "selection_strength")
    strength = config.selection_strength * random.standard_normal(config.n_users)
    strength[random.permutation(config.n_users)[: round(config.random_raters * config.n_users)]] = 0.0
    return strength


def _activity(config: Config) -> Matrix:
    """(U,) expected number of biased ratings: log-normal with mean `ratings_per_user`."""
    spread = config.activity_spread
    noise = spread * _stream(config, "activity").standard_normal(config.n_users) - spread**2 / 2
    activity: Matrix = np.minimum(config.ratings_per_user * np.exp(noise), LARGEST_ACTIVITY * config.n_items)
    return activity


def _rated(users: NDArray[np.int64], items: NDArray[np.int64], labels: NDArray[np.bool_]) -> Interactions:
    values = labels[users, items].astype(np.float32)
    return Interactions(users.astype(np.int64), items.astype(np.int64), values)
