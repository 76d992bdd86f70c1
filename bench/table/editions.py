"""Which rows of a data set are of which edition, where rows of several stand in one table.

A table whose rows are tuned and trained anew one by one is of two editions until the last one is. What tells
them apart is the name of the plan that chose a row's point, which its record keeps; and the commit.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.table.lines import CellResult, Line

_UNNAMED = ("", "none")  # of cells whose points were chosen before the plan's name was kept
_COMMIT = 7  # letters of a commit


def plan_name(cell: CellResult) -> str:
    """The name of the plan that chose a cell's point; "" where it was not kept."""
    name = cell.provenance.get("sweep", "")
    return "" if name in _UNNAMED else name


def editions(lines: Sequence[Line]) -> str:
    """A sentence about the editions of a data set's tuned rows; "" where they are all of one.

    Args:
        lines: any lines of its rows.
    """
    rows = {line.row.method: line for line in lines if line.values and line.cell.points > 1}
    plans: dict[str, list[Line]] = {}
    for line in rows.values():
        plans.setdefault(plan_name(line.cell), []).append(line)
    if len(plans) < 2:
        return ""
    # The largest is named last, as the others.
    *named, largest = sorted(plans.items(), key=lambda item: len(item[1]))
    parts = [f"{_described(*each)}: {', '.join(line.row.title for line in each[1])}" for each in named]
    return f"Editions: {'; '.join(parts)}; {_described(*largest)}: the other tuned rows."


def _described(plan: str, lines: Sequence[Line]) -> str:
    commits = sorted({line.cell.provenance.get("commit", "")[:_COMMIT] for line in lines} - {""})
    of = f" (commit{'s' if len(commits) > 1 else ''} {', '.join(commits)})" if commits else ""
    return (f"plan {plan}" if plan else "a plan whose name was not kept") + of
