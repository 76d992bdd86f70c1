"""The contract of a method, for the files of this folder; its body is `bench/engine/method.py`."""

from bench.engine.method import (
    Method,
    MethodConfig,
    Shared,
    Stacked,
    above,
    at_least,
    between,
    choices,
    is_stacked,
    one_of,
    require,
    total,
)

__all__ = [
    "Method",
    "MethodConfig",
    "Shared",
    "Stacked",
    "above",
    "at_least",
    "between",
    "choices",
    "is_stacked",
    "one_of",
    "require",
    "total",
]
