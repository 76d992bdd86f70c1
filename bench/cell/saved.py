"""What a cell is asked to keep of its final runs beside its record: test scores, and models to score again.

It is no part of a record's identity: a record that stands without it is completed by training the chosen
point's final runs once more, and only if they come to the numbers that the record has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.cell.progress import Progress, Watch
from bench.cell.search import Search
from bench.cell.spec import Cell
from bench.cell.trained import Trained
from bench.cell.trainer import Trainer
from bench.errors import BenchError
from bench.records import store
from bench.records.record import Record, SavedScores, find_record, saved_parameters, saved_scores


def lacking(cell: Cell, runs: Path) -> list[str]:
    """What the cell is asked to keep and its record stands without."""
    return [name for name in cell.save if not store.has_beside(runs, cell.digest, name)]


def incomplete(cell: Cell, runs: Path) -> Record | None:
    """The record that stands and lacks something that the cell is asked to keep; None of any other.

    Raises:
        BenchError: the store cannot be read.
    """
    if cell.again or not lacking(cell, runs):
        return None
    return find_record(runs, cell.digest, lambda said: None)


def keep(trainer: Trainer, chosen: Sequence[Trained], runs: Path, digest: str, names: Sequence[str]) -> None:
    """Puts what is asked for beside a record.

    Args:
        chosen: the final runs, trained to be saved.

    Raises:
        BenchError: the store cannot be written.
    """
    if "scores" in names:
        found = {}
        for each in chosen:
            assert each.scores is not None
            users, items, labels = trainer.seeds.test[each.member.seed]
            found[each.member.seed] = SavedScores(
                users.cpu().numpy().astype(np.int32),
                items.cpu().numpy().astype(np.int32),
                labels,
                each.scores,
            )
        store.add_beside(runs, digest, "scores", saved_scores(found))
    if "model" in names:
        states = {each.member.seed: each.state for each in chosen}
        store.add_beside(runs, digest, "model", saved_parameters(states))


def complete(cell: Cell, record: Record, trainer: Trainer, runs: Path, progress: Progress) -> Record:
    """Trains the final runs of a record that stands once more, and puts what it lacks beside it.

    Raises:
        BenchError: they come to other numbers than the record has; or see `bench.cell.train`.
    """
    values = tuple(record.selected[name] for name in cell.plan.fields)
    # Without the stages, the configured point is the only one.
    alone = dataclasses.replace(cell, plan=dataclasses.replace(cell.plan, start=values, stages=()))
    search = Search(alone, trainer, Watch(alone, progress))
    same = search.go() and [each.test["auc"] for each in search.chosen] == record.test["auc"]
    if not same:
        raise BenchError(
            f"The record {record.digest} cannot be completed by save={','.join(cell.save)}: its final runs, "
            "trained once more, come to other numbers here, as with other libraries (it was trained with "
            f"PyTorch {record.provenance.torch or 'unknown'}); again=true trains all of it anew."
        )
    keep(trainer, search.chosen, runs, cell.digest, lacking(cell, runs))
    return record
