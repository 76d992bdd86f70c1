"""The table in the terminal: every row's mean here, as published and in the paper, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from tabulate import SEPARATING_LINE, DataRow, TableFormat, tabulate
from tabulate import Line as Rule

from bench.command.signs import ASCII
from bench.records.metric import METRICS
from bench.table import layout
from bench.table.frame import AGREEING_ERRORS, Frame, Repeated
from bench.table.layout import Group
from bench.table.lines import HERE, PUBLISHED, Line

ABSENT = "-"
DIFFERS, DIFFERS_EARLIER = "*", "°"
_PAPER = "paper"
SOURCES = {HERE: "here", PUBLISHED: "publ", _PAPER: "paper"}  # in the order of the columns

# Without a format of headings, whose columns tabulate makes wider than they need to be.
_FORMAT = TableFormat(
    lineabove=None,
    linebelowheader=Rule("", "-", "  ", ""),
    linebetweenrows=None,
    linebelow=None,
    headerrow=None,
    datarow=DataRow("", "  ", ""),
    padding=0,
    with_header_hide=None,
)
_SHORTEST_TITLE = 12  # characters that are left of a row's title where the terminal is narrow


@dataclass(frozen=True)
class _Column:
    """A column of numbers. source: which numbers, as its heading. entries: method → text."""

    dataset: str
    metric: str
    source: str
    entries: Mapping[str, str]

    @property
    def compact(self) -> _Column:
        """The numbers without their leading zero."""
        return replace(self, entries={row: text.removeprefix("0") for row, text in self.entries.items()})

    @property
    def width(self) -> int:
        """With the space before it."""
        return len("  ") + max(map(len, [self.metric, self.source, *self.entries.values()]))


def text(frame: Frame, width: int) -> str:
    """The table, no line longer than `width` characters where that is possible at all.

    As many data sets stand side by side as there is room for. Where there is none for a single one, its
    numbers lose their leading zero and titles their end; where that is not enough, its metrics stand below
    each other. Of the protocols those that have a cell trained here, else the first.
    """
    trained = {line.protocol for line in frame.lines if line.cell.origin == HERE}
    protocols = [name for name in frame.manifest.protocols if name in trained] or frame.manifest.protocols[:1]
    longest = max(map(len, ["Method", *(row.title for row in frame.manifest.rows)]))
    parts = []
    for protocol in protocols:
        groups = [group for group in layout.column_groups(frame, protocol) if group.cell is not None]
        columns = [_columns(frame, group) for group in groups]
        if any(longest + _width(each) > width for each in columns):
            columns = [[column.compact for column in each] for each in columns]
        widest = max(map(_width, columns), default=0)
        title = min(longest, max(_SHORTEST_TITLE, width - widest))
        if len(frame.manifest.protocols) > 1:
            parts.append(f"Protocol {protocol}")
        parts += [_block(frame, block, title) for block in _packed(columns, width - title)]
    return "\n\n".join([*parts, _legend(frame)])


def _legend(frame: Frame) -> str:
    notes = [f"{SOURCES[HERE]}: trained in this checkout", f"{SOURCES[PUBLISHED]}: as the suite publishes it"]
    notes.append(f"{SOURCES[_PAPER]}: as the paper prints it, where it can be compared")
    notes += layout.unequal_budgets(frame.lines)
    differing = [repeated for repeated in frame.both if not repeated.agrees]
    if any(not repeated.earlier_code for repeated in differing):
        notes.append(f"{DIFFERS}: differs from the published number by more than noise")
    if any(repeated.earlier_code for repeated in differing):
        notes.append(f"{DIFFERS_EARLIER}: differs from the published number, which earlier code trained")
    return "\n".join(notes)


def agreement(frame: Frame) -> str:
    """How many of the numbers trained here agree with the published ones, in a few sentences.

    Those that earlier code trained are counted apart: that they differ is no failure.
    """
    if not frame.both:
        return "No number that was trained here is published, too."
    alike = [repeated for repeated in frame.both if not repeated.earlier_code]
    earlier = [repeated for repeated in frame.both if repeated.earlier_code]
    sentences = [_agreement(alike)] if alike else []
    if earlier:
        cells = len({repeated.cell_key for repeated in earlier})
        sentences.append(
            f"{len(earlier)} numbers of {cells} cell{'' if cells == 1 else 's'} were published by earlier "
            f"code: {sum(repeated.agrees for repeated in earlier)} agree within noise, and that the others "
            "differ is no failure of this checkout."
        )
    return " ".join(sentences)


def _agreement(both: Sequence[Repeated]) -> str:
    equal = sum(repeated.equal for repeated in both)
    agree = sum(repeated.agrees for repeated in both)
    said = (
        f"Of {len(both)} numbers trained here that are published, too, {equal} are equal to six "
        f"decimals, and {agree} agree within noise ({AGREEING_ERRORS:g} standard errors, or what a seed that "
        "stops elsewhere moves a mean)."
    )
    differing = [repeated for repeated in both if not repeated.agrees]
    if differing:
        worst = max(differing, key=lambda repeated: abs(repeated.difference))
        line = worst.line
        said += (
            f" The largest difference beyond it: {line.row.title} on {line.dataset.title}, "
            f"{METRICS[line.metric].heading(line.dataset.k)} {layout.signed(worst.difference)}."
        )
    return said


def printable(text: str, stream: TextIO) -> str:
    """A text that a stream's encoding can show: in ASCII where it cannot show it as it is."""
    encoding = stream.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = "".join(ASCII.get(letter, letter) for letter in text)
        return plain.encode("ascii", "replace").decode()
    return text


