"""How good the points are that a plan of seeds finds: `python -m bench.study.plan_regret`.

Points of ULTD-JL and of MF are trained with ten seeds each on two generated worlds, none of which is the one
in the table, and on Coat. A plan then chooses among them by held-out validation AUC as a sweep does: some
seeds for all points, all seeds for the best of them. Regret: what the best point is worth less what the
chosen one is, as means over the seeds.

What a training is worth is told by ratings that it has not seen: on a generated world by the labels of all
pairs; on Coat by the ratings in other seeds' validation sets, without those in its own A and validation set.
They are read here for no choice of the table's.

Writes `results/selection/own/plans.csv` and, training by training, `plans_trainings.csv` beside it; with
`--again`, the former from the latter.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate

from bench import cell as cells
from bench import compose
from bench.cell.spec import Setting
from bench.cell.trainer import Trainer
from bench.command.main import main as command
from bench.data.split import split
from bench.engine.members import Member
from bench.errors import BenchError
from bench.files import read_csv, write_csv

REGRET_WORLDS = {
    "synthetic 11": ("dataset=synthetic", "dataset.data_seed=11"),
    "synthetic 12": (
        *("dataset=synthetic", "dataset.data_seed=12", "dataset.rank=8", "dataset.selection_strength=3.0"),
        *("dataset.item_spread=1.0", "dataset.ratings_per_user=16"),
    ),
    "coat": ("dataset=coat",),
}
_METHODS = ("ultd_jl", "mf")
_GRID = (
    *("grid.learning_rate=[0.005,0.01,0.05]", "grid.weight_decay=[0.00005,0.0001,0.0002,0.0005]"),
    *("grid.embedding_size=[8,16,32]", "method.batch_size=256"),
)
_DRAWS = 200  # of a plan's seeds out of all
_HEADER = ["world", "method", "plan", "points", "regret", "mean_regret", "correlation"]
_TRAINED = ["world", "method", "point", "seed", "held_out_auc", "worth"]


@dataclass(frozen=True)
class PlanOfSeeds:
    """seeds: with which all points are compared. share, most: of the points, how many are given all seeds."""

    name: str
    seeds: int
    share: float = 0.0
    most: int = 0

    def confirmed(self, n_points: int) -> int:
        """How many points are given all seeds."""
        return self.most or round(self.share * n_points)


# The shares are those of a whole sweep: ten of 160 points before, 12 of 120 before their neighbours now. The
# best five by three seeds are what `sweep=reduced` confirms on Yahoo! R3 and KuaiRec.
PLANS = (
    PlanOfSeeds("2 seeds", 2),
    PlanOfSeeds("2 seeds, then 10 for the best 6 %", 2, share=10 / 160),
    PlanOfSeeds("3 seeds, then 10 for the best 5", 3, most=5),
    PlanOfSeeds("5 seeds", 5),
    PlanOfSeeds("5 seeds, then 10 for the best 10 %", 5, share=12 / 120),
    PlanOfSeeds("5 seeds, then 10 for the best 12", 5, most=12),
    PlanOfSeeds("10 seeds", 10),
)


@dataclass(frozen=True)
class Trainings:
    """Of one method in one world, P points and S seeds, (P, S) each: held-out validation AUC, and worth."""

    world: str
    method: str
    held_out: NDArray[np.float64]
    worth: NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.plan_regret",
        description="What the points are worth that plans of seeds choose.",
    )
    parser.add_argument(
        "--worlds", nargs="+", default=list(REGRET_WORLDS), choices=list(REGRET_WORLDS), metavar="WORLD"
    )
    parser.add_argument("--methods", nargs="+", default=list(_METHODS), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=10, help="trainings of every point")
    parser.add_argument("--output", type=Path, default=Path("results/selection/own/plans.csv"))
    parser.add_argument("--again", action="store_true", help="judge the trainings that stand there")
    parser.add_argument("overrides", nargs="*", help="of the configuration: engine.max_epochs=50")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    file = given.output.with_name(f"{given.output.stem}_trainings.csv")
    if given.again:
        found = read_trainings(file)
    else:
        found = []
        for world in given.worlds:
            for method in given.methods:
                found.append(train_points(world, method, given.seeds, given.overrides))
                write_trainings(file, found)
                print(f"{method} in {world}: done", file=sys.stderr, flush=True)
    rows = [row for each in found for row in regret_lines(each)]
    write_csv(given.output, _HEADER, rows)
    print(tabulate(rows, _HEADER))


# --- Trainings ---


def train_points(world: str, method: str, seeds: int, overrides: Sequence[str] = ()) -> Trainings:
    """Trains all points with all seeds.

    Raises:
        MissingData: Coat is absent.
        BenchError: an override is wrong, or a training diverged.
    """
    words = [*REGRET_WORLDS[world], f"method={method}", "sweep=none", f"seeds={seeds}", *_GRID, *overrides]
    compose.register(words)
    config = compose.composed(words)
    cell = cells.prepare(config, cells.load_ratings(config), words)
    trainer = Trainer(cell)
    # The trainer measures on these instead of the test ratings, which nothing here sees.
    of_seeds = [
        (users.to(trainer.device), items.to(trainer.device), y) for users, items, y in unseen_ratings(cell)
    ]
    trainer.seeds = dataclasses.replace(trainer.seeds, test=of_seeds)
    members = [Member(p, seed, point) for p, point in enumerate(cell.points) for seed in range(seeds)]
    trained = trainer.train(members, True, lambda n: None)
    if lost := [each for each in trained if each.diverged]:
        raise BenchError(
            f"{len(lost)} trainings of {method} in {world} diverged, so its points have no mean."
        )
    shape = (len(cell.points), seeds)
    return Trainings(
        world,
        method,
        np.array([each.held_out_auc for each in trained]).reshape(shape),
        np.array([each.test["auc"] for each in trained]).reshape(shape),
    )


def unseen_ratings(setting: Setting) -> list[tuple[torch.Tensor, torch.Tensor, NDArray[np.bool_]]]:
    """Of each seed, users, items and labels of the pairs that tell what its trainings are worth."""
    ratings = setting.ratings
    if ratings.truth is not None:
        labels = ratings.truth.labels.astype(bool)
        users, items = (torch.from_numpy(each.ravel()) for each in np.indices(labels.shape))
        return [(users, items, labels.ravel())] * setting.seeds
    unbiased, protocol = ratings.unbiased, setting.protocol
    shares = protocol.unbiased_train, protocol.unbiased_validation
    splits = [split(len(unbiased), seed, *shares) for seed in range(setting.seeds)]
    found = []
    for seed, own in enumerate(splits):
        others = np.concatenate([each.validation for s, each in enumerate(splits) if s != seed])
        rows = np.setdiff1d(others, np.concatenate([own.train, own.validation]))
        pairs = (unbiased.users, unbiased.items)
        users, items = (torch.from_numpy(each[rows].astype(np.int64)) for each in pairs)
        found.append((users, items, unbiased.values[rows] >= setting.dataset.threshold))
    return found


def write_trainings(file: Path, found: Sequence[Trainings]) -> None:
    """Writes trainings, a line each.

    Raises:
        BenchError: the file cannot be written.
    """
    rows = [
        [each.world, each.method, str(p), str(s), f"{each.held_out[p, s]:.6f}", f"{each.worth[p, s]:.6f}"]
        for each in found
        for p, s in np.ndindex(each.worth.shape)
    ]
    write_csv(file, _TRAINED, rows)


def read_trainings(file: Path) -> list[Trainings]:
    """Reads what `write` has written.

    Raises:
        BenchError: the file is absent or not as it was written.
    """
    cells: dict[tuple[str, str], list[tuple[int, int, float, float]]] = {}
    try:
        for row in read_csv(file, _TRAINED, "python -m bench.study.plan_regret"):
            training = int(row["point"]), int(row["seed"]), float(row["held_out_auc"]), float(row["worth"])
            cells.setdefault((row["world"], row["method"]), []).append(training)
        found = []
        for (world, method), rows in cells.items():
            shape = max(row[0] for row in rows) + 1, max(row[1] for row in rows) + 1
            values = np.array([row[2:] for row in sorted(rows)]).reshape(*shape, 2)
            found.append(Trainings(world, method, values[..., 0], values[..., 1]))
    except ValueError as error:
        raise BenchError(
            f"{file} is not as `python -m bench.study.plan_regret` writes it ({error})."
        ) from error
    return found


# --- Judging ---


def regret_lines(of: Trainings) -> list[list[str]]:
    """A line for each plan.

    regret: with seeds 0, 1, ..., as a sweep takes them. mean_regret: over draws of as many of all seeds.
    correlation: of the points' means over the plan's first seeds with what they are worth; of the same draws.
    """
    worth = of.worth.mean(-1)
    n_points, n_seeds = of.worth.shape
    lines = []
    for plan in PLANS:
        if plan.seeds > n_seeds:
            continue
        draw = np.random.default_rng(0)
        draws = [draw.permutation(n_seeds)[: plan.seeds] for _ in range(_DRAWS)]
        n_confirmed = plan.confirmed(n_points)
        regrets = [worth.max() - worth[finally_chosen(of.held_out, some, n_confirmed)] for some in draws]
        own = worth.max() - worth[finally_chosen(of.held_out, np.arange(plan.seeds), n_confirmed)]
        fits = [np.corrcoef(of.held_out[:, some].mean(-1), worth)[0, 1] for some in draws]
        lines.append(
            [
                *(of.world, of.method, plan.name, str(n_points)),
                *(f"{own:.4f}", f"{np.mean(regrets):.4f}", f"{np.mean(fits):.3f}"),
            ]
        )
    return lines


def finally_chosen(held_out: NDArray[np.float64], seeds: NDArray[np.int64], n_confirmed: int) -> int:
    """The point that a plan chooses: the best by some seeds, or by all seeds among the best by some."""
    best_first = np.argsort(-held_out[:, seeds].mean(-1), kind="stable")
    if not n_confirmed:
        return int(best_first[0])
    finalists = best_first[:n_confirmed]
    return int(finalists[held_out[finalists].mean(-1).argmax()])


if __name__ == "__main__":
    raise SystemExit(main())
