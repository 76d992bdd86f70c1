"""The page and its parts: `python -m bench.report [--results DIR]`.

Writes `DIR/table1/index.html`, one file that needs no network: the table to sort and to filter, every
cell's record, forest plots, the deltas as a heat map, validation curves, the sweep, and the unlearning
rates. The numbers come from the frame (`bench.table.frame`), the rest from the records. Where a record is not
in the store, as in a fresh clone, the page says so and shows what the committed files know. Needs
neither torch nor files of data, and the same records give the same bytes.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from bench.errors import BenchError
from bench.files import write_all
from bench.records.metric import IDEAL_LOSS
from bench.report import svg as draw
from bench.report.details import (
    Details,
    Floats,
    Sweep,
    by_value,
    details,
    held,
    over_seeds,
    shown,
    statistics,
    sweep,
)
from bench.table import PAPER, layout, load_results
from bench.table import html as table_html
from bench.table.comparisons import SeedComparison, UserComparison
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE, Line
from bench.table.statistics import smallest_p

_ASSETS = Path(__file__).resolve().with_name("assets")
_USERS = 400  # users in a scatter plot
_LIMIT = 4.5 * 2**20  # bytes of the page; the records that would exceed it are named, not shown


# --- The page -----------------------------------------------------------------------------------------


def build(results: Path, paper: Path = PAPER) -> str:
    """The page's text.

    Raises:
        BenchError: see `bench.table.frame.load`; or a record or a sweep's file cannot be read.
    """
    return page(load_results(results, paper=paper), results)


def page(frame: Frame, results: Path) -> str:
    """The page of a frame."""
    protocols = frame.manifest.protocols
    groups = {protocol: layout.groups(frame, protocol) for protocol in protocols}
    parts = _Parts(frame, results)
    sections = [
        ("verdict", "At a glance", _verdict(frame, groups)),
        ("table", "The table", _table(frame, groups)),
        ("forest", "Differences, and how sure they are", _forests(frame)),
        ("curves", "Validation curves", parts.curves()),
        ("sensitivity", "Sensitivity to hyper-parameters", parts.sensitivity()),
        ("rates", "Whom ULTD unlearns", parts.rates()),
        ("notes", "How it was measured and made", (_ASSETS / "notes.html").read_text(encoding="utf-8")),
    ]
    navigation = "".join(
        f'<a href="#{key}">{html.escape(title)}</a>' for key, title, body in sections if body
    )
    body = "\n".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{html.escape(title)}</h2>'
        f"{content}</section>"
        for key, title, content in sections
        if content
    )
    # A "<" in a record could end the element that holds them.
    records = json.dumps(
        parts.records(_LIMIT - len(body.encode())), separators=(",", ":"), ensure_ascii=False
    ).replace("<", "\\u003c")
    template = (_ASSETS / "page.html").read_text(encoding="utf-8")
    for mark, content in (
        ("STYLE", (_ASSETS / "style.css").read_text(encoding="utf-8")),
        ("SCRIPT", (_ASSETS / "script.js").read_text(encoding="utf-8")),
        ("NAVIGATION", navigation),
        ("FILTERS", _filters(frame)),
        ("BODY", body),
        ("RECORDS", records),
    ):
        template = template.replace(f"<!--{mark}-->", content)
    return template


def _filters(frame: Frame) -> str:
    manifest = frame.manifest
    metrics = dict.fromkeys(line.metric for line in frame.lines)
    names = {"auc": "AUC", "ndcg": "NDCG@K", "recall": "Recall@K", "ideal_loss": "Ideal loss"}
    choices = {
        "protocol": ("Protocol", [(p, p) for p in manifest.protocols]),
        "dataset": ("Data set", [("", "all"), *((d.dataset, d.title) for d in manifest.datasets)]),
        "metric": ("Metric", [("", "all"), *((m, names.get(m, m)) for m in metrics)]),
        "view": (
            "Show",
            [("all", "ours and paper"), ("ours", "ours"), ("paper", "paper"), ("delta", "difference")],
        ),
    }
    return "".join(
        f'<label>{title} <select name="{name}">'
        + "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in options)
        + "</select></label>"
        for name, (title, options) in choices.items()
    )


# --- At a glance --------------------------------------------------------------------------------------


def _verdict(frame: Frame, groups: Mapping[str, Sequence[Group]]) -> str:
    """What holds, what does not and how sure that is, in three sentences and a heat map."""
    compared = [line for line in frame.lines if line.within is not None]
    facts = [_agreement(compared), _claim(frame), _certainty(frame, compared)]
    cards = "".join(
        f'<div class="card"><h3>{html.escape(title)}</h3><p class="big">{html.escape(big)}</p>'
        f"<p>{html.escape(text)}</p></div>"
        for title, big, text in facts
    )
    heat = "".join(_heat(frame, groups[protocol]) for protocol in frame.manifest.protocols)
    return f'<div class="cards">{cards}</div>{heat}'


def _agreement(compared: Sequence[Line]) -> tuple[str, str, str]:
    title = "Do the paper's numbers come out?"
    if not compared:
        return title, "—", "No number here can be compared with the paper's."
    inside = sum(bool(line.within) for line in compared)
    below = sum((line.delta or 0) < -TOLERANCE for line in compared)
    above = len(compared) - inside - below
    return (
        title,
        f"{inside} of {len(compared)}",
        f"lie within ±{TOLERANCE:g} of the printed ones; {below} are lower here, {above} are higher.",
    )


def _claim(frame: Frame) -> tuple[str, str, str]:
    """The paper's claim: its own rows beat the best baseline of every column."""
    title = "Does the paper's own method win?"
    protocol = frame.manifest.protocols[0]
    better: dict[tuple[str, str], bool] = {}
    worse: dict[tuple[str, str], bool] = {}
    names = []
    for each in frame.comparisons:
        line = each.line
        own = not line.row.baseline and not line.row.control
        if each.against != "best baseline" or line.protocol != protocol or not own:
            continue
        if line.metric == IDEAL_LOSS.key:
            continue  # no column of the paper's
        names.append(line.row.title)
        place = (line.dataset.dataset, line.metric)
        sure = each.p_holm < ALPHA
        better[place] = better.get(place, False) or (sure and each.median > 0)
        worse[place] = worse.get(place, True) and sure and each.median < 0
    if not better:
        return title, "—", "The paper's own rows have no values here, or no baseline to be tested against."
    won, lost = sum(better.values()), sum(worse.values())
    rows = " or ".join(dict.fromkeys(names))
    every = "both" if len(set(names)) == 2 else "them"
    return (
        title,
        f"in {won} of {len(better)} columns",
        f"{rows} beats the best baseline; in {lost} the baseline beats {every}, in "
        f"{len(better) - won - lost} it is undecided (protocol {protocol}, all data sets, p < {ALPHA:g} "
        "after Holm's correction).",
    )