# --- Columns ------------------------------------------------------------------------------------------


def _columns(frame: Frame, group: Group) -> list[_Column]:
    """The columns of a data set; a source that has no number of it has no column."""
    published = {id(repeated.line): repeated for repeated in frame.both}
    columns = []
    for metric in group.metrics:
        lines = {method: line for (method, other), line in group.lines.items() if other == metric}
        for source, heading in SOURCES.items():
            entries = {m: _number(line, source, published.get(id(line))) for m, line in lines.items()}
            title = layout.heading(metric, group.dataset.k)
            columns.append(_Column(group.dataset.title, title, heading, entries))
    known = {column.source for column in columns if set(column.entries.values()) != {ABSENT}}
    return [column for column in columns if column.source in known]


def _number(line: Line, source: str, repeated: Repeated | None) -> str:
    if source == _PAPER:
        return f"{float(line.paper):.3f}" if line.paper else ABSENT
    if source == PUBLISHED and repeated is not None:
        return f"{repeated.mean:.3f}"
    if line.mean is None or line.cell.origin != source:
        return ABSENT
    text = f"{line.mean:.3f}" + layout.UNEQUAL * bool(line.sweeper)
    if repeated is None or repeated.agrees:
        return text
    return f"{text}{DIFFERS_EARLIER if repeated.earlier_code else DIFFERS}"


def _packed(groups: Iterable[Sequence[_Column]], width: int) -> Iterator[list[_Column]]:
    """The columns of one block after the other, as many data sets side by side as fit into the width."""
    block: list[_Column] = []
    for columns in groups:
        if block and _width(block) + _width(columns) > width:
            yield block
            block = []
        if _width(columns) > width:
            for metric in dict.fromkeys(column.metric for column in columns):
                yield [column for column in columns if column.metric == metric]
        else:
            block += columns
    if block:
        yield block


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns)


# --- A block ------------------------------------------------------------------------------------------


def _block(frame: Frame, columns: Sequence[_Column], title: int) -> str:
    """Data set, metric and source above each other; a name is not repeated to the right of itself.

    title: characters of a row's title at most.
    """
    above, over, heads = [""], [""], ["Method"]
    before = ("", "")
    for column in columns:
        here = column.dataset, column.metric
        above.append("" if column.dataset == before[0] else column.dataset)
        over.append("" if here == before else column.metric)
        heads.append(column.source)
        before = here
    table: list[list[str] | str] = [over, heads]
    for _, rows in layout.row_blocks(frame):
        # Further methods that these data sets have no number of would be a screen of dashes.
        shown = [
            row
            for row in rows
            if row.family != "further" or any(column.entries[row.method] != ABSENT for column in columns)
        ]
        table += [SEPARATING_LINE] if shown else []
        for row in shown:
            name = row.title if len(row.title) <= title else row.title[: title - 1] + "…"
            table.append([name, *(column.entries[row.method] for column in columns)])
    # A data set's title may be wider than its first column.
    first, starts, place = "", [], title
    for name, column in zip(above[1:], columns, strict=True):
        starts += [(place + len("  "), name)] if name else []
        place += column.width
    for start, name in starts:
        first = f"{first:{start}}{name}"
    return first + "\n" + tabulate(table, tablefmt=_FORMAT, disable_numparse=True, stralign="left")
