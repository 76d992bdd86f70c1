"""ULTD-bench: the suite around the methods (data, protocol, engine, records, table).

Importing this package imports neither torch nor any data: `bench.table` and
`bench.gate` must run where only the records are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records.record import Record


def run(overrides: Sequence[str]) -> Record:
    """The record of a cell, trained if it is not in `results/runs`.

        >>> import bench
        >>> record = bench.run(["method=ips", "dataset=coat", "seeds=3"])  # doctest: +SKIP
        >>> record.metric("ndcg")  # seed → NDCG@5 on the test ratings  # doctest: +SKIP
        {0: 0.61, 1: 0.62, 2: 0.60}
        >>> steps, auc = record.curves()  # (E,) and (3, E): validation AUC  # doctest: +SKIP

    Args:
        overrides: of the configuration, as on the command line of `python -m bench`; `results=DIR` names
            another store, `again=true` trains anew.

    Raises:
        MissingData: the data set's files are absent.
        BenchError: an override is wrong, or training failed.
    """
    from bench import cell  # it needs torch, which takes its time to import

    return cell.record_of(overrides)
