"""A data set of one's own as two CSV files: `dataset=csv dataset.biased=O.csv dataset.unbiased=A.csv`.

Each has one line for each rating, below a header that names its columns: user, item and rating, in any order,
beside any others. Ids are numbers or names. Columns are separated by commas, tabs or semicolons (then a
rating may have a decimal comma). A name that ends in .gz is unpacked.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Ids, Interactions, Ratings
from bench.errors import BenchError, MissingData, nearest

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = (",", "\t", ";")
# What a column may be called, in any case; the first is what a sentence calls it.
_NAMES = {
    "user": ("user", "user_id", "userid", "uid", "user id"),
    "item": ("item", "item_id", "itemid", "iid", "item id", "song", "movie", "video_id", "product_id"),
    "rating": ("rating", "value", "stars", "label", "score", "watch_ratio"),
}
_BOTH = ("refuse", "keep", "drop")


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Where the two files lie, and how their columns are called.

    biased, unbiased: of O, and of A, validation and test; relative to the current folder or to data_dir.
        Their content belongs to a record's identity, their place does not.
    user, item, rating: names of the columns; "": a usual one (`user_id`, for instance).
    pairs_in_both: what becomes of pairs that stand in both files. refuse: they are an error; keep: they stay,
        as in Coat; drop: they are left out of O.
    """

    biased: str = ""
    unbiased: str = ""
    user: str = ""
    item: str = ""
    rating: str = ""
    pairs_in_both: str = "refuse"


def load(config: Config, data_dir: Path) -> Ratings:
    """Read the two files. Users and items are those of either file, in the order of their ids.

    Raises:
        MissingData: a file is absent.
        BenchError: a file is not as described above, a pair stands twice, or in both files.
    """
    if config.pairs_in_both not in _BOTH:
        raise BenchError(
            f"dataset.pairs_in_both={config.pairs_in_both} is not known: "
            f"{nearest(config.pairs_in_both, _BOTH)}"
        )
    paths = [_path(name, getattr(config, name), data_dir) for name in ("biased", "unbiased")]
    tables = [_read(path, config) for path in paths]
    users, items = (_numbered([table[column] for table in tables]) for column in ("user", "item"))
    parts = [
        Interactions(each_users, each_items, table["rating"].to_numpy(np.float32))
        for each_users, each_items, table in zip(users.rows, items.rows, tables, strict=True)
    ]
    for path, table, part in zip(paths, tables, parts, strict=True):
        _check_unique(path, table, part, items.number)
    biased, unbiased = parts
    both = _codes(biased, items.number), _codes(unbiased, items.number)
    shared = np.isin(*both)
    if shared.any() and config.pairs_in_both == "refuse":
        row = tables[0].iloc[int(np.argmax(shared))]
        raise BenchError(
            f"{shared.sum()} pairs stand in {paths[0]} and in {paths[1]} (the first is user {row['user']}, "
            f"item {row['item']}): leave them out of one file, or say dataset.pairs_in_both=drop (out of the "
            "biased ones) or keep."
        )
    notes: dict[str, float | str] = {}
    if config.pairs_in_both == "drop":
        biased = Interactions(*(array[~shared] for array in vars(biased).values()))
        notes["pairs_left_out"] = int(shared.sum())
    return manifest.assemble(
        config.name,
        f"{paths[0].name} and {paths[1].name}",
        (users.number, items.number),
        biased,
        unbiased,
        files=(),
        comparable=False,
        notes=notes,
    )


def _path(name: str, given: str, data_dir: Path) -> Path:
    if not given:
        raise BenchError(f"dataset.{name} names no file: give a CSV file with columns user, item and rating.")
    places = [Path(given), data_dir / given]
    for path in places:
        if path.is_file():
            return path
    raise MissingData(f"dataset.{name}={given} names no file, neither here nor under {data_dir}.")


# --- One file -----------------------------------------------------------------------------------------


