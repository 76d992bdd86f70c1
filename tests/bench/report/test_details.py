"""What the page knows of a cell: the command that makes it, and the points that its sweep tried."""

from __future__ import annotations

import itertools
import math
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench import cell as trainable
from bench import compose, table
from bench.errors import BenchError
from bench.records.points import AFTER, BEFORE, Points, Training
from bench.records.record import read_record
from bench.report.charts import points_data, sensitivities, successive_differences, tried_caption
from bench.report.details import CellDetails, full_command, read_cell_details, read_cells, swept_points
from bench.report.page import page_files
from bench.report.traces import Traces
from bench.table import load_results
from bench.table.lines import Line
from tests.bench.small_results import make_results

ROOT = Path(bench.__file__).parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its table; not to be written to."""
    folder = make_results(tmp_path_factory.mktemp("results"))
    table.write_table(folder)
    return folder


def line_of(results: Path, protocol: str, dataset: str, method: str) -> Line:
    return next(
        line
        for line in load_results(results).lines
        if (line.protocol, line.dataset.dataset, line.row.method) == (protocol, dataset, method)
    )


def training(point: tuple[object, ...], seed: int, held_out: float, stage: str = "grid") -> Training:
    return Training(
        stage=stage,
        point=point,
        seed=seed,
        validation_auc=held_out + 0.1 * seed,
        held_out_auc=held_out,
        epoch=3.0,
        seconds=1.0,
    )


# --- The command ----------------------------------------------------------------------------------------


def test_the_command_makes_the_very_record(tmp_path: Path) -> None:
    given = [
        *("method=ips", "dataset=synthetic", "sweep=none", "seeds=2", "grid.learning_rate=[0.01,0.05]"),
        *("method.weight_decay=0.001", "engine.max_epochs=2", f"results={tmp_path}"),
        *("dataset.n_users=60", "dataset.n_items=40", "dataset.ratings_per_user=24", "dataset.k=4"),
    ]
    compose.register(given)
    config = compose.composed(given)
    cell = trainable.prepare(config, trainable.load_ratings(config))
    trainable.train_and_store(cell, tmp_path / "runs")
    again = shlex.split(full_command(read_record(tmp_path / "runs", cell.digest)))[3:]
    config = compose.composed(again)
    assert trainable.prepare(config, trainable.load_ratings(config)).digest == cell.digest


# --- Points tried ---------------------------------------------------------------------------------------


def test_a_swept_cell_shows_the_points_of_its_record(results: Path) -> None:
    line = line_of(results, "text", "coat", "ips")
    cell = read_cell_details(line, results)
    assert tried_caption(cell.points) == "2 points, 4 trainings"
    assert [point.values for point in cell.tried] == [(0.01,), (0.05,)]
    # By the record's rule, here the best of the curve, averaged over seeds.
    assert [point.auc for point in cell.tried] == pytest.approx([0.744, 0.734])


def test_a_tuned_cell_shows_the_sweep_that_chose_it(results: Path, tmp_path: Path) -> None:
    line = line_of(results, "text", "coat", "ips")
    assert swept_points(tmp_path, line).trainings == ()
    other = Points(("loss",), (training(("mse",), 0, 0.7), training(("bce",), 0, 0.6)))
    other.write(tmp_path / "table" / "coat" / "ips.csv")  # the point of the other protocol
    assert swept_points(tmp_path, line) == other
    own = Points(("loss",), (training(("mse",), 0, 0.8),))
    own.write(tmp_path / "own" / "text" / "coat" / "ips.csv")
    line.cell.provenance["command"] = "python -m bench method=ips +tuned=own/text/coat/ips seeds=8"
    assert swept_points(tmp_path, line) == own
    (tmp_path / "own" / "text" / "coat" / "ips.csv").write_text("loss,seeds,validation_auc\nmse,3,0.7\n")
    with pytest.raises(BenchError, match=r"ips\.csv"):
        swept_points(tmp_path, line)


def cell_of(results: Path, points: Points) -> CellDetails:
    line = line_of(results, "table", "coat", "ips")
    return CellDetails(line=line, record=None, traces=Traces(), points=points)


def test_points_are_averaged_over_their_seeds_before_the_best_is_taken(results: Path) -> None:
    """A single lucky seed of a poor point does not make its value look good."""
    points = Points(
        ("learning_rate", "loss"),
        (
            *(training((0.1, "mse"), seed, auc) for seed, auc in enumerate([0.9, 0.5])),
            *(training((0.01, "mse"), seed, 0.8) for seed in range(2)),
            training((0.1, "mse"), 2, 0.4, "confirm"),
            training((0.5, "mse"), 0, math.nan),  # diverged
        ),
    )
    cell = cell_of(results, points)
    (found,) = sensitivities(cell)
    assert found.name == "learning_rate" and list(found.best) == [0.01, 0.1]
    assert found.best == pytest.approx({0.01: 0.8, 0.1: 0.6}) and found.gain == pytest.approx(0.2)
    assert tried_caption(points) == "3 points, 6 trainings"
    data = points_data(cell)
    assert (data["count"], data["trainings"], data["names"]) == (3, 6, ["learning_rate", "loss"])
    assert data["values"] == [[0.01, 0.1], ["mse"]]
    # That of the most seeds first, as the sweep ranks.
    assert data["points"] == [[1, 0, 6000, 3], [0, 0, 2000, 2]]


@given(st.lists(st.integers(0, 10_000)))
def test_differences_add_up_to_the_values(whole: list[int]) -> None:
    values = [each / 10_000 for each in whole]
    assert [each / 10_000 for each in itertools.accumulate(successive_differences(values))] == values


@pytest.mark.slow
@pytest.mark.long
def test_the_committed_sweeps_are_drawn_by_hyper_parameter_and_counted_in_points() -> None:
    folder = ROOT / "results"
    known = load_results(folder)
    text = page_files(known, folder)["index.html"]
    names = set(re.findall(r'<figure data-points="[^"]*" data-name="([^"]*)"', text))
    assert {"learning_rate", "weight_decay", "embedding_size"} <= names
    assert not names & {*BEFORE, *AFTER}
    swept = [cell for cell in read_cells(known, folder) if cell.points.trainings]
    assert len(swept) > 50
    for cell in swept:
        distinct = len({each.point for each in cell.points.trainings})
        assert points_data(cell)["count"] == len(cell.points.points()) == distinct == cell.line.cell.points
        assert tried_caption(cell.points) in text
