"""The points that a sweep tried: `results/sweep/PROTOCOL/DATASET/METHOD.csv`, written and read here alone.

One line for each training (a point × a seed), its hyper-parameters in columns of their own between `stage`
and `seed`. The finalists, which are the points with most seeds, have their test metrics behind the rest: no
rule of selection has seen them (`Retuned`). Needs neither torch nor data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.files import csv_text, read_csv, write_text
from bench.records.metric import METRICS
from bench.records.record import Record

BEFORE = ("stage",)
AFTER = ("seed", "validation_auc", "held_out_auc", "epoch", "seconds")
TEST_COLUMN = "test_"  # before a metric's name, in a column that not every file has
CRITERIA = {  # rule of selection → the number of a training that it averages
    "validation_held_out": "held_out_auc",
    "validation_auc": "validation_auc",
}
_WRITER = "python -m bench.tuned"

PointValues = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a sweep.

    point: values of the hyper-parameters in the order of `Points.names`. validation_auc: best of its curve.
    held_out_auc: without the optimism of the stop rule. Both are NaN where it diverged. epoch: of the kept
    parameters. seconds: of one core. test: its test metrics in the order of `Points.metrics`, NaN where it is
    no finalist's.
    """

    stage: str
    point: PointValues
    seed: int
    validation_auc: float
    held_out_auc: float
    epoch: float
    seconds: float
    test: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point with its trainings averaged. auc: mean over its seeds of what selects, NaN if one diverged."""

    values: PointValues
    auc: float
    seeds: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Finalists:
    """The points that a sweep's winner was chosen among: F of them, S seeds each.

    criterion: (F, S), what the rule of selection averages. test: metric → (F, S).
    """

    values: list[PointValues]
    criterion: NDArray[np.float64]
    test: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Points:
    """What one sweep tried. names: the hyper-parameters. metrics: those of the finalists on the test set, as
    the protocol counts users without a positive; none in files of an earlier version."""

    names: tuple[str, ...]
    trainings: tuple[Training, ...]
    metrics: tuple[str, ...] = ()

    # --- Averages ---

    def points(self, criterion: str = "held_out_auc") -> list[Point]:
        """Every point once, in the order of trying, averaged over its seeds."""
        groups: dict[PointValues, list[Training]] = {}
        for training in self.trainings:
            groups.setdefault(training.point, []).append(training)
        return [
            Point(
                values=values,
                auc=float(np.mean([getattr(training, criterion) for training in group])),
                seeds=len({training.seed for training in group}),
                stages=tuple(dict.fromkeys(training.stage for training in group)),
            )
            for values, group in groups.items()
        ]

    def ranked(self, criterion: str = "held_out_auc") -> list[Point]:
        """From best to worst, as the sweep ranks: those of the most seeds first, without the diverged."""
        whole = [point for point in self.points(criterion) if math.isfinite(point.auc)]
        return sorted(whole, key=lambda point: (-point.seeds, -point.auc))

    def finalists(self, criterion: str = "held_out_auc") -> Finalists | None:
        """The points with most seeds whose every training has its numbers, in the order of trying.

        None where the test metrics were not kept, or where there are fewer than two such points.
        """
        groups: dict[PointValues, dict[int, Training]] = {}
        for training in self.trainings:
            groups.setdefault(training.point, {})[training.seed] = training
        most = max((len(group) for group in groups.values()), default=0)
        whole = {
            values: [group[seed] for seed in sorted(group)]
            for values, group in groups.items()
            if len(group) == most
            and all(np.isfinite([getattr(each, criterion), *each.test]).all() for each in group.values())
        }
        if not self.metrics or len(whole) < 2:
            return None
        return Finalists(
            list(whole),
            np.array([[getattr(each, criterion) for each in group] for group in whole.values()]),
            {
                name: np.array([[each.test[place] for each in group] for group in whole.values()])
                for place, name in enumerate(self.metrics)
            },
        )

    def by_value(self, name: str, criterion: str = "held_out_auc") -> dict[Any, list[Point]]:
        """The points by the value of one hyper-parameter, in the values' order, without the diverged."""
        place = self.names.index(name)
        groups: dict[Any, list[Point]] = {}
        for point in self.points(criterion):
            if math.isfinite(point.auc):
                groups.setdefault(point.values[place], []).append(point)
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in groups)
        return {value: groups[value] for value in sorted(groups, key=None if numeric else str)}

    def stages(self) -> dict[str, tuple[int, int]]:
        """Stage → points and seeds of each, in the order of the sweep."""
        found: dict[str, tuple[set[PointValues], int]] = {}
        for training in self.trainings:
            points, seeds = found.get(training.stage, (set(), 0))
            found[training.stage] = points | {training.point}, max(seeds, training.seed + 1)
        return {stage: (len(points), seeds) for stage, (points, seeds) in found.items()}

    def values(self, name: str) -> set[Any]:
        """The values that a hyper-parameter took; none where it was not swept."""
        if name not in self.names:
            return set()
        place = self.names.index(name)
        return {training.point[place] for training in self.trainings}

    @property
    def seconds(self) -> float:
        """Of one core, all trainings together."""
        return sum(training.seconds for training in self.trainings)

    # --- From a record ---

    @classmethod
    def of_record(cls, record: Record) -> Points:
        """The points of a swept record; none of one that was not swept.

        Raises:
            BenchError: see `Record.arrays`.
        """
        names = tuple(record.grid)
        if not names or not record.plan:
            return cls((), ())
        arrays = record.arrays()
        rule = record.protocol["no_positive"]
        tests = {
            name: arrays[key]
            for name, metric in METRICS.items()
            if (key := f"trial_test_{name}_{rule}" if metric.at_k else f"trial_test_{name}") in arrays
        }
        trainings = []
        for number, place in enumerate(arrays["trial_point"]):
            point = record.tried[place].point
            batch_size = point.get("batch_size", record.method["batch_size"])
            steps_per_epoch = -(-record.counts["biased"] // batch_size)
            trainings.append(
                Training(
                    stage=record.plan[arrays["trial_stage"][number]].name,
                    point=tuple(point[name] for name in names),
                    seed=int(arrays["trial_seed"][number]),
                    validation_auc=float(arrays["trial_auc"][number]),
                    held_out_auc=float(arrays["trial_held_out"][number]),
                    epoch=float(arrays["trial_step"][number] / steps_per_epoch),
                    seconds=float(arrays["trial_seconds"][number]),
                    test=tuple(float(values[number]) for values in tests.values()),
                )
            )
        return cls(names, tuple(trainings), tuple(tests))

    # --- The file ---

    def text(self) -> str:
        """The CSV file."""
        rows = (
            [
                each.stage,
                *map(value_text, each.point),
                str(each.seed),
                _fixed(each.validation_auc, 6),
                _fixed(each.held_out_auc, 6),
                _fixed(each.epoch, 2),
                _fixed(each.seconds, 2),
                *(_fixed(value, 6) for value in each.test),
            ]
            for each in self.trainings
        )
        return csv_text([*BEFORE, *self.names, *AFTER, *(TEST_COLUMN + name for name in self.metrics)], rows)

    def write(self, file: Path) -> Path:
        """Writes the CSV file whole or not at all.

        Raises:
            BenchError: it cannot be written.
        """
        return write_text(file, self.text())

    @classmethod
    def read(cls, file: Path) -> Points:
        """The points of a CSV file, which a process parses once as long as the file stays as it is.

        Raises:
            BenchError: it cannot be read, or is not as it was written.
        """
        try:
            state = file.stat()
        except OSError:
            return cls._parsed(file)  # which says what is wrong
        return cls._once(file.absolute(), (state.st_ino, state.st_mtime_ns, state.st_size))

    @classmethod
    @lru_cache(maxsize=512)
    def _once(cls, file: Path, state: tuple[int, ...]) -> Points:
        """`state` changes with the file: each version of it is parsed once."""
        return cls._parsed(file)

    @classmethod
    def _parsed(cls, file: Path) -> Points:
        rows = read_csv(file, (*BEFORE, *AFTER), _WRITER)
        if not rows:
            raise BenchError(f"{file} lists no training, as `{_WRITER}` never writes it.")
        header = list(rows[0])
        metrics = tuple(name for name in METRICS if TEST_COLUMN + name in header)
        behind = [*AFTER, *(TEST_COLUMN + name for name in metrics)]
        names = header[len(BEFORE) : -len(behind)]
        if header != [*BEFORE, *names, *behind] or not names:
            raise BenchError(f"{file} is not as `{_WRITER}` writes it: its columns are {', '.join(header)}.")
        trainings = []
        for line, row in enumerate(rows, 2):
            try:
                trainings.append(
                    Training(
                        stage=row["stage"],
                        point=tuple(typed(row[name]) for name in names),
                        seed=int(row["seed"]),
                        validation_auc=_number(row["validation_auc"]),
                        held_out_auc=_number(row["held_out_auc"]),
                        epoch=float(row["epoch"]),
                        seconds=float(row["seconds"]),
                        test=tuple(_number(row[TEST_COLUMN + name]) for name in metrics),
                    )
                )
            except ValueError as error:
                raise BenchError(
                    f"{file}, line {line}, is not as `{_WRITER}` writes it ({error})."
                ) from error
        return cls(tuple(names), tuple(trainings), metrics)


def read_folder(folder: Path) -> dict[str, Points]:
    """Method → points of the sweeps in a folder (`results/sweep/PROTOCOL/DATASET`), sorted.

    Raises:
        BenchError: a file is not as it was written.
    """
    return {file.stem: Points.read(file) for file in sorted(folder.glob("*.csv"))}


def sweep_file(sweeps: Path, cell: tuple[str, str, str], command: str = "") -> Path | None:
    """The file of the sweep that chose a cell's only point; None where it is not there.

    Args:
        sweeps: folder of the sweeps' files.
        cell: protocol, data set and method.
        command: of the cell. It names the sweep (`+tuned=table/coat/mf`), which may be another protocol's;
            where it names none, the cell's own protocol comes first.
    """
    protocol, dataset, method = cell
    named = re.search(r"\+tuned=([\w./-]+)", command)
    protocols = dict.fromkeys([protocol, "table", "text"])
    places = [named[1]] if named else [f"{each}/{dataset}/{method}" for each in protocols]
    files = (sweeps / f"{place}.csv" for place in places)
    return next((file for file in files if file.is_file()), None)


def value_text(value: Any) -> str:
    """A value of a hyper-parameter as text that YAML, CSV and a command line read back the same."""
    # YAML reads 1e-05 as a string; a float with a point it reads as a number.
    if isinstance(value, float):
        return f"{value:.12f}".rstrip("0").rstrip(".") or "0"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=4096)
