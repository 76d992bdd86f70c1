"""Which records are trials of another sweeper than the plan's (Hydra's Optuna sweeper), told and counted.

Such a sweeper tries as many points as its user lets it, each a record of its own. A row whose point it chose
has another budget than the rows of a plan, which nothing in its own configuration tells. Needs neither torch
nor data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records import store
from bench.records.record import Record, read_record

_MARK = ", a trial of "  # between a plan's name and the sweeper's


def trial_name(plan: str, sweeper: str) -> str:
    """What a trial's record has as the name of its sweep."""
    return f"{plan.partition(_MARK)[0]}{_MARK}{sweeper}"


def sweeper_of(sweep: str) -> str:
    """The sweeper whose trial a record is, by the name of its sweep; "" of a plan alone."""
    return sweep.partition(_MARK)[2]


@dataclass
class Trials:
    """The trials of one cell in a store. points: tried by them all. methods: configurations of the method."""

    sweeper: str = ""
    points: int = 0
    methods: list[dict[str, Any]] = field(default_factory=list)

    def chose(self, record: Record) -> bool:
        """Whether a record's point is one of theirs, and not of a sweep of its own."""
        return bool(sweeper_of(record.sweep)) or (record.points <= 1 and record.method in self.methods)


def read_trials(runs: Path) -> dict[tuple[str, str, str], Trials]:
    """The trials of a store, by protocol, data set and method; damaged records are passed over."""
    found: dict[tuple[str, str, str], Trials] = {}
    for digest in store.digests(runs):
        try:
            if _MARK.encode() not in (runs / digest / "record.json").read_bytes():
                continue
            record = read_record(runs, digest)
        except (OSError, BenchError):
            continue
        if not sweeper_of(record.sweep):
            continue
        trials = found.setdefault(record.cell, Trials(sweeper_of(record.sweep)))
        trials.points += record.points
        trials.methods.append(record.method)
    return found
