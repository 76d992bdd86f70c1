"""A phase: what is trained together until one stop rule ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bench.engine.sampling import Draw, Pairs


@dataclass(frozen=True)
class Every:
    """Work between two steps: `run` is called after every so many epochs of the phase, without gradients.

    It comes before the evaluation at the epoch's end. What steps read is changed in its place.
    """

    epochs: int
    run: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a method's training; the engine runs a method's phases in their order.

    A phase ends for a member when its criterion has not risen for `engine.patience` evaluations; the
    member's parts then go back to where the criterion was highest, and the next phase starts from
    there with a fresh Adam. The starting point is evaluated too, and is a candidate unless an earlier phase
    has kept it for the validation AUC of the same `score`: then this phase's result is one of its own.

    Attributes:
        step: one training step on a draw; it calls `minimise`. Every call does the same operations on the
            same memory, so that it can be captured once and replayed without Python: what depends on the
            number of a step is left to `at`, `every` and the draw.
        at: the step that is the n-th of the phase, from 0, where that is not always `step`. Steps of one kind
            are equal, as bound methods are.
        every: what is done between two steps, now and then.
        score: (G, N) scores of pairs whose validation AUC is the criterion.
        criterion: another criterion, (G,), larger is better (minus a held-out loss, for instance).
        steps: run this many steps and keep the last parameters, whatever a criterion says.
        begin: called once before the phase, on all members (statistics of a part that is frozen now).
        stream: names the batches; phases of one stream and seed see the same ones, in all methods.
    """

    name: str
    step: Callable[[Draw], None]
    score: Callable[[Pairs], Tensor]
    criterion: Callable[[], Tensor] | None = None
    steps: int | None = None
    begin: Callable[[], None] | None = None
    stream: str = "training"
    at: Callable[[int], Callable[[Draw], None]] | None = None
    every: tuple[Every, ...] = ()

    def step_at(self, number: int) -> Callable[[Draw], None]:
        """The step that is the n-th of the phase, from 0."""
        return self.step if self.at is None else self.at(number)