def _certainty(frame: Frame, compared: Sequence[Line]) -> tuple[str, str, str]:
    sizes = sorted({len(line.values) for line in frame.lines if line.values})
    title = "How sure is that?"
    if not sizes:
        return title, "—", "There are no values yet."
    errors = [
        line.std / np.sqrt(len(line.values)) for line in compared or frame.lines if line.std is not None
    ]
    spread = f"Our means' standard error is {np.median(errors):.3f} in the median. " if errors else ""
    smallest = smallest_p(sizes[0])
    return (
        title,
        f"{' or '.join(map(str, sizes))} seeds each",
        f"{spread}All rows share their seeds' splits, so that tests are paired; the smallest p that "
        f"{sizes[0]} seeds can reach is {smallest:.3g}. The paper prints no spread of its own.",
    )


def _heat(frame: Frame, groups: Sequence[Group]) -> str:
    """Our means minus the paper's numbers as a coloured table; empty where none is comparable."""
    found = [group for group in groups if group.compared]
    if not found:
        return ""
    columns = [(group, metric) for group in found for metric in group.metrics if metric != IDEAL_LOSS.key]
    rows = []
    for row in frame.manifest.rows:
        lines = [group.lines[row.method, metric] for group, metric in columns]
        compared = [line.within for line in lines if line.within is not None]
        if not compared:
            continue
        cells = "".join(_heat_cell(line) for line in lines)
        held = f"{sum(compared)} of {len(compared)}"
        word = "holds" if all(compared) else "partly" if any(compared) else "does not hold"
        rows.append(
            f'<tr><th scope="row">{html.escape(row.title)}</th>'
            f'<td class="held"><b>{word}</b> <small>{held}</small></td>{cells}</tr>'
        )
    over = "".join(
        f'<th scope="colgroup" colspan="{sum(g is group for g, _ in columns)}">'
        f"{html.escape(group.dataset.title)}</th>"
        for group in found
    )
    heads = "".join(
        f'<th scope="col">{html.escape(layout.heading(m, group.dataset.k))}</th>' for group, m in columns
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Differences from the paper">'
        f'<table class="heat"><caption>Our mean minus the paper\'s number, protocol '
        f"{html.escape(found[0].protocol)}. ✓ and a frame: within ±{TOLERANCE:g}. Orange: lower than "
        "printed; blue: higher.</caption>"
        f'<thead><tr><td colspan="2"></td>{over}</tr><tr><th scope="col">Method</th>'
        f'<th scope="col">Within ±{TOLERANCE:g}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _heat_cell(line: Line) -> str:
    if line.delta is None:
        return "<td>–</td>"
    share = min(1.0, abs(line.delta) / 0.05)
    kind = "in" if line.within else "low" if line.delta < 0 else "high"
    std = "" if line.std is None else f" ± {line.std:.3f}"
    check = " ✓" if line.within else ""
    return (
        f'<td class="{kind}" style="--s:{share:.2f}" title="ours {line.mean:.3f}{std}, paper {line.paper}">'
        f"{layout.signed(line.delta)}{check}</td>"
    )


# --- The table ----------------------------------------------------------------------------------------


def _table(frame: Frame, groups: Mapping[str, Sequence[Group]]) -> str:
    reference = html.escape(frame.title(frame.manifest.reference))
    parts = [
        "<p>Press a number to open its record: configuration, seeds, curves, the points tried, and the "
        "command that makes it. Press a heading to sort.</p>",
        f"<p><b>Bold</b>: the best two of a column; <u>underlined</u>: the best baseline; † differs from "
        f"{reference}, ‡ from the best baseline (p &lt; {ALPHA:g} after Holm's correction); ✓ within "
        f"±{TOLERANCE:g} of the paper; A: what a row knows of the unbiased ratings.</p>",
    ]
    for protocol in frame.manifest.protocols:
        found = groups[protocol]
        mine = [line for line in frame.lines if line.protocol == protocol]
        parts.append(
            f'<div data-protocol="{html.escape(protocol)}"><p>{html.escape(layout.agreement(mine))}</p>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="Table 1, protocol '
            f'{html.escape(protocol)}">{table_html.table(frame, found, live=True)}</div>'
            f"{table_html.footnotes(found)}</div>"
        )
    items = "".join(f"<li>{html.escape(item)}</li>" for item in layout.reading(frame))
    return (
        "".join(parts) + f'<details><summary>How to read it</summary><ul class="key">{items}</ul></details>'
    )


# --- Forest plots -------------------------------------------------------------------------------------


def _forests(frame: Frame) -> str:
    """Paired differences of every row, over seeds and over users."""
    blocks = []
    seeds: dict[tuple[str, str, str, str], list[SeedComparison]] = {}
    for each in frame.comparisons:
        line = each.line
        key = (line.protocol, line.dataset.dataset, line.metric, each.against)
        seeds.setdefault(key, []).append(each)
    users: dict[tuple[str, str, str, str], dict[str, UserComparison]] = {}
    for other in frame.users:
        line = other.line
        key = (line.protocol, line.dataset.dataset, line.metric, other.against)
        users.setdefault(key, {})[line.row.method] = other
    for key, compared in seeds.items():
        blocks.append(_forest(key, compared, users.get(key, {})))
    if not blocks:
        return ""
    reference = frame.title(frame.manifest.reference)
    choice = (
        '<p><label>Against <select name="against"><option value="reference">'
        f'{html.escape(reference)}</option><option value="best baseline">the best baseline</option></select>'
        "</label></p>"
    )
    return (
        "<p>Median difference over the seeds with its 95 % bootstrap interval. Filled: significant after "
        f"Holm's correction (p &lt; {ALPHA:g}); hollow: undecided, which is not the same as equal. Column "
        "“over users” pairs users instead of seeds: it asks whether these trained models differ on "
        "other users, too. That is another question, so the two may disagree.</p>"
        f'{choice}<div class="forests">{"".join(blocks)}</div>'
    )


def _forest(
    key: tuple[str, str, str, str], compared: Sequence[SeedComparison], users: Mapping[str, UserComparison]
) -> str:
    protocol, dataset, metric, against = key
    first = compared[0]
    # A control far away would press the rows of the paper together: it is cut off at the edge instead.
    wanted = [each for each in compared if not each.line.row.control] or compared
    reach = max(max(abs(each.low), abs(each.high)) for each in wanted) * 1.05 or 1e-3
    scale = draw.Scale(-reach, reach, 6, 194)
    better = "lower is better" if metric == IDEAL_LOSS.key else "higher is better"
    title = f"{first.line.dataset.title}, {layout.heading(metric, first.line.dataset.k)}"
    axis = draw.svg(
        200,
        16,
        draw.text(4, 12, f"{-reach:.3f}") + draw.text(100, 12, "0", anchor="middle")
        + draw.text(196, 12, f"{reach:.3f}", anchor="end"),
        kind="strip",
    )  # fmt: skip
    body, last = [], False
    for each in compared:
        row = each.line.row
        sure = each.p_holm < ALPHA
        strip = (
            draw.line(100, 0, 100, 18, "zero")
            + draw.line(scale(each.low), 9, scale(each.high), 9, "interval")
            + (
                draw.dot(scale(each.median), 9, 4, "filled" if sure else "hollow")
                if abs(each.median) <= reach
                else draw.text(scale(each.median), 13, "◀" if each.median < 0 else "▶", "beyond", "middle")
            )
        )
        rule = ' class="rule"' if row.control and not last else ""
        last = row.control
        over = ""
        if metric in ("ndcg", "recall"):
            other = users.get(row.method)
            over = "<td>–</td>" if other is None else _over_users(other)
        body.append(
            f'<tr{rule}><th scope="row">{html.escape(row.title)}</th>'
            f"<td>{draw.svg(200, 18, strip, kind='strip')}</td>"
            f"<td>{layout.signed(each.median)} <small>[{layout.signed(each.low)}, "
            f"{layout.signed(each.high)}]</small></td><td>{_p(each.p_holm)}</td>{over}</tr>"
        )
    over_head = '<th scope="col">Over users <small>p</small></th>' if metric in ("ndcg", "recall") else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(title)}" '
        f'data-protocol="{html.escape(protocol)}" data-dataset="{dataset}" data-metric="{metric}" '
        f'data-against="{against}"><table class="forest"><caption><b>{html.escape(title)}</b> minus '
        f"{html.escape(first.base.row.title)} ({better})</caption>"
        f'<thead><tr><th scope="col">Method</th><th scope="col"><span class="sr">Interval</span>{axis}</th>'
        f'<th scope="col">Median</th><th scope="col">p, Holm</th>{over_head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _over_users(each: UserComparison) -> str:
    interval = f"[{each.low:+.4f}, {each.high:+.4f}]"
    return (
        f'<td title="mean over {each.n} users {each.mean:+.4f} {interval}">{layout.signed(each.mean)} '
        f"<small>{_p(each.p_holm)}</small></td>"
    )


