"""The registry of methods: a file in this folder that registers a class is one row.

A row's key is its file's name, and its configuration is `conf/method/KEY.yaml`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from bench.errors import BenchError, nearest
from bench.outside import Outside

if TYPE_CHECKING:
    from methods.base import Method

# The table's rows, in its order; the controls stand below its rule, and so do the extra rows. Further methods
# are not the paper's: a class says so by `group: ClassVar[str] = "further"`, which a row of the paper that
# extends one takes back by "". They stand under a rule of their own and are trained where they are asked for.
# A method in none of these is somebody's own.
ROWS = (
    *("mf", "ips", "dr", "dr_jl", "escm2_dr", "cause", "kdcrec", "ltd", "autodebias"),
    *("res_ips", "res_dr", "ultd_tp", "ultd_jl"),
)
OWN = ("ultd_tp", "ultd_jl")  # the paper's own method; the other rows are its baselines
CONTROLS = ("item_mean", "mf_combine", "eib", "ips_oracle")
EXTRA = ("kdcrec_bridge", "ltd_ips")
FURTHER = "further"  # the value of `group`

_registered: dict[str, type[Method]] = {}
_extra = Outside("methods.extra", "method", "extra_methods")

Registered = TypeVar("Registered", bound="type[Method]")


def register(method: Registered) -> Registered:
    """Class decorator: enters a method under the name of its file.

    Raises:
        BenchError: another class has that key, or an attribute that the table needs is missing.
    """
    key = method.__module__.rsplit(".", 1)[-1]
    other = _registered.get(key)
    if other is not None and other.__qualname__ != method.__qualname__:
        raise BenchError(
            f"Two classes register the method '{key}' ({other.__qualname__} and {method.__qualname__}): "
            "keep one per file, and rename a file that is called like a method of the suite."
        )
    for name in ("title", "paper", "year"):
        if not hasattr(method, name):
            raise BenchError(f"The method '{key}' has no attribute '{name}', which the table prints.")
    group = getattr(method, "group", "")
    if group not in ("", FURTHER):
        raise BenchError(f"The method '{key}' has group = {group!r}: write {FURTHER!r} or leave it out.")
    _registered[key] = method
    return method


@cache
def _scan() -> None:
    for key in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{key}")
        if key not in _registered and _has_row(module):
            raise BenchError(f"methods/{key}.py registers no method: decorate its class with @register.")


def _has_row(module: ModuleType) -> bool:
    """Whether a class of the module's own says how the table calls it, which a mere base does not."""
    from methods.base import Method

    own = (kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__)
    return any(isinstance(kind, type) and issubclass(kind, Method) and hasattr(kind, "title") for kind in own)


def load_extra(path: Path) -> str:
    """Registers the method of a file from outside the checkout and returns its key, the file's name.

    A file that was edited since is loaded again, for a notebook.

    Raises:
        BenchError: there is no such file, it cannot be imported, it registers nothing, or another method has
            its name.
    """
    _scan()
    key = path.stem
    owner = _registered[key].__module__ if key in _registered else None
    _extra.load(path, owner, lambda: _registered.pop(key))
    if key not in _registered:
        raise BenchError(f"methods.extra: {path} registers no method: decorate its class with @register.")
    return key


def rows() -> list[str]:
    """Keys of the table's rows in its order, the controls last."""
    return [*ROWS, *CONTROLS]


def is_control(key: str) -> bool:
    """Whether a method stands below the table's rule, and out of the comparisons above it."""
    return key in CONTROLS or key in EXTRA


def is_further(key: str) -> bool:
    """Whether a method of the suite is one of the field's other methods rather than a row of the paper."""
    kind = get(key)
    return getattr(kind, "group", "") == FURTHER and kind.__module__.startswith(f"{__name__}.")


def names() -> list[str]:
    """Keys of all registered methods.

    The table's rows in its order, then the others, sorted, and the further methods last: by year, those of
    one paper side by side.
    """
    _scan()
    known = [key for key in rows() if key in _registered]
    further = sorted(filter(is_further, _registered), key=lambda key: (_source(key), key))
    return known + sorted(_registered.keys() - {*known, *further}) + further


def _source(key: str) -> tuple[int, str]:
    return _registered[key].year, _registered[key].paper


def get(key: str) -> type[Method]:
    """The class of a method.

    Raises:
        BenchError: there is none of that key.
    """
    _scan()
    if key not in _registered:
        raise BenchError(f"There is no method '{key}': {nearest(key, _registered)}")
    return _registered[key]
