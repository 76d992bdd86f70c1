"""Tests that train every row: some rows by default, the others by `make test-long`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from _pytest.mark import ParameterSet

import methods
from bench.speed.rows import ROWS as KINDS  # one of each kind of training step

LATER = (pytest.mark.slow, pytest.mark.long)


def of_each_kind(keys: Sequence[str]) -> list[ParameterSet]:
    """Keys of rows as parameters; those beside `KINDS` are slow."""
    return _parameters(keys, KINDS)


def of_the_paper(keys: Sequence[str]) -> list[ParameterSet]:
    """Keys of rows as parameters; the suite's further methods are slow, a method from elsewhere is not."""
    return _parameters(keys, [key for key in keys if not methods.is_further(key)])


def _parameters(keys: Sequence[str], soon: Collection[str]) -> list[ParameterSet]:
    return [pytest.param(key, marks=() if key in soon else LATER) for key in keys]
