"""What a user waits for, `python -m bench.speed.rows`: steps and phases of the table's rows, either kernels.

CPU time of the one thread, which other processes of the machine disturb less than the clock on the wall; the
two kernels in turns in one process, medians. Data are generated, in the sizes of Coat and of Yahoo! R3, with
as many ratings in A as there. A step is of a row's last phase. A phase is what the trainer runs: draws,
steps, evaluations and copies of the best parameters. One pass is Adam's kernel alone, over the tables of the
row's parts: what no step can be faster than.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from bench.command.main import main as command
from bench.config import EngineConfig
from bench.engine.method import Method
from bench.engine.sampling import Sampler, TrainingData
from bench.engine.training import Validation, train
from bench.errors import BenchError
from bench.files import write_csv
from bench.speed.reference import eager_steps
from bench.speed.workload import COAT, YAHOO_R3, Workload, stack, training_data

ROWS = ("mf", "dr_jl", "ltd", "ultd_jl", "autodebias", "res_dr")
# Data set, sizes and members of each measurement; the first of them is where a sweep of Coat spends its time.
SHAPES = (
    ("Coat", replace(COAT, embedding_size=64, batch_size=32, members=8)),
    ("Coat", replace(COAT, members=8)),
    ("Coat", replace(COAT, embedding_size=64, batch_size=32, members=40)),
    ("Coat", replace(COAT, members=40)),
    ("Yahoo! R3", replace(YAHOO_R3, members=4)),
    ("Yahoo! R3", replace(YAHOO_R3, embedding_size=64, members=4)),
)
HEADER = ("data", "row", "what", "d", "batch", "members", "torch", "numba", "ratio", "one pass", "single")
_TURNS = 5
_TURN_SECONDS = 0.15  # of a turn, about
_EPOCHS = 2  # of a phase

Turn = Callable[[int], float]  # so many steps to seconds of the thread


@dataclass(frozen=True)
class RowTimes:
    """One measurement; times in µs per member and step, None where they mean nothing.

    one_pass: of Adam's kernel alone. single: of a plain loop over single models (MF only).
    """

    data: str
    row: str
    what: str
    work: Workload
    torch: float
    numba: float
    one_pass: float | None = None
    single: float | None = None

    def cells(self) -> list[str]:
        """As `HEADER` has it."""
        work = self.work
        sizes = [work.embedding_size, work.batch_size, work.members]
        rest = ["" if value is None else f"{value:.3g}" for value in (self.one_pass, self.single)]
        numbers = [f"{self.torch:.4g}", f"{self.numba:.4g}", f"{self.torch / self.numba:.2f}"]
        return [self.data, self.row, self.what, *map(str, sizes), *numbers, *rest]


def stepping(method: Method) -> Turn:
    """Steps of a method's last phase."""
    config = method.config
    sampler = Sampler(method.data, config.batch_size, config.everywhere_ratio, method.kernels)
    epoch = sampler.epoch(method.data, "training", 0)
    phase = method.phases()[-1]
    if phase.begin is not None:
        with torch.no_grad():
            phase.begin()
    done = [0]

    def turn(steps: int) -> float:
        start = time.thread_time()
        for _ in range(steps):
            phase.step_at(done[0])(epoch.draw(method.data, done[0] % sampler.steps_per_epoch))
            done[0] += 1
        return time.thread_time() - start

    return turn


def one_pass(method: Method) -> float:
    """Seconds of Adam's steps of all parts alone, of a method on Numba's kernels; every row is touched."""
    from bench.engine.kernels.numba_ import Collected  # imports Numba, which `--help` need not

    seconds = []
    for _ in range(_TURNS):
        for part in method.parts.values():
            gradients = part.adam.gradients
            assert isinstance(gradients, Collected)
            gradients.touch_all()
        start = time.thread_time()
        for part in method.parts.values():
            part.adam.step()
        seconds.append(time.thread_time() - start)
    return float(np.median(seconds))


def medians(turns: Sequence[Turn], steps: int) -> list[float]:
    """Medians of seconds a step."""
    table = np.array([[turn(steps) / steps for turn in turns] for _ in range(_TURNS)])
    return [float(median) for median in np.median(table, axis=0)]


def steps_of(data: str, row: str, work: Workload) -> RowTimes:
    """A row's step with either kernels, beside one pass of Adam and, for MF, a loop over single models."""
    ratings = training_data(work)
    methods = [stack(row, work, ratings, kernel=name) for name in ("torch", "numba")]
    turns = [stepping(method) for method in methods]
    turns[1](1)  # compiles
    steps = max(2, round(_TURN_SECONDS / turns[0](2) * 2))
    slow, fast = medians(turns, steps)
    single = None
    if row == "mf":
        loop = eager_steps(work, ratings, steps)
        single = float(np.median([loop() for _ in range(_TURNS)])) * 1e6
    scale = 1e6 / work.members
    return RowTimes(data, row, "step", work, slow * scale, fast * scale, one_pass(methods[1]) * scale, single)


def phase_of(data: str, row: str, work: Workload) -> RowTimes:
    """All phases of a row as the trainer runs them."""
    ratings = training_data(work)
    validation = _validation(ratings)
    engine = EngineConfig(max_epochs=_EPOCHS, patience=_EPOCHS + 1)
    steps = _EPOCHS * (len(ratings.users) // work.batch_size)
    seconds: dict[str, list[float]] = {"torch": [], "numba": []}
    for turn in range(3):
        for name, found in seconds.items():
            method = stack(row, work, ratings, kernel=name)
            start = time.thread_time()
            train(method, validation, engine, 1, held_out=False)  # copies would be more members
            if turn:  # the first one warms up
                found.append((time.thread_time() - start) / (steps * len(method.phases()) * work.members))
    slow, fast = (float(np.median(each)) * 1e6 for each in seconds.values())
    return RowTimes(data, row, "phase", work, slow, fast)


def _validation(data: TrainingData) -> Validation:
    return Validation(data.unbiased_users, data.unbiased_items, data.unbiased_labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.rows", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="of the table, separated by commas")
    parser.add_argument("--shapes", default="", help=f"numbers of the shapes, 0 to {len(SHAPES) - 1}; all")
    parser.add_argument("--phases", action="store_true", help="phases instead of steps")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    numbers = given.shapes.split(",") if given.shapes else [str(place) for place in range(len(SHAPES))]
    unknown = [number for number in numbers if not number.isdecimal() or int(number) >= len(SHAPES)]
    if unknown:
        raise BenchError(f"--shapes {unknown[0]}: the shapes are 0 to {len(SHAPES) - 1}.")
    measure = phase_of if given.phases else steps_of
    lines = []
    for number in numbers:
        data, work = SHAPES[int(number)]
        for row in given.rows.split(","):
            lines.append(measure(data, row, work).cells())
            print(*lines[-1], file=sys.stderr, flush=True)
    print(tabulate(lines, HEADER, disable_numparse=True))
    if given.output:
        write_csv(given.output, HEADER, lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
