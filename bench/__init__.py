"""ULTD-bench: methods of debiased recommendation, trained alike and compared in one table.

The way of the data, left to right through the rooms:

    files → Ratings → Split → members → scores → metrics → record → selection → table → page
    data    data      data    engine    engine   metrics   records  cell        table   report

The rooms; each imports those above it, never one below:

    errors.py       mistakes that a user can mend, in one sentence
    seeds.py        every random number's seed, from names
    config.py       the configuration's types
    files.py        text and CSV files, written whole or not at all
    outside.py      methods and data sets in files from outside the checkout
    conventions.py  how users without a positive rating count
    records/        what is kept: metrics by name, records, points of sweeps, the store
    metrics.py      AUC, NDCG and Recall of scores
    data/           files of a data set → Ratings → Split
    engine/         members (points × seeds) trained as one program, and the contract of a method
    compose/        command line and `conf/` → a checked configuration
    cell/           one cell, from its configuration to its record: plan, training, selection
    command/        what command lines share: errors, progress, launchers
    table/          records → lines → tests → Table 1 as CSV, Markdown, LaTeX and HTML
    report/         the table's page and plots
    tuned.py        winners of sweeps, for others to start from: `python -m bench.tuned`
    reproduce.py    what is missing of Table 1: `python -m bench.reproduce`
    score.py        scores made elsewhere → a row of one's own: `python -m bench.score`
    export.py       records for experiment trackers: `python -m bench.export`
    new.py          the files of a method of one's own, from the example: `python -m bench.new`
    gate/           tables compared line by line: `python -m bench.gate`
    __main__.py     one cell, or many: `python -m bench`
    study/          variants beside each other, and the paper's own studies: `python -m bench.study`
    speed/          the project's stopwatch: `python -m bench.speed`

The methods, one file each, stand between engine and compose, in `methods/`. Nothing imports study or speed.

Importing this package imports neither torch nor any data: table, report, gate and records run where only the
records are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.cell.model import Model
    from bench.records.record import Record


def run(overrides: Sequence[str]) -> Record:
    """The record of a cell, trained if it is not in `results/runs`.

        >>> import bench
        >>> record = bench.run(["method=ips", "dataset=coat", "seeds=3"])  # doctest: +SKIP
        >>> record.metric("ndcg")  # seed → NDCG@5 on the test ratings  # doctest: +SKIP
        >>> steps, auc = record.curves()  # (E,) and (3, E): validation AUC  # doctest: +SKIP

    Args:
        overrides: of the configuration, as on the command line of `python -m bench`; `results=DIR` names
            another store, `again=true` trains anew.

    Raises:
        MissingData: the data set's files are absent.
        BenchError: an override is wrong, or training failed.
    """
    from bench import cell  # it needs torch, which takes its time to import

    return cell.find_or_train(overrides)


def load(record: Record, data_dir: Path | str = "") -> Model:
    """The models of a record's final runs, to score any pair with.

        >>> record = bench.run(["method=ips", "dataset=coat", "save=scores,model"])  # doctest: +SKIP
        >>> record.scores()[0]  # seed 0: users, items, labels, scores of its test ratings  # doctest: +SKIP
        >>> bench.load(record).score(users=[0, 0], items=[7, 9], seed=0)  # doctest: +SKIP

    Args:
        record: of a run with `save=model`.
        data_dir: of the data set's files; by default `BENCH_DATA`, or else `data`.

    Raises:
        MissingData: the data set's files are absent.
        BenchError: no model was saved with the record, or the files are not those that it was trained on.
    """
    from bench.cell import model

    return model.model_of(record, Path(data_dir or os.environ.get("BENCH_DATA") or "data"))


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Says in one sentence that a command runs outside the environment; anything else as Python does."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    ours = name in ("", "bench", "methods") or name in sys.stdlib_module_names
    if not isinstance(error, ModuleNotFoundError) or ours or os.environ.get("BENCH_DEBUG") == "1":
        sys.__excepthook__(kind, error, trace)
        return
    print(
        f"{sys.executable} has no module {name!r}: run this inside the environment, which `make env` makes "
        "and `. .venv/bin/activate` enters.",
        file=sys.stderr,
    )


if sys.argv[:1] == ["-m"]:  # Python is on its way to a command, `python -m bench...`
    sys.excepthook = _tell
