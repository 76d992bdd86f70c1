"""How time and memory of training grow: `python -m bench.speed.scaling [--output FOLDER] [--metrics]`.

MF is trained for a few steps on generated data whose size is changed along one curve at a time: members,
users, ratings, batch, processes. Dense and row-wise Adam (`engine.adam`) are timed in turns, in one process
of its own for each point; peak memory is of a process of its own again. Seconds are of one CPU, so that
others on the machine slow a step only through the caches and the memory that they share with it. What
stands in scaling.csv is not measured a second time, so that a stopped study goes on; the exponents and the
plot are made from it.

With `--metrics`, cells are trained with both kinds of Adam instead, and their test metrics compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as command
from bench.speed.adam_metrics import compare_metrics
from bench.speed.curves import CURVES, crossings, exponents, measure_curves, write_lines
from bench.speed.scaling_plot import plot


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.scaling", description="How training scales.")
    parser.add_argument("--output", type=Path, default=Path("results/scaling/own"), help="their folder")
    parser.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--metrics", action="store_true", help="compare test metrics instead")
    return command(
        parser, _work, arguments, "Stopped; what was measured is kept, and the same command goes on."
    )


def _work(given: argparse.Namespace) -> None:
    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    if given.metrics:
        compare_metrics(given.output, say)
        return
    lines = measure_curves(given.output, {name: CURVES[name] for name in given.curves}, say)
    for name, found in (("exponents", exponents(lines)), ("crossings", crossings(lines))):
        if found:
            write_lines(given.output / f"{name}.csv", found)
    try:
        plot(lines, given.output / "scaling.svg")
    except ImportError:
        say("No plot was made: matplotlib is absent; install it with pip install -e '.[plots]'.")


if __name__ == "__main__":
    raise SystemExit(main())
