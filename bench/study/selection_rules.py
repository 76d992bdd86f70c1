"""Which rule of selection finds the better points: `python -m bench.study.selection_rules`.

On generated data sets, none of which is the one in the table, every point of a part of the paper's grid is
trained and tested; each rule then chooses by validation alone. Regret: test AUC of the best point minus that
of the chosen one. Writes `results/selection/own/rules.csv`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from bench import cell as cells
from bench import compose
from bench.cell import selection
from bench.cell.selection import Merits
from bench.cell.trainer import Trainer
from bench.command.main import main as command
from bench.engine.members import Member
from bench.files import write_csv

_DATA_SEEDS = (11, 12)  # the table's is 0
_GRID = (
    *("grid.learning_rate=[0.005,0.01,0.05,0.1]", "grid.batch_size=[64,128]"),
    *("grid.embedding_size=[8,32,64]", "grid.weight_decay=[0.0001,0.0003]"),
)
_RULES = [rule for rule in selection.RULES if rule not in selection.SEES_TEST]
_DRAWS = 200  # of a few seeds out of all
_HEADER = ["data_seed", "points", "rule", "seeds", "mean_regret", "correlation_with_test"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.selection_rules",
        description="Compares rules of selection on generated data.",
    )
    parser.add_argument("--data-seeds", type=int, nargs="+", default=list(_DATA_SEEDS))
    parser.add_argument("--seeds", type=int, default=10, help="trainings of every point")
    parser.add_argument("--output", type=Path, default=Path("results/selection/own/rules.csv"))
    parser.add_argument("overrides", nargs="*", help="of the configuration: method=dr_jl")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    compose.register(given.overrides)
    rows: list[list[str]] = []
    for data_seed in given.data_seeds:
        merits = merits_of(data_seed, given.seeds, given.overrides)
        for n in sorted({min(3, given.seeds), given.seeds}):
            rows += judged(data_seed, merits, n)
        write_csv(given.output, _HEADER, rows)
        print(f"data seed {data_seed}: done", file=sys.stderr, flush=True)
    print(tabulate(rows, _HEADER))


def merits_of(data_seed: int, seeds: int, overrides: Sequence[str]) -> Merits:
    """Validation and test AUC of all points and seeds, (P, S)."""
    words = ["dataset=synthetic", f"dataset.data_seed={data_seed}", "sweep=none", f"seeds={seeds}", *_GRID]
    config = compose.composed([*words, *overrides])
    cell = cells.prepare(config, cells.load_ratings(config))
    members = [Member(p, seed, point) for p, point in enumerate(cell.points) for seed in range(seeds)]
    trained = Trainer(cell).train(members, True, lambda n: None)

    def table(values: list[float]) -> NDArray[np.float64]:
        return np.array(values).reshape(len(cell.points), seeds)

    return Merits(
        table([each.validation_auc for each in trained]),
        table([each.held_out_auc for each in trained]),
        table([each.test.get("auc", np.nan) for each in trained]),
    )


def judged(data_seed: int, merits: Merits, n: int) -> list[list[str]]:
    """A line for each rule that is given n of the seeds, averaged over draws of them."""
    test = merits.test.mean(-1)
    n_points, n_seeds = merits.test.shape
    draw = np.random.default_rng(0)
    draws = [np.arange(n_seeds)] if n == n_seeds else [draw.permutation(n_seeds)[:n] for _ in range(_DRAWS)]
    lines = []
    for rule in _RULES:
        regrets, correlations = [], []
        for some in draws:
            known = Merits(merits.validation[:, some], merits.held_out[:, some], merits.test[:, some])
            regrets.append(test.max() - test[selection.order(rule, known)[0]])
            correlations.append(np.corrcoef(selection.RULES[rule](known), test)[0, 1])
        lines.append(
            [
                *(str(data_seed), str(n_points), rule, str(n)),
                *(f"{np.mean(regrets):.4f}", f"{np.mean(correlations):.3f}"),
            ]
        )
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
