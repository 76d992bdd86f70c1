"""Compares two tables, line by line, and the seeds and costs behind them. Prints nothing.

A mean that is worse than the baseline's by more than max(floor, 2 × the baseline's standard error over its
seeds) is a regression, and so is one that is gone. The floors stand in `bench/records/metric.py`. Needs
neither torch nor data.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.errors import BenchError
from bench.gate.tables import (
    CellName,
    Cost,
    LineKey,
    Mean,
    SeedValues,
    cost_file,
    read_costs,
    read_seeds,
    read_table,
    seeds_file,
)
from bench.records.metric import METRICS

_STANDARD_ERRORS = 2.0

# A cell's cost is worth a warning from this ratio on, if it also grew by this much.
TIME_RATIO, TIME_SECONDS = 2.0, 5.0
MEMORY_RATIO, MEMORY_MIB = 1.5, 100.0

_Place = tuple[str, str]  # protocol, data set


@dataclass(frozen=True)
class Change:
    """A line of either table.

    tolerance: of |new - old|, 0 where one of them is absent.
    verdict: same | within (the tolerance) | shifted (most seeds have, the mean stayed within) | worse |
        better | gone | new
    """

    key: LineKey
    old: float | None
    new: float | None
    tolerance: float
    verdict: str

    @property
    def path(self) -> str:
        """The cell."""
        return "/".join(self.key[:3])

    @property
    def metric(self) -> str:
        """The metric with its cut-off and its rule for users without a positive, `ndcg@5/skip`."""
        _, _, _, metric, k, no_positive = self.key
        return metric + (f"@{k}" if k else "") + (f"/{no_positive}" if no_positive else "")

    @property
    def difference(self) -> float | None:
        """New minus old."""
        return None if self.old is None or self.new is None else self.new - self.old

    @property
    def size(self) -> float:
        """How many tolerances it has moved; a line that is gone comes before all."""
        if self.difference is None:
            return math.inf
        return abs(self.difference) / self.tolerance


@dataclass(frozen=True)
class Comparison:
    """Every line of both tables, the worst first, and what else is to be said.

    strict: as `--strict` has it. missing: what the baseline has and the new table lacks as a whole, one
    sentence each. allow_missing: whether that was meant. notes: what else was not compared. warnings: of
    costs.
    """

    changes: list[Change]
    strict: bool
    missing: list[str] = field(default_factory=list)
    allow_missing: bool = False
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def failing(self) -> list[Change]:
        """The regressions, the worst first."""
        wrong = ("worse", "gone", "better", "shifted") if self.strict else ("worse", "gone")
        return [change for change in self.changes if change.verdict in wrong]

    @property
    def fails(self) -> bool:
        """Whether the gate does: on a regression, and on what is missing without being allowed to."""
        return bool(self.failing) or (bool(self.missing) and not self.allow_missing)

    @property
    def shown(self) -> list[Change]:
        """The lines that did not stay within their tolerance."""
        return [change for change in self.changes if change.verdict not in ("same", "within")]

    @property
    def sentence(self) -> str:
        """The outcome in a sentence or two."""
        n = Counter(change.verdict for change in self.changes)
        compared = sum(n.values()) - n["gone"] - n["new"]
        moved = n["within"] + n["shifted"] + n["worse"] + n["better"]
        text = (
            f"{compared} lines compared: {moved} moved, {n['worse']} of them for the worse and {n['better']} "
            "for the better by more than their tolerance"
        )
        text += f"; {n['shifted']} shifted in most seeds" if n["shifted"] else ""
        text += f"; {n['gone']} are gone" if n["gone"] else ""
        text += f"; {n['new']} are new" if n["new"] else ""
        if self.missing:
            named = f"{len(self.missing)} of the baseline's data sets and protocols "
            text += f"; {named}{'was' if len(self.missing) == 1 else 'were'} not compared"
        return text + (". The gate fails." if self.fails else ". The gate passes.")


def compare(
    old: dict[LineKey, Mean | None],
    new: dict[LineKey, Mean | None],
    strict: bool = False,
    seeds: tuple[SeedValues, SeedValues] = ({}, {}),
    allow_missing: bool = False,
) -> Comparison:
    """Compares two tables, and the seeds behind them where both are known.

    A data set without a single number in one of the tables was not measured there (its files are absent on
    that machine, for instance): its lines are not called gone or new. Where it is the new table that lacks
    it, it is missing, and the gate fails unless `allow_missing`: what compared nothing must not look green.

    Raises:
        BenchError: they have no line in common.
    """
    known, measured = (_measured(table) for table in (old, new))
    changes = []
    for key in [*old, *(key for key in new if key not in old)]:
        before, after = old.get(key), new.get(key)
        if (before or after) and key[:2] in known and key[:2] in measured:
            change = _change(key, before, after)
            if change.verdict in ("same", "within") and _shifted(key, seeds):
                change = replace(change, verdict="shifted")
            changes.append(change)
    if not any(change.difference is not None for change in changes):
        raise BenchError("The two tables have no line in common, so there is nothing to compare.")
    missing = [f"{'/'.join(place)} is not compared: it has no numbers here." for place in known - measured]
    notes = [f"{'/'.join(place)} is not compared: the baseline lacks it." for place in measured - known]
    order = {"gone": 0, "worse": 0, "better": 1, "shifted": 1, "new": 2}
    changes.sort(key=lambda each: (order.get(each.verdict, 3), -each.size))
    return Comparison(changes, strict, sorted(missing), allow_missing, sorted(notes))


def _measured(table: dict[LineKey, Mean | None]) -> set[_Place]:
    return {key[:2] for key, value in table.items() if value is not None}


def _change(key: LineKey, before: Mean | None, after: Mean | None) -> Change:
    if before is None:
        return Change(key, None, None if after is None else after.value, 0.0, "new")
    if after is None:
        return Change(key, before.value, None, 0.0, "gone")
    metric = METRICS[key[3]]
    # Of the baseline alone: a cell that falls apart must not widen its own tolerance.
    tolerance = max(metric.gate_floor, _STANDARD_ERRORS * before.error)
    difference = after.value - before.value
    if difference == 0:
        verdict = "same"
    elif abs(difference) <= tolerance * (1 + 1e-9):  # as much as the tolerance is within it
        verdict = "within"
    else:
        verdict = "better" if (difference > 0) == metric.more_is_better else "worse"
    return Change(key, before.value, after.value, tolerance, verdict)


def _shifted(key: LineKey, seeds: tuple[SeedValues, SeedValues]) -> bool:
    """Whether more than half of the seeds that both runs have moved by more than rounding."""
    before, after = (each.get((*key[:4], key[5]), {}) for each in seeds)
    moved = [abs(after[seed] - before[seed]) > METRICS[key[3]].seed_floor for seed in before if seed in after]
    return 2 * sum(moved) > len(moved)


def cost_warnings(old: dict[CellName, Cost], new: dict[CellName, Cost]) -> list[str]:
    """Sentences about cells that take much more time or memory than they did.

    Machines differ in speed, so a cell's time is set against the median of all.
    """
    both = [("/".join(cell), old[cell], new[cell]) for cell in old if cell in new]
    if not both:
        return []
    ratios = [after.cpu_seconds / before.cpu_seconds for _, before, after in both if before.cpu_seconds > 0]
    speed = statistics.median(ratios) if ratios else 1.0
    found = []
    for cell, before, after in both:
        expected = before.cpu_seconds * speed
        if after.cpu_seconds > max(TIME_RATIO * expected, expected + TIME_SECONDS):
            found.append(
                f"{cell} took {after.cpu_seconds:.1f} s of the processor, before {before.cpu_seconds:.1f} s "
                f"({expected:.1f} s at this machine's speed)."
            )
        least = max(MEMORY_RATIO * before.peak_memory_mib, before.peak_memory_mib + MEMORY_MIB)
        if after.peak_memory_mib > least:
            found.append(
                f"{cell} needed {after.peak_memory_mib:.0f} MiB, before {before.peak_memory_mib:.0f} MiB."
            )
    if speed > TIME_RATIO:
        found.append(
            f"The cells took {speed:.1f} times the baseline's time in the median: this machine is slower, or "
            "the suite is."
        )
    return found


def compare_files(
    baseline: Path,
    new: Path,
    strict: bool = False,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    allow_missing: bool = False,
) -> Comparison:
    """Compares two tables with what stands beside both of them (the seeds only where it is strict).

    Args:
        methods, datasets: the rows and data sets to compare; all, where none is named.
        allow_missing: see `compare`.

    Raises:
        BenchError: a file cannot be read, or they have no line in common.
    """
    tables = (baseline, new)
    seeds: tuple[SeedValues, SeedValues] = ({}, {})
    if strict and all(seeds_file(table).exists() for table in tables):
        seeds = (read_seeds(seeds_file(baseline)), read_seeds(seeds_file(new)))
    old, now = (
        {
            key: value
            for key, value in read_table(table).items()
            if (not methods or key[2] in methods) and (not datasets or key[1] in datasets)
        }
        for table in tables
    )
    found = compare(old, now, strict, seeds, allow_missing)
    if all(cost_file(table).exists() for table in tables):
        found.warnings.extend(cost_warnings(*(read_costs(cost_file(table)) for table in tables)))
    return found
