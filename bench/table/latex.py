"""The frame as LaTeX, by a template of `bench/table/templates`.

Its delimiters are <% … %> and << … >>, since LaTeX needs the braces for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    **{"–": "--", "α": r"$\alpha$", "κ": r"$\kappa$", "τ": r"$\tau$", "√": r"$\surd$"},
    **{"<": r"$<$", ">": r"$>$", "|": r"$|$"},
}
_LABELS = 2  # columns before the numbers: method, A


@dataclass(frozen=True)
class _Protocol:
    """A table of the document. notes: how to read it."""

    name: str
    groups: Sequence[Group]
    notes: str

    @property
    def columns(self) -> list[tuple[Group, str]]:
        return layout.columns(self.groups)

    @property
    def reasons(self) -> list[str]:
        return layout.reasons(self.groups)

    @property
    def sources(self) -> list[str]:
        return [f"{group.dataset.title}: {group.caption}" for group in self.groups]

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """First and last column of each data set, from 1."""
        first = _LABELS + 1
        for group in self.groups:
            yield first, first + len(group.metrics) - 1
            first += len(group.metrics)

    def columns_with_paper(self, row: Row) -> bool:
        """Whether a row has a line with the paper's numbers."""
        return any(group.lines[row.method, metric].delta is not None for group, metric in self.columns)


def latex(frame: Frame) -> str:
    """`table1.tex`: a document with one table in the paper's layout for each protocol."""
    protocols = []
    for name in frame.manifest.protocols:
        groups = [group for group in layout.column_groups(frame, name) if group.cell is not None]
        if groups:
            lines = [line for group in groups for line in group.lines.values()]
            notes = " ".join(
                [layout.in_tolerance(lines), *layout.reading(frame, points=False, published="Italic")]
            )
            protocols.append(_Protocol(name, groups, notes))
    return (
        _templates()
        .get_template("table1.tex.j2")
        .render(protocols=protocols, blocks=layout.row_blocks(frame), mixed=frame.mixed)
    )


def tex(text: str) -> str:
    """Text in ASCII and LaTeX's commands; what has none becomes a question mark."""
    return "".join(_TEX.get(letter, letter) for letter in text).encode("ascii", "replace").decode()


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
