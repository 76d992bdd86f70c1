"""The page's charts for papers and slides: `python -m bench.report.plots [NAME ...] [--published]
[--results DIR] [--format png]`.

Writes `DIR/table1/plots/NAME.svg`, or with `--published` `DIR/published/plots/NAME.svg`, of every plot or of
the named ones:

deltas-PROTOCOL                 our means minus the paper's numbers, as a heat map
forest-PROTOCOL-DATASET         paired differences from the reference and from the best baseline
curves-PROTOCOL-DATASET         validation curves
sensitivity-PROTOCOL-DATASET    validation AUC by hyper-parameter
rates-PROTOCOL-DATASET          ULTD's unlearning rates against the users' statistics

Each names the command that makes it, in its lower left corner and in its metadata. Colours are those
of Okabe and Ito; no meaning hangs on a colour alone. Needs Matplotlib (`pip install -e '.[plots]'`).
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.command.main import main as command
from bench.errors import BenchError, nearest
from bench.records.metric import METRICS
from bench.report.charts import Block, CurveBlock, chart_blocks, curve_blocks, sensitivities
from bench.report.details import CRITERION_TITLES, CellDetails, read_cells
from bench.report.forest import levels
from bench.report.traces import STATISTICS
from bench.table import layout, load_results
from bench.table.comparisons import SeedComparison, seed_differences
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE
from bench.table.manifest import OWN_FOLDER, PUBLISHED_FOLDER
from bench.table.statistics import wilcoxon_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 60  # dots of a panel that are drawn as an image: each costs an SVG a hundred bytes
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
_STYLE: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: to be searched, read aloud and edited
    "svg.hashsalt": "ultd-bench",  # the same plot gives the same bytes
}


def drawings(frame: Frame, cells: Sequence[CellDetails]) -> dict[str, Callable[[], Figure]]:
    """Every plot that the frame and the details of its cells allow: name → what draws it."""
    found: dict[str, Callable[[], Figure]] = {}
    for protocol in frame.manifest.protocols:
        groups = [group for group in layout.column_groups(frame, protocol) if group.compared]
        if groups:
            found[f"deltas-{protocol}"] = partial(deltas, frame, groups)
    compared: dict[str, list[SeedComparison]] = {}
    for each in frame.comparisons:
        compared.setdefault(f"{each.line.protocol}-{each.line.dataset.dataset}", []).append(each)
    found |= {f"forest-{place}": partial(forest, frame, some) for place, some in compared.items()}
    for curved in curve_blocks(frame, cells):
        found[f"curves-{_place(curved.block)}"] = partial(curves, frame, curved)
    for block in chart_blocks(cell for cell in cells if len(cell.tried) > 1):
        found[f"sensitivity-{_place(block)}"] = partial(sensitivity, block)
    for block in chart_blocks(cell for cell in cells if cell.traces.rates is not None):
        found[f"rates-{_place(block)}"] = partial(rates, block)
    return found


def _place(block: Block) -> str:
    return f"{block.protocol}-{block.dataset}"


def deltas(frame: Frame, groups: Sequence[Group]) -> Figure:
    """Our means minus the paper's numbers; framed where they are within the tolerance."""
    columns = [(group, metric) for group in groups for metric in group.metrics if METRICS[metric].in_paper]
    rows = [
        row
        for row in frame.manifest.rows
        if any(group.lines[row.method, metric].delta is not None for group, metric in columns)
    ]
    figure, axes = blank_figure(1.6 + 0.95 * len(columns), 0.9 + 0.28 * len(rows))
    axis = axes[0]
    for y, row in enumerate(rows):
        for x, (group, metric) in enumerate(columns):
            line = group.lines[row.method, metric]
            if line.delta is None:
                continue
            share = min(1.0, abs(line.delta) / 0.05)
            colour = "white" if line.within else ORANGE if line.delta < 0 else BLUE
            face = (colour, 0.15 + 0.6 * share) if colour != "white" else colour
            edge = {"edgecolor": "black", "linewidth": 1.2} if line.within else {"edgecolor": "white"}
            axis.add_patch(_rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=face, **edge))
            text = layout.signed(line.delta) + (" ✓" if line.within else "")
            axis.text(x, y, text, ha="center", va="center", fontsize=8)
    titles = [f"{group.dataset.title}\n{layout.heading(m, group.dataset.k)}" for group, m in columns]
    axis.set_xticks(range(len(columns)), titles)
    axis.set_yticks(range(len(rows)), [row.title for row in rows])
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel(
        f"Ours minus the paper's\nFramed ✓: within ±{TOLERANCE:g}\nOrange: lower; blue: higher", fontsize=8
    )
    return figure


