"""The split of the unbiased ratings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.split import split

SHARES = st.integers(1, 49).map(lambda percent: percent / 100)


@given(n_rows=st.integers(100, 3000), seed=st.integers(0, 2**63), train=SHARES, validation=SHARES)
def test_the_parts_are_disjoint_and_hold_every_row(
    n_rows: int, seed: int, train: float, validation: float
) -> None:
    parts = split(n_rows, seed, train, validation)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(np.sort(rows), np.arange(n_rows))
    assert len(parts.train) == n_rows * round(100 * train) // 100
    assert len(parts.validation) == n_rows * round(100 * validation) // 100


@given(seed=st.integers(0, 2**63))
def test_a_seed_fixes_the_split_and_another_one_changes_it(seed: int) -> None:
    one, again, other = split(500, seed), split(500, seed), split(500, seed + 1)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert set(one.train) != set(other.train)


@pytest.mark.parametrize(("n_rows", "size"), [(4640, 232), (54000, 2700), (117113, 5855)])
def test_the_sizes_of_the_protocol(n_rows: int, size: int) -> None:
    parts = split(n_rows, seed=0)
    assert len(parts.train) == len(parts.validation) == size


def test_every_row_is_as_likely_to_be_in_a() -> None:
    counts = np.bincount(np.concatenate([split(100, seed).train for seed in range(2000)]), minlength=100)
    # Each row is in A with probability .05: mean 100, standard deviation 9.7.
    assert np.abs(counts - 100).max() < 5 * 9.7


@pytest.mark.parametrize(
    ("train", "validation", "said"),
    [
        (0.0, 0.05, "protocol.unbiased_train must lie between 0 and 1, but it is 0.0."),
        (0.05, 1.0, "protocol.unbiased_validation must lie between 0 and 1, but it is 1.0."),
        (float("nan"), 0.05, "protocol.unbiased_train must lie between 0 and 1, but it is nan."),
        (0.5, 0.5, "leave no row for test out of 100 unbiased ratings, so choose other shares."),
        (0.7, 0.6, "leave no row for test out of 100 unbiased ratings, so choose other shares."),
        (0.001, 0.05, "leave no row for A out of 100 unbiased ratings, so choose other shares."),
    ],
)
def test_shares_that_make_no_split(
    refusal: Callable[..., str], train: float, validation: float, said: str
) -> None:
    assert refusal(split, 100, 0, train, validation).endswith(said)
