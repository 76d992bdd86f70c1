"""Everything that the page knows of one cell beside its place in the table: record, traces, points, command.

Needs neither torch nor data.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.command.progress import died_out
from bench.records import store
from bench.records.points import CRITERIA, Point, Points, sweep_file
from bench.records.record import Record, read_record
from bench.report.choices import protocol_called
from bench.report.traces import Traces, read_traces, traces_of
from bench.table.frame import Frame
from bench.table.lines import Line
from bench.table.manifest import OWN_FOLDER, PUBLISHED_FOLDER

_HELD_OUT = "held_out_auc"
CRITERION_TITLES = {_HELD_OUT: "held-out validation AUC", "validation_auc": "validation AUC"}


@dataclass(frozen=True, kw_only=True)
class CellDetails:
    """One cell.

    line: its AUC in the table. record: None where it is not in the store. points: of the sweep that chose
    its hyper-parameters; without any of a cell that no sweep chose. criterion: what they are averaged and
    ranked by (`bench.records.points.CRITERIA`).
    """

    line: Line
    record: Record | None
    traces: Traces
    points: Points
    criterion: str = _HELD_OUT

    @property
    def digest(self) -> str:
        """Names the cell's record, and the cell on the page."""
        return self.line.cell.digest

    @property
    def title(self) -> str:
        """Method, data set and protocol."""
        return f"{self.line.row.title} on {self.line.dataset.title}, {protocol_called(self.line.protocol)}"

    @property
    def tried(self) -> list[Point]:
        """The points tried, from best to worst as the sweep ranks them, without the diverged."""
        return self.points.ranked(self.criterion)


def read_cells(frame: Frame, results: Path, *, published: bool = False) -> list[CellDetails]:
    """Every cell of a table that has values, in its order, each record read once.

    What is drawn of records that are not in the store comes from the files beside the table, then from those
    beside the published one.

    Args:
        results: folder of the store, of the tables and of the sweeps' points.
        published: the frame is that of the published table, not one's own.

    Raises:
        BenchError: a record is damaged, or a file is not as it was written.
    """
    lines: dict[str, Line] = {}
    for line in frame.lines:
        if line.cell.digest and line.metric == "auc":
            lines.setdefault(line.cell.digest, line)
    kept = read_traces(results / PUBLISHED_FOLDER)
    if not published:
        kept |= read_traces(results / OWN_FOLDER)
    return [read_cell_details(line, results, kept.get(digest)) for digest, line in lines.items()]


def read_cell_details(line: Line, results: Path, kept: Traces | None = None) -> CellDetails:
    """A cell; `kept`: traces for a cell without a record.

    Raises:
        BenchError: see `read_cells`.
    """
    try:
        record = read_record(results / "runs", line.cell.digest)
    except store.NoRecord:
        found = swept_points(results / "sweep", line)
        return CellDetails(line=line, record=None, traces=kept or Traces(), points=found)
    traces = traces_of(record.arrays(), record.seeds, record.validation)
    own = len(record.tried) > 1
    return CellDetails(
        line=line,
        record=record,
        traces=traces,
        points=Points.of_record(record) if own else swept_points(results / "sweep", line),
        criterion=CRITERIA.get(record.selection, _HELD_OUT) if own else _HELD_OUT,
    )


def swept_points(sweeps: Path, line: Line) -> Points:
    """The points of the sweep that chose a cell's only point; none where there is no such sweep.

    Raises:
        BenchError: the sweep's file is not as it was written.
    """
    if line.cell.points < 2 or line.sweeper:  # trials are records, and in no sweep's file
        return Points((), ())
    key = line.protocol, line.dataset.dataset, line.row.method
    file = sweep_file(sweeps, key, line.cell.provenance.get("command", ""))
    return Points((), ()) if file is None else Points.read(file)


# --- The command ----------------------------------------------------------------------------------------


