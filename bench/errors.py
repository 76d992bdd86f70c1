"""Errors that a user can mend: one sentence, shown without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake in the input. Its text says what, where and what to do, in one sentence."""


class MissingData(BenchError):
    """A data set's files are absent. The table shows the cell as missing with this sentence."""


class NotApplicable(BenchError):
    """A method cannot run on a data set (for instance, it needs the true propensities)."""


class Sliced(Exception):
    """A share of a sweep is trained and kept, as was asked for: no record yet, and no failure."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A clause that names the closest valid choice, to be appended to an error's sentence.

    >>> nearest("clp", ["clip", "propensity"])
    "did you mean 'clip'?"
    """
    options = sorted(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return "the choices are " + ", ".join(options) + "."
