"""The frame as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from bench.table import layout
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import Line

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
    groups = [group for group in layout.groups(frame, protocol) if group.cell is not None]
    if not groups:
        return ""
    widths = [len(group.metrics) for group in groups]
    reasons = list(dict.fromkeys(reason for group in groups for reason in group.reasons))
    columns = [(group, metric) for group in groups for metric in group.metrics]
    start, rules, over = 3, [], []
    for group, width in zip(groups, widths, strict=True):
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(group.dataset.title)}}}")
        start += width
    lines = [
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{Protocol \texttt{{{_tex(protocol)}}}. {_tex(_notes(frame, groups))}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'c' * len(columns)}}}",
        r"\toprule",
        " & & " + " & ".join(over) + r" \\",
        " ".join(rules),
        "Method & A & "
        + " & ".join(_tex(layout.heading(m, group.dataset.k)) for group, m in columns)
        + r" \\",
        r"\midrule",
    ]
    for number, (_, rows) in enumerate(layout.blocks(frame)):
        lines += [r"\midrule"] * bool(number)
        for row in rows:
            ours = [_tex_mean(group, row.method, metric, reasons) for group, metric in columns]
            lines.append(" & ".join([_tex(row.title), _tex(layout.unbiased(row)), *ours]) + r" \\")
            paper = [_tex_paper(group.lines[row.method, metric]) for group, metric in columns]
            if any(paper):
                lines.append(" & ".join(["", "", *paper]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    footnotes = [rf"$^{{{i}}}$ {_tex(reason)}" for i, reason in enumerate(reasons, 1)]
    sources = [_tex(f"{group.dataset.title}: {group.caption}") for group in groups]
    lines += [r"\par\smallskip\footnotesize\raggedright " + r" \\ ".join([*sources, *footnotes])]
    return "\n".join([*lines, r"\end{table}"])


def _notes(frame: Frame, groups: Sequence[Group]) -> str:
    lines = [line for group in groups for line in group.lines.values()]
    return " ".join([layout.agreement(lines), *layout.reading(frame)[:4]])


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
    return rf"{{\scriptsize ({line.paper}, ${layout.signed(line.delta)}${check})}}"


def _tex(text: str) -> str:
    """Text in ASCII and LaTeX's commands; what has none becomes a question mark."""
    found = "".join(_TEX.get(letter, letter) for letter in text)
    return found.encode("ascii", "replace").decode()
