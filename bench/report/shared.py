"""Parts of windows that many cells share, such as a data set's configuration, which the page carries once.

A window's part is replaced by its place in a list; the page's script and `restored` put it back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Of a window's configuration (`bench.report.details.window`); the method's belongs to its cell alone.
_OF_CONFIGURATION = ("dataset", "protocol", "engine")


@dataclass
class SharedParts:
    """The parts so far, in the order of first use."""

    parts: list[dict[str, Any]] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def lifted(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The window with numbers in place of its parts; itself unchanged."""
        found = dict(entry)
        for holder, name in _holders(found):
            part = holder[name]
            key = json.dumps(part)
            if key not in self._places:
                self._places[key] = len(self.parts)
                self.parts.append(part)
            holder[name] = self._places[key]
        return found


def restored(entry: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The window that `SharedParts.lifted` was given.

    Raises:
        LookupError, TypeError: it has other parts, or a number is none of a part's.
    """
    found = dict(entry)
    for holder, name in _holders(found):
        holder[name] = dict(parts[holder[name]])
    return found


def _holders(entry: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """(dictionary, name) of every part; the dictionary inside the entry is replaced by a copy."""
    found = [(entry, "data")] if "data" in entry else []
    if "configuration" in entry:
        entry["configuration"] = dict(entry["configuration"])
        found += [(entry["configuration"], name) for name in _OF_CONFIGURATION]
    return found
