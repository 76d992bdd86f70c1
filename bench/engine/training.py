"""The epoch loop: phases, early stopping for each member, best parameters, compaction.

S distinct seeds, N_v validation ratings; see `bench.engine` for the other shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.config import EngineConfig
from bench.engine.device import by_rows
from bench.engine.part import Tables
from bench.engine.phase import Phase
from bench.engine.sampling import Pairs, Sampler
from bench.metrics import auc

if TYPE_CHECKING:
    from bench.engine.method import Method

# Finished members go on in the stack, unheeded, until they are this share of it: leaving costs a copy.
_LEAVE_AT = 0.15


@dataclass(frozen=True)
class Validation:
    """users, items (S, N_v) int64 and labels (S, N_v) of each seed's validation ratings."""

    users: Tensor
    items: Tensor
    labels: Tensor


@dataclass
class History:
    """One phase, evaluation by evaluation (E of them, the starting point first).

    steps: steps done before each evaluation. criterion: (G, E), NaN once a member has stopped.
    losses: part → (G, E) mean loss of the steps since the evaluation before.
    best: (G,) evaluation whose parameters were kept.
    """

    name: str
    steps: list[int]
    criterion: Tensor
    losses: dict[str, Tensor]
    best: Tensor


@dataclass
class Outcome:
    """A trained stack.

    method: all members, at their best parameters.
    best: (G,) criterion of the last phase at those parameters.
    held_out: (G,) validation AUC of the last phase without the optimism of its own stop rule: the
        evaluation is chosen on one half of the validation ratings and measured on the other, both ways.
    diverged: member → what happened to it; its parameters mean nothing.
    """

    method: Method
    best: Tensor
    held_out: Tensor
    histories: list[History] = field(default_factory=list)
    diverged: dict[int, str] = field(default_factory=dict)


def train(
    method: Method,
    validation: Validation,
    config: EngineConfig,
    evaluations_per_epoch: int,
    finished: Callable[[int], None] = lambda members: None,
) -> Outcome:
    """Trains a stack of members through all phases of its method.

    Args:
        method: a built method of G members; it is changed.
        finished: is told how many members have just ended the last phase, for a progress bar.
    """
    unknown = torch.full((method.n_members,), torch.nan, dtype=torch.float64)
    outcome = Outcome(method, unknown, unknown)
    phases = method.phases()
    for number, phase in enumerate(phases):
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        last = number == len(phases) - 1
        run = _Run(outcome, number, validation, config, finished if last else lambda members: None)
        outcome.best = run.go(evaluations_per_epoch)
        outcome.held_out = run.held_out()
    if not phases:
        with torch.no_grad():
            outcome.best = auc(method.score(_pairs(method, validation)), validation.labels[_row(method)])
            outcome.held_out = outcome.best
        finished(method.n_members)
    return outcome


def _row(method: Method) -> Tensor:
    return method.data.seed_row


def _pairs(method: Method, validation: Validation) -> Pairs:
    row = _row(method)
    return Pairs(validation.users[row], validation.items[row])


