"""Values that a user's file sets and a sweep goes over all the same: nobody expects it, so it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import methods
from bench.compose.compose import composed
from bench.config import Config
from bench.errors import BenchError


def swept_over(config: Config, lists: Mapping[str, Sequence[Any]]) -> list[str]:
    """A sentence about each field whose configured value is not the suite's, and which is swept.

    An experiment file or the YAML of a method of one's own may have set it; what the command line fixes is
    not swept.

    Args:
        lists: swept field → values.
    """
    key = config.method.name
    try:
        groups = {"protocol": config.protocol.name, "dataset": config.dataset.name, "method": key}
        suites = vars(composed([f"{group}={name}" for group, name in groups.items()]).method)
    except BenchError:  # a data set or a method of the user's own folder of configurations
        suites = {}
    own = not methods.get(key).__module__.startswith("methods.")
    found = []
    for name, values in lists.items():
        value = getattr(config.method, name)
        if value != suites.get(name, value) or (own and value not in values):
            tried = ", ".join(map(str, values))
            found.append(
                f"method.{name}={value} is set in a file, and swept all the same ({tried}): "
                f"method.{name}={value} on the command line fixes it."
            )
    return found
