"""A step can be captured once and replayed without Python, as CUDA graphs do it: the replay is the training.

Here on a CPU: the operations of a step are noted with the memory that they read and write, and done again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.engine.part import Part, minimise
from bench.engine.sampling import Batch, Draw
from bench.speed.rows import ROWS as KINDS  # one of each kind of training step
from tests.bench.engine.first_steps import CASES, built, phases
from tests.every_row import LATER

BESIDE = ("invpref", "stable_dr")  # work between epochs, a state of its own


class Tape(TorchDispatchMode):
    """Notes the operations done under it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Sequence[Any], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if not _is_view(function):
            self.calls.append((function, args, kwargs or {}, None if _in_place(function) else found))
        return found

    def replay(self) -> None:
        """Does them again: each reads what stands in its arguments' memory and fills its result's."""
        with torch.no_grad():
            for function, args, kwargs, found in self.calls:
                again = function(*args, **kwargs)
                if found is not None:
                    for old, new in zip(_tensors(found), _tensors(again), strict=True):
                        old.copy_(new)


def _tensors(found: Any) -> list[Tensor]:
    found = found if isinstance(found, tuple | list) else [found]
    return [each for each in found if isinstance(each, Tensor)]


def _in_place(function: Any) -> bool:
    return any(
        each.alias_info is not None and each.alias_info.is_write for each in function._schema.arguments
    )


def _is_view(function: Any) -> bool:
    returns = function._schema.returns
    return not _in_place(function) and any(each.alias_info is not None for each in returns)


class Held:
    """A draw whose batches stay in the same memory; `load` puts those of another draw there."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.held: dict[Hashable, tuple[Callable[[Draw], Batch], Batch]] = {}

    def observed(self) -> Batch:
        return self._of("observed", lambda draw: draw.observed())

    def everywhere(self) -> Batch:
        return self._of("everywhere", lambda draw: draw.everywhere())

    def unbiased(self, at_most: int | None = None) -> Batch:
        return self._of(at_most, lambda draw: draw.unbiased(at_most))

    def _of(self, key: Hashable, ask: Callable[[Draw], Batch]) -> Batch:
        if key not in self.held:
            batch = ask(self.draw)
            self.held[key] = ask, Batch(*(getattr(batch, each.name).clone() for each in fields(batch)))
        return self.held[key][1]

    def load(self, draw: Draw) -> None:
        self.draw = draw
        for ask, batch in self.held.values():
            new = ask(draw)
            for each in fields(batch):
                getattr(batch, each.name).copy_(getattr(new, each.name))


def trained(method: Any, replayed: bool) -> list[dict[str, Tensor]]:
    """Parameters and mean losses after the first steps of each phase.

    replayed: each kind of step is done twice, the second time under a tape, and replayed from then on.
    """
    after = []
    for phase, draws in phases(method):
        epoch = len(method.data.users) // method.config.batch_size
        held: Held | None = None
        tapes: dict[Callable[[Draw], None], Tape | None] = {}
        for number, draw in enumerate(islice(draws, 2 * epoch + 2)):
            step = phase.step_at(number)
            if not replayed:
                step(draw)
            elif held is None:
                held = Held(draw)
                step(held)  # type: ignore[arg-type]
                tapes[step] = None
            else:
                held.load(draw)
                tape = tapes.get(step)
                if tape is not None:
                    tape.replay()
                elif step in tapes:
                    tapes[step] = tape = Tape()
                    with tape:
                        step(held)  # type: ignore[arg-type]
                else:
                    step(held)  # type: ignore[arg-type]
                    tapes[step] = None
            for part in method.parts.values():
                part.leaves = []
            if (number + 1) % epoch == 0:
                with torch.no_grad():
                    for each in phase.every:
                        if (number + 1) // epoch % each.epochs == 0:
                            each.run()
        assert not replayed or all(tapes.values())
        after.append(
            {
                f"{name}/{key}": value.clone()
                for name, part in method.parts.items()
                for key, value in (*part.tables.items(), ("loss", part.mean_loss()))
            }
        )
    return after


@pytest.mark.parametrize(
    ("key", "settings"),
    [pytest.param(*case, marks=() if case[0] in (*KINDS, *BESIDE) else LATER) for case in CASES],
    ids=str,
)
def test_a_replayed_step_is_the_step(key: str, settings: dict[str, Any]) -> None:
    expected = trained(built(key, settings), replayed=False)
    found = trained(built(key, settings), replayed=True)
    for wanted, phase in zip(expected, found, strict=True):
        for name, value in wanted.items():
            assert torch.equal(phase[name], value) or bool(value.isnan().all() & phase[name].isnan().all()), (
                name
            )


def test_the_tape_finds_a_count_that_python_keeps() -> None:
    """Of two counts in a step, the one that the device keeps goes on in a replay."""
    part = Part({"x": torch.ones(2, 3)}, torch.full((2,), 0.1), torch.zeros(2))
    counted = {"python": 0, "device": torch.zeros(())}

    def step() -> Tensor:
        minimise(part, part.whole("x").square().sum(-1))
        counted["python"] += 1
        counted["device"].add_(1)  # type: ignore[attr-defined]
        return torch.ones(()) * counted["python"]

    step()
    tape = Tape()
    with tape:
        seen = step()
    tape.replay()
    assert float(seen) == 2 and float(counted["device"]) == 3 and float(part.adam.steps) == 3