def _read(path: Path, config: Config) -> pd.DataFrame:
    """Columns user and item as text, rating as numbers."""
    import pandas as pd  # a tenth of a second, which not every command needs

    try:
        text = manifest.read_text(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is not UTF-8 text (byte {error.start}), so save it as UTF-8.") from error
    header = text.partition("\n")[0]
    separator, columns = _columns(path, header, config)
    try:
        # Every column: pandas counts a line's fields only then.
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, ValueError) as error:
        reason = re.sub(r"^Error tokenizing data\. C error: ", "", str(error)).strip().splitlines()[0]
        raise BenchError(f"{path} cannot be read as a table ({reason.rstrip('.')}).") from error
    if table.empty:
        raise BenchError(f"{path} has a header and no rating below it.")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for names of rows
        number = header.count(separator) + 1
        raise _line_error(path, 0, f"{number} fields as in the header", "more")
    table = table.iloc[:, list(columns.values())].set_axis(list(columns), axis=1)
    for name in columns:
        absent = table[name].isna() | (table[name].str.strip() == "")
        if absent.any():
            raise _line_error(path, int(np.argmax(absent)), f"a {name}", "none")
    words = table["rating"].str.strip()
    if separator == ";":
        words = words.str.replace(",", ".")
    numbers = pd.to_numeric(words, errors="coerce").to_numpy(np.float64)
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(~np.isfinite(numbers.astype(np.float32)))
    if len(wrong):
        raise _line_error(path, int(wrong[0]), "a finite rating", repr(table["rating"].iloc[wrong[0]][:20]))
    return table.assign(user=table["user"].str.strip(), item=table["item"].str.strip(), rating=numbers)


def _columns(path: Path, header: str, config: Config) -> tuple[str, dict[str, int]]:
    """The separator, and the position in the header of each column that is read."""
    given = {name: getattr(config, name) for name in _NAMES}
    best: dict[str, int] = {}
    for separator in sorted(_SEPARATORS, key=header.count, reverse=True):
        fields = [field.strip().lower() for field in next(csv.reader([header], delimiter=separator), [])]
        found = {}
        for name, usual in _NAMES.items():
            known = (given[name].lower(),) if given[name] else usual
            match = next((fields.index(each) for each in known if each in fields), None)
            if match is not None:
                found[name] = match
        if len(found) == len(_NAMES):
            return separator, found
        best = max(best, found, key=len)
    absent = " and ".join(given[name] or name for name in _NAMES if name not in best)
    raise BenchError(
        f"{path}, line 1: expected a header with the columns user, item and rating, separated by commas, "
        f"tabs or semicolons, found {manifest.quote(header)}, which has no {absent}: name them there, or by "
        "dataset.user, dataset.item and dataset.rating."
    )


def _line_error(path: Path, row: int, expected: str, found: str) -> BenchError:
    """The sentence for a wrong row (counted from 0, below the header)."""
    return BenchError(f"{path}, line {row + 2}: expected {expected}, found {found}.")


# --- Ids ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbered:
    """Ids of both files as numbers from 0. number: of different ids; rows: (N,) int64 of each file."""

    number: int
    rows: list[Ids]


def _numbered(columns: list[pd.Series]) -> _Numbered:
    import pandas as pd  # see `_read`

    codes, known = pd.factorize(pd.concat(columns, ignore_index=True))
    place = np.empty(len(known), np.int64)
    place[_order(np.asarray(known, dtype=object))] = np.arange(len(known))
    return _Numbered(len(known), np.split(place[codes], [len(columns[0])]))


def _order(ids: NDArray[np.object_]) -> Ids:
    """That of numbers where all ids are whole numbers, else that of text: it depends on no file's order."""
    if all(re.fullmatch(r"0|-?[1-9]\d{0,17}", each) for each in ids):
        return np.argsort(ids.astype(np.int64), kind="stable")
    return np.argsort(ids.astype(str), kind="stable")


def _codes(part: Interactions, n_items: int) -> Ids:
    return part.users * n_items + part.items


def _check_unique(path: Path, table: pd.DataFrame, part: Interactions, n_items: int) -> None:
    import pandas as pd  # see `_read`

    twice = pd.Series(_codes(part, n_items)).duplicated().to_numpy()
    if twice.any():
        row = int(np.argmax(twice))
        code = _codes(part, n_items)
        first = int(np.argmax(code == code[row]))
        pair = f"user {table['user'].iloc[row]} and item {table['item'].iloc[row]}"
        raise _line_error(path, row, "a pair that stands once", f"{pair} as in line {first + 2}")
