"""The gate: `python -m bench.gate BASELINE.csv NEW.csv [--md] [--json] [--all] [--strict]`.

Compares two tables of the form of `table1.csv`, line by line. A mean that is worse than the baseline's by
more than max(floor, 2 × the baseline's standard error over its seeds) is a regression, and so is one that
is gone.

With `--strict`, which is for two runs of the same profile, two more changes fail. What is *better* by more
than the tolerance: a leak of the test ratings into training looks like an improvement, and an honest one
belongs into the baseline. And what has *shifted*: where the spread of the seeds hides a fault, most seeds
have moved all the same, while another processor's rounding moves one or two that stop at another epoch.
For that the seeds' values are read from `baseline_seeds.csv` beside `baseline.csv`, of the form of
`seeds.csv`, where both tables have such a file.

Run time and memory of the cells stand in `baseline_cost.csv` likewise; what has grown out of proportion is
warned of, and never fails.

Where GitHub runs it, it annotates and writes the step's summary. Exit status: 0, or 1 on a regression, or
2 where a file cannot be read. Needs neither torch nor data.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tabulate import tabulate

from bench.errors import BenchError


@dataclass(frozen=True)
class Metric:
    """What the gate knows of a metric.

    floor: change of a mean that is never a regression: what a seed that stops at another epoch moves it.
    seed_floor: change of one seed's value that is no more than rounding.
    """

    more_is_better: bool
    floor: float
    seed_floor: float


METRICS = {
    "auc": Metric(True, 0.004, 0.001),
    "ndcg": Metric(True, 0.006, 0.002),
    "recall": Metric(True, 0.006, 0.002),
    "ideal_loss": Metric(False, 0.005, 0.001),
}
STANDARD_ERRORS = 2.0
COST_HEADER = "protocol,dataset,method,wall_seconds,cpu_seconds,peak_memory_mib"

# A cell's cost is worth a warning from this ratio on, if it also grew by this much.
TIME_RATIO, TIME_SECONDS = 2.0, 5.0
MEMORY_RATIO, MEMORY_MIB = 1.5, 100.0

_ANNOTATIONS = 10  # GitHub shows that many of a kind
_SUMMARY_LINES = 300  # its summaries end at 1 MiB

Place = tuple[str, str]  # protocol, data set
Key = tuple[str, str, str, str, str, str]  # protocol, data set, method, metric, k, no_positive
SeedsKey = tuple[str, str, str, str, str]  # the same without k
Seeds = dict[SeedsKey, dict[str, float]]  # → seed → value


@dataclass(frozen=True)
class Value:
    """A line's mean over seeds and the mean's standard error, 0 where there is one seed."""

    mean: float
    error: float


@dataclass(frozen=True)
class Change:
    """A line of either table.

    tolerance: of |new - old|, 0 where one of them is absent.
    verdict: same | within (the tolerance) | shifted (most seeds have, the mean stayed within) | worse |
        better | gone | new
    """

    key: Key
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
class Cost:
    """What a cell took. Memory is the peak of its process, which may have trained others before."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_mib: float


@dataclass(frozen=True)
class Comparison:
    """Every line of both tables, the worst first, and what else is to be said.

    strict: as `--strict` has it. notes: what was not compared. warnings: of costs.
    """

    changes: list[Change]
    strict: bool
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def failing(self) -> list[Change]:
        """The regressions, the worst first."""
        wrong = ("worse", "gone", "better", "shifted") if self.strict else ("worse", "gone")
        return [change for change in self.changes if change.verdict in wrong]

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
        return text + (". The gate fails." if self.failing else ". The gate passes.")


# --- Reading ------------------------------------------------------------------------------------------


