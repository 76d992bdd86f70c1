"""How long a plan will take: the arithmetic, and one against the clock."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import cell as cells
from bench import compose
from bench.cell import Cell, forecast
from bench.cell.forecast import Costs, Epochs
from bench.engine.method import Method
from bench.engine.phase import Every, Phase
from bench.engine.sampling import Draw
from bench.records.points import Points, Training

TINY = (
    *("dataset=synthetic", "dataset.n_users=60", "dataset.n_items=40", "dataset.ratings_per_user=8"),
    *("engine.device=cpu", "engine.kernels=torch", "engine.patience=3", "engine.max_epochs=30"),
)


def cell_of(*words: str) -> Cell:
    compose.register()
    config = compose.composed([*TINY, *words])
    return cells.prepare(config, cells.load_ratings(config))


def sweep(folder: Path, place: str, epochs: dict[tuple[float, int], list[float]]) -> None:
    trainings = [
        Training(
            stage="shared",
            point=point,
            seed=seed,
            validation_auc=0.7,
            held_out_auc=0.7,
            epoch=epoch,
            seconds=1.0,
        )
        for point, each in epochs.items()
        for seed, epoch in enumerate(each)
    ]
    file = folder / f"{place}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    Points(("learning_rate", "batch_size"), tuple(trainings)).write(file)


def test_a_stack_costs_what_its_members_that_are_left_cost() -> None:
    flat = np.array([1.0, 0, 0, 0])
    costs = Costs(once=5 * flat, alone=3 * flat, more=2 * flat, steps=lambda batch: 100 // batch)
    # Two members for 4 epochs of 10 steps, one for 6 more.
    assert costs.of((10, 8), [10.0, 4.0]) == pytest.approx(2 * 5 + 10 * (4 * (3 + 2) + 6 * 3))
    assert costs.of((50, 8), [1.0]) == pytest.approx(5 + 2 * 3)


def test_epochs_are_those_of_the_nearest_sweep(tmp_path: Path) -> None:
    cell = cell_of("method=mf", "seeds=1", "dataset.evaluations_per_epoch=2")
    waiting = 3 / 2
    assert Epochs.of(cell, tmp_path).next(cell.config(cell.plan.start)) == pytest.approx(20 + waiting)
    sweep(tmp_path, "table/coat/ips", {(0.5, 64): [3.0]})
    assert Epochs.of(cell, tmp_path).next(cell.config(cell.plan.start)) == pytest.approx(3 + waiting)
    sweep(tmp_path, "table/synthetic/ips", {(0.5, 64): [4.0]})
    assert Epochs.of(cell, tmp_path).next(cell.config(cell.plan.start)) == pytest.approx(4 + waiting)
    sweep(tmp_path, "text/synthetic/mf", {(0.1, 64): [5.0, 7.0], (0.1, 32): [9.0], (0.2, 64): [100.0]})
    epochs = Epochs.of(cell, tmp_path)

    def point(rate: float, batch: int) -> object:
        return cell.typed({"learning_rate": rate, "batch_size": batch})

    # Trainings of one point differ as the known ones did; another batch size has all of its learning rate.
    assert [epochs.next(point(0.1, 64)) for _ in range(3)] == [5 + waiting, 7 + waiting, 5 + waiting]
    assert [epochs.next(point(0.1, 16)) for _ in range(3)] == [5 + waiting, 7 + waiting, 9 + waiting]
    assert epochs.next(point(0.2, 64)) == 30  # not more than engine.max_epochs
    assert epochs.next(point(0.3, 8)) == 5 + waiting


def test_a_forecast_counts_all_trainings(tmp_path: Path) -> None:
    cell = cell_of("method=dr_jl", "sweep=default", "seeds=2")
    found = forecast.forecast(cell, tmp_path)
    assert found.trainings == cells.trainings(cell)
    assert found.seconds > 0 and "of one core" in str(found)
    flat = np.array([1.0, 0, 0, 0])
    known = Costs(once=flat, alone=0 * flat, more=0 * flat, steps=lambda batch: 1)
    assert forecast.forecast(cell, tmp_path, known).seconds == pytest.approx(cells.trainings(cell))


@pytest.mark.parametrize(("method", "copies"), [("mf", 1), ("kdcrec", 3), ("ultd_jl", 1)])
def test_what_is_measured_has_the_copies_that_are_trained(
    method: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of several phases are trained three times, for their held-out AUC."""
    members = []
    timed = forecast._timed_steps

    def noting(stack: Method, phase: Phase, draws: Sequence[Draw]) -> float:
        members.append(stack.n_members)
        return timed(stack, phase, draws)

    monkeypatch.setattr(forecast, "_timed_steps", noting)
    forecast.training_costs(cell_of(f"method={method}", "sweep=none", "seeds=2"))
    assert set(members) == {2 * copies, copies}


@pytest.mark.parametrize("method", ["mf", "ultd_tp"])  # the latter has a phase of a fixed number of steps
def test_work_between_epochs_is_in_the_cost(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.count(0, 8.0)  # eight seconds pass between two looks at the clock
    monkeypatch.setattr(forecast.time, "process_time", lambda: next(times))
    idle = Every(4, lambda: None)
    phase = Phase(name="x", step=lambda draw: None, score=lambda pairs: pairs.users, every=(idle,))
    assert forecast._timed_between(phase) == 2
    monkeypatch.undo()
    cell = cell_of(f"method={method}", "sweep=none", "seeds=1")
    monkeypatch.setattr(forecast, "_timed_between", lambda phase: 3600.0)
    found, config = forecast.training_costs(cell), cell.points[0]
    hours = found.of((config.batch_size, config.embedding_size), [1.0]) / 3600  # of an epoch in each phase
    expected = {"mf": 1.0, "ultd_tp": 2 + 300 / found.steps(config.batch_size)}[method]
    assert hours == pytest.approx(expected, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mf", "ltd", "ultd_tp"])
def test_a_forecast_is_within_a_factor_of_two_of_the_sweep(method: str, tmp_path: Path) -> None:
    words = (
        *(
            "dataset.n_users=300",
            "dataset.n_items=300",
            "dataset.ratings_per_user=24",
            "engine.patience=1000",
        ),
        *(
            "engine.kernels=auto",
            "engine.max_epochs=12",
            "seeds=2",
            f"results={tmp_path}",
            f"method={method}",
        ),
        "sweep.stages=[{name: shared, lists: [shared_grid]}]",
        "grid.learning_rate=[0.01, 0.05]",
        "grid.batch_size=[64, 128, 256]",
        "grid.embedding_size=[4, 16, 64]",
    )
    cell = cell_of(*words)
    expected = forecast.forecast(cell).seconds
    start = time.process_time()
    cells.train_and_store(cell, tmp_path / "runs", cells.silent)
    took = time.process_time() - start
    assert took / 2 < expected < 2 * took
