"""What a release's files must hold, and the checks that the loaders share.

A wrong file is reported as one sentence that names the file, the line, what was expected and what
was found. All checks are single passes of a compiled parser or of NumPy over the whole file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.data.ratings import Ids, Interactions
from bench.errors import BenchError, MissingData

WHOLE = r"\d{1,18}"  # at most 18 digits fit into an int64
REAL = r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
ANY = r"[^,\r\n]*"

REMEDY = "replace it by the release's own file"


@dataclass(frozen=True, kw_only=True)
class PairFile:
    """A text file with one user-item pair per line.

    columns: name and grammar of each column; the names are those of the header, if there is one.
    user, item, value: which of the columns are read; "" as value: the file lists pairs only.
    rows: number of pairs. users, items, values: smallest and largest that the release holds.
    sha256: of the release's file; "" where it is not known to us.
    """

    file: str
    rows: int
    columns: Mapping[str, str]
    user: str = "user_id"
    item: str = "video_id"
    value: str = ""
    users: tuple[int, int]
    items: tuple[int, int]
    values: tuple[float, float] = (-np.inf, np.inf)
    separator: str = ","
    header: bool = False
    sha256: str = ""


@dataclass(frozen=True)
class Pairs:
    """A checked file. users, items: (N,) int64 as in the file; values: (N,) float32, or ones."""

    users: Ids
    items: Ids
    values: NDArray[np.float32]


def find(root: Path, file: str, folders: Iterable[str] = ("",)) -> Path | None:
    """The first of `root/folder/file` that exists."""
    return next((path for folder in folders if (path := root / folder / file).is_file()), None)


def require(root: Path, files: Iterable[str], remedy: str) -> list[Path]:
    """The files' paths.

    Raises:
        MissingData: one is absent; the sentence names it, its folder and the remedy.
    """
    paths = [root / file for file in files]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingData(f"{' and '.join(missing)} {verb} missing under {root}: {remedy}.")
    return paths


def read_bytes(path: Path) -> tuple[bytes, str]:
    """A file's content (decompressed where its name ends in .gz) and the sha256 of the file as it is.

    Raises:
        BenchError: the file cannot be read.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{path} cannot be read ({error}): {REMEDY}.") from error
    return content, hashlib.sha256(raw).hexdigest()


def line_error(path: Path, line: int, expected: str, found: str) -> BenchError:
    """The sentence for a wrong line (counted from 1)."""
    return BenchError(f"{path}, line {line}: expected {expected}, found {found}; {REMEDY}.")


def first_bad_line(content: bytes, grammar: str, skip: int = 0) -> tuple[int, str] | None:
    """Number (from 1) and text of the first line that does not match, the first `skip` lines aside."""
    start = 0
    for _ in range(skip):
        start = content.find(b"\n", start) + 1
    bad = re.compile(rb"^(?!\Z)(?!(?:%b)\r?$).*" % grammar.encode(), re.MULTILINE).search(content, start)
    if bad is None:
        return None
    text = bad.group().decode("utf-8", "replace").rstrip("\r")
    return content.count(b"\n", 0, bad.start()) + 1, text


def quote(text: str) -> str:
    """A line as an error shows it: shortened, with control characters made visible."""
    return repr(text if len(text) <= 60 else text[:60] + "…") if text else "an empty line"


