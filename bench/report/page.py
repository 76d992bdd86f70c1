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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

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
from bench.report.details import CRITERION_TITLES, CellDetails, read_cells, tuning_of, window
from bench.report.forest import forests
from bench.report.traces import DRAWN_USERS, STATISTICS, Traces, trace_files
from bench.report.verdict import cards, heat
from bench.table import PAPER, layout, load_results
from bench.table import html as table_html
from bench.table.claims import chosen_by
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE
from bench.table.manifest import OWN_FOLDER, PUBLISHED_FOLDER

PAGE = "index.html"
_HOLDER = '<script type="application/json" id="records">'
_HERE = Path(__file__).resolve().parent
_LIMIT = 4.5 * 2**20  # bytes of the page; the records that would exceed it are named, not shown


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
        found = json.loads(text.rpartition(_HOLDER)[2].partition("</script>")[0])["cells"]
        return {digest: entry for digest, entry in found.items() if "missing" not in entry}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
    groups = {protocol: layout.column_groups(frame, protocol) for protocol in frame.manifest.protocols}
    known = {
        "frame": frame,
        "reference": frame.title(frame.manifest.reference),
        "alpha": ALPHA,
        "tolerance": TOLERANCE,
        "cards": cards(frame),
        "heats": [found for protocol in groups if (found := heat(frame, groups[protocol])) is not None],
        "tables": [_table(frame, protocol, found) for protocol, found in groups.items()],
        "chosen_by": chosen_by(frame),
        "reading": layout.reading(frame),
        "forests": forests(frame),
        "curves": curve_blocks(frame, cells),
        "sweeps": chart_blocks(cell for cell in cells if len(cell.tried) > 1),
        "rates": [cell for cell in cells if cell.traces.rates is not None],
        "filters": _filters(frame),
        "users": DRAWN_USERS,
    }
    text = templates.get_template("page.html").render(known)
    data = _chart_data(cells)
    data["cells"] = _windows(cells, limit - len(text.encode()) - len(_json(data).encode()), kept)
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
    found.filters |= {"signed": layout.signed, "spread": layout.spread, "p": _p_text}
    found.globals |= {
        "asset": lambda name: Markup((_HERE / "assets" / name).read_text(encoding="utf-8")),
        "sensitivities": sensitivities,
        "tried_caption": tried_caption,
        "criterion": lambda cell: CRITERION_TITLES[cell.criterion],
        "statistics": STATISTICS,
    }
    return found


def _json(document: Any) -> str:
    # No "<" may end the element that holds it.
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _table(frame: Frame, protocol: str, found: list[Group]) -> dict[str, Any]:
    mine = [line for line in frame.lines if line.protocol == protocol]
    return {
        "protocol": protocol,
        "agreement": layout.in_tolerance(mine),
        "html": Markup(table_html.table(frame, found, live=True)),
        "footnotes": Markup(table_html.footnotes(found)),
    }


def _filters(frame: Frame) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The choices of the page: name, title, and (value, text) of each."""
    manifest = frame.manifest
    metrics = dict.fromkeys(line.metric for line in frame.lines)
    views = [("all", "ours and paper"), ("ours", "ours"), ("paper", "paper"), ("delta", "difference")]
    return [
        ("protocol", "Protocol", [(name, name) for name in manifest.protocols]),
        ("dataset", "Data set", [("", "all"), *((each.dataset, each.title) for each in manifest.datasets)]),
        ("metric", "Metric", [("", "all"), *((name, _metric_title(name)) for name in metrics)]),
        ("view", "Show", views),
    ]


def _metric_title(name: str) -> str:
    metric = METRICS[name]
    return f"{metric.title}@K" if metric.at_k else metric.title


def _chart_data(cells: Sequence[CellDetails]) -> dict[str, dict[str, Any]]:
    """What the page's script draws, by digest."""
    return {
        "curves": {cell.digest: curve_data(cell.traces.curves) for cell in cells if cell.traces.curves},
        "points": {cell.digest: points_data(cell) for cell in cells if cell.tried},
        "rates": {cell.digest: rates_data(cell) for cell in cells if cell.traces.rates is not None},
    }


def _windows(cells: Sequence[CellDetails], room: float, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Digest → what its window shows, in the table's order as far as so many bytes go."""
    found = {}
    for cell in cells:
        entry = window(cell)
        if cell.record is None and cell.digest in kept:
            entry = {**kept[cell.digest], "title": cell.title, "origin": entry["origin"]}
        entry |= tuning_of(cell)
        room -= len(_json(entry).encode())
        found[cell.digest] = entry if room > 0 else {"title": cell.title, "missing": "room"}
    return found


def _p_text(value: float) -> str:
    """A p-value as tables print it."""
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
