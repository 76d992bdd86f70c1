"""How much memory a stack of members takes, and how much it may take."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path

import torch

from bench.config import EngineConfig
from bench.engine import heap, kernels
from bench.engine.method import Method, MethodConfig
from bench.engine.part import Part
from bench.errors import BenchError

GIB = 2**30

# Of a member's parameters: themselves, the gradient, Adam's two moments, the best copy and one temporary;
# and one more while a stack is copied that members have left, or in a virtual step.
_LEAST_COPIES, _COPIES = 6, 7
_PAIR_BYTES = 160  # of a pair beside its rows: indices, logits, errors, and in the AUC its order and ranks
_DRAWING_BYTES = 48  # of a rating while its epoch is drawn: places and batches; half of that of a cell of D
_BATCH_BYTES = 256  # of a batch beside its ratings, while its epoch is drawn
_NUMBERS_PER_ROW = 12  # of a user or an item in a step, such as sums over its pairs
_RUNTIME_BYTES = 32 * 2**20  # what PyTorch takes with the first training step, whatever its size
_COMPILER_BYTES = 160 * 2**20  # what Numba takes to compile its kernels; less where it reads them from disk


def least_bytes(config: MethodConfig, n_users: int, n_items: int, itemsize: int) -> int:
    """What one member of a trained method needs at least: the copies of one model's embeddings.

    Args:
        itemsize: bytes of one float.
    """
    return _LEAST_COPIES * (n_users + n_items) * config.embedding_size * itemsize


def bytes_per_member(method: Method, n_validation: int, n_test: int = 0) -> int:
    """An upper estimate for one member of a built stack, as if it were alone in it.

    What counts: the copies of its parameters; whatever else the method keeps for it; in a step, a few rows
    of embeddings for each pair of a batch in each part, and a few numbers for each user and item; the draws
    of two epochs of its seed; and, if that is more than the step, scoring its validation or test ratings.

    Args:
        n_validation, n_test: ratings that are scored at once.
    """
    n, config, data = method.n_members, method.config, method.data
    itemsize = data.labels.element_size()
    parameters = sum(_bytes(part.tables) for part in method.parts.values()) // n
    kept = (
        sum(_bytes(value) for name, value in vars(method).items() if name not in ("data", "parts", "kernels"))
        // n
    )

    row = _row_bytes(config, itemsize)
    unbiased = data.unbiased_labels.shape[-1]
    pairs = min(config.batch_size, len(data.labels)) * (1 + config.everywhere_ratio) + unbiased
    step = pairs * row * max(len(method.parts), 1)
    step += _NUMBERS_PER_ROW * (data.n_users + data.n_items) * itemsize
    scoring = max(n_validation, n_test) * row

    # Of each observed pair: user, item and label, as they stand by user and in two epochs, since the epoch
    # before is there until the next one is, each with its cells of D; and while an epoch is drawn, places.
    pair, ratio = 16 + itemsize, config.everywhere_ratio
    draws = len(data.labels) * (3 * pair + 2 * 8 * ratio + _DRAWING_BYTES + (_DRAWING_BYTES // 2) * ratio)
    draws += _BATCH_BYTES * -(-len(data.labels) // config.batch_size)
    cells = data.n_users * data.n_items if config.everywhere_ratio else 0  # one byte each
    return int(_COPIES * parameters + kept + max(step, scoring) + draws + cells)


def scoring_bytes(config: MethodConfig, n_ratings: int, itemsize: int) -> int:
    """What one member takes while so many ratings of it are scored at once."""
    return n_ratings * _row_bytes(config, itemsize)


def _row_bytes(config: MethodConfig, itemsize: int) -> int:
    """Of a pair with its rows of embeddings."""
    return 4 * config.embedding_size * itemsize + _PAIR_BYTES


def _bytes(value: object) -> int:
    """Of the tensors in an attribute of a method, the parts' tables apart."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, Part) or not hasattr(value, "__dict__"):
        return 0
    return sum(map(_bytes, vars(value).values()))


def budget(config: EngineConfig, device: torch.device) -> int:
    """Bytes that one stack may take.

    On a CPU, `memory_gib` is what the whole process may hold, so what it holds already is taken off, and
    so is what PyTorch and Numba themselves will take once it trains.

    Raises:
        BenchError: nothing is left.
    """
    if config.memory_gib > 0:
        allowed = int(config.memory_gib * GIB)
        if device.type != "cpu":
            return allowed
        held, runtime = _held_memory(), runtime_bytes(config)
        if allowed <= held + runtime:
            raise BenchError(
                f"engine.memory_gib={config.memory_gib:.3g} leaves nothing to train with: the process holds "
                f"{held / GIB:.2f} GiB before it, and what runs it takes {runtime / GIB:.2f}: raise it."
            )
        return allowed - held - runtime
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // 2
    return _free_memory() // 2


def runtime_bytes(config: EngineConfig) -> int:
    """What PyTorch and the kernels take with the first training step, whatever its size."""
    compiled = kernels.name_for(config) == "numba"
    return _RUNTIME_BYTES + (_COMPILER_BYTES + heap.KEPT_BYTES if compiled else 0)


def _held_memory() -> int:
    """Bytes of memory that this process holds, what it has freed given back first."""
    gc.collect()
    heap.give_back()
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def peak_memory() -> int:
    """Bytes of memory that this process held at most; 0 where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _free_memory() -> int:
    """Bytes of memory that this machine has available; 4 GiB where it does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * GIB