def _p(value: float) -> str:
    return "&lt;.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


# --- What only the records know -----------------------------------------------------------------------


class _Parts:
    """The page's parts that need records, each record read once."""

    def __init__(self, frame: Frame, results: Path) -> None:
        self._frame = frame
        self._lines: dict[str, Line] = {}  # digest → any line of the cell
        for line in frame.lines:
            if line.cell.digest:
                self._lines.setdefault(line.cell.digest, line)
        self._curves: dict[tuple[str, str], list[tuple[Line, Details]]] = {}
        self._rates: list[tuple[Line, Details]] = []
        self._sweeps: dict[tuple[str, str], list[tuple[Line, Sweep]]] = {}
        self._shown: dict[str, Any] = {}
        for digest, line in self._lines.items():
            found = details(results / "runs", digest)
            tried = sweep(results, line, found)
            place = (line.protocol, line.dataset.dataset)
            if tried is not None and len(tried.points) > 1:
                self._sweeps.setdefault(place, []).append((line, tried))
            entry: dict[str, Any] = {"name": self._name(line), "missing": "absent"}
            if found is not None:
                entry = {"name": self._name(line), **shown(line, found, tried)}
                if found.curves.size:
                    self._curves.setdefault(place, []).append((line, found))
                if "alpha" in found.users:
                    self._rates.append((line, found))
            self._shown[digest] = entry

    def _name(self, line: Line) -> str:
        return f"{line.row.title} on {line.dataset.title}, protocol {line.protocol}"

    def records(self, room: float) -> dict[str, Any]:
        """Digest → what its window shows, in the table's order as far as so many bytes go."""
        found = {}
        for digest, entry in self._shown.items():
            room -= len(json.dumps(entry, ensure_ascii=False).encode())
            found[digest] = entry if room > 0 else {"name": entry["name"], "missing": "room"}
        return found

    def curves(self) -> str:
        """One small chart for each cell: the mean validation AUC, the seeds' range, the reference."""
        if not self._curves:
            return _without_records("Validation curves are")
        blocks = []
        for (protocol, dataset), entries in self._curves.items():
            means = {line.row.method: held(found).mean(axis=0) for line, found in entries}
            # All start at .5; the axis begins where they differ.
            low, high = draw.spread([x for mean in means.values() for x in mean[1:]] or [0.5])
            reference = next(
                ((found, means[line.row.method]) for line, found in entries
                 if line.row.method == self._frame.manifest.reference), None
            )  # fmt: skip
            charts = "".join(
                _curve(line, found, means[line.row.method], (low, high), reference) for line, found in entries
            )
            title = entries[0][0].dataset.title
            blocks.append(
                f'<div data-protocol="{html.escape(protocol)}" data-dataset="{dataset}">'
                f'<h3>{html.escape(title)}</h3><div class="charts">{charts}</div></div>'
            )
        name = html.escape(self._frame.title(self._frame.manifest.reference))
        return (
            "<p>Validation AUC against training steps: the mean over seeds in a band of one standard "
            "deviation, a seed that has stopped counting with the value it kept; dashed: "
            f"{name}; the dot: the median step whose parameters were kept. The charts of a data set share "
            f"their vertical axis.</p>{''.join(blocks)}"
        )

    def sensitivity(self) -> str:
        """For each cell and hyper-parameter, the validation AUC of the points tried."""
        if not self._sweeps:
            return ""
        blocks = []
        for (protocol, dataset), entries in self._sweeps.items():
            rows = "".join(
                f'<tr><th scope="row">{html.escape(line.row.title)}</th><td>{len(tried.points)}</td><td>'
                + "".join(_sensitivity(line.row.title, tried, place) for place in range(len(tried.names)))
                + "</td></tr>"
                for line, tried in entries
            )
            title = html.escape(entries[0][0].dataset.title)
            blocks.append(
                f'<div data-protocol="{html.escape(protocol)}" data-dataset="{dataset}" class="scroll" '
                f'tabindex="0" role="region" aria-label="Sweep on {title}">'
                f'<table class="sweep"><caption><b>{title}</b></caption>'
                '<thead><tr><th scope="col">Method</th><th scope="col">Points</th>'
                f'<th scope="col">Validation AUC by hyper-parameter</th></tr></thead><tbody>{rows}</tbody>'
                "</table></div>"
            )
        return (
            "<p>Each dot is a point that was tried, the line joins the best of each value. A steep line "
            "means that this hyper-parameter matters; under each chart, what choosing its best value gains "
            f"over its worst.</p>{''.join(blocks)}"
        )

    def rates(self) -> str:
        """The unlearning rate of every user against what the user is known for."""
        if not self._rates:
            return _without_records("The users' unlearning rates are")
        blocks = []
        for line, found in self._rates:
            alpha = over_seeds(found.users["alpha"])
            charts = []
            for name, title, values in statistics(found):
                charts.append(_scatter(line.row.title, title, values, alpha, log=name == "n_observed"))
            blocks.append(
                f'<div data-protocol="{html.escape(line.protocol)}" data-dataset="{line.dataset.dataset}">'
                f"<h3>{html.escape(line.row.title)} on {html.escape(line.dataset.title)}</h3>"
                f"<p>α over users: median {np.median(alpha):.3f}, a tenth below "
                f"{np.quantile(alpha, 0.1):.3f}, a tenth above {np.quantile(alpha, 0.9):.3f}.</p>"
                f'<div class="charts">{"".join(charts)}</div></div>'
            )
        return (
            "<p>ULTD unlearns user u at the rate α<sub>u</sub> (mean over seeds). By the paper's "
            "hypothesis, users who select more are unlearned more. ρ is Spearman's rank correlation "
            f"over all users; of many users the charts show {_USERS}. On generated data it is known how "
            f"strongly a user selects: |κ<sub>u</sub>|.</p>{''.join(blocks)}"
        )


