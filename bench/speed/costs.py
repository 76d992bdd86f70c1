"""What a step of every row costs beside MF's, at Coat's size: `python -m bench.speed.costs` (`make cost`).

CPU time of the one thread, a step of the row's last phase with the kernels that training would take, the rows
in turns in one process, medians. Rows above `LIMIT` times MF are named; a further method's file says why it
is one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tabulate import tabulate

import methods
from bench.command.main import main as command
from bench.files import write_csv
from bench.reproduce import chosen_rows
from bench.speed.rows import medians, stepping
from bench.speed.workload import COAT, Workload, stack, trained_rows, training_data

COST_HEADER = ("data", "row", "group", "d", "batch", "members", "us a member and step", "x MF")
LIMIT = 8.0
# The usual sizes, and those where a sweep of Coat spends its time.
_SHAPES = (replace(COAT, members=8), replace(COAT, embedding_size=64, batch_size=32, members=8))
_REFERENCE = "mf"
_STEPS = 60  # of a turn


@dataclass(frozen=True)
class StepCost:
    """Seconds of a row's step, of all members, and how many steps of MF that is."""

    row: str
    work: Workload
    seconds: float
    ratio: float

    def cells(self) -> list[str]:
        """As `COST_HEADER` has it."""
        work, of_paper = self.work, self.row in methods.ROWS
        group = "paper" if of_paper else methods.FURTHER if methods.is_further(self.row) else "control"
        sizes = [str(each) for each in (work.embedding_size, work.batch_size, work.members)]
        return [
            "Coat",
            self.row,
            group,
            *sizes,
            f"{self.seconds / work.members * 1e6:.4g}",
            f"{self.ratio:.2f}",
        ]


def step_costs(rows: Sequence[str], work: Workload) -> list[StepCost]:
    """The cost of each row's step; MF is measured with them."""
    data = training_data(work)
    names = [_REFERENCE, *(row for row in rows if row != _REFERENCE)]
    turns = [stepping(stack(name, work, data)) for name in names]
    for turn in turns:
        turn(2)  # what is compiled or made once
    seconds = dict(zip(names, medians(turns, _STEPS), strict=True))
    return [StepCost(name, work, seconds[name], seconds[name] / seconds[_REFERENCE]) for name in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.costs", description=__doc__)
    parser.add_argument("--rows", default="all", help="their keys, all or further")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    rows = [row for row in chosen_rows(given.rows) if row in trained_rows()]
    found = [cost for work in _SHAPES for cost in step_costs(rows, work)]
    lines = [cost.cells() for cost in found]
    print(tabulate(lines, COST_HEADER, disable_numparse=True))
    above = dict.fromkeys(cost.row for cost in found if cost.ratio > LIMIT)
    print(f"Above {LIMIT:g} times MF: {', '.join(above) or 'none'}.")
    if given.output:
        write_csv(given.output, COST_HEADER, lines)


if __name__ == "__main__":
    raise SystemExit(main())