def read(file: Path) -> dict[Key, Value | None]:
    """Reads a table; a cell without numbers has None.

    Raises:
        BenchError: the file is absent, no table of this form, names a line twice, or holds a metric of
            unknown direction or something else than numbers.
    """
    found: dict[Key, Value | None] = {}
    columns = ("protocol", "dataset", "method", "metric", "k", "no_positive", "mean", "std", "n")
    for number, row in _rows(file, columns):
        protocol, dataset, method, metric, k, no_positive, mean, std, n = (row[name] for name in columns)
        key = (protocol, dataset, method, metric, k, no_positive)
        if metric not in METRICS:
            raise BenchError(
                f"{file}, line {number}: metric is {metric!r}, but the gate knows {', '.join(METRICS)} only."
            )
        if key in found:
            raise BenchError(
                f"{file}, line {number}: {' '.join(filter(None, key))} is there twice; keep one."
            )
        if not mean:
            found[key] = None
            continue
        seeds = _number(file, number, "n", n)
        if seeds < 1:
            raise BenchError(f"{file}, line {number}: n is {n}, but a mean needs at least one seed.")
        spread = _number(file, number, "std", std) if std else 0.0
        found[key] = Value(_number(file, number, "mean", mean), abs(spread) / math.sqrt(seeds))
    return found


def seeds_file(table: Path) -> Path:
    """Where the seeds' values behind a table stand."""
    return table.with_name(f"{table.stem}_seeds.csv")


def read_seeds(file: Path) -> Seeds:
    """Reads the seeds' values.

    Raises:
        BenchError: the file is absent, lacks a column or holds something else than numbers.
    """
    found: Seeds = {}
    columns = ("protocol", "dataset", "method", "metric", "no_positive", "seed", "value")
    for number, row in _rows(file, columns):
        protocol, dataset, method, metric, no_positive, seed, value = (row[name] for name in columns)
        values = found.setdefault((protocol, dataset, method, metric, no_positive), {})
        values[seed] = _number(file, number, "value", value)
    return found


def cost_file(table: Path) -> Path:
    """Where the cost of a table's cells stands."""
    return table.with_name(f"{table.stem}_cost.csv")


def read_costs(file: Path) -> dict[str, Cost]:
    """Reads a file of costs: cell (`table/coat/mf`) → cost.

    Raises:
        BenchError: it is absent, lacks a column or holds something else than numbers.
    """
    columns = COST_HEADER.split(",")
    return {
        "/".join(row[name] for name in columns[:3]): Cost(
            *(_number(file, number, name, row[name]) for name in columns[3:])
        )
        for number, row in _rows(file, columns)
    }


