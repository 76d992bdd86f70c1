"""Which implementation of the kernels runs: `engine.kernels`.

`torch` is the reference, on any device and in any precision; `numba` is for float32 on a CPU. They differ in
rounding, so the name is part of a record's identity, and nothing falls back from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.config import EngineConfig
from bench.engine.kernels.base import Kernels
from bench.engine.kernels.torch_ import Torch
from bench.errors import BenchError

__all__ = ["NAMES", "Kernels", "cpus", "current", "make", "name_for", "using"]

NAMES = ("torch", "numba")
_current: list[Kernels] = [Torch()]


def name_for(config: EngineConfig) -> str:
    """The name of the kernels that the configuration asks for; nothing is imported for it.

    Raises:
        BenchError: it is unknown, or not made for the device or the precision.
    """
    name = config.kernels
    if name not in ("auto", *NAMES):
        raise BenchError(f"engine.kernels={name} is not known: the choices are auto, {', '.join(NAMES)}.")
    on_cpu = config.device == "cpu" or (config.device != "cuda" and not torch.cuda.is_available())
    fits = on_cpu and config.dtype == "float32"
    if name == "auto":
        return "numba" if fits else "torch"
    if name == "numba" and not fits:
        where = f"engine.dtype={config.dtype}" if on_cpu else "engine.device=cuda"
        raise BenchError(
            f"engine.kernels=numba is for float32 on a CPU and does not fit {where}: use auto or torch."
        )
    return name


def make(name: str, threads: int = 1) -> Kernels:
    """The kernels of a name, for as many threads.

    Raises:
        BenchError: Numba is not installed.
    """
    if name == "torch":
        return Torch()
    try:
        from bench.engine.kernels.numba_ import Numba
    except ImportError as error:
        raise BenchError(
            f"engine.kernels=numba needs the package numba ({error}): install it by `make env`, or use "
            "engine.kernels=torch."
        ) from error
    return Numba(threads)


@contextmanager
def using(kernels: Kernels) -> Iterator[None]:
    """Within it, methods and parts are built for these kernels; without it for the reference."""
    _current.append(kernels)
    try:
        yield
    finally:
        _current.pop()


def current() -> Kernels:
    """The kernels that methods and parts are being built for."""
    return _current[-1]


def cpus() -> int:
    """CPUs that this process may use, by affinity and by its container's share."""
    import joblib  # a tenth of a second, which not every command needs

    return int(joblib.cpu_count())
