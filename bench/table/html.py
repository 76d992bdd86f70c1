"""The frame as HTML, by the templates of `bench/table/templates`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from bench.table import layout
from bench.table.frame import Frame
from bench.table.layout import TEMPLATES, Group

if TYPE_CHECKING:
    from jinja2 import Environment


def page(frame: Frame) -> str:
    """`table1.html`: the tables alone, in one file without scripts."""
    from markupsafe import Markup

    protocols = []
    for name in frame.manifest.protocols:
        groups = layout.column_groups(frame, name)
        lines = [line for line in frame.lines if line.protocol == name]
        protocols.append(
            {
                "name": name,
                "agreement": layout.in_tolerance(lines),
                "table": Markup(table(frame, groups)),
                "footnotes": Markup(footnotes(groups)),
            }
        )
    return _render(
        "table1.html.j2",
        reading=layout.reading(frame, points=False, published="Grey"),
        protocols=protocols,
        do_not_edit=layout.DO_NOT_EDIT.replace("`", ""),
    )


def table(frame: Frame, groups: Sequence[Group]) -> str:
    """The paper's layout as a table; empty where no group has a value."""
    groups = [group for group in groups if group.cell is not None]
    if not groups:
        return ""
    return _render(
        "table.html.j2",
        mixed=frame.mixed,
        protocol=groups[0].protocol,
        groups=groups,
        columns=layout.columns(groups),
        blocks=layout.row_blocks(frame),
        reasons=layout.reasons(groups),
    )


def footnotes(groups: Sequence[Group]) -> str:
    """The sources of the data sets, and why cells and data sets are missing."""
    reasons = layout.reasons([group for group in groups if group.cell is not None])
    return _render("footnotes.html.j2", groups=groups, reasons=reasons)


def _render(template: str, **context: object) -> str:
    return _templates().get_template(template).render(context).strip() + "\n"


@cache
def _templates() -> Environment:
    # Only who writes HTML waits for the template engine.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= layout.FILTERS
    return templates
