"""What a study leaves behind: three CSV files, written and read here alone. Needs neither torch nor data.

NAME.csv              every test value: group, variant, method, metric, seed
NAME_variants.csv     points, validation AUC, what was selected, the command, commit and seconds
NAME_comparisons.csv  paired differences: median, interval, exact Wilcoxon test, Holm within metric and base
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from bench.errors import BenchError
from bench.files import read_csv, write_csv

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A test value of one seed of a variant."""

    group: str
    variant: str
    method: str
    metric: str
    seed: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A variant's chosen point.

    points: tried. validation_auc: mean over seeds of the best of the curve. held_out_auc: by which it was
    chosen, None where another rule chose. alpha_mean: unlearning rate, mean over seeds and users, None of a
    method without one. selected: hyper-parameters. training_seconds: of all trainings.
    """

    group: str
    variant: str
    title: str
    method: str
    points: int
    validation_auc: float
    held_out_auc: float | None
    alpha_mean: float | None
    selected: dict[str, Any]
    training_seconds: float
    commit: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A variant beside another of its group, n seeds paired; median and its interval of the differences."""

    group: str
    variant: str
    against: str
    metric: str
    n: int
    median: float
    low: float
    high: float
    p_value: float
    p_holm: float


_WRITER = "python -m bench.study"

_Row = TypeVar("_Row", bound="DataclassInstance")

# A field's type → how its text is read.
_KINDS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda text: float(text) if text else None,
    "int | None": lambda text: int(text) if text else None,
    "dict[str, Any]": json.loads,
}


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The three files' rows."""

    scores: Sequence[Scored]
    variants: Sequence[Chosen]
    differences: Sequence[Difference]

    def write(self, folder: Path, name: str) -> None:
        """Writes a study's files, each whole or not at all.

        Raises:
            BenchError: one cannot be written.
        """
        scores, variants, differences = _places(folder, name)
        write_rows(scores, Scored, self.scores)
        write_rows(variants, Chosen, self.variants)
        write_rows(differences, Difference, self.differences)

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """Reads a study's files.

        Raises:
            BenchError: one is absent or not as it was written.
        """
        scores, variants, differences = _places(folder, name)
        return cls(
            scores=read_rows(scores, Scored, _WRITER),
            variants=read_rows(variants, Chosen, _WRITER),
            differences=read_rows(differences, Difference, _WRITER),
        )


def _places(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / f"{name}.csv", folder / f"{name}_variants.csv", folder / f"{name}_comparisons.csv"


def _header(kind: type[_Row]) -> list[str]:
    return [each.name for each in dataclasses.fields(kind)]


def write_rows(file: Path, kind: type[_Row], rows: Sequence[_Row]) -> Path:
    """Writes a CSV file of dataclasses, a column for each field, whole or not at all; returns it.

    Raises:
        BenchError: it cannot be written.
    """
    names = _header(kind)
    return write_csv(file, names, ([_text(getattr(row, name)) for name in names] for row in rows))


def _text(value: Any) -> str:
    """A value as CSV has it: numbers to six digits, what is absent as nothing."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_rows(file: Path, kind: type[_Row], writer: str) -> tuple[_Row, ...]:
    """Reads what `write_rows` wrote; writer is the command, for the error's sentence.

    Raises:
        BenchError: the file is absent or not as it was written.
    """
    found = []
    for line, row in enumerate(read_csv(file, _header(kind), writer), 2):
        try:
            values = {each.name: _KINDS[str(each.type)](row[each.name]) for each in dataclasses.fields(kind)}
        except ValueError as error:
            raise BenchError(f"{file}, line {line}, is not as `{writer}` writes it ({error}).") from error
        found.append(kind(**values))
    return tuple(found)
