"""The cost of the cells: seconds from the files, memory from what the page keeps of the records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.report.cost import cost_blocks
from bench.report.details import read_cells, window
from bench.table import load_results
from tests.bench.small_results import SEEDS, make_results


def test_costs_stand_beside_what_they_reach(tmp_path: Path) -> None:
    def cost(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["method"] == "mf":
            record["provenance"] |= {"training_seconds": 4.0, "peak_memory_mib": 300.5}
        elif cell["method"] == "ips":
            record["provenance"]["training_seconds"] = 2.0

    results = make_results(tmp_path, cost)
    cells = read_cells(load_results(results), results)
    windows = {cell.digest: window(cell) for cell in cells}
    first, *_ = cost_blocks(cells, windows)
    assert (first.protocol, first.dataset) == ("table", "coat")
    mf, ips = first.costs  # of the others nothing is known
    assert (mf.seconds, mf.per_seed, mf.memory) == (4.0, 4.0 / len(SEEDS), 300.5)
    assert (ips.line.row.method, ips.seconds, ips.memory) == ("ips", 2.0, None)
    assert [each.costs[0].memory for each in cost_blocks(cells, {})] == [None] * 3
