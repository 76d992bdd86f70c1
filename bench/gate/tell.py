"""The gate: `python -m bench.gate BASELINE.csv NEW.csv [--md] [--json] [--all] [--strict]`.

Compares two tables of the form of `table1.csv`, line by line. A mean that is worse than the baseline's by
more than max(floor, 2 × the baseline's standard error over its seeds) is a regression, and so is one that
is gone. A data set or protocol of the baseline without a number in the new table fails too, since nothing
of it was compared, unless `--allow-missing` says that this is meant.

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
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench.command.main import main as command
from bench.errors import BenchError
from bench.gate.compare import Change, Comparison, compare_files

UNREADABLE = 2  # exit status where a file cannot be read

ALLOW = "Where that is meant, say --allow-missing."

_ANNOTATIONS = 10  # GitHub shows that many of a kind
_SUMMARY_LINES = 300  # its summaries end at 1 MiB


def as_grid(changes: Sequence[Change], style: str) -> str:
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


def as_text(comparison: Comparison, everything: bool, markdown: bool = False) -> str:
    """The comparison for a terminal, or as Markdown."""
    changes = comparison.changes if everything else comparison.shown
    said = [
        *(f"Missing: {line}" for line in comparison.missing),
        *comparison.notes,
        *(f"Warning: {warning}" for warning in comparison.warnings),
    ]
    if comparison.missing and not comparison.allow_missing:
        said.append(ALLOW)
    if markdown:
        said = [f"- {line}" for line in said]
    parts = [as_grid(changes, "github" if markdown else "plain"), "\n".join(said), comparison.sentence]
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
        "missing": comparison.missing,
        "notes": comparison.notes,
        "warnings": comparison.warnings,
    }
    return json.dumps(document, indent=1) + "\n"


def workflow_commands(comparison: Comparison) -> list[str]:
    """GitHub's workflow commands: the worst regressions as errors, all else that is shown as warnings."""
    failing = comparison.failing
    kind = "warning" if comparison.allow_missing else "error"
    lines = [_command(kind, "missing", line) for line in comparison.missing]
    lines += [_annotation("error", change) for change in failing[:_ANNOTATIONS]]
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


def tell(comparison: Comparison, style: str, everything: bool) -> int:
    """Prints the comparison, tells GitHub where that runs it, and returns the exit status.

    Args:
        style: text | md | json.
        everything: the lines that stayed within their tolerance, too.
    """
    if style == "json":
        print(as_json(comparison, everything), end="")
    else:
        print(as_text(comparison, everything, markdown=style == "md"), end="")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # GitHub reads both streams; a file that the output is sent to has to stay what it is.
        stream = sys.stdout if style == "text" else sys.stderr
        for line in workflow_commands(comparison):
            print(line, file=stream)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        shown = as_grid(comparison.shown[:_SUMMARY_LINES], "github")
        more = len(comparison.shown) - _SUMMARY_LINES
        parts = [
            "## Gate",
            comparison.sentence,
            shown,
            f"{more} more lines." if more > 0 else "",
            "\n".join(f"- {line}" for line in [*comparison.missing, *comparison.notes, *comparison.warnings]),
        ]
        try:
            with open(summary, "a", encoding="utf-8") as stream:
                stream.write("\n\n".join(part for part in parts if part) + "\n\n")
        except OSError as error:
            raise BenchError(f"{summary} cannot be written: {error.strerror or error}.") from error
    return 1 if comparison.fails else 0


def add_style(parser: argparse.ArgumentParser) -> None:
    """The options of a comparison: `style` (text | md | json), `all` and `allow_missing`."""
    style = parser.add_mutually_exclusive_group()
    for name, what in (("md", "as Markdown"), ("json", "as JSON")):
        style.add_argument(
            f"--{name}", dest="style", action="store_const", const=name, default="text", help=what
        )
    parser.add_argument("--all", action="store_true", help="show what stayed within its tolerance, too")
    parser.add_argument(
        "--allow-missing", action="store_true", help="do not fail where a data set of the baseline is absent"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate", description="Compares a table with a baseline; fails on a regression."
    )
    parser.add_argument("baseline", type=Path, metavar="BASELINE.csv")
    parser.add_argument("new", type=Path, metavar="NEW.csv")
    add_style(parser)
    parser.add_argument("--strict", action="store_true", help="fail on what is better or shifted, too")

    def work(given: argparse.Namespace) -> int:
        found = compare_files(given.baseline, given.new, given.strict, allow_missing=given.allow_missing)
        return tell(found, given.style, given.all)

    return command(parser, work, arguments, failed=UNREADABLE)
