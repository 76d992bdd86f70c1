"""What the cells cost beside what they reach: seconds of training, memory, and AUC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.details import CellDetails
from bench.table.lines import Line


@dataclass(frozen=True, kw_only=True)
class CellCost:
    """The cost of one cell. line: its AUC. seconds: of training, all seeds together. memory: MiB, or None.

    Memory is the peak of the whole process that trained it; cells that one process trained share it.
    """

    line: Line
    seconds: float
    memory: float | None

    @property
    def per_seed(self) -> float:
        """Seconds of training by seed."""
        return self.seconds / max(1, len(self.line.values))


@dataclass(frozen=True, kw_only=True)
class CostBlock:
    """The costs of one data set under one protocol, on one kind of device after the other."""

    protocol: str
    dataset: str
    title: str
    costs: list[CellCost]


def cost_blocks(cells: Sequence[CellDetails], windows: Mapping[str, Mapping[str, Any]]) -> list[CostBlock]:
    """The costs of all cells that tell their seconds, in the table's order.

    Args:
        windows: what the page shows of each cell, by digest: its provenance has what no CSV file has.
    """
    found: dict[tuple[str, str], CostBlock] = {}
    for cell in cells:
        line = cell.line
        known = windows.get(cell.digest, {}).get("provenance", {})
        seconds = _number(line.cell.provenance.get("training_seconds")) or _number(
            known.get("training_seconds")
        )
        if not seconds or line.mean is None:
            continue
        block = CostBlock(
            protocol=line.protocol, dataset=line.dataset.dataset, title=line.dataset.title, costs=[]
        )
        cost = CellCost(line=line, seconds=seconds, memory=_number(known.get("peak_memory_mib")))
        found.setdefault((line.protocol, line.dataset.dataset), block).costs.append(cost)
    return list(found.values())


def _number(value: object) -> float | None:
    """A positive number, or None."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
