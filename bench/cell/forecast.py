"""How long a cell's plan will take on this machine, told before it is trained.

Two things are put together. What a step costs is measured: a few steps, an evaluation and an epoch's draws
of a stack and of one member alone, at each corner of the plan's batch and embedding sizes. Between corners it
is linear in either size and in their product, as the work is; between one member and the stack, in their
number. How many epochs trainings take is what those of the sweeps in `results/sweep` took on the same data
set, by learning rate and batch size where they are the row's own. A stack gets smaller as its members stop.

It is an estimate: how long points of parameters that no sweep has tried will train is not known beforehand.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.cell.plan import Stage, Values
from bench.cell.progress import stage_trainings
from bench.cell.spec import Cell
from bench.cell.trainer import Trainer
from bench.engine import kernels
from bench.engine.members import Member
from bench.engine.method import Method
from bench.engine.phase import Phase
from bench.engine.sampling import Draw, Pairs, Sampler
from bench.engine.training import copies
from bench.files import CHECKOUT
from bench.records.points import Points, read_folder

SWEEPS = CHECKOUT / "results" / "sweep"
_SECONDS = 0.1  # for which the steps of a phase are timed, at most
_STEPS = 40  # of a phase that are timed, at most
_UNKNOWN = 20.0  # epochs until the best parameters, where no sweep says it

Shape = tuple[int, int]  # batch size, embedding size
_RateAndBatch = tuple[Any, Any]  # learning rate, batch size


@dataclass(frozen=True)
class Forecast:
    """Of a cell's plan. seconds: of one core. trainings: how many. epochs: of a training, on average."""

    seconds: float
    trainings: int
    epochs: float

    def __str__(self) -> str:
        """In words, for whoever is going to wait."""
        hours = self.seconds / 3600
        return (
            f"about {f'{hours:.1f} hours' if hours >= 1 else f'{self.seconds / 60:.0f} minutes'} of one core"
        )


def forecast(cell: Cell, sweeps: Path = SWEEPS, costs: Costs | None = None) -> Forecast:
    """Measures for some seconds, and says how long the plan will take.

    Args:
        sweeps: whose numbers of epochs are taken.
        costs: what `training_costs` has measured already.

    Raises:
        BenchError: one member does not fit into the memory budget, or a file of a sweep is damaged.
    """
    exact, later = _trainings(cell)
    costs, epochs = costs or training_costs(cell), Epochs.of(cell, sweeps)
    seconds, all_epochs = 0.0, []
    for stack in Trainer(cell).stacks(exact, look_at_test=True):
        expected = [epochs.next(member.config) for member in stack]
        seconds += costs.of(_shape(stack[0]), expected)
        all_epochs += expected
    n = len(exact) + later
    return Forecast(seconds * n / len(exact), n, float(np.mean(all_epochs)))


def _trainings(cell: Cell) -> tuple[list[Member], int]:
    """Trainings whose sizes are known beforehand, and the number of the others, which are like them.

    Known are the stages that do not depend on which sizes come out best.
    """
    if not cell.plan.stages:
        return [Member(0, seed, cell.config(cell.plan.start)) for seed in range(cell.seeds)], 0
    found: list[Member] = []
    later = cell.seeds  # the winner's
    tried: list[Values] = []
    for number, (stage, n) in enumerate(zip(cell.plan.stages, stage_trainings(cell.plan), strict=True)):
        points = cell.plan.points(stage, tried)
        tried += points if stage.lists else []
        if number == 0 or _covers_sizes(cell, stage):
            found += [
                Member(len(tried) + place, seed, cell.config(values))
                for place, values in enumerate(points)
                for seed in range(stage.seeds)
            ]
        else:
            later += n
    return found, later


def _covers_sizes(cell: Cell, stage: Stage) -> bool:
    """Whether a stage goes through all sizes that are swept, from wherever it starts."""
    sizes = {"batch_size", "embedding_size"} & set(cell.plan.fields)
    return bool(sizes) and not stage.near and not stage.points and sizes <= stage.lists.keys()


def _shape(member: Member) -> Shape:
    return member.config.batch_size, member.config.embedding_size


