"""The frame as Markdown, LaTeX and HTML: the paper's layout, its row order, controls below a rule."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.table.frame import ALPHA, TOLERANCE, Cell, Dataset, Frame, Line, Row, best_baseline, best_two
from bench.table.statistics import smallest_p

# What a protocol's `no_positive` does with users without a positive test rating, in words.
NO_POSITIVE = {"skip": "are skipped", "one": "count NDCG 1 and Recall 0", "zero": "count 0"}
DO_NOT_EDIT = "Made from the records by `python -m bench.table`; do not edit."


# --- What all forms have in common --------------------------------------------------------------------


@dataclass(frozen=True)
class Marks:
    """How a number is set. best: of the column's best two. base: the best baseline.

    differs: from the reference. differs_best: from the best baseline.
    """

    best: bool = False
    base: bool = False
    differs: bool = False
    differs_best: bool = False

    @property
    def signs(self) -> str:
        """The signs behind the number."""
        return "†" * self.differs + "‡" * self.differs_best


@dataclass(frozen=True)
class Group:
    """The columns of one data set under one protocol.

    cell: any that has values, for what they share; None where there is none. reasons: why cells are
    missing, in the order of their footnotes. tuning: see `Frame`.
    """

    protocol: str
    dataset: Dataset
    cell: Cell | None
    metrics: list[str]
    lines: dict[tuple[str, str], Line]  # (method, metric)
    marks: dict[tuple[str, str], Marks]
    reasons: list[str]
    tuning: str = ""

    @property
    def compared(self) -> list[bool]:
        """Of every number of the paper's that is comparable: whether ours lies within the tolerance."""
        return [line.within for line in self.lines.values() if line.within is not None]

    @property
    def seeds(self) -> str:
        """The numbers of seeds."""
        return ", ".join(map(str, sorted({len(line.values) for line in self.lines.values() if line.values})))

    @property
    def caption(self) -> str:
        """The conditions of the columns, in a sentence or two."""
        if self.cell is None:
            return ""
        rule = NO_POSITIVE.get(self.cell.no_positive, self.cell.no_positive)
        return (
            f"{self.cell.source.rstrip('.')}. Positive: ≥ {self.cell.threshold:g}. "
            f"Users without a positive test rating {rule}. K = {self.dataset.k}, n = {self.seeds}."
            + (f" Tuned over (points × seeds): {self.tuning}." if self.tuning else "")
        )


def groups(frame: Frame, protocol: str) -> list[Group]:
    """The column groups of a protocol."""
    significant = {(each.against, id(each.line)) for each in frame.comparisons if each.p_holm < ALPHA}
    found = []
    for dataset in frame.manifest.datasets:
        lines = frame.column_group(protocol, dataset)
        cell = next((line.cell for line in lines.values() if not line.cell.missing), None)
        if cell is None:
            # What is not implemented is so everywhere; here the reason of the others is of interest.
            wanted = [x for x in lines.values() if x.row.implemented] or list(lines.values())
            reasons = list(dict.fromkeys(line.missing for line in wanted))
            found.append(Group(protocol, dataset, None, [], lines, {}, reasons))
            continue
        metrics = list(dict.fromkeys(metric for _, metric in lines))
        marks = {}
        for metric in metrics:
            column = [line for (_, name), line in lines.items() if name == metric]
            best, base = best_two(column), best_baseline(column)
            for line in column:
                marks[line.row.method, metric] = Marks(
                    best=line.mean in best and not line.row.control,
                    base=line is base,
                    differs=("reference", id(line)) in significant,
                    differs_best=("best baseline", id(line)) in significant,
                )
        reasons = list(dict.fromkeys(line.missing for line in lines.values() if line.missing))
        tuning = frame.tuning.get((protocol, dataset.dataset), "")
        found.append(Group(protocol, dataset, cell, metrics, lines, marks, reasons, tuning))
    return found


