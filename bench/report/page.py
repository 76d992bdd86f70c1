"""The page: `python -m bench.report [--results DIR] [--published]`.

Writes into `DIR/table1`, or with `--published` into `DIR/published`,

index.html      the page, one file that needs no network
curves.csv.gz   the validation curves that it draws, for clones without records
rates.csv.gz    the users' unlearning rates that it draws

The table to sort and to filter, every cell's record, forest plots, the deltas as a heat map, validation
curves, the sweeps, and the unlearning rates. The numbers come from the frame (`bench.table.frame`), the rest
from the records; where one is not in the store, as in a fresh clone, from the files beside the table
(`bench.report.traces`). Needs neither torch nor files of data, and the same records give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from bench.command.main import main as command
from bench.files import write_all
from bench.records.metric import METRICS
from bench.report.charts import (
    chart_blocks,
    curve_blocks,
    curve_data,
    points_data,
    rates_data,
    sensitivities,
    tried_caption,
)
from bench.report.choices import (
    EVERY,
    PAPERS,
    Choice,
    every_choice,
    metric_titles,
    metric_words,
    part,
    protocol_titles,
    scope_titles,
    scopes,
)
from bench.report.cost import CostBlock, cost_blocks
from bench.report.details import CRITERION_TITLES, CellDetails, read_cells, tuning_of, window
from bench.report.forest import forests
from bench.report.method_cards import method_card
from bench.report.ranks import RowRanks, ranking
from bench.report.shared import SharedParts, restored
from bench.report.traces import DRAWN_USERS, STATISTICS, Traces, trace_files
from bench.report.verdict import SIGNS, cards, cell_name, heat
from bench.table import PAPER, layout, load_results
from bench.table import html as table_html
from bench.table.claims import (
    INTERVAL,
    WORST_FIRST,
    Verdict,
    chosen_by,
    difference_interval,
    in_words,
    verdict,
)
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE
from bench.table.manifest import OWN_FOLDER, PUBLISHED_FOLDER

PAGE = "index.html"
_HOLDER = '<script type="application/json" id="records">'
_HERE = Path(__file__).resolve().parent
_LIMIT = 2.5e6  # bytes of the page; the records that would exceed it are named, not shown


def page_files(frame: Frame, results: Path, *, published: bool = False) -> dict[str, str]:
    """The page of a frame and what it draws of the records, name → text.

    Args:
        results, published: see `bench.report.details.read_cells`.

    Raises:
        BenchError: a record or a file of the table or of a sweep cannot be read.
    """
    cells = read_cells(frame, results, published=published)
    traces = {cell.digest: cell.traces for cell in cells if cell.traces != Traces()}
    kept = read_windows(results / PUBLISHED_FOLDER / PAGE)
    return {PAGE: page_text(frame, cells, kept=kept), **trace_files(traces)}


def read_windows(page: Path) -> dict[str, Any]:
    """Digest → what a page shows of a cell's record; of those records alone that it shows.

    So that the cells of the published page keep their windows where their records are not, as in a clone.
    Nothing of a file that is absent or no page.
    """
    try:
        text = page.read_text(encoding="utf-8")
        found = json.loads(text.rpartition(_HOLDER)[2].partition("</script>")[0])
        return {
            digest: restored(entry, found["shared"])
            for digest, entry in found["cells"].items()
            if "missing" not in entry
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def write_page(results: Path, *, published: bool = False, paper: Path = PAPER) -> list[Path]:
    """Writes the page of one's own table, or of the published one; returns the paths.

    Raises:
        BenchError: see `bench.table.frame.load_frame` and `page_files`; or the folder cannot be written.
    """
    frame = load_results(results, published=published, paper=paper)
    folder = results / (PUBLISHED_FOLDER if published else OWN_FOLDER)
    return write_all(folder, page_files(frame, results, published=published))


def page_text(
    frame: Frame,
    cells: Sequence[CellDetails],
    limit: float = _LIMIT,
    kept: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """The HTML of a frame.

    Args:
        cells: the details of its cells (`bench.report.details.read_cells`).
        limit: bytes; records that would exceed it are named only.
        kept: windows of cells without a record (`read_windows`).
    """
    templates = _templates()
    protocols = frame.manifest.protocols
    groups = {protocol: layout.column_groups(frame, protocol) for protocol in protocols}
    heats = [found for protocol in groups if (found := heat(frame, groups[protocol])) is not None]
    ranked = {choice.key: ranking(frame, choice) for choice in every_choice(frame)}
    rankings = {key: each for key, each in ranked.items() if each is not None}
    first = Choice(protocols[0], PAPERS, EVERY)
    known_methods = [card for row in frame.manifest.rows if (card := method_card(row)) is not None]
    costs = cost_blocks(cells, {cell.digest: _window(cell, kept) for cell in cells})
    known = {
        "frame": frame,
        "reference": frame.title(frame.manifest.reference),
        "alpha": ALPHA,
        "tolerance": TOLERANCE,
        "protocols": protocol_titles(frame),
        "cards": cards(part(frame, first)),
        "heats": heats,
        "uncompared": [name for name in protocols if name not in {found.protocol for found in heats}],
        "verdicts": list(Verdict),
        "signs": SIGNS,
        "interval": INTERVAL,
        "tables": [_table(frame, protocol, found) for protocol, found in groups.items()],
        "blocks": layout.row_blocks(frame),
        "metrics": _metrics_in_words(groups[protocols[0]]),
        "chosen_by": chosen_by(frame),
        "reading": layout.reading(frame, points=False),
        "ranks": rankings,
        "first_ranks": _ranks_data(rankings.get(first.key)),
        "forests": forests(frame),
        "costs": costs,
        "methods": known_methods,
        "carded": {card.row.method: card for card in known_methods},
        "curves": curve_blocks(frame, cells),
        "sweeps": chart_blocks(cell for cell in cells if len(cell.tried) > 1),
        "rates": [cell for cell in cells if cell.traces.rates is not None],
        "filters": _filters(frame),
        "users": DRAWN_USERS,
    }
    text = templates.get_template("page.html").render(known)
    data: dict[str, Any] = _chart_data(cells)
    data |= {
        "scopes": scopes(frame),
        "verdicts": [str(each) for each in WORST_FIRST],
        "cards": {
            choice.key: [[card.number, card.text, card.conditions] for card in cards(part(frame, choice))]
            for choice in every_choice(frame)
        },
        "ranks": {key: _ranks_data(found) for key, found in rankings.items()},
        "costs": {f"{block.protocol}|{block.dataset}": _cost_data(block) for block in costs},
    }
    room = limit - len(text.encode()) - len(_json(data).encode())
    data["cells"], data["shared"] = _windows(cells, room, kept)
    # The only element of this name: what is not from the templates is escaped.
    before, holder, after = text.rpartition(_HOLDER)
    return before + holder + _json(data) + after


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Writes the page of Table 1.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--published", action="store_true", help="the published page, not one's own")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    for file in write_page(given.results, published=given.published):
        print(file)


def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "signed": layout.signed,
        "spread": layout.spread,
        "unbiased": layout.unbiased,
        "p": _p_text,
        "ends": _interval_text,
        "code": _with_code,
    }
    found.globals |= {
        "asset": lambda name: Markup((_HERE / "assets" / name).read_text(encoding="utf-8")),
        "sensitivities": sensitivities,
        "tried_caption": tried_caption,
        "criterion": lambda cell: CRITERION_TITLES[cell.criterion],
        "statistics": STATISTICS,
        "cell_name": cell_name,
        "verdict": verdict,
        "interval_of": difference_interval,
        "heading": lambda group, metric: layout.heading(metric, group.dataset.k),
        "metric_words": metric_words,
        "lower_is_better": lambda metric: not METRICS[metric].more_is_better,
        "points": _points,
    }
    return found


def _json(document: Any) -> str:
    # No "<" may end the element that holds it.
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _table(frame: Frame, protocol: str, found: list[Group]) -> dict[str, Any]:
    mine = [line for line in frame.lines if line.protocol == protocol]
    groups = [group for group in found if group.cell is not None]
    return {
        "protocol": protocol,
        "agreement": layout.in_tolerance(mine),
        "groups": groups,
        "columns": layout.columns(groups),
        "reasons": layout.reasons(groups),
        "footnotes": Markup(table_html.footnotes(found)),
    }


def _points(group: Group) -> str:
    """How many points the cells of a data set were chosen from: "160 points", "6 to 160 points", or ""."""
    found = {line.cell.points for line in group.lines.values() if line.values}
    numbers = sorted(found - {0, 1})
    if not numbers:
        return ""
    return f"{numbers[0]} points" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} points"


def _metrics_in_words(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Every column heading of a table, once, and what it means."""
    found = {}
    for group, metric in layout.columns([group for group in groups if group.cell is not None]):
        found[layout.heading(metric, group.dataset.k)] = metric_words(metric, group.dataset.k)
    return list(found.items())