def _without_records(what: str) -> str:
    return (
        f"<p>{what} in the records, which are not part of a clone: <code>make table1</code> trains them.</p>"
    )


def _curve(
    line: Line,
    found: Details,
    mean: Floats,
    limits: tuple[float, float],
    reference: tuple[Details, Floats] | None,
) -> str:
    steps, curves = found.curve_steps, held(found)
    x_of, y_of = draw.Scale(0, float(steps[-1]), 34, 196), draw.Scale(*limits, 96, 8)
    std = curves.std(axis=0)
    there, back = zip(steps, mean - std, strict=True), zip(steps[::-1], (mean + std)[::-1], strict=True)
    band = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in [*there, *back])
    body = f'<polygon points="{band}" class="band"/>'
    if reference is not None and reference[0] is not found:
        known = reference[0].curve_steps <= steps[-1]
        body += draw.path(reference[0].curve_steps[known], reference[1][known], x_of, y_of, "reference")
    body += draw.path(steps, mean, x_of, y_of, "mean")
    kept = float(np.median(found.record["validation"]["step"]))
    at = float(np.interp(kept, steps, mean))
    body += draw.dot(x_of(kept), y_of(at), 3.5, "filled")
    body += draw.line(34, 96, 196, 96, "axis") + draw.line(34, 8, 34, 96, "axis")
    body += draw.text(31, 14, f"{limits[1]:.2f}", anchor="end")
    body += draw.text(31, 96, f"{limits[0]:.2f}", anchor="end")
    body += draw.text(196, 108, f"{steps[-1]:.0f} steps", anchor="end")
    label = (
        f"{line.row.title}: mean validation AUC from {mean[0]:.3f} to at most {mean.max():.3f}; "
        f"kept after {kept:.0f} steps in the median."
    )
    chart = draw.svg(200, 112, body, label, "chart")
    return f"<figure>{chart}<figcaption>{html.escape(line.row.title)}</figcaption></figure>"


