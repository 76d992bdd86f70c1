"""What a release's files must hold, and what the loaders share: reading, checking, assembling.

A wrong file is reported as one sentence that names the file, the line, what was expected and what
was found. All checks are single passes of a compiled parser or of NumPy over the whole file.
A file that passes them without being the published one is read, but its ratings are marked: they
cannot be compared with the paper's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.ratings import Ids, Interactions, Ratings
from bench.errors import BenchError, MissingData

if TYPE_CHECKING:
    import pandas as pd

WHOLE = r"\d{1,18}"  # at most 18 digits fit into an int64
REAL = r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
ANY = r"[^,\r\n]*"

REMEDY = "replace it by the release's own file"

# A file or a folder, on the disk or in a zip archive that lies there.
Place = Path | zipfile.Path
_DEPTH = 3  # folders below a data set's own in which a release's files are looked for
# Names that say too little to tell whose file it is.
_OF_ANYBODY = {"user.txt", "random.txt"}


@dataclass(frozen=True, kw_only=True)
class PairFile:
    """A text file with one user-item pair per line.

    columns: name and grammar of each column; the names are those of the header, if there is one.
    user, item, value: which of the columns are read; "" as value: the file lists pairs only.
    rows: number of pairs. users, items, values: smallest and largest that the release holds.
    sha256, git_blob: hashes of the published text (decompressed, LF line ends); "" where not known.
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
    git_blob: str = ""


@dataclass(frozen=True)
class Pairs:
    """A checked file. users, items: (N,) int64 as in the file; values: (N,) float32, or ones.

    altered: the file's name if it is known not to be the published one, else "".
    """

    users: Ids
    items: Ids
    values: NDArray[np.float32]
    altered: str = ""


def find(root: Path, file: str, folders: Iterable[str] = ("",), titles: Iterable[str] = ()) -> Place | None:
    """Where a file of a release lies: in one of `folders` of the root if it is there, else anywhere below.

    Args:
        root: the data set's folder, `data_dir/NAME`.
        titles: beginnings of the names of other folders, and of zip archives, that the release may lie in
            beside the root; lower case, letters and digits only.

    Raises:
        BenchError: an archive cannot be read.
    """
    here = [root / folder for folder in folders]
    return next((path for place in (*here, *_places(root, titles)) if (path := _held(place, file))), None)


def require(root: Path, files: Iterable[str], remedy: str, titles: Iterable[str] = ()) -> list[Place]:
    """Where the files lie: all in the first folder that holds them all.

    Args:
        root, titles: as for `find`.

    Raises:
        MissingData: one is absent; the sentence names it, the remedy, and where the others lie.
        BenchError: an archive cannot be read.
    """
    files, titles = list(files), list(titles)
    places: list[Place] = [root, *_places(root, titles)]
    for place in places:
        found = [path for file in files if (path := _held(place, file))]
        if len(found) == len(files):
            return found
    missing = [file for file in files if not any(_held(place, file) for place in places)]
    names, verb = " and ".join(missing or files), "is" if len(missing) == 1 else "are"
    lacking = f"{verb} missing" if missing else "do not lie together"
    raise MissingData(f"{names} {lacking} under {root}{found_of(root, files, titles)}: {remedy}.")


def found_of(root: Path, files: Iterable[str], titles: Iterable[str] = ()) -> str:
    """A clause that names where some files of a release lie, of which others are absent; "" for none."""
    found: dict[str, Place] = {}
    for place in (root, *_places(root, titles)):
        found |= {file: path for file in files if file not in found and (path := _held(place, file))}
    for place in _strangers(root, titles):
        telling = (file for file in files if file not in found and file not in _OF_ANYBODY)
        found |= {file: path for file in telling if (path := _held(place, file))}
    return f" (there is {' and '.join(map(str, found.values()))})" if found else ""


def _held(place: Place, file: str) -> Place | None:
    """The file in a folder, compressed or not."""
    return next((path for name in (file, f"{file}.gz") if (path := place / name).is_file()), None)


def _places(root: Path, titles: Iterable[str]) -> Iterator[Place]:
    """The folders of a data set, the shallow ones first, then those of the archives that lie there.

    They are those below its own folder, and those that are called like the release beside it.
    """
    beside = [each for each in _sorted(root.parent) if _is_called(each, titles) and each != root]
    folders = [root, *(each for each in beside if each.is_dir())]
    below = [inner for folder in folders for inner in _below(folder, _DEPTH)]
    yield from sorted({*below, *folders[1:]} - {root}, key=lambda each: (len(each.parts), str(each)))
    for file in (*beside, *(file for folder in (root, *below) for file in _sorted(folder))):
        if file.suffix.lower() == ".zip" and file.is_file():
            yield from _packed_folders(file)


