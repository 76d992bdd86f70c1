"""Trains the members of a cell stack by stack, and keeps every finished stack.

P points, S seeds; E evaluations.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import methods
from bench.cell import identity
from bench.cell import trained as kept
from bench.cell.evaluation import interaction_sd, measure
from bench.cell.spec import Setting
from bench.cell.splits import Seeds
from bench.cell.state import state_of
from bench.cell.trained import Trained
from bench.engine import kernels
from bench.engine.device import device_of, dtype_of
from bench.engine.members import Member, groups
from bench.engine.memory import budget, bytes_per_member, least_bytes, scoring_bytes
from bench.engine.method import Method, MethodConfig
from bench.engine.sampling import TrainingData
from bench.engine.training import Outcome, copies, train
from bench.records import store


class Trainer:
    """Trains members of one cell, stack by stack.

    kept: a store of finished stacks, where what an earlier run trained is found again; None: none.
    again: nothing is looked for there, and what stands there is replaced.
    """

    def __init__(self, cell: Setting, kept: Path | None = None, again: bool = False) -> None:
        self.cell = cell
        self.kept, self.again = kept, again
        self.device = device_of(cell.engine)
        self.dtype = dtype_of(cell.engine)
        self.kind = methods.get(cell.method)
        self.seeds = Seeds.of(cell, self.device, self.dtype)
        self._code = identity.stack_code(cell) if kept is not None else ""
        threads = cell.engine.threads or kernels.cpus()
        torch.set_num_threads(threads)
        self.kernels = kernels.make(kernels.name_for(cell.engine), threads)

    def train(
        self, members: Sequence[Member], look_at_test: bool, finished: Callable[[int], None]
    ) -> list[Trained]:
        """Trains the members, in any order and grouping, and returns them in the given order."""
        done: dict[tuple[int, int], Trained] = {}
        for stack in self.stacks(members, look_at_test):
            for trained in self.train_stack(stack, look_at_test, finished):
                done[trained.member.point, trained.member.seed] = trained
        return [done[member.point, member.seed] for member in members]

    def stacks(self, members: Sequence[Member], look_at_test: bool) -> list[list[Member]]:
        """The members in stacks that are trained together.

        Raises:
            BenchError: one member does not fit into the memory budget.
        """
        ratings = self.cell.ratings

        def least(config: MethodConfig) -> int:
            return least_bytes(config, ratings.n_users, ratings.n_items, self.dtype.itemsize)

        def bytes_of(member: Member) -> int:
            training, validation = self.seeds.of_members([member])
            method = self._build([member], training)
            return copies(method) * bytes_per_member(method, validation.labels.shape[-1])

        allowed = budget(self.cell.engine, self.device)
        if (
            look_at_test and members
        ):  # one member after the other, so that it is taken off once and not for each
            n_test = max(len(users) for users, _, _ in self.seeds.test)
            largest = max((member.config for member in members), key=lambda config: config.embedding_size)
            allowed = max(allowed - scoring_bytes(largest, n_test, self.dtype.itemsize), 0)
        return groups(members, bytes_of, allowed, self.device, least if self.kind.trained else None)

    def train_stack(
        self,
        stack: Sequence[Member],
        look_at_test: bool,
        finished: Callable[[int], None],
        users: bool = True,
        save: bool = False,
    ) -> list[Trained]:
        """Trains one stack, unless it is kept from before.

        Args:
            users: where the test set is looked at, the single users' numbers are kept, too.
            save: what comes has scores and parameters, which are not kept: it is trained anyway.

        Raises:
            BenchError: the store cannot be written.
        """
        if self.kept is None:
            return self._train_stack(stack, look_at_test, finished, users, save)
        digest = identity.of_stack(self.cell, self._code, stack, look_at_test, users).digest
        found = None if self.again or save else kept.find(self.kept, digest, stack, _tell)
        if found is not None:
            finished(len(stack))
            return found
        trained = self._train_stack(stack, look_at_test, finished, users, save)
        store.write(self.kept, digest, *kept.packed(trained), replace=self.again)
        return trained

    def _train_stack(
        self,
        stack: Sequence[Member],
        look_at_test: bool,
        finished: Callable[[int], None],
        users: bool,
        save: bool,
    ) -> list[Trained]:
        start = time.perf_counter()
        training, validation = self.seeds.of_members(stack)
        outcome = train(
            self._build(stack, training),
            validation,
            self.cell.engine,
            self.cell.dataset.evaluations_per_epoch,
            finished,
        )
        found = self._harvest(stack, outcome, look_at_test, users, save)
        for trained in found:
            trained.seconds = (time.perf_counter() - start) / len(stack)
        return found

    def _build(self, stack: Sequence[Member], training: TrainingData) -> Method:
        configs, seeds = [member.config for member in stack], [member.seed for member in stack]
        with kernels.using(self.kernels):
            return self.kind(configs, seeds, training)

    def _harvest(
        self, stack: Sequence[Member], outcome: Outcome, look_at_test: bool, users: bool, save: bool
    ) -> list[Trained]:
        history = outcome.histories[-1] if outcome.histories else None
        with torch.no_grad():
            diagnostics = {name: value.tolist() for name, value in outcome.method.diagnostics().items()}
        if self.kind.trained:
            diagnostics["interaction_sd"] = interaction_sd(outcome.method).tolist()
        found = []
        for place, member in enumerate(stack):
            diverged = outcome.diverged.get(place, "")
            trained = Trained(
                member=member,
                validation_auc=float("nan") if diverged else float(outcome.best[place]),
                held_out_auc=float("nan") if diverged else float(outcome.held_out[place]),
                curve=np.zeros(0) if history is None else history.criterion[place].numpy(),
                steps=[] if history is None else history.steps,
                best=0 if history is None else int(history.best[place]),
                losses=_losses(outcome, place),
                diverged=diverged,
                diagnostics={name: values[place] for name, values in diagnostics.items()},
                test={},
                per_user={},
                users=np.zeros(0, np.int64),
                user_arrays={},
            )
            if look_at_test and not diverged:
                alone = outcome.method.take(torch.tensor([place]))
                measured = measure(
                    alone,
                    self.seeds.test[member.seed],
                    self.cell.dataset.k,
                    self.cell.ratings.truth,
                )
                trained.test = measured.metrics
                if users:
                    trained.users, trained.per_user = measured.users, measured.per_user
                    trained.user_arrays = measured.user_arrays
                if save:
                    trained.scores, trained.state = measured.scores, state_of(alone)
            found.append(trained)
        return found


def _losses(outcome: Outcome, place: int) -> dict[str, NDArray[np.float64]]:
    """The loss curves of one member, of every part in every phase that trained it."""
    found = {}
    for number, history in enumerate(outcome.histories, 1 - len(outcome.histories)):
        for part, losses in history.losses.items():
            curve = losses[place].double().numpy()
            if np.isfinite(curve).any():
                found[part if number == 0 else f"{history.name}/{part}"] = curve
    return found


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)