def full_command(record: Record) -> str:
    """The command that makes a record, every field that determines its numbers spelt out.

    Data sets' and protocols' grids stay with the commit that the record's provenance names.
    """
    grid = record.grid
    groups = {"protocol": record.protocol, "dataset": record.dataset, "method": record.method}
    parts = [f"{group}={values['name']}" for group, values in groups.items()]
    parts.append("sweep=none")
    parts += [f"grid.{name}={_override(values)}" for name, values in grid.items()]
    parts += _fields("method", record.method, {"name", "title", *grid})
    parts += _fields("dataset", record.dataset, {"name", "title"})
    parts += _fields("protocol", record.protocol, {"name"})
    parts += _fields("engine", record.engine, {"device", "threads", "memory_gib"})
    parts += [f"seeds={len(record.seeds)}", f"selection={record.selection}"]
    if len(record.tried) == 1 and record.points > 1:
        parts.append(f"tuned_points={record.points}")
    return "python -m bench " + " ".join(shlex.quote(part) for part in parts)


def _fields(group: str, values: Mapping[str, Any], skipped: set[str]) -> list[str]:
    return [
        f"{group}.{name}={_override(value)}"
        for name, value in values.items()
        if name not in skipped and not isinstance(value, dict)
    ]


def _override(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_override, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


# --- The window -----------------------------------------------------------------------------------------


def window(cell: CellDetails) -> dict[str, Any]:
    """What a cell's window shows beside its curves and points, as the page's script reads it."""
    if cell.record is None:
        return {
            "title": cell.title,
            "origin": cell.line.cell.origin,
            "missing": "absent",
            "command": cell.line.cell.provenance.get("command", ""),
            "provenance": {k: v for k, v in cell.line.cell.provenance.items() if v and k != "command"},
        }
    record = cell.record
    tests = {name: list(record.metric(name).values()) for name in record.metrics}
    validation = record.validation
    columns: dict[str, Sequence[float]] = {
        "seed": record.seeds,
        "validation_auc": validation.auc,
        "step": validation.step,
        **tests,
    }
    provenance = {k: v for k, v in dataclasses.asdict(record.provenance).items() if v and k != "command"}
    return {
        "title": cell.title,
        "origin": cell.line.cell.origin,
        "command": record.provenance.command or full_command(record),
        "configuration": {
            "method": _plain_fields(record.method),
            "dataset": _plain_fields(record.dataset),
            "protocol": record.protocol,
            "engine": record.engine,
        },
        "warnings": died_out(record),
        "selection": record.selection,
        "seeds": {name: [_rounded(value) for value in values] for name, values in columns.items()},
        "diagnostics": {name: _rounded(_mean(values)) for name, values in record.diagnostics.items()},
        "data": {"source": record.source, **record.counts, **record.notes},
        "provenance": provenance | {"diverged_members": len(record.diverged)},
    }


def tuning_of(cell: CellDetails) -> dict[str, Any]:
    """What a cell's window shows of its validation and of its spread over re-tunings, where it is known."""
    found: dict[str, Any] = {}
    of_cell, known = cell.line.cell, cell.line.cell.retuned
    if of_cell.held_out is not None:
        found["held_out_validation_auc"] = _rounded(of_cell.held_out)
    if known is not None:
        found |= {f"sd_of_mean_{name}": _rounded(value) for name, value in known.std.items()}
        found |= {"finalists": known.finalists, "seeds": known.seeds, "resamples": known.resamples}
    return {"tuning": found} if found else {}


def _plain_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration but for its name and its lists of values to try."""
    return {k: v for k, v in values.items() if k not in ("name", "title") and not isinstance(v, dict)}


def _mean(values: Sequence[float | None]) -> float:
    """Of the numbers among them; NaN where there are none."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else math.nan


def _rounded(value: float | None) -> float | None:
    """Whole numbers as they are, others to four decimals, what is no number as null."""
    if value is None or isinstance(value, int):
        return value
    return round(float(value), 4) if math.isfinite(value) else None
