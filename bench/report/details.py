"""What the page shows of one record: its curves, its sweep, its command, its provenance.

Needs neither torch nor data.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.records import store
from bench.report.svg import thinned
from bench.table.lines import Line

Floats = NDArray[np.float64]

_CURVE = 40  # points that are kept of a validation curve
_TRIED = 60  # points of the sweep that a cell's record shows, the best first


@dataclass(frozen=True)
class Details:
    """What the page shows of one record beside its place in the table.

    curve_steps: (E,) steps before each evaluation. curves: (S, E) validation AUC, NaN after the end.
    users: name → (S, U) what the method says about every user.
    """

    record: dict[str, Any]
    curve_steps: Floats
    curves: Floats
    users: dict[str, Floats]


@dataclass(frozen=True)
class Sweep:
    """The points that one cell tried. names: of the hyper-parameters; points: values and validation AUC."""

    names: list[str]
    points: list[tuple[list[Any], float]]


def details(runs: Path, digest: str) -> Details | None:
    """Of a record, or None where it is not in the store.

    Raises:
        BenchError: it is damaged.
    """
    try:
        record, arrays = store.read(runs, digest), store.read_arrays(runs, digest)
    except store.NoRecord:
        return None
    curves = np.asarray(arrays.get("curve", np.zeros((0, 0))), float)
    steps = np.asarray(arrays.get("curve_steps", np.zeros(0)), float)
    kept = thinned(min(curves.shape[-1], len(steps)), _CURVE)
    users = {
        name.removeprefix("user_"): np.asarray(values, float)
        for name, values in arrays.items()
        if name.startswith("user_")
    }
    return Details(record, steps[kept], curves[:, kept] if curves.size else np.zeros((0, 0)), users)


def sweep(results: Path, line: Line, found: Details | None) -> Sweep | None:
    """The points tried: those of the record, or of the sweep that chose its only point.

    Raises:
        BenchError: the sweep's file cannot be read.
    """
    tried = [] if found is None else found.record.get("tried", [])
    if len(tried) > 1:
        # A later stage of a sweep may vary other hyper-parameters than the first.
        names = list(dict.fromkeys(name for each in tried for name in each["point"]))
        points = [
            ([_single(each["point"].get(name)) for name in names], float(each["validation_auc"]))
            for each in tried
            if each["validation_auc"] is not None
        ]
        return Sweep(names, points)
    protocols = dict.fromkeys([line.protocol, "table", "text"])  # a cell may borrow its point
    places = [results / "sweep" / p / line.dataset.dataset / f"{line.row.method}.csv" for p in protocols]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            names = [name for name in reader.fieldnames or [] if name not in ("seeds", "validation_auc")]
            points = [
                ([_typed(row[name]) for name in names], float(row["validation_auc"]))
                for row in reader
                if row["validation_auc"]
            ]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(f"{file} is not a list of tried points ({error!r}).") from error
    return Sweep(names, points)


def _single(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _typed(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def command(record: Mapping[str, Any]) -> str:
    """The command that makes a record, every field that determines its numbers spelt out.

    Data sets' and protocols' grids stay with the commit that the record's provenance names.
    """
    grid = record["grid"]
    parts = [f"{group}={record[group]['name']}" for group in ("protocol", "dataset", "method")]
    parts.append("sweep=none")
    parts += [f"grid.{name}={_override(values)}" for name, values in grid.items()]
    for group, skipped in (("method", {"name", "title", *grid}), ("dataset", {"name", "title"})):
        parts += _fields(group, record[group], skipped)
    parts += _fields("protocol", record["protocol"], {"name"})
    parts += _fields("engine", record["engine"], {"device", "threads", "memory_gib"})
    parts += [f"seeds={len(record['seeds'])}", f"selection={record['selection']}"]
    if len(record["tried"]) == 1 and record["points"] > 1:
        parts.append(f"tuned_points={record['points']}")
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


def shown(line: Line, found: Details, tried: Sweep | None) -> dict[str, Any]:
    """A record as the page's script shows it: title → value, in the order of the window."""
    record = found.record
    rule = record["protocol"]["no_positive"]
    tests = {
        name: [_rounded(x) for x in (column[rule] if isinstance(column, dict) else column)]
        for name, column in record["test"].items()
    }
    chosen = [
        {"seed": seed, "validation_auc": _rounded(auc), "step": step}
        | {name: values[place] for name, values in tests.items()}
        for place, (seed, auc, step) in enumerate(
            zip(record["seeds"], record["validation"]["auc"], record["validation"]["step"], strict=True)
        )
    ]
    points: dict[str, Any] = {}
    if tried is not None:
        best = sorted(tried.points, key=lambda each: -each[1])
        points = {
            "count": len(best),
            "names": [*tried.names, "validation_auc"],
            "rows": [[*values, _rounded(auc)] for values, auc in best[:_TRIED]],
        }
    return {
        "command": command(record),
        "configuration": {
            "method": {k: v for k, v in record["method"].items() if k not in ("name", "title")},
            "dataset": {k: v for k, v in record["dataset"].items() if not isinstance(v, dict)},
            "protocol": record["protocol"],
            "engine": record["engine"],
        },
        "selection": record["selection"],
        "seeds": chosen,
        "steps": [int(step) for step in found.curve_steps],
        "curves": [[_rounded(x) for x in curve] for curve in found.curves],
        "tried": points,
        "diagnostics": {
            name: _rounded(float(np.mean([v for v in values if v is not None] or [np.nan])))
            for name, values in record.get("diagnostics", {}).items()
        },
        "diverged": len(record.get("diverged", [])),
        "data": {"source": record["source"], **record.get("counts", {}), **record.get("notes", {})},
        "provenance": record.get("provenance", {}),
    }