# --- What an epoch costs --------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Seconds of trainings: coefficients of 1, batch size, embedding size and their product.

    once: (4,) of a training, what does not grow with the epochs. alone: (4,) of a step of one member. more:
    (4,) of what each further member of its stack adds to it. steps: of an epoch, by batch size.
    """

    once: NDArray[np.float64]
    alone: NDArray[np.float64]
    more: NDArray[np.float64]
    steps: Callable[[int], int]

    def of(self, shape: Shape, epochs: Sequence[float]) -> float:
        """Of a stack whose members train for so many epochs each, and leave it then."""
        features = np.array(_features(shape))
        once, alone, more = (max(float(features @ each), 0.0) for each in (self.once, self.alone, self.more))
        # Members by the time at which they leave: each stretch of steps has those that are still there.
        ends = [0.0, *sorted(epochs)]
        stretches = ((z - a, len(ends) - 1 - k) for k, (a, z) in enumerate(itertools.pairwise(ends)))
        stepping = sum(length * (alone + more * (n - 1)) for length, n in stretches)
        return len(epochs) * once + self.steps(shape[0]) * stepping


def _features(shape: Shape) -> NDArray[np.float64]:
    batch, size = shape
    return np.array([1.0, batch, size, batch * size])


def training_costs(cell: Cell) -> Costs:
    """Of a cell's trainings, measured in stacks as they will be trained, at the corners of their sizes.

    Raises:
        BenchError: one member does not fit into the memory budget.
    """
    trainer = Trainer(cell)
    stacks = trainer.stacks(_trainings(cell)[0], look_at_test=True)
    by_shape = {_shape(stack[0]): stack for stack in stacks}
    batches, sizes = ({shape[axis] for shape in by_shape} for axis in (0, 1))
    corners = {(b, d) for b in (min(batches), max(batches)) for d in (min(sizes), max(sizes))}
    measured = {}
    for shape in sorted(corners & by_shape.keys() or set(by_shape)):
        once, together = _measure(cell, trainer, by_shape[shape])
        n = len(by_shape[shape])
        alone = _measure(cell, trainer, by_shape[shape][:1])[1] if n > 1 else together
        measured[shape] = once / n, alone, (together - alone) / (n - 1) if n > 1 else alone
    n_ratings = len(cell.ratings.biased)

    def steps(batch_size: int) -> int:
        return n_ratings // min(batch_size, n_ratings)

    table = np.array([_features(shape) for shape in measured])
    # Relative to the corners' own sizes, so that the smallest-norm solution is that of the data.
    scale = np.abs(table).max(0)
    solved = [
        np.linalg.lstsq(table / scale, np.array(values), rcond=None)[0] / scale
        for values in zip(*measured.values(), strict=True)
    ]
    once, alone, more = solved
    return Costs(once, alone, more, steps)


def _measure(cell: Cell, trainer: Trainer, stack: Sequence[Member]) -> tuple[float, float]:
    """Seconds of a stack that come once, and of its step with the step's share of draws and evaluations."""
    training, validation = trainer.seeds.of_members(stack)
    begun = time.process_time()
    with kernels.using(trainer.kernels):
        method = trainer.kind([each.config for each in stack], [each.seed for each in stack], training)
    method = method.take(torch.arange(len(stack)).repeat(copies(method)))  # as they are trained
    once = time.process_time() - begun
    config = method.config
    per_step = 0.0
    sampler = Sampler(method.data, config.batch_size, config.everywhere_ratio, method.kernels)
    steps = sampler.steps_per_epoch
    pairs = Pairs(validation.users[method.data.seed_row], validation.items[method.data.seed_row])
    labels = validation.labels[method.data.seed_row]
    for phase in method.phases():
        begun = time.process_time()
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        once += time.process_time() - begun
        begun = time.process_time()
        epoch = sampler.epoch(method.data, phase.stream, 0)
        draws = time.process_time() - begun
        step = _timed_steps(method, phase, [epoch.draw(method.data, place) for place in range(steps)])
        step += (draws + _timed_between(phase)) / steps
        if phase.steps is not None:
            once += phase.steps * step
            continue
        evaluation = _timed_evaluation(method, phase, pairs, labels)
        per_step += step + cell.dataset.evaluations_per_epoch * evaluation / steps
    return once, per_step


