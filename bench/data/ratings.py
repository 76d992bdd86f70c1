"""What every data set is, whatever its files look like: `Ratings`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Interactions:
    """Rated user-item pairs, one entry per pair.

    users, items: (N,) int64, zero-based. values: (N,) float32, the raw rating
    (stars, watch ratio or 0/1) before any threshold is applied.
    """

    users: Ids
    items: Ids
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Truth:
    """What only a generated data set knows about every user-item pair.

    labels: (U, I) uint8, the label each pair would get if it were rated.
    propensity: (U, I) float32, the probability with which the pair was put into the biased set.
    selection_strength: (U,) float32, the signed self-selection strength kappa_u (0: rates at random).
    """

    labels: NDArray[np.uint8]
    propensity: NDArray[np.float32]
    selection_strength: NDArray[np.float32]


@dataclass(frozen=True)
class SideFeatures:
    """What a release says about its users and items beside their ratings.

    users: (U, K) float32; items: (I, K') float32; None where it says nothing of them.
    checksum: sha256 hex over both.
    """

    users: NDArray[np.float32] | None
    items: NDArray[np.float32] | None
    checksum: str


@dataclass(frozen=True)
class Ratings:
    """One data set: the self-selected (biased) ratings O and the randomly assigned (unbiased) ones.

    source: where the ratings come from, printed under the table.
    comparable: False where the paper's numbers were made from other ratings than these.
    checksum: sha256 hex over everything that determines the arrays (file contents, selection rule).
    notes: facts a reader of the record needs, such as pairs that stand in both sets.
    released_propensity: (U, I) float32, what the release itself estimated, where it did and its file is
        there. No part of the checksum: a loader takes the published file only, so that its content is
        settled by the loader's code, and a data set is the same with and without it.
    features: reads the side features; None where the data set has none. They are read by those who ask alone,
        and are in the identity of their cells alone: a machine without these files has the same ratings.
    """

    name: str
    source: str
    n_users: int
    n_items: int
    biased: Interactions
    unbiased: Interactions
    checksum: str
    comparable: bool = True
    notes: dict[str, float | str] = field(default_factory=dict)
    truth: Truth | None = None
    released_propensity: NDArray[np.float32] | None = None
    features: Callable[[], SideFeatures] | None = None

    @property
    def density(self) -> float:
        """Share of all user-item pairs that are in the biased set, |O| / |D|."""
        return len(self.biased) / (self.n_users * self.n_items)


def side_features(ratings: Ratings) -> SideFeatures:
    """The side features of a data set.

    Raises:
        MissingData: its files of features are absent.
        BenchError: it has no side features, or a file is not the release's.
    """
    if ratings.features is None:
        raise BenchError(
            f"method.backbone=features reads side features, and the data set '{ratings.name}' has none: use "
            "method.backbone=ids."
        )
    return ratings.features()