def forest(frame: Frame, compared: Sequence[SeedComparison]) -> Figure:
    """Median paired differences with the intervals of their test, a panel for each metric and base.

    Thick and thin as on the page (`bench.report.forest`): without and with Holm's correction.
    """
    panels: dict[tuple[str, str], list[SeedComparison]] = {}
    for each in compared:
        panels.setdefault((each.against, each.line.metric), []).append(each)
    metrics = list(dict.fromkeys(metric for _, metric in panels))
    bases = list(dict.fromkeys(against for against, _ in panels))
    there = {each.line.row.title for each in compared}
    methods = [row.title for row in frame.manifest.rows if row.title in there]
    figure, axes = blank_figure(
        2.9 * len(metrics) + 1, (0.19 * len(methods) + 1.1) * len(bases), len(bases), len(metrics)
    )
    for axis, place in zip(axes, ((base, metric) for base in bases for metric in metrics), strict=True):
        entries = panels.get(place, [])
        if not entries:
            axis.set_visible(False)
            continue
        first = entries[0]
        # A control far away would press the rows of the paper together: it is an arrow at the edge.
        near = [each for each in entries if not each.line.row.control] or entries
        plain = {each.line.row.method: wilcoxon_interval(seed_differences(each), ALPHA) for each in entries}
        ends = [abs(end) for each in near for end in plain[each.line.row.method] if math.isfinite(end)]
        reach = 1.25 * max([*ends, *(abs(each.median) for each in near)]) or 1e-3
        held = levels(entries)
        for each in entries:
            y = methods.index(each.line.row.title)
            if abs(each.median) > reach:
                axis.plot(
                    math.copysign(0.97 * reach, each.median),
                    y,
                    "<" if each.median < 0 else ">",
                    color="black",
                )
                continue
            sure = each.p_holm < ALPHA
            method = each.line.row.method
            corrected = wilcoxon_interval(seed_differences(each), held[method])
            for bounds, width in ((corrected, 0.8), (plain[method], 2.4)):
                drawn = [min(reach, max(-reach, end)) for end in bounds]
                axis.plot(drawn, [y, y], color="black", linewidth=width, solid_capstyle="butt")
            axis.plot(
                each.median, y, "o", markersize=5, color=BLUE if sure else "black",
                markerfacecolor=BLUE if sure else "white",
            )  # fmt: skip
        axis.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.set_yticks(range(len(methods)), methods if place[1] == metrics[0] else [""] * len(methods))
        heading = layout.heading(place[1], first.line.dataset.k)
        better = "higher" if METRICS[place[1]].more_is_better else "lower"
        axis.set_title(f"{heading} minus {first.base.row.title}", fontsize=9)
        axis.set_xlabel(f"difference of {heading}, {better} is better", fontsize=7)
        axis.tick_params(axis="x", labelsize=7)
        axis.set_xlim(-reach, reach)
    figure.suptitle(
        f"{compared[0].line.dataset.title}: median paired difference; thick: 95 % interval, thin: after "
        f"Holm's correction. Filled: p < {ALPHA:g} after it. Arrow: beyond the axis",
        fontsize=10,
    )
    return figure


def curves(frame: Frame, drawn: CurveBlock) -> Figure:
    """Validation AUC of every seed up to where it stopped, a panel for each row."""
    cells = drawn.block.cells
    figure, axes = _grid(len(cells), 4, 2.1, 1.5)
    for axis, cell in zip(axes, cells, strict=False):
        for curve in cell.traces.curves:
            axis.plot(curve.steps, curve.auc, color=BLUE, linewidth=0.6, alpha=0.45)
            axis.plot(curve.kept_step, curve.kept_auc, "o", color=BLUE, markersize=2)
        if drawn.reference is not None:
            axis.axhline(drawn.reference, color=ORANGE, linestyle="--", linewidth=1)
        axis.set_title(f"{cell.line.row.title} {drawn.kept[cell.digest]:.3f}", fontsize=9)
        axis.set_ylim(drawn.low, drawn.high)
        axis.set_xlabel("steps", fontsize=7)
        axis.set_ylabel("validation AUC", fontsize=7)
    figure.suptitle(
        f"{drawn.block.title}: validation AUC of each seed by step; dots and number: what was kept; "
        f"dashed: the same of {frame.title(frame.manifest.reference)}",
        fontsize=10,
    )
    return figure


