"""What every command line does alike: errors in one sentence, `BENCH_DEBUG=1`, Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from bench.command.signs import accept_any_terminal
from bench.errors import BenchError

STOPPED = 130  # exit status after Ctrl-C, as shells have it


def main(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None = None,
    stopped: str = "Stopped.",
    failed: int = 1,
) -> int:
    """Parses a command line and does its work; returns the exit status.

    Args:
        work: returns an exit status, or None for 0. Its BenchError becomes one sentence, unless
            `BENCH_DEBUG=1` asks for the traceback.
        arguments: by default those of the process.
        stopped: the sentence after Ctrl-C.
        failed: exit status of a BenchError.
    """
    accept_any_terminal()
    given = parser.parse_intermixed_args(arguments)  # options may stand between words
    try:
        return work(given) or 0
    except BenchError as error:
        if debugging():
            raise
        print(error, file=sys.stderr)
        return failed
    except KeyboardInterrupt:
        if debugging():
            raise
        print(stopped, file=sys.stderr)
        return STOPPED


def debugging() -> bool:
    """Whether `BENCH_DEBUG=1` asks for tracebacks."""
    return os.environ.get("BENCH_DEBUG") == "1"