def _strangers(root: Path, titles: Iterable[str]) -> Iterator[Path]:
    """Other folders of the data folder, where a release may have been put by mistake."""
    for folder in (root.parent, *_sorted(root.parent)):
        if folder != root and folder.is_dir() and not _is_called(folder, titles):
            yield folder
            if folder != root.parent:
                yield from _below(folder, _DEPTH - 1)


def _is_called(place: Path, titles: Iterable[str]) -> bool:
    plain = re.sub("[^a-z0-9]", "", place.name.lower())
    return not place.name.startswith(".") and any(plain.startswith(title) for title in titles)


def _sorted(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where it is none."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError:
        return []


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders below one."""
    for inner in _sorted(folder) if depth else ():
        if inner.is_dir() and not inner.is_symlink():
            yield inner
            yield from _below(inner, depth - 1)


def _packed_folders(file: Path) -> Iterator[zipfile.Path]:
    """The folders of a zip archive."""
    try:
        top = zipfile.Path(str(file))
        names = {name.rpartition("/")[0] for name in top.root.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise BenchError(
            f"{file} cannot be read as a zip archive ({reason}): remove it, or copy it there again."
        ) from error
    for name in sorted(names, key=lambda each: (each.count("/"), each)):
        yield zipfile.Path(top.root, f"{name}/" if name else "")


_watching: list[list[Place]] = []


@contextmanager
def files_read() -> Iterator[list[Place]]:
    """The files that are read in a block, in their order."""
    found: list[Place] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def read_text(path: Place) -> bytes:
    """A file's text with LF line ends, decompressed where its name ends in .gz.

    A byte-order mark and one empty line at the end are left out: editors and exports add them.

    Raises:
        BenchError: the file cannot be read, or is not a whole gzip file.
    """
    for found in _watching:
        found.append(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror}), so check its permissions.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BenchError(
            f"{path}: expected a whole archive, found a damaged one ({error}); {REMEDY}."
        ) from error
    if path.suffix == ".gz":
        try:
            text = gzip.decompress(text)
        except (OSError, EOFError, zlib.error) as error:
            raise BenchError(
                f"{path}: expected a whole gzip file, found a damaged one ({error}); {REMEDY}."
            ) from error
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return text[:-1] if text.endswith(b"\n\n") else text


def is_published(text: bytes, sha256: str, git_blob: str = "") -> bool:
    """Whether a text has one of the two hashes, of which "" means unknown."""
    if sha256 and hashlib.sha256(text).hexdigest() == sha256:
        return True
    return bool(git_blob) and hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest() == git_blob


def count_lines(text: bytes) -> int:
    """Number of lines, the last one counted with or without its line end."""
    return text.count(b"\n") + (text != b"" and not text.endswith(b"\n"))


def line_error(path: Place, line: int, expected: str, found: str) -> BenchError:
    """The sentence for a wrong line (counted from 1)."""
    return BenchError(f"{path}, line {line}: expected {expected}, found {found}; {REMEDY}.")


def first_bad_line(text: bytes, grammar: str, start: int = 0) -> tuple[int, str] | None:
    """Number (from 1) and text of the first line from position `start` on that does not match."""
    bad = re.compile(rb"^(?!\Z)(?!(?:%b)$).*" % grammar.encode(), re.MULTILINE).search(text, start)
    if bad is None:
        return None
    return text.count(b"\n", 0, bad.start()) + 1, bad.group().decode("utf-8", "replace")


def quote(text: str) -> str:
    """A line as an error shows it: shortened, with control characters made visible."""
    return repr(text if len(text) <= 60 else text[:60] + "…") if text else "an empty line"


def read_pairs(path: Place, expected: PairFile) -> Pairs:
    """Read and check one file.

    The published file is parsed without the checks of its rows. Any other is accepted if every
    check holds, and named in `Pairs.altered` if the published file's hash is known.

    Raises:
        BenchError: a line that is not as described, a wrong number of rows, an id or value out of
            range, or a pair that stands twice.
    """
    text = read_text(path)
    published = is_published(text, expected.sha256, expected.git_blob)
    if not published:
        _check_text(path, text, expected)
    names = [name for name in (expected.user, expected.item, expected.value) if name]
    frame = _frame(
        text, expected, {name: np.float64 if name == expected.value else np.int64 for name in names}
    )
    users, items = frame[expected.user].to_numpy(), frame[expected.item].to_numpy()
    exact = frame[expected.value].to_numpy() if expected.value else np.ones(len(frame))
    if not published:
        whole = expected.columns.get(expected.value) == WHOLE
        first_line = 1 + expected.header
        checks = ((users, expected.users, expected.user), (items, expected.items, expected.item))
        for column, (low, high), name in (*checks, (exact, expected.values, expected.value)):
            wrong = np.flatnonzero((column < low) | (column > high) | np.isinf(column))
            if len(wrong):
                found = f"{column[wrong[0]]:.0f}" if whole or column is not exact else f"{column[wrong[0]]}"
                row_error = f"a {name} of {_bounds(low, high)}"
                raise line_error(path, int(wrong[0]) + first_line, row_error, found)
        _check_unique(path, users, items, first_line)
    altered = "" if published or not (expected.sha256 or expected.git_blob) else path.name
    return Pairs(users, items, exact.astype(np.float32), altered)


def _frame(text: bytes, expected: PairFile, types: dict[str, type]) -> pd.DataFrame:
    """The columns of a text whose lines are of the right form."""
    import pandas as pd  # a tenth of a second, which not every command needs

    rules: dict[str, Any] = {
        "sep": expected.separator,
        "names": list(expected.columns),
        "skiprows": int(expected.header),
        "usecols": list(types),
    }
    try:
        return pd.read_csv(io.BytesIO(text), dtype=types, **rules)
    except ValueError:
        # Some versions of pandas take 1e999 for no number; Python reads it as infinite.
        words = pd.read_csv(io.BytesIO(text), dtype=str, **rules)
        return pd.DataFrame({name: [kind(word) for word in words[name]] for name, kind in types.items()})


def _check_unique(path: Place, users: Ids, items: Ids, first_line: int) -> None:
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


def _check_text(path: Place, text: bytes, expected: PairFile) -> None:
    """Check the header, the grammar of every line and the number of lines."""
    start = 0
    if expected.header:
        header = expected.separator.join(expected.columns)
        first = text.partition(b"\n")[0]
        if first != header.encode():
            found = quote(first.decode("utf-8", "replace")) if text else "an empty file"
            raise line_error(path, 1, f"the header {header!r}", found)
        start = len(first) + 1
    grammar = re.escape(expected.separator).join(expected.columns.values())
    bad = first_bad_line(text, grammar, start)
    if bad:
        kinds = {WHOLE: "whole number", REAL: "number"}
        fields = ", ".join(
            f"{name} ({kinds[kind]})" if kind in kinds else name for name, kind in expected.columns.items()
        )
        separator = "tabs" if expected.separator == "\t" else "commas"
        raise line_error(path, bad[0], f"{fields} separated by {separator}", quote(bad[1]))
    check_count(path, "rows", expected.rows, count_lines(text) - expected.header)


def check_count(path: Place, what: str, expected: int, found: int) -> None:
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


def assemble(
    name: str,
    source: str,
    shape: tuple[int, int],
    biased: Interactions,
    unbiased: Interactions,
    *,
    files: Iterable[Pairs],
    comparable: bool = True,
    parameters: Mapping[str, float] | None = None,
    notes: Mapping[str, float | str] | None = None,
) -> Ratings:
    """The ratings of a data set that is read from files.

    Args:
        shape: number of users and of items.
        files: what was read; an altered one among them forbids the comparison with the paper.
        comparable: False where the published files forbid it as well.
        parameters: of a draw that the ratings come from; part of the checksum and of the notes.
    """
    parameters = parameters or {}
    altered = ", ".join(file.altered for file in files if file.altered)
    return Ratings(
        name=name,
        source=f"{source}, altered: {altered}" if altered else source,
        n_users=shape[0],
        n_items=shape[1],
        biased=biased,
        unbiased=unbiased,
        checksum=checksum(*contents(biased, unbiased), name=name, shape=shape, **parameters),
        comparable=comparable and not altered,
        notes={
            "pairs_in_both": pairs_in_both(biased, unbiased, shape[1]),
            **parameters,
            **(notes or {}),
            **({"altered_files": altered} if altered else {}),
        },
    )
