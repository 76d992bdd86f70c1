"""Side features of users or items, as parts read them.

n users or items, K features; see `bench.engine` for the other shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Features x of all users, or of all items; the same for every member. matrix: (n, K)."""

    matrix: Tensor

    @property
    def number(self) -> int:
        """K."""
        return self.matrix.shape[1]

    @cached_property
    def sparse(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The features that are not 0, row after row: where each row starts (n + 1,), columns and values."""
        matrix = self.matrix.numpy()
        rows, columns = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
        return starts.astype(np.int64), columns.astype(np.int64), matrix[rows, columns].astype(np.float32)


# A table → the table of its features' weights, and the features: row n of the table is read as
# table[n] + Σ_k x[n, k] weights[k].
Links = dict[str, tuple[str, Features]]
