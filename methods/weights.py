"""Weights of observed pairs from propensities, and what a record says about them and about A.

Shapes: G members, B pairs, U users, I items; |O| observed ratings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.engine.sampling import Batch, Pairs, TrainingData
from bench.errors import BenchError

LARGEST_STEP = 2.0  # of Newton's method on the log odds
LARGEST = 1e30  # of a weight 1 / p before it is normalised: in float32, p is 0 where its logit is below -88


@dataclass(frozen=True)
class LabelWeights:
    """Weights that depend on the label alone. values: (G, 2), of negative and positive pairs."""

    values: Tensor

    def __call__(self, batch: Batch) -> Tensor:
        """(G, B) weights of observed pairs."""
        negative, positive = self.values[:, :1], self.values[:, 1:]
        return negative + (positive - negative) * batch.labels

    def take(self, members: Tensor) -> LabelWeights:
        """The members of the index (G',)."""
        return LabelWeights(self.values[members])


@dataclass(frozen=True)
class PairWeights:
    """Weights of pairs, w = scale * min(1 / p, bound) with a propensity p of rank one in the odds or any.

    propensity: (U, I) or, to save memory, the (U,) and (I,) terms of its logit.
    bound, scale: (G,).
    """

    user: Tensor  # (U,) or (U, I)
    item: Tensor | None  # (I,)
    bound: Tensor
    scale: Tensor

    def propensity(self, pairs: Pairs) -> Tensor:
        """(G, B)."""
        if self.item is None:
            return self.user[pairs.users, pairs.items]
        return torch.sigmoid(self.user[pairs.users] + self.item[pairs.items])

    def __call__(self, batch: Batch) -> Tensor:
        """(G, B) weights of observed pairs."""
        inverse = 1 / self.propensity(batch)
        return torch.minimum(inverse, self.bound.unsqueeze(-1)) * self.scale.unsqueeze(-1)

    def take(self, members: Tensor) -> PairWeights:
        """The members of the index (G',)."""
        return PairWeights(self.user, self.item, self.bound[members], self.scale[members])


def normalised(weights: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """How weights become ones of mean 1 over O, none of which is above `clip` before the last division.

    The weights are divided by their mean, clipped, and divided by their mean again (protocol §5).

    Args:
        weights: (|O|,) or (G, |O|), above 0; those above `LARGEST`, infinite ones too, count as that.
        clip: (G,).

    Returns:
        bound and scale, both (G,) and finite: the new weight is scale * min(weight, bound).
    """
    # Infinity over infinity is no number. With a finite weight in its place that pair has the whole weight,
    # as in the limit of ever smaller propensities.
    bound = clip * weights.clamp_max(LARGEST).mean(-1)
    return bound, 1 / torch.minimum(weights, bound.unsqueeze(-1)).mean(-1)


def in_batch(weights: Tensor, clip: Tensor) -> Tensor:
    """Weights (G, B) of observed pairs, normalised and clipped as in `normalised`, over the batch."""
    bound, scale = normalised(weights, clip)
    return torch.minimum(weights, bound.unsqueeze(-1)) * scale.unsqueeze(-1)


def naive_bayes(data: TrainingData, clip: Tensor) -> LabelWeights:
    """Weights 1 / P(o = 1 | r), P(o | r) = P(r | o = 1) P(o = 1) / P(r), normalised.

    P(r | o = 1) is the share of labels r in O, P(r) that in A (add-one smoothed, since A may hold no
    positive rating at all). Schnabel et al., ICML 2016, §5.

    Args:
        clip: (G,) largest normalised weight.
    """
    positive = data.labels.mean()
    biased = torch.stack([1 - positive, positive])  # P(r | o = 1)
    unbiased = torch.stack([1 - data.unbiased_mean, data.unbiased_mean], -1)  # (G, 2)
    weights = unbiased / biased.clamp_min(1 / (2 * len(data.labels)))
    # Two values only, so the means over O are weighted sums of them.
    bound = clip * (weights * biased).sum(-1)
    clipped = torch.minimum(weights, bound.unsqueeze(-1))
    return LabelWeights(clipped / (clipped * biased).sum(-1, keepdim=True))


def logistic(data: TrainingData, clip: Tensor) -> PairWeights:
    """Normalised weights 1 / p, p = σ(b_u + b_i) fitted to the observation indicator over all of D."""
    user, item = logistic_propensity(data)
    inverse = 1 / torch.sigmoid(user[data.users] + item[data.items])
    bound, scale = normalised(inverse, clip)
    return PairWeights(user, item, bound, scale)


def released(data: TrainingData, clip: Tensor) -> PairWeights:
    """Normalised weights 1 / p with the propensities that the data set's authors publish beside it.

    Raises:
        BenchError: the data set has none, or their file is absent.
    """
    if data.released_propensity is None:
        raise BenchError(
            "method.propensity=released needs propensities that are published with the ratings, and here are "
            "none: only Coat's release has them, in coat/propensities.ascii, so put that file beside its "
            "ratings, or choose naive_bayes or logistic."
        )
    return pair_weights(data, data.released_propensity, clip)


PROPENSITIES: dict[str, Callable[[TrainingData, Tensor], LabelWeights | PairWeights]] = {
    "naive_bayes": naive_bayes,
    "logistic": logistic,
    "released": released,
}


def known(data: TrainingData, clip: Tensor) -> PairWeights:
    """Normalised weights 1 / p with the true propensity of generated data.

    Raises:
        ValueError: the data set does not know it.
    """
    if data.propensity is None:
        raise ValueError("the true propensities are unknown")
    return pair_weights(data, data.propensity, clip)


def pair_weights(data: TrainingData, propensity: Tensor, clip: Tensor) -> PairWeights:
    """Normalised weights 1 / p of a propensity (U, I)."""
    bound, scale = normalised(1 / propensity[data.users, data.items], clip)
    return PairWeights(propensity, None, bound, scale)


def logistic_propensity(data: TrainingData, steps: int = 20) -> tuple[Tensor, Tensor]:
    """Maximum-likelihood b_u (U,) and b_i (I,) of P(o = 1) = σ(b_u + b_i) over all user-item pairs.

    The likelihood knows a user and an item by their numbers of ratings only, so users with equal
    numbers share their term, and the problem shrinks to (distinct numbers of users) x (of items).
    Newton's steps in float64, one side at a time, from each side's own log odds. They are at most
    `LARGEST_STEP`: a whole first step of an item that a third of all users rated is about 17, and what
    follows is no number. Half a rating is added to and half taken from an extreme count (none or all),
    whose maximum is infinite; without such counts the fit has every user's and item's number of ratings to
    the last digits of a float64.
    """
    sides = []
    for index, n, other in (
        (data.users, data.n_users, data.n_items),
        (data.items, data.n_items, data.n_users),
    ):
        counts = torch.bincount(index, minlength=n).double().clamp(0.5, other - 0.5)
        values, group, size = counts.unique(return_inverse=True, return_counts=True)
        sides.append((values, group, size.double()))
    (users, user_group, user_size), (items, item_group, item_size) = sides
    b_u = torch.logit(users / data.n_items)
    b_i = torch.logit(items / data.n_users) - torch.logit(items @ item_size / (data.n_users * data.n_items))
    for _ in range(steps):
        p = torch.sigmoid(b_u[:, None] + b_i)
        step = (items - user_size @ p) / (user_size @ (p * (1 - p)))
        b_i += step.clamp(-LARGEST_STEP, LARGEST_STEP)
        p = torch.sigmoid(b_u[:, None] + b_i)
        step = (users - p @ item_size) / ((p * (1 - p)) @ item_size)
        b_u += step.clamp(-LARGEST_STEP, LARGEST_STEP)
    dtype = data.labels.dtype
    return b_u[user_group].to(dtype), b_i[item_group].to(dtype)


# --- What a record says about a method's weights and about A ----------------------------------------


def observed_sample(data: TrainingData, n_members: int, at_most: int = 5000) -> Batch:
    """An even sample of O, the same for every member."""
    step = max(1, len(data.labels) // at_most)
    labels = data.labels[::step].expand(n_members, -1)
    users, items = data.users[::step].expand(n_members, -1), data.items[::step].expand(n_members, -1)
    return Batch(users, items, labels, torch.ones_like(labels))


def weight_diagnostics(weights: Tensor, density: float) -> dict[str, Tensor]:
    """Of weights (G, n) of mean 1 over a sample of O: the propensities behind them and their spread.

    propensity_min, propensity_max: of p = density / w. effective_sample_size: (sum w)^2 / (n sum w^2), 1
    where all weights are equal. share_at_largest_weight: how often a clip binds, or one label's share.
    """
    largest = weights.max(-1, keepdim=True).values
    at_largest = (weights >= largest * (1 - 1e-6)).to(weights.dtype).mean(-1)
    mean, square = weights.mean(-1), weights.square().mean(-1)
    return {
        "propensity_min": density / largest.squeeze(-1),
        "propensity_max": density / weights.min(-1).values,
        "effective_sample_size": mean.square() / square,
        "largest_weight": largest.squeeze(-1),
        "share_at_largest_weight": at_largest,
    }


def coverage(data: TrainingData) -> dict[str, Tensor]:
    """Shares (G,) of users and of items that have a rating in A."""
    shares = {}
    for name, index, n in (
        ("users_reached", data.unbiased_users, data.n_users),
        ("items_reached", data.unbiased_items, data.n_items),
    ):
        seen = data.unbiased_labels.new_zeros(len(index), n).scatter_(1, index, 1.0)
        shares[name] = seen.mean(-1)[data.seed_row]
    return shares
