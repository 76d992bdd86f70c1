"""Plots for papers: they name their command and repeat themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

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
