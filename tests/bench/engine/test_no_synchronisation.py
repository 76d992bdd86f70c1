"""No training step waits for its device: nothing in it needs a number, or a size, on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.engine.sampling import Draw
from tests.bench.engine.first_steps import CASES, built, phases

# What makes a GPU wait: reading a number, results whose size depends on the data, new tensors from Python's
# numbers (a copy from pageable memory).
WAITING = (
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_static", "argwhere"),
    *("masked_select", "masked_scatter", "unique_consecutive", "_unique", "_unique2", "unique_dim"),
    *("bincount", "_bincount", "histc", "repeat_interleave", "lift_fresh", "allclose"),
)


class Watch(TorchDispatchMode):
    """Lists the operations that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.seen = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        self.seen += 1
        if name in WAITING or (name.startswith("index") and _by_mask(args)):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def _by_mask(args: Sequence[Any]) -> bool:
    """Whether an indexing operation has a mask among its indices: its result's size depends on the data."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], Sequence) else ()
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices)


def watched(method: Any) -> Watch:
    """The second step of every kind in every phase under watch; the first one makes what stays."""
    watch = Watch()
    for phase, draws in phases(method):
        seen: set[Callable[[Draw], None]] = set()
        for number, draw in enumerate(islice(draws, 8)):
            step = phase.step_at(number)
            with watch if step in seen else nullcontext():
                step(draw)
            seen.add(step)
    return watch


@pytest.mark.parametrize(("key", "settings"), CASES, ids=lambda value: str(value))
def test_no_step_waits_for_the_device(key: str, settings: dict[str, Any]) -> None:
    watch = watched(built(key, settings))
    assert watch.seen > 20
    assert watch.found == []


def test_the_watch_sees_what_would_wait() -> None:
    values = torch.arange(4.0)
    watch = Watch()
    with watch:
        float(values[0])
        values[values > 1]
        values[values > 1] = values[0]
        values.unique()
        values.nonzero()
        torch.tensor([1.0])
        values[torch.arange(2)]  # fine
    waits = ["_local_scalar_dense", "index", "index_put_", "_unique2", "nonzero", "lift_fresh"]
    assert [name.split(".")[1] for name in watch.found] == waits
