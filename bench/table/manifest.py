"""`cells.json`: the rows and columns of a table, and the record of each of its cells.

`bench.reproduce` writes it, the table reads it, both through here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from bench.errors import BenchError
from bench.files import text_of, write_text

FILE = "cells.json"
OWN_FOLDER, PUBLISHED_FOLDER = "table1", "published"  # in the folder of results

CellKey = tuple[str, str, str]  # protocol, data set, method


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table.

    uses_unbiased: what it knows of the unbiased ratings, a word ("mean label") or yes/no. control: stands
    below the rule. baseline: may be the best baseline, where it is a row of the paper. guest: no row of the
    suite, but one of the user's own. further: of the suite, but not of the paper. Both stand below a rule of
    their own and change no mark of the others.
    """

    method: str
    title: str
    uses_unbiased: str | bool | None
    control: bool = False
    baseline: bool = True
    guest: bool = False
    further: bool = False

    @property
    def family(self) -> str:
        """The rows that it is corrected with, one of `FAMILIES`."""
        if self.guest:
            return "guest"
        return "further" if self.further else "control" if self.control else "paper"

    @property
    def proposed(self) -> bool:
        """Whether it is the paper's own method rather than one of its baselines."""
        return self.family == "paper" and not self.baseline


FAMILIES = ("paper", "further", "control", "guest")  # in the table's order, a rule between them


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A group of the table's columns; k is the cut-off of its NDCG and Recall.

    paper: the data set whose numbers of the paper's stand beside it; "": its own. note: a sentence about it.
    """

    dataset: str
    title: str
    k: int
    paper: str = ""
    note: str = ""

    @property
    def printed(self) -> str:
        """The data set of the paper's numbers beside it."""
        return self.paper or self.dataset

    @property
    def repeats(self) -> bool:
        """Whether it is another reading of a data set of the paper's, whose claims are counted there."""
        return self.printed != self.dataset


@dataclass(frozen=True)
class Listed:
    """What the list says of a cell: the digest of its record, or why there is none."""

    digest: str | None
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class TableManifest:
    """Which cells a table has. reference: the method that every row is tested against; "" for no tests."""

    protocols: list[str]
    datasets: list[Dataset]
    rows: list[Row]
    reference: str
    cells: dict[CellKey, Listed]

    def to_json(self) -> dict[str, Any]:
        """The document of `cells.json`."""
        names = ("protocol", "dataset", "method")
        return {
            "protocols": self.protocols,
            "datasets": [_document(dataset) for dataset in self.datasets],
            "rows": [_document(row) for row in self.rows],
            "reference": self.reference,
            "cells": [
                {**dict(zip(names, key, strict=True)), "cell": listed.digest, "missing": listed.missing}
                for key, listed in self.cells.items()
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The list of a document; what it does not know is passed over.

        Raises:
            KeyError, TypeError, AttributeError: the document lacks a field, or one is of another kind.
            BenchError: it names a cell twice.
        """
        cells: dict[CellKey, Listed] = {}
        for cell in document["cells"]:
            key = cell["protocol"], cell["dataset"], cell["method"]
            if key in cells:
                raise BenchError(
                    f"names the cell {'/'.join(key)} twice; keep one entry per protocol, data set and method"
                )
            cells[key] = Listed(cell["cell"], cell.get("missing"))
        return cls(
            protocols=list(document["protocols"]),
            datasets=[_entry(Dataset, entry) for entry in document["datasets"]],
            rows=[_entry(Row, entry) for entry in document["rows"]],
            reference=document.get("reference", ""),
            cells=cells,
        )

    def write(self, folder: Path) -> Path:
        """Writes `cells.json` into a folder, whole or not at all.

        Raises:
            BenchError: it cannot be written.
        """
        return write_text(folder / FILE, json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the `cells.json` of a folder.

        Raises:
            BenchError: it is absent, not JSON, lacks a field or names a cell twice.
        """
        file = folder / FILE
        theirs = folder.name == PUBLISHED_FOLDER
        if not file.exists():
            writer = way_out(folder) if theirs else "`make table1` writes it"
            raise BenchError(f"{file} does not exist; {writer}.")
        try:
            text = text_of(file)
        except BenchError as error:
            raise BenchError(f"{str(error).removesuffix('.')}; {way_out(folder)}.") from error
        try:
            return cls.from_json(json.loads(text))
        except BenchError as error:
            raise BenchError(f"{file} {error}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(
                f"{file} is not a list of the table's cells ({_fault(error)}); {way_out(folder)}."
            ) from error

    def beside(self, published: TableManifest) -> TableManifest:
        """The published table with the rows and columns of this one entered; `cells` stay those of this one.

        What is in both is described as here. New rows and columns come last.
        """
        rows = {row.method: row for row in (*published.rows, *self.rows)}
        datasets = {dataset.dataset: dataset for dataset in (*published.datasets, *self.datasets)}
        return TableManifest(
            protocols=list(dict.fromkeys([*published.protocols, *self.protocols])),
            datasets=list(datasets.values()),
            rows=list(rows.values()),
            reference=self.reference or published.reference,
            cells=self.cells,
        )


def way_out(folder: Path) -> str:
    """What to do where a file of a table's folder is damaged."""
    if folder.name == PUBLISHED_FOLDER:
        return f"`git checkout {folder}` brings the published ones back"
    return f"move {folder} out of the way, and `make table1` writes it anew from the records"


def _fault(error: Exception) -> str:
    """What is wrong with a document, without Python's names."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} is no JSON"
    return f"it lacks {error}" if isinstance(error, KeyError) else "a field is of another kind"


def _document(entry: Row | Dataset) -> dict[str, Any]:
    return {each.name: getattr(entry, each.name) for each in fields(entry)}


_Entry = TypeVar("_Entry", Row, Dataset)


def _entry(kind: type[_Entry], values: Mapping[str, Any]) -> _Entry:
    wanted = [each.name for each in fields(kind) if each.name in values or each.default is MISSING]
    return kind(**{name: values[name] for name in wanted})
