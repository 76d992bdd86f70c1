"""The paper's 80 points of MF on Coat against one model at a time: `python -m bench.speed.grid`.

Every stack of the grid is trained by the engine, to its members' own stops. Beside each, in turns with it, a
sample of the same steps and evaluations is timed in the plain loop over single models (`EagerMF` with
`torch.optim.Adam`, AUC by scikit-learn), and extrapolated to the steps and evaluations that the members of
the stack took. Both sides by CPU time of one thread. Generated data of Coat's size stand in where Coat is
absent.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tabulate import tabulate
from torch import nn

from bench import cell as cells
from bench import compose
from bench.cell import Cell
from bench.cell.trained import Trained
from bench.cell.trainer import Trainer
from bench.command.main import main as command
from bench.engine.members import Member
from bench.errors import MissingData
from bench.files import write_csv
from bench.speed.reference import EagerMF
from bench.speed.workload import Workload

_SEEDS = (1, 2, 10)  # with which every point is trained: larger stacks
_STEPS, _EVALUATIONS = 60, 10  # of a sample


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.grid", description="The paper's grid of MF against one model at a time."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(_SEEDS), help="of every point")
    parser.add_argument("--output", type=Path, help="a CSV file for the figures")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    rows = [row for n in given.seeds for row in grid_times(n)]
    header = ["data", "seeds", "batch_size", "trainings", "engine_seconds", "single_seconds", "ratio"]
    print(tabulate(rows, header, disable_numparse=True))
    if given.output:
        write_csv(given.output, header, rows)


def grid_times(n_seeds: int) -> list[list[str]]:
    """A line for each batch size, and one for the whole grid."""
    cell = _cell(n_seeds)
    trainer = Trainer(cell)
    members = [Member(p, seed, config) for p, config in enumerate(cell.points) for seed in range(n_seeds)]
    sums: dict[int, np.ndarray] = {}
    stacks = trainer.stacks(members, look_at_test=False)
    trainer.train_stack(stacks[-1], False, lambda n: None)  # the kernels are compiled, or read from disk
    for stack in stacks:
        start = time.thread_time()
        trained = trainer.train_stack(stack, False, lambda n: None)
        ours = time.thread_time() - start
        theirs = _single(cell, trainer, trained)
        line = np.array([len(stack), ours, theirs])
        batch_size = stack[0].config.batch_size
        sums[batch_size] = sums.get(batch_size, np.zeros(3)) + line
        print(f"{len(stack)} of batch {batch_size}: {theirs / ours:.1f} x", file=sys.stderr, flush=True)
    whole = np.sum(list(sums.values()), axis=0)
    lines = [*((str(size), *values) for size, values in sorted(sums.items())), ("all", *whole)]
    return [
        [cell.dataset.name, str(n_seeds), size, f"{n:.0f}", f"{a:.1f}", f"{b:.1f}", f"{b / a:.1f}"]
        for size, n, a, b in lines
    ]


def _cell(n_seeds: int) -> Cell:
    compose.register()
    for dataset in ("coat", "synthetic"):
        words = [f"dataset={dataset}", "method=mf", f"seeds={n_seeds}", "engine.device=cpu"]
        words.append("sweep.stages=[{name:shared,lists:[shared_grid]}]")
        words.append("engine.threads=1")  # what a thread's clock can measure
        words.append(f"data_dir={os.environ.get('BENCH_DATA') or 'data'}")
        config = compose.composed(words)
        try:
            return cells.prepare(config, cells.load_ratings(config))
        except MissingData as error:
            print(error, file=sys.stderr)
    raise AssertionError("generated data are always there")


def _single(cell: Cell, trainer: Trainer, trained: Sequence[Trained]) -> float:
    """Seconds that single models would take for what the members of a stack did."""
    steps = evaluations = 0
    for each in trained:
        n = int(np.isfinite(each.curve).sum())
        evaluations += n
        steps += each.steps[n - 1]
    config, ratings = trained[0].member.config, cell.ratings
    size = Workload(
        users=ratings.n_users,
        items=ratings.n_items,
        ratings=len(ratings.biased),
        batch_size=config.batch_size,
        embedding_size=config.embedding_size,
    )
    model = EagerMF(size)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    loss = nn.BCEWithLogitsLoss()
    data, validation = trainer.seeds.training, trainer.seeds.validation
    order = torch.randperm(len(data.labels))
    begun = time.thread_time()
    for number in range(_STEPS):
        start = number * size.batch_size % (len(order) - size.batch_size)
        batch = order[start : start + size.batch_size]
        optimiser.zero_grad()
        loss(model(data.users[batch], data.items[batch]), data.labels[batch]).backward()
        optimiser.step()
    step = (time.thread_time() - begun) / _STEPS
    begun = time.thread_time()
    for _ in range(_EVALUATIONS):
        with torch.no_grad():
            scores = model(validation.users[0], validation.items[0]).numpy()
        roc_auc_score(validation.labels[0].numpy(), scores)
        kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert kept
    evaluation = (time.thread_time() - begun) / _EVALUATIONS
    return steps * step + evaluations * evaluation


if __name__ == "__main__":
    raise SystemExit(main())
