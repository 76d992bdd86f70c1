"""Trains a cell: from its specification to its record in the store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench.cell import saved
from bench.cell.progress import Progress, Watch, silent
from bench.cell.provenance import Clock
from bench.cell.record import arrays_of, lost, record_of
from bench.cell.search import Search
from bench.cell.spec import Cell
from bench.cell.trainer import Trainer
from bench.errors import BenchError, Sliced
from bench.records import store
from bench.records.record import Record, write_record

STACKS_FOLDER = "groups"  # folder of a store with the stacks of trainings that are kept


def train_and_store(cell: Cell, runs: Path, progress: Progress = silent) -> Record:
    """Trains a cell and puts its record into the store.

    The stages of the plan find the point that the rule of selection puts first, without its seeing a test
    metric; it is trained with all seeds. Every stack is kept in `runs/groups` as soon as it is
    trained, so that a run that was stopped goes on from there. Of a record that stands and lacks what is to
    be saved, only the final runs are trained.

    Returns:
        the record as it stands in the store.

    Raises:
        BenchError: no point could be trained without diverging, one member is too large for the memory
            budget, or the store cannot be written. A failure is noted apart in the store.
        Sliced: the cell asks for a share of the first stage, and it is trained.
    """
    clock = Clock()
    store.require_room(runs)
    trainer = Trainer(cell, runs / STACKS_FOLDER, cell.again)
    there = saved.incomplete(cell, runs)
    if there is not None:
        return saved.complete(cell, there, trainer, runs, progress)
    search = Search(cell, trainer, Watch(cell, progress))
    if cell.slices > 1:
        if not cell.plan.stages:
            raise BenchError("sweep.slices divides the first stage of a sweep, but nothing is swept here.")
        search.stage(cell.plan.stages[0], (cell.slice, cell.slices))
        raise Sliced(
            f"Share {cell.slice} of {cell.slices} of stage {cell.plan.stages[0].name}: {len(search.trials)} "
            "trainings are kept; the same command without sweep.slices goes on from all shares."
        )
    if not search.go():
        diverged = lost(search)
        store.write_failure(runs, cell.digest, {"diverged": diverged})
        raise BenchError(
            f"{cell.method} on {cell.dataset.name}: every point diverged in at least one seed "
            f"({diverged[0]['what']}, for instance); try smaller learning rates."
        )
    record = dataclasses.replace(record_of(search), provenance=clock.provenance(search))
    written = write_record(runs, cell.digest, record, arrays_of(search), replace=cell.again)
    saved.keep(trainer, search.chosen, runs, cell.digest, cell.save)
    return written
