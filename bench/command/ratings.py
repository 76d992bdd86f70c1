"""The ratings of a configuration, read once in a process for all cells that have them."""

from __future__ import annotations

from bench import cell as cells
from bench.config import Config
from bench.data import Ratings

_KEPT = 8  # data sets: a multirun over the seeds of a generated one has hundreds
_read: dict[str, Ratings] = {}


def read_once(config: Config) -> Ratings:
    """See `bench.cell.load`.

    Raises:
        MissingData: the files are absent.
        BenchError: they are wrong.
    """
    key = repr((config.data_dir, config.dataset))
    if key not in _read:
        ratings = cells.load(config)
        if len(_read) == _KEPT:
            del _read[next(iter(_read))]
        _read[key] = ratings
    return _read[key]