def reading(frame: Frame) -> list[str]:
    """How to read the table, sentence by sentence."""
    items = [
        "Mean ± standard deviation over n seeds; in parentheses the paper's number and our difference, "
        f"with ✓ where it is within ±{TOLERANCE:g}.",
        "Bold: the best two of a column. Underlined: the best baseline. Controls aside.",
    ]
    if any(line.p_holm is not None for line in frame.lines):
        sizes = sorted({len(line.values) for line in frame.lines if line.values})
        smallest = ", ".join(f"{smallest_p(n):.3g} for n = {n}" for n in sizes)
        items.append(
            f"†: differs from {frame.title(frame.manifest.reference)}, ‡: from the column's best baseline; "
            f"p < {ALPHA:g} in an exact, two-sided Wilcoxon signed-rank test over paired seeds, after Holm's "
            "correction within the column (the rows of the paper one family, the controls another). Smallest "
            f"attainable p, uncorrected: {smallest}; no mark does not mean equal."
        )
    return [
        *items,
        "A: the unbiased ratings of training, and what a row knows of them.",
        "Points: hyper-parameter points tried.",
        "X: no number; the footnote says why.",
    ]


def agreement(lines: Sequence[Line]) -> str:
    """How many of the paper's numbers came out."""
    compared = [line.within for line in lines if line.within is not None]
    if not compared:
        return "No number here is comparable with the paper's."
    return f"{sum(compared)} of {len(compared)} comparable numbers lie within ±{TOLERANCE:g} of the paper's."


def heading(metric: str, k: int) -> str:
    """A column's title."""
    return {"auc": "AUC", "ideal_loss": "Ideal loss"}.get(metric, f"{metric[0].upper()}@{k}")


def unbiased(row: Row) -> str:
    """What a row knows of A."""
    return {"True": "yes", "False": "no", "None": ""}.get(str(row.uses_unbiased), str(row.uses_unbiased))


def signed(delta: float) -> str:
    """A difference to three decimals; none is -0.000."""
    return f"{delta:+.3f}".replace("-0.000", "+0.000")


def _halves(frame: Frame) -> tuple[list[Row], list[Row]]:
    """The rows above and below the rule."""
    rows = frame.manifest.rows
    return [row for row in rows if not row.control], [row for row in rows if row.control]


def _points(group: Group, row: Row) -> str:
    cell = group.lines[row.method, group.metrics[0]].cell
    return "" if cell.missing else str(cell.points)


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(frame: Frame) -> str:
    """`table1.md`: for each protocol the paper's layout, then each data set with caption and footnotes."""
    items = [*reading(frame), "`comparisons.csv`: median differences and all tests; `users.csv`: over users."]
    parts = ["# Table 1", "\n".join(f"- {item}" for item in items)]
    for protocol in frame.manifest.protocols:
        found = groups(frame, protocol)
        mine = [line for line in frame.lines if line.protocol == protocol]
        parts += [f"## Protocol `{protocol}`", agreement(mine), _overview(frame, found)]
        for group in found:
            parts += _section(frame, group)
    parts.append(DO_NOT_EDIT)
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(frame: Frame, found: Sequence[Group]) -> str:
    """The means alone, all data sets side by side, as the paper prints them; ✓ where its number comes out."""
    found = [group for group in found if group.cell is not None]
    if len(found) < 2:
        return ""
    columns = [(group, metric) for group in found for metric in group.metrics]
    head = ["Method", *(f"{group.dataset.title} {heading(m, group.dataset.k)}" for group, m in columns)]

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
    head = ["Method", "A", "Points", *(heading(metric, group.dataset.k) for metric in group.metrics)]

    def entries(row: Row) -> list[str]:
        numbers = [_number(group, row.method, metric) for metric in group.metrics]
        return [row.title, unbiased(row), _points(group, row), *numbers]

    footnotes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(group.reasons, 1))
    return [title, group.caption, _grid(frame, head, entries), footnotes]


def _grid(frame: Frame, head: list[str], entries: Callable[[Row], list[str]]) -> str:
    above, below = _halves(frame)
    table = [head, ["---"] * len(head), *map(entries, above)]
    if below:
        table += [["*Controls*"] + [""] * (len(head) - 1), *map(entries, below)]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in table)


def _mean(group: Group, method: str, metric: str) -> str:
    line, marks = group.lines[method, metric], group.marks[method, metric]
    if line.mean is None:
        return f"X<sup>{group.reasons.index(line.missing) + 1}</sup>" if len(group.reasons) else "X"
    text = f"{line.mean:.3f}"
    text = f"<u>{text}</u>" if marks.base else text
    return (f"**{text}**" if marks.best else text) + marks.signs


