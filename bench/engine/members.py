"""Which members are trained together: equal shapes, and within a budget of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.engine.memory import GIB
from bench.engine.method import MethodConfig, is_stacked
from bench.errors import BenchError

# Members' memory beyond this is trained one after the other on a CPU: a group whose states do not fit into
# the cache is slower per member than its members alone. Half may be draws, which members of one seed share.
_CPU_GROUP_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Member:
    """One training run. point: number of its hyper-parameter point in the cell's list."""

    point: int
    seed: int
    config: MethodConfig


def groups(
    members: Sequence[Member],
    bytes_of: Callable[[Member], int],
    budget: int,
    device: torch.device,
    least: Callable[[MethodConfig], int] | None = None,
) -> list[list[Member]]:
    """Divides members into stacks; those of one seed come together where one shape needs several.

    Args:
        bytes_of: memory that one member of the shape of the given one needs; it may build the member.
        budget: bytes that a stack may take.
        least: a lower bound of that memory which builds nothing (`least_bytes`); asked of all shapes
            before `bytes_of` is asked of any.

    Raises:
        BenchError: a single member does not fit into the budget.
    """
    shapes: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        shapes.setdefault(_shape(member.config), []).append(member)
    if least is not None:
        for alike in shapes.values():
            _refuse_unless_fits(alike[0].config, least(alike[0].config), budget)
    stacks = []
    for alike in shapes.values():
        need = bytes_of(alike[0])
        _refuse_unless_fits(alike[0].config, need, budget)
        room = budget if device.type != "cpu" else min(budget, max(_CPU_GROUP_BYTES, need))
        n_stacks = -(-len(alike) // (room // need))
        size = -(-len(alike) // n_stacks)
        if n_stacks > 1:  # members of one seed have the same draws, which are made once for a stack
            alike = sorted(alike, key=lambda member: member.seed)
        stacks += [alike[start : start + size] for start in range(0, len(alike), size)]
    return stacks


def _refuse_unless_fits(config: MethodConfig, need: int, budget: int) -> None:
    if need > budget:
        raise BenchError(
            f"One member of this cell (embedding size {config.embedding_size}, batch size "
            f"{config.batch_size}) needs about {need / GIB:.3g} GiB, but engine.memory_gib leaves "
            f"{budget / GIB:.3g} for it: raise it, or choose smaller sizes."
        )


def _shape(config: MethodConfig) -> tuple[object, ...]:
    """What members must share to be stacked: every field that is not a float."""
    return tuple(getattr(config, f.name) for f in dataclasses.fields(config) if not is_stacked(f))