def _timed_steps(method: Method, phase: Phase, draws: Sequence[Draw]) -> float:
    for draw in (draws[0], draws[-1]):  # compiles, and makes what is made once
        phase.step_at(draw.number)(draw)
    begun, done = time.process_time(), 0
    while done < 2 or (done < _STEPS and time.process_time() - begun < _SECONDS):
        phase.step_at(done)(draws[done % len(draws)])
        done += 1
    seconds = time.process_time() - begun
    for part in method.parts.values():
        part.leaves = []
    return seconds / done


def _timed_between(phase: Phase) -> float:
    """Of what is done between two epochs, for each epoch."""
    seconds = 0.0
    for each in phase.every:
        begun = time.process_time()
        with torch.no_grad():
            each.run()
        seconds += (time.process_time() - begun) / each.epochs
    return seconds


def _timed_evaluation(method: Method, phase: Phase, pairs: Pairs, labels: torch.Tensor) -> float:
    """Of a criterion and of keeping half the members' parameters."""
    seconds = []
    for _ in range(2):
        begun = time.process_time()
        with torch.no_grad():
            if phase.criterion is not None:
                phase.criterion()
            else:
                method.kernels.areas(phase.score(pairs), labels)
            for part in method.parts.values():
                for table in part.tables.values():
                    table[: -(-len(table) // 2)].clone()
        seconds.append(time.process_time() - begun)
    return min(seconds)


# --- How many epochs ------------------------------------------------------------------------------


class Epochs:
    """Epochs of trainings: until the best parameters, as in sweeps, and those that are waited after it.

    known: (learning rate, batch size) → epochs until the best of each training; None in a place: whatever
        it is.
    waiting, most: epochs of patience; of a training at most.
    """

    def __init__(self, known: Mapping[_RateAndBatch, Sequence[float]], waiting: float, most: float) -> None:
        self._known, self._waiting, self._most = dict(known), waiting, most
        self._given: Counter[_RateAndBatch] = Counter()

    @classmethod
    def of(cls, cell: Cell, sweeps: Path) -> Epochs:
        """Of a cell: by its row's sweep on its data set; else by all rows' there; else by all sweeps."""
        found: dict[_RateAndBatch, list[float]] = defaultdict(list)
        for points in _sweeps_like(cell, sweeps):
            for training in points.trainings:
                values = dict(zip(points.names, training.point, strict=True))
                rate, batch = values.get("learning_rate"), values.get("batch_size")
                for key in {(rate, batch), (rate, None), (None, None)}:
                    if math.isfinite(training.epoch):
                        found[key].append(training.epoch)
        engine = cell.engine
        return cls(found, engine.patience / cell.dataset.evaluations_per_epoch, engine.max_epochs)

    def next(self, config: Any) -> float:
        """Of one more training at a point: the known ones in turn, so that they differ as those did."""
        keys = ((config.learning_rate, config.batch_size), (config.learning_rate, None), (None, None))
        key = next((key for key in keys if self._known.get(key)), None)
        if key is None:
            return self.until(_UNKNOWN)
        self._given[key] += 1
        return self.until(self._known[key][(self._given[key] - 1) % len(self._known[key])])

    def until(self, best: float) -> float:
        """Of a training whose best parameters came after so many."""
        return min(best + self._waiting, self._most)


def _sweeps_like(cell: Cell, sweeps: Path) -> list[Points]:
    """The sweeps that are most like a cell; none where there are none."""
    protocols = dict.fromkeys([cell.protocol.name, "table", "text"])
    folders = [sweeps / name / cell.dataset.name for name in protocols]
    files = (folder / f"{cell.method}.csv" for folder in folders)
    own = next((file for file in files if file.is_file()), None)
    if own is not None:
        return [Points.read(own)]
    for place in (*folders, *sorted(sweeps.glob("*/*"))):
        found = list(read_folder(place).values()) if place.is_dir() else []
        if found:
            return found
    return []
