"""What the tests of the loaders share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import Ratings, config_class, load
from bench.errors import BenchError, MissingData

DATA = Path(os.environ.get("BENCH_DATA") or "data")


@pytest.fixture
def real() -> Callable[..., Ratings]:
    """Loads a data set's real files; where they are absent the test is skipped with the loader's words."""

    def load_or_skip(name: str, **fields: object) -> Ratings:
        try:
            return load(config_class(name)(name=name, **fields), DATA)  # type: ignore[arg-type]
        except MissingData as missing:
            pytest.skip(str(missing))

    return load_or_skip


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Calls what must raise a BenchError, and returns its one sentence."""

    def sentence_of(call: Callable[..., object], *arguments: object, **fields: object) -> str:
        with pytest.raises(BenchError) as raised:
            call(*arguments, **fields)
        sentence = str(raised.value)
        assert "\n" not in sentence
        return sentence

    return sentence_of
