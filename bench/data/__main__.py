"""What data lie there: `python -m bench.data [--data-dir DIR] [--from ARCHIVE] [NAME] [FIELD=VALUE ...]`.

Prints of each data set where it was found and what it holds; of one that is absent, how to get it. A NAME
is a data set's, or the file of one of one's own; FIELD=VALUE are fields of its configuration:

    python -m bench.data csv biased=O.csv unbiased=A.csv threshold=4
    python -m bench.data my_data.py

--from takes the files of a data set out of a copy of its archive (zip or tar) and puts them into place,
checked: for machines without a network, and for Yahoo! R3.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import data
from bench.data import describe, release
from bench.data.download import install
from bench.errors import BenchError, MissingData

_OF_ONES_OWN = "csv"  # which names no files before one says so


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 if a data set that is asked for is absent or wrong."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.data",
        description=f"{summary.partition(':')[0]}.",
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("BENCH_DATA") or "data"))
    parser.add_argument("--from", dest="archive", type=Path, metavar="ARCHIVE", help="a copy of a release")
    parser.add_argument("words", nargs="*", metavar="NAME", help="data sets and FIELD=VALUE; default: all")
    given = parser.parse_intermixed_args(arguments)
    words = [word.removeprefix("dataset.") for word in given.words]
    changes = [word for word in words if "=" in word]
    asked = [word for word in words if "=" not in word]
    status = 0
    try:
        if given.archive is not None:
            name, _ = install(given.archive, given.data_dir)
            print(f"{given.archive} is put into {given.data_dir / name}.")
            asked = asked or [name]
        names = [data.load_extra(Path(word)) if word.endswith(".py") else word for word in asked]
        if changes and len(names) != 1:
            raise BenchError(f"{changes[0]} is a field of one data set, so name that one.")
    except BenchError as error:
        return _told(error)
    for name in names or [name for name in data.names() if name != _OF_ONES_OWN]:
        try:
            print("\n".join([name, *_described(name, changes, given.data_dir)]), flush=True)
        except MissingData as error:
            print(f"{name}\n  absent: {error}", flush=True)
            status = max(status, int(bool(names)))
        except BenchError as error:
            status = _told(BenchError(f"{name}: {error}"))
        except BrokenPipeError:
            return 0
    return status


def _described(name: str, changes: Sequence[str], data_dir: Path) -> list[str]:
    config, thresholds = describe.configured(name, changes)
    with release.files_read() as read:
        ratings = data.load(config, data_dir)
    return describe.lines(ratings, read, thresholds, data_dir)


def _told(error: BenchError) -> int:
    if os.environ.get("BENCH_DEBUG") == "1":
        raise error
    print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
