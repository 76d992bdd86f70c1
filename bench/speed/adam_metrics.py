"""What row-wise Adam does to the metrics: cells trained with both kinds, their test metrics side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from bench import cell as cells
from bench.records.metric import PAPER_METRICS
from bench.records.record import Record
from bench.speed.curves import ADAMS, read_lines, write_lines

# Data set, method, seeds, other overrides. Hyper-parameters were chosen for dense Adam, but for a cell with a
# grid, where each kind chooses its own.
_CELLS = [
    *(("coat", method, 10, f"+tuned=table/coat/{method}") for method in ("mf", "ips", "dr_jl")),
    ("yahoo_r3", "mf", 5, "sweep=none"),
    # Each kind with a decay of its own.
    ("coat", "mf", 10, "sweep=none grid.learning_rate=[0.01,0.05] grid.weight_decay=[0.0003,0.001,0.003]"),
]


def compare_metrics(folder: Path, say: Callable[[str], None]) -> None:
    """Trains the cells that rows_vs_dense.csv lacks, and writes it after each.

    Raises:
        BenchError: a data set is absent, or the file cannot be written.
    """
    file = folder / "rows_vs_dense.csv"
    lines = read_lines(file)
    for dataset, method, seeds, where in _CELLS:
        asked = {"dataset": dataset, "method": method, "seeds": str(seeds), "settings": where}
        if any(asked.items() <= line.items() for line in lines):
            continue
        dense, rows = (_trained(adam, dataset, method, seeds, where) for adam in ADAMS)
        for metric in PAPER_METRICS:
            lines.append(_line(asked, metric, dense, rows))
        write_lines(file, lines)
        say(f"{method} on {dataset}: done")


def _line(asked: dict[str, str], metric: str, dense: Record, rows: Record) -> dict[str, str]:
    before, after = (np.array(list(record.metric(metric).values())) for record in (dense, rows))
    change = after - before
    return {
        "dataset": asked["dataset"],
        "method": asked["method"],
        "metric": metric,
        "seeds": asked["seeds"],
        "dense": f"{before.mean():.4f}",
        "rows": f"{after.mean():.4f}",
        "change": f"{change.mean():+.4f}",
        "change_std": f"{change.std(ddof=1):.4f}",
        "dense_std": f"{before.std(ddof=1):.4f}",
        "p_value": f"{wilcoxon(before, after).pvalue:.3g}" if change.any() else "1",
        "dense_steps": f"{np.mean(dense.validation.step):.0f}",
        "rows_steps": f"{np.mean(rows.validation.step):.0f}",
        "settings": asked["settings"],
    }


def _trained(adam: str, dataset: str, method: str, seeds: int, where: str) -> Record:
    """A cell trained with one kind of Adam, in a store that is thrown away."""
    words = [
        f"dataset={dataset}",
        f"method={method}",
        f"seeds={seeds}",
        *where.split(),
        f"engine.adam={adam}",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        return cells.find_or_train(words, Path(scratch))
