"""The frame as Markdown: for each protocol the means of all data sets, then a section for each data set.

The cells are not padded to the width of their column, as tabulate would: a row that is added would change
the lines of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.table import layout
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.manifest import Row


def markdown(frame: Frame) -> str:
    """`table1.md`."""
    items = [
        *layout.reading(frame),
        "`comparisons.csv`: median differences and all tests; `users.csv`: over users; `tuning.csv`: over "
        "re-tunings.",
    ]
    parts = ["# Table 1", "\n".join(f"- {item}" for item in items)]
    for protocol in frame.manifest.protocols:
        groups = layout.column_groups(frame, protocol)
        lines = [line for line in frame.lines if line.protocol == protocol]
        parts += [f"## Protocol `{protocol}`", layout.in_tolerance(lines), _overview(frame, groups)]
        for group in groups:
            parts += _section(frame, group)
    parts.append(layout.DO_NOT_EDIT)
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(frame: Frame, groups: Sequence[Group]) -> str:
    """The means alone, all data sets side by side, as the paper prints them; ✓ where its number comes out."""
    groups = [group for group in groups if group.cell is not None]
    if len(groups) < 2:
        return ""
    columns = layout.columns(groups)
    head = [
        "Method",
        *(f"{group.dataset.title} {layout.heading(m, group.dataset.k)}" for group, m in columns),
    ]

    def entry(group: Group, method: str, metric: str) -> str:
        return _mean(group, method, metric) + (" ✓" if group.lines[method, metric].within else "")

    def entries(row: Row) -> list[str]:
        return [row.title, *(entry(group, row.method, metric) for group, metric in columns)]

    return _grid(frame, head, entries)


def _section(frame: Frame, group: Group) -> list[str]:
    """One data set under one protocol: heading, caption, table, footnotes."""
    title = f"### {group.dataset.title}"
    if group.cell is None:
        return [title, " ".join(group.reasons)]
    origin = ["Origin"] if frame.mixed else []
    metrics = [layout.heading(metric, group.dataset.k) for metric in group.metrics]

    def entries(row: Row) -> list[str]:
        numbers = [_number(group, row.method, metric) for metric in group.metrics]
        where = [layout.origin(group, row)] if frame.mixed else []
        return [row.title, layout.unbiased(row), layout.points(group, row), *where, *numbers]

    footnotes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(group.reasons, 1))
    grid = _grid(frame, ["Method", "A", "Points", *origin, *metrics], entries)
    return [title, group.caption, grid, footnotes]


def _grid(frame: Frame, head: list[str], entries: Callable[[Row], list[str]]) -> str:
    table = [head, ["---"] * len(head)]
    for heading, rows in layout.row_blocks(frame):
        if heading:
            table.append([f"*{heading}*"] + [""] * (len(head) - 1))
        table += map(entries, rows)
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in table)


def _mean(group: Group, method: str, metric: str) -> str:
    line, marks = group.lines[method, metric], group.marks[method, metric]
    if line.mean is None:
        return f"X<sup>{group.reasons.index(line.missing) + 1}</sup>"
    text = f"{line.mean:.3f}"
    text = f"<u>{text}</u>" if marks.base else text
    return (f"**{text}**" if marks.best else text) + marks.signs


def _number(group: Group, method: str, metric: str) -> str:
    line = group.lines[method, metric]
    text = _mean(group, method, metric)
    if spread := layout.spread(line):
        text += f" ± {spread}"
    if line.delta is not None:
        text += f" ({line.paper}, {layout.signed(line.delta)}{' ✓' if line.within else ''})"
    return text
