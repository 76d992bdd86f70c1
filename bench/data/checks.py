"""What holds of every data set, whoever wrote its loader, before anything is trained on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig
from bench.data.ratings import Interactions, Ratings, Truth
from bench.errors import BenchError

_PARTS = {"biased": "O", "unbiased": "A, validation and test"}
_SHOWN = 20  # characters of a value that a sentence shows


def checked(ratings: object, config: DatasetConfig) -> Ratings:
    """The ratings of a loader, with ids as int64 and values as float32.

    Pairs that stand in both sets are refused unless the loader says in its notes how many there are
    (`pairs_in_both`): a method would train on what it is tested by.

    Args:
        ratings: what a data set's `load` returned.
        config: its threshold tells positive from negative.

    Raises:
        BenchError: ids that are no whole numbers from 0 to the count less 1, ratings that are not finite, a
            pair twice, pairs in both sets, a set without a positive or without a negative rating.
    """
    name = config.name
    if not isinstance(ratings, Ratings):
        raise BenchError(f"Data set {name}: load returned {_kind(ratings)}, where Ratings are expected.")
    for what in ("n_users", "n_items"):
        number = getattr(ratings, what)
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise BenchError(f"Data set {name}: {what} must be a whole number of at least 1, not {number!r}.")
    shape = int(ratings.n_users), int(ratings.n_items)
    if shape[0] * shape[1] >= 2**62:  # pairs are numbered
        raise BenchError(f"Data set {name}: {shape[0]} users times {shape[1]} items are too many pairs.")
    biased, unbiased = (_interactions(name, part, getattr(ratings, part), shape) for part in _PARTS)
    if isinstance(config.threshold, int | float):  # a file is looked at without one
        for part, rated in zip(_PARTS, (biased, unbiased), strict=True):
            _require_both_classes(name, part, rated, config.threshold)
    _check_overlap(name, biased, unbiased, shape, ratings.notes)
    if ratings.truth is not None:
        _check_truth(name, ratings.truth, shape)
    if ratings.released_propensity is not None:
        _check_propensity(name, "released_propensity", ratings.released_propensity, shape)
    if not (isinstance(ratings.checksum, str) and ratings.checksum):
        raise BenchError(f"Data set {name}: its checksum is to be a text that names its content.")
    return replace(ratings, n_users=shape[0], n_items=shape[1], biased=biased, unbiased=unbiased)


def _interactions(name: str, part: str, found: object, shape: tuple[int, int]) -> Interactions:
    where = f"Data set {name}, {part} ratings"
    if not isinstance(found, Interactions):
        raise BenchError(f"{where}: found {_kind(found)}, where Interactions are expected.")
    arrays = {what: _array(f"{where}: {what}", getattr(found, what)) for what in ("users", "items", "values")}
    lengths = {what: len(array) for what, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{number} {what}" for what, number in lengths.items())
        raise BenchError(f"{where}: users, items and values must have one length, but there are {told}.")
    if not lengths["users"]:
        raise BenchError(f"{where}: there is none, so nothing can be trained or tested ({_PARTS[part]}).")
    ids = []
    for what, n, first in (("users", shape[0], "n_users"), ("items", shape[1], "n_items")):
        array = arrays[what]
        if not np.issubdtype(array.dtype, np.integer):
            raise BenchError(
                f"{where}: {what} must be whole numbers from 0, but they are of type {array.dtype}."
            )
        wrong = np.flatnonzero((array < 0) | (array >= n))
        if len(wrong):
            raise BenchError(
                f"{where}: {what} must lie in 0 to {n - 1} ({first}={n}), but entry {wrong[0]} is "
                f"{array[wrong[0]]}."
            )
        ids.append(array.astype(np.int64, copy=False))
    values = arrays["values"]
    if values.dtype.kind not in "biuf":
        raise BenchError(f"{where}: values must be numbers, but they are of type {values.dtype}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold is told of below
        values = values.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        raise BenchError(
            f"{where}: values must be finite, but entry {row} (user {ids[0][row]}, item {ids[1][row]}) is "
            f"{str(arrays['values'][row])[:_SHOWN]}."
        )
    codes = ids[0] * shape[1] + ids[1]
    order = np.argsort(codes, kind="stable")
    repeated = np.flatnonzero(np.diff(codes[order]) == 0)
    if len(repeated):
        first, second = order[repeated[0]], order[repeated[0] + 1]
        raise BenchError(
            f"{where}: each pair may stand once, but user {ids[0][first]} and item {ids[1][first]} stand in "
            f"entries {first} and {second} ({len(repeated)} such rows)."
        )
    return Interactions(ids[0], ids[1], values)


def _array(where: str, found: Any) -> NDArray[Any]:
    if not isinstance(found, np.ndarray) or found.ndim != 1:
        form = f"an array of shape {found.shape}" if isinstance(found, np.ndarray) else _kind(found)
        raise BenchError(f"{where} must be a NumPy array (N,), but found is {form}.")
    return found


def _require_both_classes(name: str, part: str, rated: Interactions, threshold: float) -> None:
    positive = rated.values >= threshold
    if positive.all() or not positive.any():
        low, high = rated.values.min(), rated.values.max()
        raise BenchError(
            f"Data set {name}: its {part} ratings, {low:g} to {high:g}, are all "
            f"{'positive' if positive.all() else 'negative'} at dataset.threshold={threshold:g}, so choose "
            "another one."
        )


def _check_overlap(
    name: str, biased: Interactions, unbiased: Interactions, shape: tuple[int, int], notes: Any
) -> None:
    both = np.isin(unbiased.users * shape[1] + unbiased.items, biased.users * shape[1] + biased.items)
    count = int(both.sum())
    if count == len(both):
        raise BenchError(
            f"Data set {name}: all {count} unbiased pairs are biased ones too, so methods would train on "
            "what they are tested by."
        )
    if count and notes.get("pairs_in_both") != count:
        row = int(np.argmax(both))
        raise BenchError(
            f"Data set {name}: {count} pairs are both biased and unbiased (the first is user "
            f"{unbiased.users[row]}, item {unbiased.items[row]}), so leave them out of one, or, where that "
            f"is meant, have load say notes={{'pairs_in_both': {count}}}."
        )


def _check_truth(name: str, truth: Truth, shape: tuple[int, int]) -> None:
    for what, wanted in (("labels", shape), ("selection_strength", shape[:1])):
        found = getattr(truth, what)
        if np.shape(found) != wanted:
            raise BenchError(
                f"Data set {name}: truth.{what} must have the shape {wanted}, not {np.shape(found)}."
            )
        if not np.isfinite(found).all():
            raise BenchError(f"Data set {name}: truth.{what} must be finite.")
    _check_propensity(name, "truth.propensity", truth.propensity, shape)
    if not np.isin(truth.labels, (0, 1)).all():
        raise BenchError(f"Data set {name}: truth.labels must be 0 or 1.")


def _check_propensity(name: str, what: str, found: Any, shape: tuple[int, int]) -> None:
    if np.shape(found) != shape:
        raise BenchError(f"Data set {name}: {what} must have the shape {shape}, not {np.shape(found)}.")
    if not ((found >= 0) & (found <= 1)).all():  # NaN is neither
        raise BenchError(f"Data set {name}: {what} must lie between 0 and 1.")


def _kind(found: object) -> str:
    return "None" if found is None else f"an object of {type(found).__name__}"
