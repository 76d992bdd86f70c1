"""The sweep of a cell: stages of points × seeds, and the winner with all seeds.

stages → train → select on validation → train the winner → test

T trainings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.cell import selection
from bench.cell.plan import Stage, Values
from bench.cell.spec import Cell
from bench.cell.trained import Trained
from bench.cell.trainer import Trainer
from bench.engine.members import Member

if TYPE_CHECKING:
    from bench.cell.progress import Watch


class Search:
    """The state of a cell's sweep: what was tried, and what won.

    watch: is told what is going on.

    Attributes:
        numbers: a point's number, in the order of trying.
        trials: (point, seed) → its stage, what came; T of them.
        tried: points of each stage that has run.
        values: the winner, once `finish` has found it. chosen: its trainings by seed.
        diverged: trainings that were lost.
    """

    def __init__(self, cell: Cell, trainer: Trainer, watch: Watch) -> None:
        self.cell, self.trainer, self.watch = cell, trainer, watch
        self.sees_test = cell.selection in selection.SEES_TEST
        self.numbers: dict[Values, int] = {}
        self.trials: dict[tuple[int, int], tuple[str, Trained]] = {}
        self.tried: list[int] = []
        self.values: Values = cell.plan.start
        self.chosen: list[Trained] = []
        self.diverged: list[Trained] = []

    def go(self) -> bool:
        """Trains all stages and the winner; False where every point diverged in some seed.

        Every training is measured on the test set as it ends, since its parameters are not kept. But these
        numbers are shown to no rule of selection outside `SEES_TEST` (`best_first`): they tell afterwards
        what another choice among the finalists would have come to.

        Raises:
            BenchError: one member does not fit into the memory budget, or the store cannot be written.
        """
        for stage in self.cell.plan.stages:
            self.stage(stage)
            if not self.best_first():
                break
        self.diverged = [each for _, each in self.trials.values() if each.diverged]
        for values in self.best_first() if self.cell.plan.stages else [self.cell.plan.start]:
            number = self.numbers.setdefault(values, len(self.numbers))
            config = self.cell.config(values)
            members = [Member(number, seed, config) for seed in range(self.cell.seeds)]
            found = self._train(members, "final", users=True, save=bool(self.cell.save))
            trained = sorted(found, key=lambda each: each.member.seed)
            lost = [each for each in trained if each.diverged]
            self.diverged += lost
            if not lost:
                self.values, self.chosen = values, trained
                return True
        return False

    def stage(self, stage: Stage, share: tuple[int, int] = (0, 1)) -> None:
        """Trains the points of a stage, or one of several shares of them.

        Raises:
            BenchError: one member does not fit into the memory budget, or the store cannot be written.
        """
        points = self.cell.plan.points(stage, self.best_first())
        self.tried.append(len(points))
        members = []
        for values in points:
            number = self.numbers.setdefault(values, len(self.numbers))
            config = self.cell.config(values)
            members += [
                Member(number, seed, config)
                for seed in range(stage.seeds)
                if (number, seed) not in self.trials
            ]
        self.watch.stage(len(self.tried) - 1, len(members))
        for trained in self._train(members, stage.name, share):
            self.trials[trained.member.point, trained.member.seed] = (stage.name, trained)

    def _train(
        self,
        members: Sequence[Member],
        name: str,
        share: tuple[int, int] = (0, 1),
        users: bool = False,
        save: bool = False,
    ) -> list[Trained]:
        """Trains members stack by stack; in the order of the stacks. users: see `Trainer.train_stack`."""
        place, of = share
        stacks = self.trainer.stacks(members, look_at_test=True)[place::of]
        self.watch.begin(name, stacks)
        found = []
        for stack in stacks:
            trained = self.trainer.train_stack(stack, True, self.watch.finished, users, save)
            self.watch.end(stack, trained)
            found += trained
        return found

    @property
    def finalists(self) -> set[int]:
        """The numbers of the points that were given the most seeds: the winner is chosen among them."""
        seeds = Counter(point for point, _ in self.trials)
        return {point for point, n in seeds.items() if n == max(seeds.values())}

    def best_first(self) -> list[Values]:
        """The points tried from best to worst: those of the most seeds first, without the diverged."""
        by_seeds: dict[int, list[Values]] = {}
        for values, number in self.numbers.items():
            n = sum(point == number for point, _ in self.trials)
            if n:
                by_seeds.setdefault(n, []).append(values)
        ranked: list[Values] = []
        for n in sorted(by_seeds, reverse=True):
            points = by_seeds[n]
            rows = [[self.trials[self.numbers[each], seed][1] for seed in range(n)] for each in points]
            merits = selection.Merits(
                *(
                    np.array([[value(each) for each in row] for row in rows])
                    for value in (
                        lambda each: each.validation_auc,
                        lambda each: each.held_out_auc,
                        lambda each: each.test.get("auc", np.nan) if self.sees_test else np.nan,
                    )
                )
            )
            ranked += [points[place] for place in selection.order(self.cell.selection, merits)]
        return ranked
