"""Seconds before the first step: `python -m bench.speed.first_call`.

In processes of their own: importing the engine; one step of each of some rows where no kernel has been
compiled yet; and the same where the kernels are on disk. CPU time, which a busy machine lengthens less than
the clock on the wall.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import CHECKOUT, write_csv
from bench.speed.rows import ROWS

_COLUMNS = ("what", "seconds")
# `bench.study.readme` looks for these.
_LINES = ("import", "first steps, kernels compiled", "first steps, kernels from disk")
_IMPORT = "import bench.cell.trainer, bench.engine.kernels.numba_"
_STEPS = """
from bench.speed.rows import stepping
from bench.speed.workload import Workload, stack, training_data
tiny = Workload(users=30, items=20, ratings=300, batch_size=32, embedding_size=4, unbiased=40, members=2)
for row in {rows}:
    stepping(stack(row, tiny, training_data(tiny), kernel="numba"))(1)
"""
_REPORT = "\nimport time; print(time.process_time())"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.first_call", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="of the table, separated by commas")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    steps = _IMPORT + _STEPS.format(rows=given.rows.split(","))
    with tempfile.TemporaryDirectory() as cache:
        importing, cold, cached = (_seconds(program, cache) for program in (_IMPORT, steps, steps))
    seconds = (importing, cold - importing, cached - importing)
    lines = [[what, f"{each:.1f}"] for what, each in zip(_LINES, seconds, strict=True)]
    print(tabulate(lines, _COLUMNS, disable_numparse=True))
    if given.output:
        write_csv(given.output, _COLUMNS, lines)


def _seconds(program: str, cache: str) -> float:
    """CPU seconds of a program in a process of its own, with kernels kept in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", program + _REPORT],
        cwd=CHECKOUT,
        env={**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"The first call failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    raise SystemExit(main())
