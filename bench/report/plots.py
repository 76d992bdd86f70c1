"""The page's charts for papers and slides: `python -m bench.report.plots [NAME ...] [--format png]`.

Writes `DIR/table1/plots/NAME.svg`, of every plot or of the named ones:

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
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, nearest
from bench.records.metric import IDEAL_LOSS
from bench.report.details import Details, Sweep, by_value, details, held, statistics, sweep
from bench.table import layout, load_results
from bench.table.comparisons import SeedComparison
from bench.table.frame import Frame
from bench.table.layout import Group
from bench.table.lines import ALPHA, TOLERANCE, Line

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


def plots(frame: Frame, results: Path) -> dict[str, Callable[[], Figure]]:
    """Every plot that the frame and the records allow: name → what draws it."""
    found: dict[str, Callable[[], Figure]] = {}
    for protocol in frame.manifest.protocols:
        groups = [group for group in layout.groups(frame, protocol) if group.compared]
        if groups:
            found[f"deltas-{protocol}"] = lambda groups=groups: deltas(frame, groups)  # type: ignore[misc]
        for dataset in frame.manifest.datasets:
            place = f"{protocol}-{dataset.dataset}"
            lines = [
                line
                for line in frame.lines
                if (line.protocol, line.dataset, line.metric) == (protocol, dataset, "auc") and line.values
            ]
            compared = [
                each
                for each in frame.comparisons
                if (each.line.protocol, each.line.dataset) == (protocol, dataset)
            ]
            if compared:
                found[f"forest-{place}"] = lambda compared=compared: forest(frame, compared)  # type: ignore[misc]
            records = [
                (line, record)
                for line in lines
                if (record := details(results / "runs", line.cell.digest)) is not None
            ]
            curved = [each for each in records if each[1].curves.size]
            if curved:
                found[f"curves-{place}"] = lambda curved=curved: curves(frame, curved)  # type: ignore[misc]
            known = {line.row.method: record for line, record in records}
            swept = [
                (line, tried)
                for line in lines
                if (tried := sweep(results, line, known.get(line.row.method))) is not None
                and len(tried.points) > 1
            ]
            if swept:
                found[f"sensitivity-{place}"] = lambda swept=swept: sensitivity(swept)  # type: ignore[misc]
            rated = [each for each in records if "alpha" in each[1].users]
            if rated:
                found[f"rates-{place}"] = lambda rated=rated: rates(rated)  # type: ignore[misc]
    return found


def deltas(frame: Frame, groups: Sequence[Group]) -> Figure:
    """Our means minus the paper's numbers; framed where they are within the tolerance."""
    columns = [(group, metric) for group in groups for metric in group.metrics if metric != IDEAL_LOSS.key]
    rows = [
        row
        for row in frame.manifest.rows
        if any(group.lines[row.method, metric].delta is not None for group, metric in columns)
    ]
    figure, axes = _figure(1.6 + 0.95 * len(columns), 0.9 + 0.28 * len(rows))
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
    """Median paired differences with their bootstrap intervals, a panel for each metric and base."""
    panels: dict[tuple[str, str], list[SeedComparison]] = {}
    for each in compared:
        panels.setdefault((each.against, each.line.metric), []).append(each)
    metrics = list(dict.fromkeys(metric for _, metric in panels))
    bases = list(dict.fromkeys(against for against, _ in panels))
    there = {each.line.row.title for each in compared}
    methods = [row.title for row in frame.manifest.rows if row.title in there]
    figure, axes = _figure(
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
        reach = 1.1 * max(max(abs(each.low), abs(each.high)) for each in near) or 1e-3
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
            axis.plot([each.low, each.high], [y, y], color="black", linewidth=1)
            axis.plot(
                each.median, y, "o", markersize=5, color=BLUE if sure else "black",
                markerfacecolor=BLUE if sure else "white",
            )  # fmt: skip
        axis.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.set_yticks(range(len(methods)), methods if place[1] == metrics[0] else [""] * len(methods))
        heading = layout.heading(place[1], first.line.dataset.k)
        axis.set_title(f"{heading} minus {first.base.row.title}", fontsize=9)
        axis.set_xlim(-reach, reach)
    figure.suptitle(
        f"{compared[0].line.dataset.title}: median paired difference, 95 % interval. "
        f"Filled: p < {ALPHA:g} after Holm's correction",
        fontsize=10,
    )
    return figure


def curves(frame: Frame, entries: Sequence[tuple[Line, Details]]) -> Figure:
    """Mean validation AUC with a band of one standard deviation over seeds, a panel for each row."""
    figure, axes = _grid(len(entries), 4, 2.1, 1.5)
    reference = next((d for line, d in entries if line.row.method == frame.manifest.reference), None)
    # All start at .5; the axis begins where they differ.
    means = [x for _, found in entries for x in held(found).mean(axis=0)[1:]]
    limits = (min(means) - 0.01, max(means) + 0.01) if means else (0.4, 1.0)
    for axis, (line, found) in zip(axes, entries, strict=False):
        steps, seeds = found.curve_steps, held(found)
        mean, std = seeds.mean(axis=0), seeds.std(axis=0)
        axis.fill_between(steps, mean - std, mean + std, color=BLUE, alpha=0.18, linewidth=0)
        if reference is not None and reference is not found:
            known = reference.curve_steps <= steps[-1]
            base = held(reference).mean(axis=0)[known]
            axis.plot(reference.curve_steps[known], base, color=ORANGE, linestyle="--", linewidth=1)
        axis.plot(steps, mean, color=BLUE, linewidth=1.5)
        kept = float(np.median(found.record["validation"]["step"]))
        axis.plot(kept, np.interp(kept, steps, mean), "o", color=BLUE, markersize=4)
        axis.set_title(line.row.title, fontsize=9)
        axis.set_ylim(*limits)
    name = frame.title(frame.manifest.reference)
    figure.suptitle(
        f"{entries[0][0].dataset.title}: validation AUC by step. Dashed: {name}; dot: median kept step",
        fontsize=10,
    )
    return figure


def sensitivity(entries: Sequence[tuple[Line, Sweep]]) -> Figure:
    """Validation AUC of every point tried, a panel for each row and hyper-parameter."""
    panels = [
        (line, tried, place)
        for line, tried in entries
        for place in range(len(tried.names))
        if len(by_value(tried, place)) > 1
    ]
    figure, axes = _grid(len(panels), 5, 1.7, 1.45)
    for axis, (line, tried, place) in zip(axes, panels, strict=False):
        values = by_value(tried, place)
        dots = [(x, auc) for x, aucs in enumerate(values.values()) for auc in aucs]
        axis.plot(*zip(*dots, strict=True), ".", color=ORANGE, markersize=4, rasterized=len(dots) > MANY)
        axis.plot(range(len(values)), [max(aucs) for aucs in values.values()], color=BLUE)
        axis.set_xticks(range(len(values)), [f"{v:g}" if isinstance(v, float) else str(v) for v in values])
        axis.tick_params(labelsize=6.5)
        axis.set_title(f"{line.row.title}: {tried.names[place].replace('_', ' ')}", fontsize=7)
    figure.suptitle(
        f"{entries[0][0].dataset.title}: validation AUC of the points tried; line: the best", fontsize=10
    )
    return figure


def rates(entries: Sequence[tuple[Line, Details]]) -> Figure:
    """α_u against the users' statistics."""
    panels = [
        (line, found, *each) for line, found in entries for each in statistics(found) if each[2] is not None
    ]
    figure, axes = _grid(len(panels), 4, 2.3, 1.9)
    for axis, (line, found, name, title, values) in zip(axes, panels, strict=False):
        alpha = np.nanmean(found.users["alpha"], axis=0)
        axis.plot(values, alpha, ".", color=BLUE, markersize=3, alpha=0.5, rasterized=len(alpha) > MANY)
        if name == "n_observed":
            axis.set_xscale("log")
        axis.set_title(line.row.title, fontsize=8)
        axis.set_xlabel(title, fontsize=7)
        axis.set_ylabel("α", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.suptitle(f"{entries[0][0].dataset.title}: unlearning rates of the users", fontsize=10)
    return figure


def _rectangle(corner: tuple[float, float], width: float, height: float, **looks: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, **looks)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Any]]:
    """A figure of so many inches, and its axes row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _grid(panels: int, columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    columns = max(1, min(columns, panels))
    rows = max(1, math.ceil(panels / columns))
    figure, axes = _figure(width * columns + 0.3, height * rows + 0.6, rows, columns)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes


def write(results: Path, names: Iterable[str], kind: str) -> list[Path]:
    """Writes the named plots, or all of them, and returns their paths.

    Raises:
        BenchError: there is no such plot, a file cannot be written, or Matplotlib is not there.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise BenchError("Plots need Matplotlib: pip install -e '.[plots]'.") from error
    known = plots(load_results(results), results)
    wanted = list(names) or list(known)
    folder, written = results / "table1" / "plots", []
    for name in wanted:
        if name not in known:
            raise BenchError(f"There is no plot '{name}': {nearest(name, list(known))}")
        command = f"python -m bench.report.plots {name}" + (" --format png" if kind == "png" else "")
        with matplotlib.rc_context(_STYLE):
            figure = known[name]()
            figure.supxlabel(command, x=0.01, ha="left", fontsize=5.5, color=GREY)
            file = folder / f"{name}.{kind}"
            looks = {"Date": None} if kind == "svg" else {"Software": None}
            try:
                folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(file, dpi=160, metadata={"Description": command, **looks})
            except OSError as error:
                raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error
        written.append(file)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.report.plots", description="Draws the table's plots."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="plots; all of them where none is named")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    given = parser.parse_args(arguments)
    try:
        for file in write(given.results, given.names, given.format):
            print(file)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
