"""The frame as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.table import layout
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import HERE
from bench.table.manifest import Row

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1rem;max-width:110rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:.5rem 0}
caption{text-align:left;padding:.3rem 0}
th,td{padding:.25rem .55rem;text-align:right;white-space:nowrap}
tr>:first-child,tr>:nth-child(2){text-align:left}
thead tr:last-child th{border-bottom:1.5px solid}
tbody+tbody{border-top:1.5px solid}
thead tr:first-child th{border-top:2px solid;text-align:center}
tbody:last-child{border-bottom:2px solid}
tbody th{font-weight:normal}
.paper{display:block;font-size:.8em}
.paper i{font-style:normal}
"""


def page(frame: Frame) -> str:
    """`table1.html`: the tables alone, in one file without scripts."""
    body = []
    for protocol in frame.manifest.protocols:
        groups = layout.groups(frame, protocol)
        mine = [line for line in frame.lines if line.protocol == protocol]
        body += [
            f"<h2>Protocol <code>{_html(protocol)}</code></h2>",
            f"<p>{_html(layout.agreement(mine))}</p>",
            f'<div class="scroll" tabindex="0">{table(frame, groups)}</div>',
            footnotes(groups),
        ]
    items = "".join(f"<li>{_html(item)}</li>" for item in layout.reading(frame))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>Table 1</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Table 1</h1>\n<ul>{items}</ul>\n"
        + "\n".join(part for part in body if part)
        + f"\n<p>{_html(layout.DO_NOT_EDIT.replace('`', ''))}</p>\n</html>\n"
    )


def table(frame: Frame, groups: Sequence[Group], *, live: bool = False) -> str:
    """The paper's layout as a table; empty where no group has a value.

    live: cells and headings are buttons, for the page that sorts them and opens records.
    """
    groups = [group for group in groups if group.cell is not None]
    if not groups:
        return ""
    protocol = groups[0].protocol
    reasons = _reasons(groups)
    columns = [(group, metric) for group in groups for metric in group.metrics]
    over = "".join(
        f'<th scope="colgroup" colspan="{len(group.metrics)}" data-dataset="{group.dataset.dataset}">'
        f"{_html(group.dataset.title)}</th>"
        for group in groups
    )
    titles = [("method", "Method", ""), ("a", "A", ""), ("points", "Points", "")]
    if not live:
        titles.pop()
    titles += [
        (f"{group.dataset.dataset}-{metric}", layout.heading(metric, group.dataset.k), _column(group, metric))
        for group, metric in columns
    ]
    heads = "".join(
        f'<th scope="col" data-key="{key}"{where}>'
        + (f'<button type="button" class="sort">{_html(title)}</button>' if live else _html(title))
        + "</th>"
        for key, title, where in titles
    )
    bodies = []
    for _, block in layout.blocks(frame):
        rows = []
        for row in block:
            cells = [_html_cell(g, row.method, m, reasons, live=live) for g, m in columns]
            extra = f'<td class="points">{_html_points(groups, row)}</td>' if live else ""
            rows.append(
                f'<tr data-method="{_html(row.method)}"><th scope="row">{_html(row.title)}</th>'
                f"<td>{_html(layout.unbiased(row))}</td>{extra}{''.join(cells)}</tr>"
            )
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    caption = f"<caption>Protocol {_html(protocol)}</caption>"
    return (
        f'<table class="table1" data-protocol="{_html(protocol)}">{caption}<thead><tr>'
        f'<th colspan="{3 if live else 2}"></th>{over}</tr><tr>{heads}</tr></thead>{"".join(bodies)}</table>'
    )


def footnotes(groups: Sequence[Group]) -> str:
    """The sources of the data sets, and why cells and data sets are missing."""
    reasons = _reasons([group for group in groups if group.cell is not None])
    items = [
        f"<p><b>{_html(group.dataset.title)}</b>: {_html(group.caption or ' '.join(group.reasons))}</p>"
        for group in groups
    ]
    items += [f"<p><sup>{i}</sup> {_html(reason)}</p>" for i, reason in enumerate(reasons, 1)]
    return f'<div class="notes">{"".join(items)}</div>'


def _reasons(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(reason for group in groups for reason in group.reasons))


def _html_points(groups: Sequence[Group], row: Row) -> str:
    """The points of each data set, in their order; once where they are the same."""
    points = [layout.points(group, row) or "–" for group in groups]
    if len(set(points)) == 1:
        return points[0]
    return "".join(
        f'<span data-dataset="{group.dataset.dataset}">{number}</span>'
        for group, number in zip(groups, points, strict=True)
    )


def _column(group: Group, metric: str) -> str:
    return f' data-dataset="{group.dataset.dataset}" data-metric="{metric}"'


def _html_cell(group: Group, method: str, metric: str, reasons: Sequence[str], *, live: bool) -> str:
    line, marks = group.lines[method, metric], group.marks[method, metric]
    where = _column(group, metric)
    if line.mean is None:
        number = reasons.index(line.missing) + 1
        return f'<td{where}><abbr title="{_html(line.missing)}">X</abbr><sup>{number}</sup></td>'
    text = f"{line.mean:.3f}"
    text = f"<u>{text}</u>" if marks.base else text
    text = f"<b>{text}</b>" if marks.best else text
    text += f"<sup>{marks.signs}</sup>" if marks.signs else ""
    if line.std is not None:
        text += f' <small class="sd">± {line.std:.3f}</small>'
    values = f' data-ours="{line.mean:.6f}"'
    text = f'<span class="ours">{text}</span>'
    if line.delta is not None:
        values += f' data-paper="{line.paper}" data-delta="{line.delta:.6f}"'
        check = ' <span class="check" aria-label="within tolerance">✓</span>' if line.within else ""
        text += (
            f' <span class="paper"><i>(</i><span class="p">{line.paper}</span><i>, </i>'
            f'<span class="d">{layout.signed(line.delta)}{check}</span><i>)</i></span>'
        )
    if live:
        here = f' data-origin="{HERE}"' if line.cell.origin == HERE else ""
        text = f'<button type="button" class="cell" data-cell="{line.cell.digest}"{here}>{text}</button>'
    return f"<td{where}{values}>{text}</td>"


def _html(text: str) -> str:
    return html.escape(text)