def _rounded(value: Any) -> Any:
    """Numbers to four decimals, what is no number as null."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), 4)


# --- What page and plots draw -------------------------------------------------------------------------


def held(found: Details) -> Floats:
    """(S, E) the curves, a seed that has stopped counting with the value that it kept.

    Without it the mean over the seeds that are left would jump wherever a seed stops.
    """
    kept = np.array(found.record["validation"]["auc"], float)[:, None]
    return np.where(np.isnan(found.curves), kept, found.curves)


def by_value(tried: Sweep, place: int) -> dict[Any, list[float]]:
    """The validation AUC of the points tried by the value of one hyper-parameter, in the values' order."""
    groups: dict[Any, list[float]] = {}
    for values, auc in tried.points:
        groups.setdefault(values[place], []).append(auc)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in groups)
    return {value: groups[value] for value in (sorted(groups) if numeric else sorted(groups, key=str))}


def over_seeds(values: Floats) -> Floats:
    """The users' mean over seeds."""
    return np.asarray(np.nanmean(values, axis=0), float)


def statistics(found: Details) -> Iterator[tuple[str, str, Floats]]:
    """What a user is known for: (name, title, (U,) values with NaN where unknown)."""
    users = found.users
    if "n_observed" in users:
        yield "n_observed", "n_u, ratings of the user", over_seeds(users["n_observed"])
    if "unbiased_loss" in users:
        loss = users["unbiased_loss"]
        if "has_unbiased" in users:
            loss = np.where(users["has_unbiased"] > 0, loss, np.nan)
        known = np.isfinite(loss).any(axis=0)
        mean = np.full(loss.shape[-1], np.nan)
        mean[known] = np.nanmean(loss[:, known], axis=0)
        yield "unbiased_loss", "L_A(u), loss on the user's unbiased ratings", mean
    for name in ("scale", "shift"):
        if name in users and np.ptp(users[name]) > 0:
            words = {"scale": "s_u, learned scale", "shift": "b_u, learned shift"}
            yield name, words[name], over_seeds(users[name])
    kappa = _kappa(found.record)
    if kappa is not None:
        yield "kappa", "|κ_u|, true strength of selection", np.abs(kappa)


def _kappa(record: Mapping[str, Any]) -> Floats | None:
    """The users' true selection strength of generated data, generated anew; None of other data."""
    if record["dataset"]["name"] != "synthetic":
        return None
    from bench.data import synthetic  # needs NumPy alone, and only here

    fields = {k: v for k, v in record["dataset"].items() if k not in ("quick_grid", "shared_grid")}
    try:
        ratings = synthetic.load(synthetic.Config(**fields), Path())
    except (TypeError, BenchError):
        return None  # a record of another generator
    if ratings.truth is None or len(ratings.biased) != record.get("counts", {}).get("biased"):
        return None
    return np.asarray(ratings.truth.selection_strength, float)
