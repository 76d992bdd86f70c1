"""How far the training of a cell is, how long it takes yet, and what is to come in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench.cell.plan import Plan, Values
from bench.cell.spec import Cell
from bench.cell.trained import Trained
from bench.engine.members import Member


class Progress(Protocol):
    """Is told of every trained member."""

    def __call__(self, done: int, total: int, stage: str, seconds_left: float | None) -> None:
        """`done` of about `total` trainings are there, this one's stage, and an estimate."""


def silent(done: int, total: int, stage: str, seconds_left: float | None) -> None:
    """Tells nobody."""


# --- Before ---


def foreseen(plan: Plan) -> list[tuple[int, int]]:
    """Points and trainings of each stage: new points, or those that are trained with more seeds.

    Which points come out best is not known before anything is trained, so this is how many there would be if
    they did in the order of trying, those of the most seeds first, as a search ranks them. Exact but where a
    training diverges or the end of a list is near the best points.
    """
    found: list[tuple[int, int]] = []
    seeds: dict[Values, int] = {}  # of every point so far
    for stage in plan.stages:
        points = plan.points(stage, sorted(seeds, key=lambda point: -seeds[point]))
        found.append((len(points), sum(max(stage.seeds - seeds.get(point, 0), 0) for point in points)))
        seeds |= {point: max(stage.seeds, seeds.get(point, 0)) for point in points}
    return found


def sizes(plan: Plan) -> list[int]:
    """Points of each stage; see `foreseen`."""
    return [points for points, _ in foreseen(plan)]


def stage_trainings(plan: Plan) -> list[int]:
    """Trainings of each stage; see `foreseen`."""
    return [n for _, n in foreseen(plan)]


def trainings(cell: Cell) -> int:
    """The members that are trained; see `foreseen`."""
    return sum(stage_trainings(cell.plan)) + cell.seeds


def describe(cell: Cell) -> str:
    """What is going to be trained, in words, for whoever is going to wait for it."""
    seeds = _seeds(cell.seeds)
    if not cell.plan.stages:
        return f"the configured point, {seeds}"
    planned = list(zip(cell.plan.stages, sizes(cell.plan), strict=True))
    stages = ", ".join(f"{stage.name} {size} × {_seeds(stage.seeds)}" for stage, size in planned)
    points = sum(size for stage, size in planned if stage.lists)
    return (
        f"sweep={cell.sweep}: {stages}; then the winner with {seeds}: {points} points, {trainings(cell)} "
        "trainings"
    )


def _seeds(n: int) -> str:
    return f"{n} seed{'s' if n > 1 else ''}"


# --- Meanwhile ---


class Watch:
    """Counts the trainings of a cell and estimates the time left."""

    def __init__(self, cell: Cell, progress: Progress) -> None:
        self._cell, self._progress = cell, progress
        self._stages = stage_trainings(cell.plan)
        self._total = trainings(cell)
        self._done = 0
        self._before = 0  # trainings that were there before the stack at hand
        self._name = ""
        self._work = 0.0
        self._seconds = 0.0
        self._to_come = 0.0
        self._planned = 0  # trainings that are there when the stage at hand is through
        self._mean_cost = 0.0  # of a training of the first stage, whose stacks are of all shapes

    def stage(self, number: int, members: int) -> None:
        """A stage begins, of so many trainings, which may be others than was thought."""
        self._total += members - self._stages[number]

    def begin(self, name: str, stacks: Sequence[Sequence[Member]]) -> None:
        """Stacks are about to be trained, for a stage of that name."""
        self._name = name
        self._before = self._done
        self._to_come = sum(map(self._cost, stacks))
        n = sum(map(len, stacks))
        self._planned = self._done + n
        if not self._mean_cost:
            self._mean_cost = self._to_come / max(n, 1)

    def finished(self, some: int) -> None:
        """So many more members of the stack at hand are trained."""
        self._done += some
        self._progress(self._done, self._total, self._name, self._left())

    def end(self, stack: Sequence[Member], trained: Sequence[Trained]) -> None:
        """A stack is trained."""
        self._done = self._before = self._before + len(stack)
        self._work += self._cost(stack)
        self._to_come -= self._cost(stack)
        self._seconds += sum(each.seconds for each in trained)

    def _cost(self, stack: Sequence[Member]) -> float:
        """Of an epoch of a stack, in arbitrary units: per step a fixed part, then the dense Adam's and the
        batch's share."""
        config, ratings = stack[0].config, self._cell.ratings
        steps = -(-len(ratings.biased) // config.batch_size)
        parameters = (ratings.n_users + ratings.n_items) * (config.embedding_size + 1)
        return steps * (3e5 + len(stack) * (2 * parameters + config.batch_size * config.embedding_size))

    def _left(self) -> float | None:
        """Estimated seconds: of this stage by its stacks' cost, of later ones by a training's mean cost."""
        if not self._work:
            return None
        later = max(self._total - self._planned, 0)
        return self._seconds / self._work * (self._to_come + later * self._mean_cost)
