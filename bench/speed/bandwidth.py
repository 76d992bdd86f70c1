"""How near a training step comes to one pass over its tables.

Each parameter, its two moments and its gradient are read and written once at least, whatever computes them.
On a CPU that pass is measured: Adam's kernel alone (`bench.speed.rows.one_pass`). On a GPU it is estimated:
that many bytes at the speed at which the device copies a large tensor. On a CPU the copy is no bound: a pass
over tables in its caches is faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.engine.method import Method

COPY_BYTES = 2**28  # larger than any cache
_TURNS = 7


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, reads and writes together, of copying a large tensor."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(_TURNS):
        wait(device)
        start = time.perf_counter()
        target.copy_(source)
        wait(device)
        seconds.append(time.perf_counter() - start)
    return float(2 * COPY_BYTES / np.median(seconds))


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def least_traffic(method: Method) -> int:
    """Bytes that a member-step of dense Adam must move: the bound.

    Parameters, two moments and gradient are read and written, 8 passes over the tables. Each pair of the
    batch reads its rows of embeddings, and adds to those of the gradient.
    """
    size = method.data.labels.element_size()
    tables = [table[0].numel() for part in method.parts.values() for table in part.tables.values()]
    rows = 2 * (method.config.embedding_size + 1)  # floats of a pair: of its user and of its item
    return size * (8 * sum(tables) + 3 * rows * method.config.batch_size)


def traffic(step: Callable[[], None], method: Method) -> float:
    """Bytes that the operations of a step read and write, per member, as they run on a GPU.

    Counted, not measured: each operation reads its arguments and writes its result, and no cache keeps
    anything from one operation to the next. The step is done once.
    """
    count = _Count()
    for part in method.parts.values():
        part.adam._fused = False  # the fused kernel is a CPU's
    with count:
        step()
    for part in method.parts.values():
        part.adam._describe()
    return count.bytes / method.n_members


class _Count(TorchDispatchMode):
    """Adds up what operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.is_view:
            return result
        name = function.overloadpacket.__name__
        written = sum(map(_size, result if isinstance(result, tuple | list) else (result,)))
        if name == "index_select":  # reads the rows that it chooses, not the table
            self.bytes += 2 * written + _size(args[2])
        elif name == "index_add_":
            self.bytes += 3 * _size(args[3]) + _size(args[2])
        elif name in ("zero_", "fill_", "zeros_like", "empty_like", "new_zeros", "zeros", "ones_like"):
            self.bytes += written if name != "empty_like" else 0
        else:
            self.bytes += written + sum(map(_size, args))
        return result


def _size(value: object) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