def typed(text: str) -> Any:
    """The value that `value_text` wrote."""
    words = {"true": True, "false": False, "True": True, "False": False, "null": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _number(text: str) -> float:
    return float(text) if text else math.nan


def plans_in_words(sweeps: Mapping[str, Points]) -> str:
    """The same of sweeps by several plans, as in a table of two editions: with the rows that each tuned.

    Args:
        sweeps: title of a row → its sweep.
    """
    plans: list[tuple[set[str], dict[str, Points]]] = []
    # A row without parameters of its own lacks their stage: it belongs to those that have it.
    for title, points in sorted(sweeps.items(), key=lambda item: -len(item[1].stages())):
        stages = set(points.stages())
        rows = next((rows for known, rows in plans if stages <= known), None)
        if rows is None:
            rows = {}
            plans.append((stages, rows))
        rows[title] = points
    if len(plans) == 1:
        return stages_in_words(list(sweeps.values()))
    plans.sort(key=lambda plan: len(plan[1]))
    return " | ".join(
        f"{', '.join(title for title in sweeps if title in rows)}: {stages_in_words(list(rows.values()))}"
        for _, rows in plans
    )


def stages_in_words(sweeps: Sequence[Points]) -> str:
    """The stages of a data set's sweeps; "" without any.

    As in `rates 16 × 3, own 8 × 3; 72 trainings; embedding sizes 16`: points of a row × seeds of each point,
    and the trainings of a row.
    """
    sizes: dict[str, list[int]] = {}
    seeds: dict[str, int] = {}
    for points in sweeps:
        for stage, (size, n) in points.stages().items():
            sizes.setdefault(stage, []).append(size)
            seeds[stage] = max(seeds.get(stage, 0), n)
    if not sizes:
        return ""
    stages = ", ".join(f"{stage} {_from_to(found)} × {seeds[stage]}" for stage, found in sizes.items())
    stages += f"; {_from_to([len(points.trainings) for points in sweeps])} trainings"
    embeddings = sorted(set().union(*(points.values("embedding_size") for points in sweeps)))
    return stages + (f"; embedding sizes {', '.join(map(str, embeddings))}" if embeddings else "")


def _from_to(numbers: Sequence[int]) -> str:
    """The smallest and the largest, `2–3`, or the one number that all are."""
    return "–".join(map(str, dict.fromkeys((min(numbers), max(numbers)))))