def _rows(file: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with their numbers."""
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows = [(reader.line_num, row) for row in reader]
            names = reader.fieldnames or ()
    except FileNotFoundError as error:
        raise BenchError(f"{file} does not exist.") from error
    except (OSError, ValueError, csv.Error) as error:
        raise BenchError(f"{file} cannot be read as CSV ({error}).") from error
    for name in columns:
        if name not in names:
            raise BenchError(f"{file} has no column '{name}', so it is not a table of this suite.")
    for number, row in rows:
        if None in row or None in row.values():
            raise BenchError(f"{file}, line {number}: there are not as many fields as columns.")
    if not rows:
        raise BenchError(f"{file} has no lines below its header.")
    return rows


def _number(file: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"{file}, line {line}: {name} is {text!r}, but a number is expected.")
    return value


# --- Comparing ----------------------------------------------------------------------------------------


def compare(
    old: dict[Key, Value | None],
    new: dict[Key, Value | None],
    strict: bool = False,
    seeds: tuple[Seeds, Seeds] = ({}, {}),
) -> Comparison:
    """Compares two tables, and the seeds behind them where both are known.

    A data set without a single number in one of the tables was not measured there (its files are absent on
    that machine, for instance): that is noted, and its lines are not called gone or new.

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
    notes = [f"{'/'.join(place)} is not compared: it has no numbers here." for place in known - measured]
    notes += [f"{'/'.join(place)} is not compared: the baseline lacks it." for place in measured - known]
    order = {"gone": 0, "worse": 0, "better": 1, "shifted": 1, "new": 2}
    changes.sort(key=lambda each: (order.get(each.verdict, 3), -each.size))
    return Comparison(changes, strict, sorted(notes))


def _measured(table: dict[Key, Value | None]) -> set[Place]:
    return {key[:2] for key, value in table.items() if value is not None}


def _change(key: Key, before: Value | None, after: Value | None) -> Change:
    if before is None:
        return Change(key, None, None if after is None else after.mean, 0.0, "new")
    if after is None:
        return Change(key, before.mean, None, 0.0, "gone")
    metric = METRICS[key[3]]
    # Of the baseline alone: a cell that falls apart must not widen its own tolerance.
    tolerance = max(metric.floor, STANDARD_ERRORS * before.error)
    difference = after.mean - before.mean
    if difference == 0:
        verdict = "same"
    elif abs(difference) <= tolerance * (1 + 1e-9):  # as much as the tolerance is within it
        verdict = "within"
    else:
        verdict = "better" if (difference > 0) == metric.more_is_better else "worse"
    return Change(key, before.mean, after.mean, tolerance, verdict)


def _shifted(key: Key, seeds: tuple[Seeds, Seeds]) -> bool:
    """Whether more than half of the seeds that both runs have moved by more than rounding."""
    before, after = (each.get((*key[:4], key[5]), {}) for each in seeds)
    moved = [abs(after[seed] - before[seed]) > METRICS[key[3]].seed_floor for seed in before if seed in after]
    return 2 * sum(moved) > len(moved)


def costs(old: dict[str, Cost], new: dict[str, Cost]) -> list[str]:
    """Sentences about cells that take much more time or memory than they did.

    Machines differ in speed, so a cell's time is set against the median of all.
    """
    both = [(cell, old[cell], new[cell]) for cell in old if cell in new]
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


def compare_files(baseline: Path, new: Path, strict: bool = False, methods: Sequence[str] = ()) -> Comparison:
    """Compares two tables with what stands beside both of them (the seeds only where it is strict).

    Args:
        methods: the rows to compare; all, where none is named.

    Raises:
        BenchError: a file cannot be read, or they have no line in common.
    """
    tables = (baseline, new)
    seeds: tuple[Seeds, Seeds] = ({}, {})
    if strict and all(seeds_file(table).exists() for table in tables):
        seeds = (read_seeds(seeds_file(baseline)), read_seeds(seeds_file(new)))
    old, now = (
        {key: value for key, value in read(table).items() if not methods or key[2] in methods}
        for table in tables
    )
    found = compare(old, now, strict, seeds)
    if all(cost_file(table).exists() for table in tables):
        found.warnings.extend(costs(*(read_costs(cost_file(table)) for table in tables)))
    return found


# --- Telling ------------------------------------------------------------------------------------------


def rendered(changes: Sequence[Change], style: str) -> str:
    """A table of changes in the columns of `dvc metrics diff`; `style` is one of tabulate's."""
    rows = [
        [
            *(change.path, change.metric, _fixed(change.old), _fixed(change.new)),
            *(_signed(change.difference), _fixed(change.tolerance or None), change.verdict),
        ]
        for change in changes
    ]
    head = ["Path", "Metric", "old", "new", "Change", "Tolerance", "Verdict"]
    right = ("left", "left", "right", "right", "right", "right", "left")
    return tabulate(rows, head, tablefmt=style, disable_numparse=True, colalign=right) if rows else ""


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.5f}"


