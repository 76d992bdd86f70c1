"""Plots for papers: they name their command, repeat themselves, and their ticks can be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from bench import table
from bench.report import plots
from bench.report.details import read_cells
from bench.table import load_results
from tests.bench.small_results import make_results


def test_plots_name_their_command_and_repeat_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = make_results(tmp_path / "results")
    table.write_table(copy)
    names = [
        "deltas-table",
        "forest-table-coat",
        "curves-table-coat",
        "sensitivity-table-coat",
        "rates-table-coat",
    ]
    known = load_results(copy)
    assert set(names) <= set(plots.drawings(known, read_cells(known, copy)))
    first = [file.read_bytes() for file in plots.draw_plots(copy, names, "svg")]
    assert first == [file.read_bytes() for file in plots.draw_plots(copy, names, "svg")]
    for name, content in zip(names, first, strict=True):
        assert content.count(f"python -m bench.report.plots {name}".encode()) >= 2
    assert plots.main(["deltas-table", "--format", "png", "--results", str(copy)]) == 0
    assert (copy / "table1" / "plots" / "deltas-table.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert plots.main(["delta-table", "--results", str(copy)]) == 1
    assert "deltas-table" in capsys.readouterr().err


def run_into_each_other(figure: Figure) -> list[str]:
    """Titles of the axes where a label lies over the one before."""
    figure.draw_without_rendering()
    found = []
    for axis in figure.axes:
        low, high = sorted(axis.get_xlim())
        ticks = [*axis.xaxis.get_major_ticks(), *axis.xaxis.get_minor_ticks()]
        shown = [each.label1 for each in ticks if low <= each.get_loc() <= high and each.label1.get_text()]
        upright = [each for each in shown if each.get_rotation() == 0]  # slanted ones lie beside each other
        ends = sorted((each.get_window_extent().x0, each.get_window_extent().x1) for each in upright)
        found += [axis.get_title() or "an axis" for (_, end), (start, _) in pairwise(ends) if start < end]
    return found


@pytest.mark.parametrize("values", [(41, 130, 420), (3, 9), (10, 30_000), (1000, 1001)])
def test_logarithmic_ticks_can_be_read(values: tuple[float, ...]) -> None:
    figure, axes = plots.blank_figure(2.3, 1.9)
    axes[0].plot(values, values, ".")
    plots.logarithmic(axes[0], values)
    assert run_into_each_other(figure) == []
    assert "\\" not in "".join(each.get_text() for each in axes[0].get_xticklabels())


@pytest.mark.parametrize(
    "labels",
    [
        ["1.25e-5", "2.5e-5", "1.25e-4", "0.0025", "0.0125", "0.025"],
        ["1024", "2048", "4096", "8192"],
        ["0.005", "0.01", "0.05", "0.1"],
        ["1", "2", "3"],
    ],
)
def test_values_of_a_hyper_parameter_can_be_read(labels: list[str]) -> None:
    figure, axes = plots.blank_figure(8.8, 2, 1, 5)
    for axis in axes:
        axis.plot(range(len(labels)), [0.81234] * len(labels))
        plots.named_places(axis, labels)
    assert run_into_each_other(figure) == []


def test_small_values_are_written_short() -> None:
    values = [1e-6, 3e-4, 1.25e-5, 1e-10, 0, 0.001, 0.5, 2048, -1e-5, True, "constant", None]
    short = [
        "1e-6",
        "3e-4",
        "1.25e-5",
        "1e-10",
        "0",
        "0.001",
        "0.5",
        "2048",
        "-1e-5",
        "True",
        "constant",
        "None",
    ]
    assert [plots.short(value) for value in values] == short
