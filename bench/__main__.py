"""`python -m bench method=ips dataset=coat`: trains one cell, or many with `-m` (Hydra's multirun).

Every field of the configuration can be overridden: `method.clip=5 grid.learning_rate=[0.01,0.05]
seeds=20 engine.device=cuda`. A field of the method that is given is not swept. A cell whose record stands
in `results/runs` is not trained again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from bench.command import launchers
from bench.command.main import main as command


def main() -> int:
    """The command line; returns the exit status."""
    # Hydra would print its own errors and leave; raised, they become one sentence.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    words = sys.argv[1:]
    if sys.stderr.isatty():
        # PyTorch and Hydra take some seconds to load, in which nothing else is said.
        print("Loading PyTorch, the methods and the configuration ...", file=sys.stderr, flush=True)
    return command(
        argparse.ArgumentParser(),  # Hydra reads the words
        lambda _: run_jobs(words),
        [],
        "Stopped; finished cells are kept, and the same command goes on from them."
        f"{launchers.left_behind(words)}",
    )


def run_jobs(words: Sequence[str]) -> int:
    """Runs the jobs of a command line; returns the exit status."""
    import hydra
    from omegaconf import DictConfig

    from bench import compose
    from bench.command.app import App, machine_errors
    from bench.command.crew import silent_about_locks
    from bench.table.beside import beside

    # Hydra's errors may be OSErrors, so they come first.
    with machine_errors(), compose.one_sentence(), launchers.job_errors(), silent_about_locks():
        compose.register(words)
        read = compose.hydra_words(words)
        launchers.require_launcher(read)
        sys.argv[1:] = launchers.one_at_a_time(read)
        launchers.ready_to_launch()
        answers = launchers.listen()
        jobs = App(read, beside)

        @hydra.main(config_path=str(compose.CONF), config_name="config", version_base="1.3")
        def app(config: DictConfig) -> Any:
            return jobs(config)

        jobs.look_ahead()
        app()
    return jobs.status(list(answers.values()))


if __name__ == "__main__":
    raise SystemExit(main())
