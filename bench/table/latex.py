"""The frame as LaTeX, by a template of `bench/table/templates`.

Its delimiters are <% … %> and << … >>, since LaTeX needs the braces for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bench.table import layout
from bench.table.frame import Frame
from bench.table.layout import TEMPLATES, Group
from bench.table.manifest import Row

if TYPE_CHECKING:
    from jinja2 import Environment

_TEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%"},
    **{"_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": "'"},
    **{"²": r"\textsuperscript{2}", "∪": r"$\cup$", "≥": r"$\ge$", "≤": r"$\le$", "±": r"$\pm$"},
    **{"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "✓": r"$\checkmark$", "−": r"$-$", "×": r"$\times$"},
    **{"§": r"$^{\S}$", "–": "--", "α": r"$\alpha$", "κ": r"$\kappa$", "τ": r"$\tau$", "√": r"$\surd$"},
    **{"<": r"$<$", ">": r"$>$", "|": r"$|$"},
}
_PRINTED = "beside it the paper's number, with ✓ where our mean is"


@dataclass(frozen=True)
class _Tabular:
    """One data set under one protocol. notes: how to read it."""

    group: Group
    blocks: Sequence[tuple[str, Sequence[Row]]]
    notes: Sequence[str]

    @property
    def name(self) -> str:
        """Of its file."""
        return f"table1-{self.group.protocol}-{self.group.dataset.dataset}.tex"

    @property
    def printed(self) -> list[str]:
        """The metrics that have a column of the paper's numbers."""
        return [
            metric
            for metric in self.group.metrics
            if any(line.delta is not None for (_, name), line in self.group.lines.items() if name == metric)
        ]


def latex(frame: Frame) -> dict[str, str]:
    """The files, name → text.

    `table1-PROTOCOL-DATASET.tex` is a tabular to be \\input, which needs booktabs and amssymb and fits a page
    of 16 cm in a type of 8 points; `table1.tex` a document of them all, each with its caption.
    """
    tabulars = []
    for protocol in frame.manifest.protocols:
        for group in layout.column_groups(frame, protocol):
            if group.cell is not None:
                notes = [
                    layout.in_tolerance(list(group.lines.values())) if group.compared else "",
                    *layout.reading(
                        frame, points=False, published="Italic", printed=_PRINTED, groups=[group]
                    ),
                ]
                there = {method for (method, _), line in group.lines.items() if line.values or line.missing}
                blocks = [
                    (heading, [row for row in rows if row.method in there])
                    for heading, rows in layout.row_blocks(frame)
                ]
                tabulars.append(
                    _Tabular(group, [each for each in blocks if each[1]], list(filter(None, notes)))
                )
    templates = _templates()
    body, document = (templates.get_template(name) for name in ("tabular.tex.j2", "table1.tex.j2"))
    bodies = {
        each.name: body.render(group=each.group, printed=each.printed, blocks=each.blocks, mixed=frame.mixed)
        for each in tabulars
    }
    pages = [(each, bodies[each.name]) for each in tabulars]
    return {"table1.tex": document.render(pages=pages), **bodies}


def tex(text: str) -> str:
    """Text in ASCII and LaTeX's commands; what has none becomes a question mark."""
    written = "".join(_TEX.get(letter, letter) for letter in text).encode("ascii", "replace").decode()
    return written.replace("}$$^{", "")  # marks side by side are one superscript


@cache
def _templates() -> Environment:
    # Only who writes LaTeX waits for the template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # its filter `tex` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    templates.filters |= {**layout.FILTERS, "tex": tex}
    return templates
