"""What stacks should be like: `python -m bench.speed.stacks`. Decisions of the engine rest on these lines.

- size: a member-step in stacks of more and more members. Mixing batch sizes in one stack could gain at most
  what a stack of twice the members gains.
- draws: an epoch's draws per member-step, of members of one seed and of a seed each.
- leaving: what taking half the members out of a stack costs, in steps of the half that stays; a hole costs
  its share of every step until then.
- threads, processes: stacks by the clock on the wall, one in two threads, and two at once in a process each.
  On a machine with other work these mean nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from bench.command.main import main as command
from bench.engine import kernels
from bench.engine.method import Method
from bench.engine.sampling import Sampler, TrainingData
from bench.files import write_csv
from bench.speed.rows import stepping
from bench.speed.workload import COAT, YAHOO_R3, Workload, apart, stack, training_data

_COLUMNS = ("what", "data", "row", "d", "batch", "members", "value", "unit")
_PLACES = (
    ("Coat", replace(COAT, embedding_size=64, batch_size=32), (1, 2, 4, 8, 16, 40)),
    ("Coat", COAT, (1, 2, 4, 8, 16, 40)),
    ("Yahoo! R3", YAHOO_R3, (1, 2, 4, 8)),
    ("Yahoo! R3", replace(YAHOO_R3, embedding_size=64), (1, 2, 4)),
)
_ROWS = ("mf", "dr_jl")
_TURNS = 5
_TURN_SECONDS = 0.1
_CLOCK_SECONDS = 1.0  # of one stack, for threads and processes


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.stacks", description=__doc__)
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    lines = []
    for data, work, sizes in _PLACES:
        for row in _ROWS:
            for what, members, value, unit in of_place(row, work, sizes):
                shape = (work.embedding_size, work.batch_size, members)
                lines.append([what, data, row, *map(str, shape), f"{value:.3g}", unit])
                print(*lines[-1], file=sys.stderr, flush=True)
    print(tabulate(lines, _COLUMNS, disable_numparse=True))
    if given.output:
        write_csv(given.output, _COLUMNS, lines)


def of_place(row: str, work: Workload, sizes: Sequence[int]) -> list[tuple[str, int, float, str]]:
    """What is measured of a row at one data set's sizes: what, members, value, unit."""
    ratings = training_data(work, n_seeds=max(sizes))
    stacks = {size: stack(row, replace(work, members=size), ratings, kernel="numba") for size in sizes}
    turns = [stepping(each) for each in stacks.values()]
    steps = [max(1, round(_TURN_SECONDS / max(turn(2) / 2, 1e-9))) for turn in turns]
    table = [[turn(n) / n for turn, n in zip(turns, steps, strict=True)] for _ in range(_TURNS)]
    seconds = dict(zip(sizes, np.median(table, axis=0), strict=True))
    found = [("size", size, seconds[size] / size * 1e6, "µs/member-step") for size in sizes]
    most = max(sizes)
    for what, rows in (("draws, one seed", [0] * most), ("draws, own seeds", list(range(most)))):
        found.append((what, most, _draws(stacks[most], ratings.take(torch.tensor(rows))), "µs/member-step"))
    half = max(size for size in sizes if 2 * size in sizes)
    found.append(("leaving", 2 * half, _leaving(stacks[2 * half], half) / seconds[half], "steps"))
    for what, value in _by_the_clock(row, replace(work, members=half)).items():
        found.append((what, half, value * 1e6, "µs/member-step"))
    return found


def _draws(method: Method, data: TrainingData) -> float:
    """µs of a member-step's share of an epoch's draws."""
    config = method.config
    sampler = Sampler(data, config.batch_size, config.everywhere_ratio, method.kernels)
    seconds = []
    for number in range(_TURNS):
        start = time.thread_time()
        sampler.epoch(data, "training", number)
        seconds.append(time.thread_time() - start)
    return float(np.median(seconds)) / sampler.steps_per_epoch / method.n_members * 1e6


def _leaving(method: Method, stay: int) -> float:
    """Seconds of taking members out of a stack, as the trainer does it."""
    seconds = []
    for _ in range(_TURNS):
        start = time.thread_time()
        method.take(torch.arange(stay))
        seconds.append(time.thread_time() - start)
    return float(np.median(seconds))


def _by_the_clock(row: str, work: Workload) -> dict[str, float]:
    """Seconds on the wall per member-step: by two threads, and by two processes at once."""
    (threads,) = apart(_threaded, row, work)
    together = apart(_in_processes, row, work, processes=2)
    return {"threads": threads, "processes": float(np.mean(together)) / 2}


def _threaded(row: str, work: Workload) -> float:
    return _wall(row, work, 2, lambda: None)


def _in_processes(barrier: Any, row: str, work: Workload) -> float:
    return _wall(row, work, 1, barrier.wait)


def _wall(row: str, work: Workload, threads: int, ready: Callable[[], object]) -> float:
    torch.set_num_threads(threads)
    method = stack(row, work, training_data(work, n_seeds=work.members), kernel="numba", threads=threads)
    assert method.kernels.name == kernels.NAMES[1]
    turn = stepping(method)
    turn(2)
    start = time.perf_counter()
    turn(2)
    n = max(1, round(_CLOCK_SECONDS / max((time.perf_counter() - start) / 2, 1e-9)))
    ready()
    start = time.perf_counter()
    turn(n)
    return (time.perf_counter() - start) / n / work.members


if __name__ == "__main__":
    raise SystemExit(main())
