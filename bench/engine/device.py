"""What the engine's fields name: the device, the type of numbers, and the form of Adam."""

from __future__ import annotations

import torch

from bench.config import EngineConfig
from bench.errors import BenchError


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


def by_rows(config: EngineConfig) -> bool:
    """Whether Adam moves only the rows of a batch.

    Raises:
        BenchError: `engine.adam` is neither dense nor rows.
    """
    if config.adam not in ("dense", "rows"):
        raise BenchError(f"engine.adam={config.adam} is not known: the choices are dense, rows.")
    return config.adam == "rows"