class _Run:
    """One phase of one stack."""

    def __init__(
        self,
        outcome: Outcome,
        number: int,
        validation: Validation,
        config: EngineConfig,
        finished: Callable[[int], None],
    ) -> None:
        self.outcome, self.number, self.config = outcome, number, config
        self.finished = finished
        self.whole = outcome.method  # all members; its tables become stale once some have left
        self.stack = self.whole  # the members still in training
        rows = by_rows(config)
        for part in self.whole.parts.values():
            part.restart(by_rows=rows)
        n = self.whole.n_members
        device = self.whole.device
        self.members = torch.arange(n, device=device)  # (stack) whose place in `whole` is this
        self.running = torch.ones(n, dtype=torch.bool, device=device)  # (stack)
        self.waited = torch.zeros(n, dtype=torch.int64, device=device)  # (stack) evaluations without a rise
        self.best = torch.full((n,), -torch.inf, dtype=torch.float64, device=device)  # (G)
        self.kept: dict[str, Tables] = {
            name: {key: table.clone() for key, table in part.tables.items()}
            for name, part in self.whole.parts.items()
        }
        row = _row(self.whole)
        self.pairs = _pairs(self.whole, validation)
        self.labels = validation.labels[row]
        self.steps: list[int] = []
        self.criteria: list[Tensor] = []
        self.halves: list[Tensor] = []  # (G, 2) validation AUC of the even and of the odd ratings
        self.losses: list[dict[str, Tensor]] = []
        self.best_at = torch.zeros(n, dtype=torch.int64, device=device)

    @property
    def phase(self) -> Phase:
        """The phase, bound to the stack that is in training."""
        return self.stack.phases()[self.number]

    def go(self, evaluations_per_epoch: int) -> Tensor:
        """Trains until every member has stopped; returns the best criterion (G,)."""
        config = self.stack.config
        phase = self.phase
        sampler = Sampler(self.stack.data, config.batch_size, config.everywhere_ratio)
        n = sampler.steps_per_epoch
        stops = {round(n * (i + 1) / evaluations_per_epoch) for i in range(evaluations_per_epoch)} - {0}
        limit = n * self.config.max_epochs if phase.steps is None else phase.steps
        done = 0
        self.evaluate(done)
        while done < limit and bool(self.running.any()):
            self.compact()
            phase = self.phase
            epoch = sampler.epoch(self.stack.data, phase.stream, done // n)
            for step in range(n):
                phase.step(epoch.draw(self.stack.data, step))
                done += 1
                for part in self.stack.parts.values():
                    part.leaves = []  # of parts that the step read and did not train
                if done == limit or step + 1 in stops:
                    self.evaluate(done)
                    if done == limit or not bool(self.running.any()):
                        break
        self.finished(int(self.running.sum()))
        self.finish()
        return self.best

    def evaluate(self, done: int) -> None:
        """Measures the criterion, keeps what is better, and stops who has waited long enough."""
        phase = self.phase
        with torch.no_grad():
            if phase.criterion is not None:
                value = phase.criterion().double()
            else:
                scores = phase.score(self.pairs)
                # A split's ratings stand in random order, so the even and the odd ones are random halves.
                value, halves = self.stack.kernels.areas(scores, self.labels)
                running = halves.masked_fill(~self.running.unsqueeze(-1), torch.nan)
                self.halves.append(_spread(running, self.members, self.whole.n_members))
        lost = self.running & ~torch.isfinite(value)
        if bool(lost.any()):
            self._lose(lost, done, phase.name)
        value = value.masked_fill(~self.running, torch.nan)
        better = self.running & (value > self.best[self.members])
        if phase.steps is not None:  # no stop rule: the last parameters count
            better = self.running.clone()
        whose = self.members[better]
        self.best[whose] = value[better]
        self.best_at[whose] = len(self.steps)
        for name, part in self.stack.parts.items():
            for key, table in part.tables.items():
                self.kept[name][key][whose] = table[better]
        self.waited = torch.where(better, 0, self.waited + 1)
        if phase.steps is None:
            stopped = self.running & (self.waited >= self.config.patience)
            self.running &= ~stopped
            self.finished(int(stopped.sum()))

        n = self.whole.n_members
        self.steps.append(done)
        self.criteria.append(_spread(value, self.members, n))
        self.losses.append(
            {name: _spread(part.mean_loss(), self.members, n) for name, part in self.stack.parts.items()}
        )

    def held_out(self) -> Tensor:
        """(G,) see `Outcome`; the best criterion itself where it is not a validation AUC."""
        if not self.halves:
            return self.best
        curves = torch.stack(self.halves, 1)  # (G, E, 2)
        if self.phase.steps is not None:  # the last evaluation counts, whatever it says
            value = curves[:, -1].mean(-1)
        else:
            chosen = curves.nan_to_num(nan=-torch.inf).argmax(1)  # (G, 2) by one half
            value = curves.flip(-1).gather(1, chosen.unsqueeze(1)).squeeze(1).mean(-1)
        # A half with one class only measures nothing.
        return torch.where(torch.isfinite(value), value, self.best)

    def _lose(self, lost: Tensor, done: int, phase: str) -> None:
        """Drops members whose criterion is not a number, and records it."""
        epoch = len(self.steps)
        for member in self.members[lost].tolist():
            self.outcome.diverged[member] = (
                f"not a number at evaluation {epoch} (step {done}) of phase {phase}"
            )
        self.best[self.members[lost]] = torch.nan
        self.running &= ~lost
        self.finished(int(lost.sum()))

    def compact(self) -> None:
        """Takes finished members out of the stack once they are a good part of it."""
        n_running = int(self.running.sum())
        if n_running > (1 - _LEAVE_AT) * len(self.members):
            return
        stay = self.running.nonzero().squeeze(-1)
        for part in self.stack.parts.values():
            part.adam.forget_gradients()
        before, self.stack = self.stack, self.stack.take(stay)
        for part in before.parts.values():
            part.adam.release()
        self.members, self.running, self.waited = self.members[stay], self.running[stay], self.waited[stay]
        self.pairs = Pairs(self.pairs.users[stay], self.pairs.items[stay])
        self.labels = self.labels[stay]

    def finish(self) -> None:
        """Puts the best parameters of all members back and writes the phase's history."""
        for part in self.stack.parts.values():
            part.adam.release()  # a copy of the best parameters may take their place
        for name, part in self.whole.parts.items():
            part.restart(self.kept.pop(name))
        self.outcome.histories.append(
            History(
                name=self.phase.name,
                steps=self.steps,
                criterion=torch.stack(self.criteria, -1).cpu(),
                losses={
                    name: torch.stack([losses[name] for losses in self.losses], -1).cpu()
                    for name in self.whole.parts
                },
                best=self.best_at.cpu(),
            )
        )


def _spread(values: Tensor, members: Tensor, n: int) -> Tensor:
    """(G', ...) values of some members as (G, ...), NaN for the others."""
    spread = torch.full((n, *values.shape[1:]), torch.nan, dtype=values.dtype, device=values.device)
    spread[members] = values
    return spread