def sensitivity(block: Block) -> Figure:
    """The points tried, averaged over their seeds, a panel for each row and hyper-parameter."""
    panels = [(cell, each) for cell in block.cells for each in sensitivities(cell)]
    figure, axes = _grid(len(panels), 5, 1.7, 1.45)
    for axis, (cell, each) in zip(axes, panels, strict=False):
        groups = cell.points.by_value(each.name, cell.criterion)
        dots = [(x, point.auc) for x, points in enumerate(groups.values()) for point in points]
        axis.plot(*zip(*dots, strict=True), ".", color=ORANGE, markersize=4, rasterized=len(dots) > MANY)
        axis.plot(range(len(groups)), list(each.best.values()), color=BLUE)
        named_places(axis, [short(value) for value in groups])
        axis.set_title(f"{cell.line.row.title}\n{each.title}", fontsize=7)
    criteria = " or ".join(dict.fromkeys(CRITERION_TITLES[cell.criterion] for cell in block.cells))
    figure.suptitle(
        f"{block.title}: {criteria} of the points tried, means over their seeds; line: the best", fontsize=10
    )
    return figure


def rates(block: Block) -> Figure:
    """α_u against the users' statistics."""
    panels = [
        (cell, name, scatter)
        for cell in block.cells
        if cell.traces.rates is not None
        for name, scatter in cell.traces.rates.scatters.items()
    ]
    figure, axes = _grid(len(panels), 4, 2.3, 1.9)
    for axis, (cell, name, scatter) in zip(axes, panels, strict=False):
        title, log = STATISTICS[name]
        many = len(scatter.alpha) > MANY
        axis.plot(scatter.values, scatter.alpha, ".", color=BLUE, markersize=3, alpha=0.5, rasterized=many)
        if log:
            logarithmic(axis, scatter.values)
        axis.set_title(f"{cell.line.row.title}, ρ = {scatter.rho:+.2f}", fontsize=8)
        axis.set_xlabel(title, fontsize=7)
        axis.set_ylabel("α", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    figure.suptitle(f"{block.title}: unlearning rates of the users", fontsize=10)
    return figure


def named_places(axis: Any, labels: Sequence[str]) -> None:
    """Ticks at 0, 1, ... with these labels, slanted where they would run into each other."""
    slanted = sum(map(len, labels)) > 18
    looks: Any = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_xticks(range(len(labels)), labels, **looks)
    axis.tick_params(labelsize=6.5)


def logarithmic(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers: Matplotlib's own powers run into each other within a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    narrow = max(values) < 100 * min(values)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def short(value: Any) -> str:
    """A value of a hyper-parameter in few letters."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    # As the page has it: 3e-4, not 0.0003 or 3e-04.
    power = re.sub(r"e([+-])0*", r"e\1", f"{value:.2e}".replace(".00e", "e"))
    return power if 0 < abs(value) < 1e-3 else f"{value:g}"


def _rectangle(corner: tuple[float, float], width: float, height: float, **looks: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, **looks)


def blank_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Any]]:
    """A figure of so many inches, and its axes row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _grid(panels: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    columns = max(1, min(columns, panels))
    rows = max(1, math.ceil(panels / columns))
    figure, axes = blank_figure(width * columns + 0.3, height * rows + 0.6, rows, columns)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes


def save_figure(draw: Callable[[], Figure], file: Path, words: str) -> Path:
    """Draws a figure in the plots' style, with the command that makes it, into an SVG or PNG file.

    Raises:
        BenchError: the file cannot be written, or Matplotlib is not there.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise BenchError("Plots need Matplotlib: pip install -e '.[plots]'.") from error
    with matplotlib.rc_context(_STYLE):
        figure = draw()
        figure.supxlabel(words, x=0.01, ha="left", fontsize=5.5, color=GREY)
        looks = {"Date": None} if file.suffix == ".svg" else {"Software": None}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(file, dpi=160, metadata={"Description": words, **looks})
        except OSError as error:
            raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error
    return file


def draw_plots(results: Path, names: Iterable[str], kind: str, *, published: bool = False) -> list[Path]:
    """Writes the named plots, or all of them, and returns their paths.

    Raises:
        BenchError: there is no such plot, a file cannot be written, or Matplotlib is not there.
    """
    frame = load_results(results, published=published)
    known = drawings(frame, read_cells(frame, results, published=published))
    wanted = list(names) or list(known)
    folder, written = results / (PUBLISHED_FOLDER if published else OWN_FOLDER) / "plots", []
    for name in wanted:
        if name not in known:
            raise BenchError(f"There is no plot '{name}': {nearest(name, list(known))}")
        words = f"python -m bench.report.plots {name}"
        words += " --published" * published + " --format png" * (kind == "png")
        written.append(save_figure(known[name], folder / f"{name}.{kind}", words))
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report.plots", description="Draws the table's plots."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="plots; all of them where none is named")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--published", action="store_true", help="of the published table, not one's own")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    for file in draw_plots(given.results, given.names, given.format, published=given.published):
        print(file)


if __name__ == "__main__":
    raise SystemExit(main())