def text(comparison: Comparison, everything: bool, markdown: bool = False) -> str:
    """The comparison for a terminal, or as Markdown."""
    changes = comparison.changes if everything else comparison.shown
    said = [*comparison.notes, *(f"Warning: {warning}" for warning in comparison.warnings)]
    if markdown:
        said = [f"- {line}" for line in said]
    parts = [rendered(changes, "github" if markdown else "plain"), "\n".join(said), comparison.sentence]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(comparison: Comparison, everything: bool) -> str:
    """The comparison as `dvc metrics diff --json` has it, with tolerances and verdicts."""
    diff: dict[str, dict[str, object]] = {}
    for change in comparison.changes if everything else comparison.shown:
        diff.setdefault(change.path, {})[change.metric] = {
            "old": change.old,
            "new": change.new,
            "diff": change.difference,
            "tolerance": change.tolerance or None,
            "verdict": change.verdict,
        }
    document = {
        "diff": diff,
        "regressions": len(comparison.failing),
        "summary": comparison.sentence,
        "notes": comparison.notes,
        "warnings": comparison.warnings,
    }
    return json.dumps(document, indent=1) + "\n"


def commands(comparison: Comparison) -> list[str]:
    """GitHub's workflow commands: the worst regressions as errors, all else that is shown as warnings."""
    failing = comparison.failing
    lines = [_annotation("error", change) for change in failing[:_ANNOTATIONS]]
    others = [change for change in comparison.shown if change not in failing]
    warnings = [
        *(_command("warning", "cost", warning) for warning in comparison.warnings),
        *(_annotation("warning", change) for change in others),
    ]
    return lines + warnings[:_ANNOTATIONS]


def _annotation(kind: str, change: Change) -> str:
    what = {"gone": "is gone", "new": "is not in the baseline"}.get(change.verdict)
    if what is None:
        what = f"{_fixed(change.old)} -> {_fixed(change.new)}, " + (
            "most seeds have shifted"
            if change.verdict == "shifted"
            else f"{change.verdict} by more than the tolerance {_fixed(change.tolerance)}"
        )
    title = f"{change.path} {change.metric}"
    return _command(kind, title, f"{title}: {what}", f"file=methods/{change.key[2]}.py,line=1,")


def _command(kind: str, title: str, message: str, where: str = "") -> str:
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, code), message.replace(sign, code)
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} {where}title={title}::{message}"


def report(comparison: Comparison, style: str, everything: bool) -> int:
    """Prints the comparison, tells GitHub where that runs it, and returns the exit status.

    Args:
        style: text | md | json.
        everything: the lines that stayed within their tolerance, too.
    """
    if style == "json":
        print(as_json(comparison, everything), end="")
    else:
        print(text(comparison, everything, markdown=style == "md"), end="")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # GitHub reads both streams; a file that the output is sent to has to stay what it is.
        stream = sys.stdout if style == "text" else sys.stderr
        for line in commands(comparison):
            print(line, file=stream)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        shown = rendered(comparison.shown[:_SUMMARY_LINES], "github")
        more = len(comparison.shown) - _SUMMARY_LINES
        parts = [
            "## Gate",
            comparison.sentence,
            shown,
            f"{more} more lines." if more > 0 else "",
            "\n".join(f"- {line}" for line in [*comparison.notes, *comparison.warnings]),
        ]
        try:
            with open(summary, "a", encoding="utf-8") as stream:
                stream.write("\n\n".join(part for part in parts if part) + "\n\n")
        except OSError as error:
            raise BenchError(f"{summary} cannot be written: {error.strerror or error}.") from error
    return 1 if comparison.failing else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate", description="Compares a table with a baseline; fails on a regression."
    )
    parser.add_argument("baseline", type=Path, metavar="BASELINE.csv")
    parser.add_argument("new", type=Path, metavar="NEW.csv")
    style = parser.add_mutually_exclusive_group()
    for name, what in (("md", "as Markdown"), ("json", "as JSON")):
        style.add_argument(f"--{name}", dest="style", action="store_const", const=name, help=what)
    parser.add_argument("--all", action="store_true", help="show what stayed within its tolerance, too")
    parser.add_argument("--strict", action="store_true", help="fail on what is better or shifted, too")
    given = parser.parse_args(arguments)
    try:
        return report(
            compare_files(given.baseline, given.new, given.strict), given.style or "text", given.all
        )
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
