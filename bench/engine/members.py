"""Which members are trained together: equal shapes, and within a budget of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.config import EngineConfig
from bench.errors import BenchError
from methods.base import Method, MethodConfig, is_stacked

_GIB = 2**30
# Members' states beyond this are trained one after the other on a CPU: a group that does not fit into
# the cache is slower per member than its members alone (measured by `make speed`).
_CPU_GROUP_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Member:
    """One training run. point: number of its hyper-parameter point in the cell's list."""

    point: int
    seed: int
    config: MethodConfig


def groups(
    members: Sequence[Member], bytes_of: Callable[[Member], int], budget: int, device: torch.device
) -> list[list[Member]]:
    """Divides members into stacks.

    Args:
        bytes_of: memory that one member of the shape of the given one needs.
        budget: bytes that a stack may take.

    Raises:
        BenchError: a single member does not fit into the budget.
    """
    shapes: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        shapes.setdefault(_shape(member.config), []).append(member)
    stacks = []
    for alike in shapes.values():
        need = bytes_of(alike[0])
        if need > budget:
            raise BenchError(
                f"One member of this cell (embedding size {alike[0].config.embedding_size}, batch size "
                f"{alike[0].config.batch_size}) needs about {need / _GIB:.3g} GiB, but engine.memory_gib "
                f"allows {budget / _GIB:.3g}: raise it, or choose smaller sizes."
            )
        room = budget if device.type != "cpu" else min(budget, max(_CPU_GROUP_BYTES, need))
        n_stacks = -(-len(alike) // (room // need))
        size = -(-len(alike) // n_stacks)
        stacks += [alike[start : start + size] for start in range(0, len(alike), size)]
    return stacks


def _shape(config: MethodConfig) -> tuple[object, ...]:
    """What members must share to be stacked: every field that is not a float."""
    return tuple(getattr(config, f.name) for f in dataclasses.fields(config) if not is_stacked(f))


def bytes_per_member(method: Method, n_validation: int) -> int:
    """An upper estimate for one member of a built stack.

    Parameters are there six times (Adam's two moments, the gradient, the best copy, one temporary), and
    a pair of a batch needs a few rows of embeddings in each part.
    """
    n = method.n_members
    itemsize = method.data.labels.element_size()
    parameters = sum(table.numel() for part in method.parts.values() for table in part.tables.values()) / n
    config, data = method.config, method.data
    pairs = config.batch_size * (1 + config.everywhere_ratio) + data.unbiased_labels.shape[-1]
    row = 4 * config.embedding_size + 16
    at_once = max(pairs * max(len(method.parts), 1), n_validation)
    return int(itemsize * (6 * parameters + at_once * row))


def budget(config: EngineConfig, device: torch.device) -> int:
    """Bytes that one stack may take."""
    if config.memory_gib > 0:
        return int(config.memory_gib * _GIB)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    return _free_memory() // 2


def _free_memory() -> int:
    """Bytes of memory that this machine has available; 4 GiB where it does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * _GIB


def device_of(config: EngineConfig) -> torch.device:
    """The device that the configuration names.

    Raises:
        BenchError: it is unknown or absent.
    """
    if config.device not in ("auto", "cpu", "cuda"):
        raise BenchError(f"engine.device={config.device} is not known: the choices are auto, cpu, cuda.")
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise BenchError("engine.device=cuda, but PyTorch finds no CUDA device here: use engine.device=cpu.")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")


def dtype_of(config: EngineConfig) -> torch.dtype:
    """The floating-point type that the configuration names.

    Raises:
        BenchError: it is neither float32 nor float64.
    """
    types = {"float32": torch.float32, "float64": torch.float64}
    if config.dtype not in types:
        raise BenchError(f"engine.dtype={config.dtype} is not known: the choices are float32, float64.")
    return types[config.dtype]