def _number(group: Group, method: str, metric: str) -> str:
    line = group.lines[method, metric]
    text = _mean(group, method, metric)
    if line.std is not None:
        text += f" ± {line.std:.3f}"
    if line.delta is not None:
        text += f" ({line.paper}, {signed(line.delta)}{' ✓' if line.within else ''})"
    return text


# --- LaTeX --------------------------------------------------------------------------------------------

_TEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%"},
    **{"_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": "'"},
    **{"²": r"\textsuperscript{2}", "∪": r"$\cup$", "≥": r"$\ge$", "≤": r"$\le$", "±": r"$\pm$"},
    **{"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "✓": r"$\checkmark$", "−": r"$-$", "×": r"$\times$"},
    **{"–": "--", "α": r"$\alpha$", "κ": r"$\kappa$", "<": r"$<$", ">": r"$>$", "|": r"$|$"},
}

_PREAMBLE = r"""% Table 1, to be compiled with pdflatex as it stands; the tables need booktabs and graphicx.
% Made from the records by python -m bench.table; do not edit.
\documentclass[a4paper,landscape]{article}
\usepackage[margin=1cm]{geometry}
\usepackage{amssymb,booktabs,graphicx}
\pagestyle{empty}
\begin{document}
"""


def latex(frame: Frame) -> str:
    """`table1.tex`: a document with one table in the paper's layout for each protocol."""
    parts = [_PREAMBLE.rstrip("\n")]
    parts += [_tex_table(frame, protocol) for protocol in frame.manifest.protocols]
    parts.append("\\end{document}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _tex_table(frame: Frame, protocol: str) -> str:
    found = [group for group in groups(frame, protocol) if group.cell is not None]
    if not found:
        return ""
    widths = [len(group.metrics) for group in found]
    reasons = list(dict.fromkeys(reason for group in found for reason in group.reasons))
    columns = [(group, metric) for group in found for metric in group.metrics]
    start, rules, over = 3, [], []
    for group, width in zip(found, widths, strict=True):
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group.dataset.title)}}}")
        start += width
    lines = [
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{Protocol \texttt{{{_tex(protocol)}}}. {_tex(_notes(frame, found))}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'c' * len(columns)}}}",
        r"\toprule",
        " & & " + " & ".join(over) + r" \\",
        " ".join(rules),
        "Method & A & " + " & ".join(_tex(heading(m, group.dataset.k)) for group, m in columns) + r" \\",
        r"\midrule",
    ]
    above, below = _halves(frame)
    for number, half in enumerate(half for half in (above, below) if half):
        lines += [r"\midrule"] * bool(number)
        for row in half:
            ours = [_tex_mean(group, row.method, metric, reasons) for group, metric in columns]
            lines.append(" & ".join([_tex(row.title), _tex(unbiased(row)), *ours]) + r" \\")
            paper = [_tex_paper(group.lines[row.method, metric]) for group, metric in columns]
            if any(paper):
                lines.append(" & ".join(["", "", *paper]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    footnotes = [rf"$^{{{i}}}$ {_tex(reason)}" for i, reason in enumerate(reasons, 1)]
    sources = [_tex(f"{group.dataset.title}: {group.caption}") for group in found]
    lines += [r"\par\smallskip\footnotesize\raggedright " + r" \\ ".join([*sources, *footnotes])]
    return "\n".join([*lines, r"\end{table}"])


def _notes(frame: Frame, found: Sequence[Group]) -> str:
    lines = [line for group in found for line in group.lines.values()]
    return " ".join([agreement(lines), *reading(frame)[:4]])


def _tex_mean(group: Group, method: str, metric: str, reasons: Sequence[str]) -> str:
    line, marks = group.lines[method, metric], group.marks[method, metric]
    if line.mean is None:
        return rf"X$^{{{reasons.index(line.missing) + 1}}}$"
    text = f"{line.mean:.3f}"
    text = rf"\underline{{{text}}}" if marks.base else text
    text = rf"\textbf{{{text}}}" if marks.best else text
    spread = "" if line.std is None else rf" {{\scriptsize $\pm$ {line.std:.3f}}}"
    return text + _tex(marks.signs) + spread


def _tex_paper(line: Line) -> str:
    if line.delta is None:
        return ""
    check = r" $\checkmark$" if line.within else ""
    return rf"{{\scriptsize ({line.paper}, ${signed(line.delta)}${check})}}"


def _tex(text: str) -> str:
    """Text in ASCII and LaTeX's commands; what has none becomes a question mark."""
    found = "".join(_TEX.get(letter, letter) for letter in text)
    return found.encode("ascii", "replace").decode()


# --- HTML ---------------------------------------------------------------------------------------------

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
        found = groups(frame, protocol)
        mine = [line for line in frame.lines if line.protocol == protocol]
        body += [
            f"<h2>Protocol <code>{_html(protocol)}</code></h2>",
            f"<p>{_html(agreement(mine))}</p>",
            f'<div class="scroll" tabindex="0">{html_table(frame, found)}</div>',
            html_footnotes(found),
        ]
    items = "".join(f"<li>{_html(item)}</li>" for item in reading(frame))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>Table 1</title>\n'
        f"<style>{_STYLE}</style>\n<h1>Table 1</h1>\n<ul>{items}</ul>\n"
        + "\n".join(part for part in body if part)
        + f"\n<p>{_html(DO_NOT_EDIT.replace('`', ''))}</p>\n</html>\n"
    )


def html_table(frame: Frame, found: Sequence[Group], *, live: bool = False) -> str:
    """The paper's layout as a table; empty where no group has a value.

    live: cells and headings are buttons, for the page that sorts them and opens records.
    """
    found = [group for group in found if group.cell is not None]
    if not found:
        return ""
    protocol = found[0].protocol
    reasons = _reasons(found)
    columns = [(group, metric) for group in found for metric in group.metrics]
    over = "".join(
        f'<th scope="colgroup" colspan="{len(group.metrics)}" data-dataset="{group.dataset.dataset}">'
        f"{_html(group.dataset.title)}</th>"
        for group in found
    )
    titles = [("method", "Method", ""), ("a", "A", ""), ("points", "Points", "")]
    if not live:
        titles.pop()
    titles += [
        (f"{group.dataset.dataset}-{metric}", heading(metric, group.dataset.k), _column(group, metric))
        for group, metric in columns
    ]
    heads = "".join(
        f'<th scope="col" data-key="{key}"{where}>'
        + (f'<button type="button" class="sort">{_html(title)}</button>' if live else _html(title))
        + "</th>"
        for key, title, where in titles
    )
    bodies = []
    for half in _halves(frame):
        rows = []
        for row in half:
            cells = [_html_cell(g, row.method, m, reasons, live=live) for g, m in columns]
            extra = f'<td class="points">{_html_points(found, row)}</td>' if live else ""
            rows.append(
                f'<tr data-method="{_html(row.method)}"><th scope="row">{_html(row.title)}</th>'
                f"<td>{_html(unbiased(row))}</td>{extra}{''.join(cells)}</tr>"
            )
        if rows:
            bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    caption = f"<caption>Protocol {_html(protocol)}</caption>"
    return (
        f'<table class="table1" data-protocol="{_html(protocol)}">{caption}<thead><tr>'
        f'<th colspan="{3 if live else 2}"></th>{over}</tr><tr>{heads}</tr></thead>{"".join(bodies)}</table>'
    )


def html_footnotes(found: Sequence[Group]) -> str:
    """The sources of the data sets, and why cells and data sets are missing."""
    reasons = _reasons([group for group in found if group.cell is not None])
    items = [
        f"<p><b>{_html(group.dataset.title)}</b>: {_html(group.caption or ' '.join(group.reasons))}</p>"
        for group in found
    ]
    items += [f"<p><sup>{i}</sup> {_html(reason)}</p>" for i, reason in enumerate(reasons, 1)]
    return f'<div class="notes">{"".join(items)}</div>'


def _reasons(found: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(reason for group in found for reason in group.reasons))


def _html_points(found: Sequence[Group], row: Row) -> str:
    """The points of each data set, in their order; once where they are the same."""
    points = [_points(group, row) or "–" for group in found]
    if len(set(points)) == 1:
        return points[0]
    return "".join(
        f'<span data-dataset="{group.dataset.dataset}">{each}</span>'
        for group, each in zip(found, points, strict=True)
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
            f'<span class="d">{signed(line.delta)}{check}</span><i>)</i></span>'
        )
    if live:
        text = f'<button type="button" class="cell" data-cell="{line.cell.digest}">{text}</button>'
    return f"<td{where}{values}>{text}</td>"


def _html(text: str) -> str:
    return html.escape(text)