def _filters(frame: Frame) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The choices of the page: name, title, and (value, text) of each."""
    views = [
        ("compact", "ours and paper"),
        ("full", "with the spread"),
        ("ours", "ours"),
        ("paper", "paper"),
        ("delta", "difference"),
    ]
    return [
        ("protocol", "Protocol", list(protocol_titles(frame).items())),
        ("dataset", "Data sets", list(scope_titles(frame).items())),
        ("metric", "Metric", list(metric_titles(frame).items())),
        ("view", "Show", views),
    ]


def _ranks_data(found: RowRanks | None) -> dict[str, Any]:
    """A ranking as template and script read it; shares of wins in percent, None on the diagonal."""
    if found is None:
        return {"text": "Fewer than two rows have every number of this choice.", "rows": [], "wins": []}
    left_out = f" Left out, for want of a number: {in_words(row.title for row in found.left_out)}."
    sure = "differ" if found.p_value < ALPHA else "do not differ significantly"
    return {
        "text": f"{len(found.rows)} rows over {found.blocks} seeds of data sets {sure} "
        f"(Friedman's test, p = {found.p_value:.2g}); the critical difference is {found.critical:.2f}."
        + left_out
        * bool(found.left_out),
        "rows": [
            [row.title, round(float(rank), 3), round(float(low), 3), round(float(high), 3)]
            for row, rank, low, high in zip(found.rows, found.average, found.low, found.high, strict=True)
        ],
        "critical": round(found.critical, 3),
        "cliques": found.cliques,
        "wins": [[None if np.isnan(w) else round(100 * float(w)) for w in row] for row in found.wins],
    }


def _cost_data(block: CostBlock) -> list[list[Any]]:
    """(row, AUC, seconds of a seed, whether it is a control) of each cell."""
    return [
        [
            each.line.row.title,
            round(each.line.mean or 0.0, 4),
            float(f"{each.per_seed:.4g}"),
            each.line.row.control,
        ]
        for each in block.costs
    ]


def _chart_data(cells: Sequence[CellDetails]) -> dict[str, dict[str, Any]]:
    """What the page's script draws, by digest."""
    return {
        "curves": {cell.digest: curve_data(cell.traces.curves) for cell in cells if cell.traces.curves},
        "points": {cell.digest: points_data(cell) for cell in cells if cell.tried},
        "rates": {cell.digest: rates_data(cell) for cell in cells if cell.traces.rates is not None},
    }


def _windows(
    cells: Sequence[CellDetails], room: float, kept: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Digest → what its window shows, in the table's order as far as so many bytes go; what windows share."""
    found: dict[str, Any] = {}
    shared = SharedParts()
    for cell in cells:
        known = len(shared.parts)
        entry = shared.lifted(_window(cell, kept))
        room -= len(_json([entry, shared.parts[known:]]).encode())
        found[cell.digest] = entry if room > 0 else {"title": cell.title, "missing": "room"}
    return found, shared.parts


def _window(cell: CellDetails, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the window of a cell shows; of one without a record, what a page had kept of it."""
    entry = window(cell)
    if cell.record is None and cell.digest in kept:
        entry = {**kept[cell.digest], "title": cell.title, "origin": entry["origin"]}
    return entry | tuning_of(cell)


def _with_code(text: str) -> Markup:
    """Text of a docstring: what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _interval_text(interval: tuple[float, float]) -> str:
    """An interval to three decimals; an end that nothing bounds is infinite."""
    low, high = (layout.signed(end) if np.isfinite(end) else "−∞" if end < 0 else "∞" for end in interval)
    return f"[{low}, {high}]"


def _p_text(value: float) -> str:
    """A p-value as tables print it."""
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
