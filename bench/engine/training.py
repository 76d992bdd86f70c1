"""The epoch loop: phases, early stopping for each member, best parameters, compaction.

A method of several phases that stop on validation AUC has seen all validation ratings before its last phase
begins. What it is worth on ratings that no phase has seen is told by two copies of each member: one is
stopped on one half of the validation ratings in every phase and measured on the other half, and the other
way round.

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
from bench.errors import BenchError
from bench.metrics import auc

if TYPE_CHECKING:
    from bench.engine.method import Method

# Finished members go on in the stack, unheeded, until they are this share of it: leaving costs a copy.
_LEAVE_AT = 0.15
# A member stopped on all validation ratings, on the even ones and on the odd ones.
_COPIES = 3


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
    held_out: (G,) validation AUC of the last phase without the optimism of the stop rules: every evaluation
        that parameters were kept of is chosen on one half of the validation ratings, and the last is measured
        on the other half; the mean of both ways. NaN where it needs copies and none were asked for.
    diverged: member → what happened to it or to one of its copies; its parameters mean nothing.
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
    held_out: bool = True,
) -> Outcome:
    """Trains a stack of members through all phases of its method.

    Args:
        method: a built method of G members; it is changed, and is not to be used afterwards.
        finished: is told how many members have just ended the last phase, for a progress bar.
        held_out: False trains no copies, where `Outcome.held_out` needs them (`copies`).

    Raises:
        BenchError: no phase has moved any parameter of a member.
    """
    n = method.n_members
    each = copies(method) if held_out else 1
    if each > 1:
        method = method.take(torch.arange(n).repeat(each))
    unknown = torch.full((method.n_members,), torch.nan, dtype=torch.float64)
    outcome = Outcome(method, unknown, unknown)
    phases = method.phases()
    moved = torch.zeros(method.n_members, dtype=torch.bool, device=method.device)
    for number, phase in enumerate(phases):
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        last = number == len(phases) - 1
        run = _Run(outcome, number, validation, config, n, finished if last else lambda members: None)
        outcome.best = run.go(evaluations_per_epoch)
        outcome.held_out = run.held_out()
        moved |= run.moved
    if not phases:
        with torch.no_grad():
            outcome.best = auc(method.score(_pairs(method, validation)), validation.labels[_row(method)])
            outcome.held_out = outcome.best
        finished(n)
        return outcome
    _refuse_unmoved(method, (~moved).nonzero().flatten().tolist())
    if each > 1:
        outcome = _without_copies(outcome, n)
    elif copies(method) > 1:
        outcome.held_out = torch.full_like(outcome.best, torch.nan)
    return outcome


def copies(method: Method) -> int:
    """How many members are trained for each one, so that its held-out AUC is held out.

    One where the last phase alone is stopped on validation AUC: its curve tells what another stop would have
    given. Three where an earlier phase is, too.
    """
    phases = method.phases()
    if not phases or phases[-1].criterion is not None:
        return 1
    return _COPIES if any(_stops_on_auc(phase) for phase in phases[:-1]) else 1


def _stops_on_auc(phase: Phase) -> bool:
    return phase.criterion is None and phase.steps is None


def _without_copies(outcome: Outcome, n: int) -> Outcome:
    """The members stopped on all validation ratings, the first n."""
    diverged: dict[int, str] = {}
    for member, what in sorted(outcome.diverged.items()):
        diverged.setdefault(member % n, what if member < n else f"{what}, stopped on half of validation")
    histories = []
    for history in outcome.histories:
        # A copy may have gone on for longer; what is lost from the start has one evaluation, not a number.
        measured = (~history.criterion[:n].isnan()).any(0).nonzero()
        evaluations = int(measured.max()) + 1 if len(measured) else 1
        histories.append(
            History(
                name=history.name,
                steps=history.steps[:evaluations],
                criterion=history.criterion[:n, :evaluations],
                losses={name: losses[:n, :evaluations] for name, losses in history.losses.items()},
                best=history.best[:n],
            )
        )
    return Outcome(
        method=outcome.method.take(torch.arange(n)),
        best=outcome.best[:n],
        held_out=outcome.held_out[:n],
        histories=histories,
        diverged=diverged,
    )


def _refuse_unmoved(method: Method, members: list[int]) -> None:
    """A training that trained nothing would stand in the table as a method that is no better than chance."""
    if members:
        rate = float(method.config.learning_rate[members[0]])
        raise BenchError(
            f"{type(method).__module__.rpartition('.')[2]} was not trained: no step has moved any of its "
            f"parameters (seed {int(method.seeds[members[0]])}, method.learning_rate={rate:g}); let its step "
            "call minimise on a loss of its parts, or give it a larger learning rate."
        )


def _row(method: Method) -> Tensor:
    return method.data.seed_row


def _pairs(method: Method, validation: Validation) -> Pairs:
    row = _row(method)
    return Pairs(validation.users[row], validation.items[row])


class _Run:
    """One phase of one stack: members, behind all of them their copies if there are any."""

    def __init__(
        self,
        outcome: Outcome,
        number: int,
        validation: Validation,
        config: EngineConfig,
        n_members: int,
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
        self.n_members = n_members  # without copies
        # (G) 0: stopped on all validation ratings; 1, 2: a copy, stopped on the even ones, on the odd ones
        self.stopped_on = torch.arange(n, device=device) // n_members
        phase, before = self.phase, self.whole.phases()[:number]
        # Whether the start is what an earlier phase has kept for its validation AUC: it is that phase's
        # result already, and no candidate of this one.
        self.continued = any(_stops_on_auc(each) and each.score == phase.score for each in before)
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
        self.moved = torch.zeros(n, dtype=torch.bool, device=device)  # (G) some parameter is not as it was

    @property
    def phase(self) -> Phase:
        """The phase, bound to the stack that is in training."""
        return self.stack.phases()[self.number]

    def go(self, evaluations_per_epoch: int) -> Tensor:
        """Trains until every member has stopped; returns the best criterion (G,)."""
        config = self.stack.config
        phase = self.phase
        sampler = Sampler(self.stack.data, config.batch_size, config.everywhere_ratio, self.stack.kernels)
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
                phase.step_at(done)(epoch.draw(self.stack.data, step))
                done += 1
                for part in self.stack.parts.values():
                    part.leaves = []  # of parts that the step read and did not train
                if step + 1 == n:
                    _between(phase, done // n)
                if done == limit or step + 1 in stops:
                    self.evaluate(done)
                    if done == limit or not bool(self.running.any()):
                        break
        self.tell(self.running)
        self.finish()
        return self.best

    def evaluate(self, done: int) -> None:
        """Measures the criterion, keeps what is better, and stops who has waited long enough."""
        phase = self.phase
        if done:
            self._note_moves()
        with torch.no_grad():
            if phase.criterion is not None:
                value = phase.criterion().double()
            else:
                scores = phase.score(self.pairs)
                # A split's ratings stand in random order, so the even and the odd ones are random halves.
                value, halves = self.stack.kernels.areas(scores, self.labels)
                value = self.own(value, halves)
                running = halves.masked_fill(~self.running.unsqueeze(-1), torch.nan)
                self.halves.append(_spread(running, self.members, self.whole.n_members))
        lost = self.running & ~torch.isfinite(value)
        if bool(lost.any()):
            self._lose(lost, done, phase.name)
        value = value.masked_fill(~self.running, torch.nan)
        better = self.running & (value > self.best[self.members])
        start = not self.steps
        if phase.steps is not None:  # no stop rule: the last parameters count
            better = self.running.clone()
        elif start and self.continued:
            better = torch.zeros_like(self.running)
        whose = self.members[better]
        self.best[whose] = value[better]
        self.best_at[whose] = len(self.steps)
        for name, part in self.stack.parts.items():
            for key, table in part.tables.items():
                self.kept[name][key][whose] = table[better]
        if not start:
            self.waited = torch.where(better, 0, self.waited + 1)
        if phase.steps is None:
            stopped = self.running & (self.waited >= self.config.patience)
            self.running &= ~stopped
            self.tell(stopped)

        n = self.whole.n_members
        self.steps.append(done)
        self.criteria.append(_spread(value, self.members, n))
        self.losses.append(
            {name: _spread(part.mean_loss(), self.members, n) for name, part in self.stack.parts.items()}
        )

    def own(self, value: Tensor, halves: Tensor) -> Tensor:
        """What each of the stack is stopped by, given the AUC of all ratings (G',) and of halves (G', 2)."""
        on = self.stopped_on[self.members]
        half = halves.gather(1, (on - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
        # A half with one class only measures nothing.
        return torch.where((on > 0) & torch.isfinite(half), half, value)

    def _note_moves(self) -> None:
        """Notes the members of which a parameter is not where the phase began.

        What is kept of the others is their start: the same parameters have never been better.
        """
        if bool(self.moved[self.members].all()):
            return
        for name, part in self.stack.parts.items():
            for key, table in part.tables.items():
                other = (table != self.kept[name][key][self.members]).view(len(self.members), -1).any(-1)
                self.moved[self.members] |= other

    def held_out(self) -> Tensor:
        """(G,) see `Outcome`; the best criterion itself where it is not a validation AUC."""
        if not self.halves:
            return self.best
        curves = torch.stack(self.halves, 1)  # (G, E, 2)
        n, n_all = self.n_members, len(curves)
        if n_all > n:
            at = self.best_at.view(-1, 1, 1).expand(-1, 1, 2)
            kept = curves.gather(1, at).squeeze(1)  # (G, 2) where the parameters were kept
            value = (kept[n : 2 * n, 1] + kept[2 * n :, 0]).div(2).repeat(n_all // n)
        elif self.phase.steps is not None:  # the last evaluation counts, whatever it says
            value = curves[:, -1].mean(-1)
        else:
            chosen = curves.nan_to_num(nan=-torch.inf).argmax(1)  # (G, 2) by one half
            value = curves.flip(-1).gather(1, chosen.unsqueeze(1)).squeeze(1).mean(-1)
        # A half with one class only measures nothing.
        return torch.where(torch.isfinite(value), value, self.best)

    def tell(self, ended: Tensor) -> None:
        """Says how many members of the stack (stack) have ended, copies apart."""
        self.finished(int((ended & (self.stopped_on[self.members] == 0)).sum()))

    def _lose(self, lost: Tensor, done: int, phase: str) -> None:
        """Drops members whose criterion is not a number, and records it."""
        epoch = len(self.steps)
        for member in self.members[lost].tolist():
            self.outcome.diverged[member] = (
                f"not a number at evaluation {epoch} (step {done}) of phase {phase}"
            )
        self.best[self.members[lost]] = torch.nan
        self.moved[self.members[lost]] = True  # or it would be said of it that nothing was trained
        self.running &= ~lost
        self.tell(lost)

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


def _between(phase: Phase, epochs: int) -> None:
    """What a phase does after so many epochs, before they are evaluated."""
    with torch.no_grad():
        for each in phase.every:
            if epochs % each.epochs == 0:
                each.run()


def _spread(values: Tensor, members: Tensor, n: int) -> Tensor:
    """(G', ...) values of some members as (G, ...), NaN for the others."""
    spread = torch.full((n, *values.shape[1:]), torch.nan, dtype=values.dtype, device=values.device)
    spread[members] = values
    return spread
