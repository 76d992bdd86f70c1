"""The contract of a method, for the files of this folder; its body is `bench/engine/method.py`."""

from bench.engine.method import Method, MethodConfig, Shared, Stacked, is_stacked, one_of, require

__all__ = ["Method", "MethodConfig", "Shared", "Stacked", "is_stacked", "one_of", "require"]