def read_pairs(path: Path, expected: PairFile) -> Pairs:
    """Read and check one file.

    A file that is the release's byte for byte is parsed without the checks of its rows. Any other
    (with CRLF line ends, for instance) is accepted if every check holds.

    Raises:
        BenchError: a line that is not as described, a wrong number of rows, an id or value out of
            range, or a pair that stands twice.
    """
    content, sha256 = read_bytes(path)
    genuine = sha256 == expected.sha256
    if not genuine:
        _check_text(path, content, expected)
    names = [name for name in (expected.user, expected.item, expected.value) if name]
    frame = pd.read_csv(
        io.BytesIO(content),
        sep=expected.separator,
        names=list(expected.columns),
        skiprows=int(expected.header),
        usecols=names,
        dtype={name: np.float64 if name == expected.value else np.int64 for name in names},
    )
    users, items = frame[expected.user].to_numpy(), frame[expected.item].to_numpy()
    exact = frame[expected.value].to_numpy() if expected.value else np.ones(len(frame))
    if not genuine:
        whole = expected.columns.get(expected.value) == WHOLE
        first_line = 1 + expected.header
        checks = ((users, expected.users, expected.user), (items, expected.items, expected.item))
        for column, (low, high), name in (*checks, (exact, expected.values, expected.value)):
            wrong = np.flatnonzero((column < low) | (column > high))
            if len(wrong):
                found = f"{column[wrong[0]]:.0f}" if whole or column is not exact else f"{column[wrong[0]]}"
                row_error = f"a {name} of {_bounds(low, high)}"
                raise line_error(path, int(wrong[0]) + first_line, row_error, found)
        check_unique(path, users, items, first_line)
    return Pairs(users, items, exact.astype(np.float32))


def check_unique(path: Path, users: Ids, items: Ids, first_line: int = 1) -> None:
    """Raise a BenchError that names both lines if a pair stands twice."""
    code = users * (items.max(initial=0) + 1) + items
    order = np.argsort(code, kind="stable")
    repeated = np.flatnonzero(np.diff(code[order]) == 0)
    if len(repeated):
        pairs = np.stack([order[repeated + 1], order[repeated]])
        second, first = pairs[:, np.argmin(pairs[0])]
        found = f"user {users[second]} and item {items[second]} as in line {first + first_line}"
        raise line_error(path, int(second) + first_line, "a pair that stands once", found)


def _bounds(low: float, high: float) -> str:
    return f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}"


def _check_text(path: Path, content: bytes, expected: PairFile) -> None:
    """Check the header, the grammar of every line and the number of lines."""
    if expected.header:
        header = expected.separator.join(expected.columns)
        bad = first_bad_line(content.partition(b"\n")[0] + b"\n", re.escape(header))
        if bad or not content:
            found = quote(bad[1]) if bad else "an empty file"
            raise line_error(path, 1, f"the header {header!r}", found)
    grammar = re.escape(expected.separator).join(expected.columns.values())
    bad = first_bad_line(content, grammar, skip=int(expected.header))
    if bad:
        kinds = {WHOLE: "whole number", REAL: "number"}
        fields = ", ".join(
            f"{name} ({kinds[kind]})" if kind in kinds else name for name, kind in expected.columns.items()
        )
        separator = "tabs" if expected.separator == "\t" else "commas"
        raise line_error(path, bad[0], f"{fields} separated by {separator}", quote(bad[1]))
    rows = content.count(b"\n") + (not content.endswith(b"\n") and bool(content)) - expected.header
    check_count(path, "rows", expected.rows, rows)


def check_count(path: Path, what: str, expected: int, found: int) -> None:
    """Raise a BenchError unless the two counts agree."""
    if expected != found:
        raise BenchError(f"{path}: expected {expected:,} {what}, found {found:,}; {REMEDY}.")


def zero_based(ids: Ids, known: Ids) -> Ids:
    """Positions of ids (N,) in the sorted ids `known` (M,); every id must stand in `known`."""
    return np.searchsorted(known, ids).astype(np.int64)


def pairs_in_both(first: Interactions, second: Interactions, n_items: int) -> int:
    """Number of user-item pairs that stand in both sets."""
    codes = (first.users * n_items + first.items, second.users * n_items + second.items)
    return len(np.intersect1d(*codes, assume_unique=True))


def positive_share(interactions: Interactions, threshold: float) -> float:
    """Share of the ratings that are positive labels."""
    return float(np.mean(interactions.values >= threshold))


def checksum(*arrays: NDArray[np.generic], **parameters: object) -> str:
    """sha256 hex over arrays (content, shape and type) and over named parameters.

    It covers the parsed content, so that two copies of a release that differ in their line ends
    only are the same data.
    """
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{little.shape}{little.dtype.str}".encode())
        digest.update(little.data)
    return digest.hexdigest()


def contents(*sets: Interactions) -> list[NDArray[np.generic]]:
    """The arrays of interactions, as `checksum` takes them."""
    return [array for part in sets for array in (part.users, part.items, part.values)]