def _sensitivity(title: str, tried: Sweep, place: int) -> str:
    groups = by_value(tried, place)
    if len(groups) < 2:
        return ""
    ordered = list(groups)
    x_of = draw.Scale(0, len(ordered) - 1, 40, 140)
    limits = draw.spread([auc for _, auc in tried.points], 0.1)
    y_of = draw.Scale(*limits, 58, 6)
    best = [max(groups[value]) for value in ordered]
    body = draw.path(range(len(ordered)), best, x_of, y_of, "mean")
    body += draw.dots(
        [(x_of(index), y_of(auc)) for index, value in enumerate(ordered) for auc in groups[value]], "point"
    )
    for index, value in enumerate(ordered):
        if len(ordered) <= 5 or index in (0, len(ordered) - 1):
            body += draw.text(x_of(index), 72, _short(value), anchor="middle")
    body += draw.text(30, 12, f"{limits[1]:.2f}", anchor="end") + draw.text(
        30, 58, f"{limits[0]:.2f}", anchor="end"
    )
    name = tried.names[place].replace("_", " ")
    gain = max(best) - min(best)
    label = f"{title}, {name}: " + ", ".join(
        f"{_short(v)} gives {b:.3f}" for v, b in zip(ordered, best, strict=True)
    )
    chart = draw.svg(160, 76, body, label, "chart")
    return f"<figure>{chart}<figcaption>{html.escape(name)} <b>{gain:.3f}</b></figcaption></figure>"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _scatter(name: str, title: str, values: Floats, alpha: Floats, *, log: bool) -> str:
    known = np.isfinite(values) & np.isfinite(alpha) & (values > 0 if log else True)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return ""
    xs, ys = values[known], alpha[known]
    rho = float(np.corrcoef(rankdata(xs), rankdata(ys))[0, 1]) if np.ptp(ys) > 0 else float("nan")
    if log:
        xs = np.log10(xs)
    order = np.argsort(xs, kind="stable")[draw.thinned(len(xs), _USERS)]
    x_of, y_of = draw.Scale(*draw.spread(list(xs), 0.02), 34, 236), draw.Scale(*draw.spread(list(ys)), 136, 8)
    body = draw.dots([(x_of(xs[i]), y_of(ys[i])) for i in order], "user")
    body += draw.line(34, 136, 236, 136, "axis") + draw.line(34, 8, 34, 136, "axis")
    ends = [10**x if log else x for x in (xs.min(), xs.max())]
    body += draw.text(34, 149, f"{ends[0]:.3g}") + draw.text(236, 149, f"{ends[1]:.3g}", anchor="end")
    body += draw.text(31, 16, f"{ys.max():.2g}", anchor="end") + draw.text(
        31, 136, f"{ys.min():.2g}", anchor="end"
    )
    body += draw.text(135, 149, "log" if log else "", anchor="middle")
    label = f"{name}: α against {title}; Spearman's rho {rho:+.2f} over {len(xs)} users."
    chart = draw.svg(240, 152, body, label, "chart")
    return (
        f"<figure>{chart}<figcaption>{html.escape(title)}: <b>ρ = {rho:+.2f}</b> "
        f"<small>({len(xs)} users)</small></figcaption></figure>"
    )


# --- Command line -------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Writes the page of Table 1.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    given = parser.parse_args(arguments)
    try:
        for file in write_all(given.results / "table1", {"index.html": build(given.results)}):
            print(file)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
