"""The division of the unbiased ratings into A, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.ratings import Ids
from bench.errors import BenchError
from bench.seeds import stream_seed


@dataclass(frozen=True)
class Split:
    """Row numbers into `Ratings.unbiased`; disjoint, and together all of its rows.

    train: (N_A,) int64, the ratings A that methods may train on.
    validation: (N_v,) int64, seen by early stopping and selection only.
    test: (N_t,) int64, the rest.
    """

    train: Ids
    validation: Ids
    test: Ids


def split(n_rows: int, seed: int, train: float = 0.05, validation: float = 0.05) -> Split:
    """Draw a split that depends on its arguments alone: every method gets the same one.

    Args:
        n_rows: number of unbiased ratings.
        seed: the member's seed.
        train: share of the rows that become A; the number of rows is rounded down.
        validation: share of the rows for validation; rounded down.

    Raises:
        BenchError: a share is not between 0 and 1, or a part would be empty.

    Source: protocol §3; the paper's "Evaluation Metrics and Details".
    """
    for name, share in (("unbiased_train", train), ("unbiased_validation", validation)):
        if not 0 < share < 1:
            raise BenchError(f"protocol.{name} must lie between 0 and 1, but it is {share}.")
    # .29 of 100 rows is 29, although the product of the floats is a little less.
    n_train, n_validation = (int(n_rows * share + 1e-9) for share in (train, validation))
    sizes = {"A": n_train, "validation": n_validation, "test": n_rows - n_train - n_validation}
    for part, size in sizes.items():
        if size < 1:
            raise BenchError(
                f"protocol.unbiased_train={train} and protocol.unbiased_validation={validation} leave no row "
                f"for {part} out of {n_rows} unbiased ratings, so choose other shares."
            )
    order = np.random.Generator(np.random.PCG64(stream_seed("split", seed))).permutation(n_rows)
    return Split(*np.split(order.astype(np.int64), [n_train, n_train + n_validation]))
