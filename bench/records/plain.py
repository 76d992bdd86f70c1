"""Values in JSON's own types, and the one text that they have."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any, where: str = "the record") -> Any:
    """A value in JSON's own types: dict, list, str, bool, int, float, None.

    Args:
        value: JSON values, NumPy scalars and arrays, and paths.
        where: its place, for the error.

    Raises:
        TypeError: with the place of the value that has no such form, or a key is not a string.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"in {where}, the key {key!r} is not a string.")
        return {key: plain(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    raise TypeError(f"{where} holds a {type(value).__name__}, which has no JSON form.")


def finite(value: Any) -> Any:
    """A plain value with null for every number that is not finite, because JSON has no form of it."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers_alike(value: Any) -> Any:
    """A plain value with whole floats as integers, because a user's `5` and `5.0` mean the same point."""
    if isinstance(value, dict):
        return {key: numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [numbers_alike(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def render(document: Mapping[str, Any]) -> bytes:
    """A document's one text: the same values, the same bytes."""
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def sha256(content: bytes) -> str:
    """The sha256 of bytes, in hex digits."""
    return hashlib.sha256(content).hexdigest()
