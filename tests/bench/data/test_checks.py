"""What is refused of any data set, and what is said: one sentence that names the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bench.config import DatasetConfig
from bench.data import Interactions, Ratings, Truth
from bench.data.checks import checked

CONFIG = DatasetConfig(name="mine", threshold=3)


def rated(users: object, items: object, values: object) -> Interactions:
    return Interactions(*(np.array(each) for each in (users, items, values)))


BIASED = rated([0, 0, 1], [0, 1, 2], [5.0, 1.0, 3.0])
UNBIASED = rated([1, 2, 2], [0, 1, 2], [1.0, 4.0, 2.0])
GOOD = Ratings(
    name="mine", source="a test", n_users=3, n_items=3, biased=BIASED, unbiased=UNBIASED, checksum="0"
)


def with_part(part: str, **arrays: object) -> Ratings:
    known = getattr(GOOD, part)
    return replace(GOOD, **{part: replace(known, **{name: np.array(each) for name, each in arrays.items()})})


def test_good_ratings_come_back_in_the_suites_types() -> None:
    small = with_part("biased", users=np.array([0, 0, 1], np.uint8), values=np.array([5, 1, 3]))
    ratings = checked(small, CONFIG)
    assert [array.dtype for array in vars(ratings.biased).values()] == [np.int64, np.int64, np.float32]
    assert ratings.biased.values.tolist() == [5, 1, 3]
    # Without a threshold a file is looked at alone.
    assert checked(with_part("biased", values=[1.0, 1.0, 1.0]), DatasetConfig(name="mine"))


WRONG = [
    (None, "load returned None, where Ratings are expected."),
    (SimpleNamespace(), "load returned an object of SimpleNamespace, where Ratings are expected."),
    (replace(GOOD, n_users=0), "n_users must be a whole number of at least 1, not 0."),
    (replace(GOOD, n_items=3.0), "n_items must be a whole number of at least 1, not 3.0."),
    (replace(GOOD, n_users=2**40, n_items=2**40), "are too many pairs."),
    (replace(GOOD, checksum=""), "its checksum is to be a text that names its content."),
    (replace(GOOD, biased=None), "biased ratings: found None, where Interactions are expected."),
    (
        replace(GOOD, biased=Interactions([0], [0], [1])),  # type: ignore[arg-type]
        "biased ratings: users must be a NumPy array (N,), but found is an object of list.",
    ),
    (
        with_part("unbiased", users=[[1, 2, 2]]),
        "users must be a NumPy array (N,), but found is an array of shape (1, 3).",
    ),
    (with_part("unbiased", users=[1, 2]), "one length, but there are 2 users, 3 items, 3 values."),
    (replace(GOOD, unbiased=rated([], [], [])), "unbiased ratings: there is none, so nothing can be trained"),
    (with_part("biased", users=[1, 2, 3]), "users must lie in 0 to 2 (n_users=3), but entry 2 is 3."),
    (with_part("unbiased", items=[-1, 0, 1]), "items must lie in 0 to 2 (n_items=3), but entry 0 is -1."),
    (
        with_part("biased", users=[0.0, 0.0, 1.0]),
        "users must be whole numbers from 0, but they are of type float64.",
    ),
    (with_part("biased", values=["a", "b", "c"]), "values must be numbers, but they are of type <U1."),
    (
        with_part("biased", values=[5.0, float("nan"), 3.0]),
        "biased ratings: values must be finite, but entry 1 (user 0, item 1) is nan.",
    ),
    (
        with_part("unbiased", values=[1.0, 4.0, 1e300]),
        "values must be finite, but entry 2 (user 2, item 2) is 1e+300.",
    ),
    (
        with_part("biased", items=[1, 1, 2]),
        "each pair may stand once, but user 0 and item 1 stand in entries 0 and 1 (1 such rows).",
    ),
    (
        with_part("biased", values=[5.0, 3.0, 3.0]),
        "its biased ratings, 3 to 5, are all positive at dataset.threshold=3, so choose another one.",
    ),
    (with_part("unbiased", values=[1.0, 0.0, 2.0]), "its unbiased ratings, 0 to 2, are all negative at"),
    (
        with_part("unbiased", users=[1, 0, 2]),
        "1 pairs are both biased and unbiased (the first is user 0, item 1), so leave them out of one, or,",
    ),
    (
        replace(GOOD, unbiased=BIASED),
        "all 3 unbiased pairs are biased ones too, so methods would train on what",
    ),
    (
        replace(GOOD, truth=Truth(np.zeros((3, 2), np.uint8), np.zeros((3, 3), "f"), np.zeros(3, "f"))),
        "truth.labels must have the shape (3, 3), not (3, 2).",
    ),
    (
        replace(GOOD, truth=Truth(np.zeros((3, 3), np.uint8), np.full((3, 3), 1.5, "f"), np.zeros(3, "f"))),
        "truth.propensity must lie between 0 and 1.",
    ),
    (
        replace(GOOD, released_propensity=np.zeros((3, 2), "f")),
        "released_propensity must have the shape (3, 3), not (3, 2).",
    ),
    (
        replace(GOOD, released_propensity=np.full((3, 3), np.nan, "f")),
        "released_propensity must lie between 0 and 1.",
    ),
]


@pytest.mark.parametrize(("ratings", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_wrong_ratings(refusal: Callable[..., str], ratings: object, said: str) -> None:
    sentence = refusal(checked, ratings, CONFIG)
    assert sentence.startswith("Data set mine") and said in sentence and sentence.endswith(".")


def test_pairs_in_both_are_kept_where_the_loader_counts_them(refusal: Callable[..., str]) -> None:
    both = with_part("unbiased", users=[1, 0, 2])
    assert checked(replace(both, notes={"pairs_in_both": 1}), CONFIG)
    assert "have load say notes={'pairs_in_both': 1}" in refusal(
        checked, replace(both, notes={"pairs_in_both": 2}), CONFIG
    )
