"""What a trained member is made of: the arrays from which its method scores again, equal to the last bit.

Parameters of its parts, and what a phase has set on the method itself. What `build` makes is made again from
the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.engine.method import Method, Shared

_OF_BUILD = ("data", "kernels", "config", "seeds", "parts")  # attributes that every method is given
Array = NDArray[Any]


def state_of(method: Method) -> dict[str, Array]:
    """The arrays of a trained method: "PART.TABLE" (G, ...), and ".ATTRIBUTE" of a tensor of the method."""
    found = {
        f"{name}.{key}": table for name, part in method.parts.items() for key, table in part.tables.items()
    }
    found.update(_attributes(method))
    return {name: value.detach().cpu().numpy().copy() for name, value in found.items()}


def restore(method: Method, state: Mapping[str, Array]) -> None:
    """Puts the arrays of `state_of` into a method that was built for the same members and data.

    Raises:
        KeyError: a part of the method has no table among them.
    """

    def tensor(value: Array) -> Tensor:
        return torch.from_numpy(value.copy()).to(method.device)

    for name, part in method.parts.items():
        part.restart({key: tensor(state[f"{name}.{key}"]) for key in part.tables})
    for key, value in state.items():
        part_name, _, attribute = key.rpartition(".")
        if not part_name:
            built = getattr(method, attribute, None)
            if isinstance(built, Shared):
                built.value = tensor(value)
            else:
                setattr(method, attribute, tensor(value))


def _attributes(method: Method) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(method).items():
        if name not in _OF_BUILD:
            inner = value.value if isinstance(value, Shared) else value
            if isinstance(inner, Tensor):
                yield f".{name}", inner
