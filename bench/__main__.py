"""`python -m bench method=ips dataset=coat`: trains one cell, or many with `-m` (Hydra's multirun).

Every field of the configuration can be overridden: `method.clip=5 grid.learning_rate=[0.01,0.05]
seeds=20 engine.device=cuda`. A field of the method that is given is not swept. A cell whose record stands
in `results/runs` is not trained again.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.command import launchers
from bench.command.progress import Bar, Overview, summary
from bench.errors import BenchError, NotApplicable, Sliced


def main() -> int:
    """The command line; returns the exit status."""
    # Hydra would print its own errors and leave; raised, they become one sentence here.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    debug = os.environ.get("BENCH_DEBUG") == "1"
    words = sys.argv[1:]
    try:
        import hydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import DictConfig

        from bench import compose

        failed: list[Exception] = []
        here, n_cells, many = launchers.PROCESS, 0, False
        whole = Overview([])

        @hydra.main(config_path=str(compose.CONF), config_name="config", version_base="1.3")
        def app(config: DictConfig) -> launchers.Answer | None:
            if here == launchers.PROCESS:
                one(config)
                return None
            return launchers.answer(lambda: anew(config), failed, config.engine.threads)

        def anew(config: DictConfig) -> None:
            compose.register(words)
            one(config)

        def one(config: DictConfig) -> None:
            nonlocal n_cells, many
            job = HydraConfig.get()
            many = job.mode == RunMode.MULTIRUN
            n_cells += 1
            try:
                task = job.overrides.task
                with one_sentence():
                    run_one(compose.resolved(config, task), task, whole.place(job.job.num + 1 if many else 0))
                    if here == launchers.PROCESS:
                        whole.tell(n_cells)
            except Sliced as done:
                print(done, flush=True)
            except NotApplicable as error:  # of `method=glob(*)`, for instance: no failure
                print(f"{config.method.name} on {config.dataset.name}: {error}", file=sys.stderr)
                if not many:
                    failed.append(error)
            except Exception as error:
                if debug or not (many or isinstance(error, BenchError)):
                    raise
                failed.append(error)
                # Told now, since Hydra speaks at the end, and of the first failure only.
                name = f"{' '.join(compose.told_apart(words, job.overrides.task))}: " if many else ""
                print(f"{name}{error}", file=sys.stderr)
                if not isinstance(error, BenchError):
                    traceback.print_exc()

        # Hydra's errors may be OSErrors, so they come first.
        with one_sentence(), compose.one_sentence(), launchers.one_sentence():
            compose.register(words)
            words[:] = sys.argv[1:] = compose.hydra_words(words)
            launchers.check(words)
            launchers.prepare()
            answers = launchers.listen()
            if any(word in ("-m", "--multirun") for word in words):
                whole = Overview(compose.jobs(words))
            app()
        n_failed = len(failed) + sum(answer.failed for answer in answers.values())
        if n_failed and (many or answers):
            print(f"{n_failed} of {n_cells + len(answers)} cells failed.", file=sys.stderr)
        return 1 if n_failed else 0
    except BenchError as error:
        if debug:
            raise
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Stopped; finished cells are kept, and the same command goes on from them."
            f"{launchers.left_behind(words)}",
            file=sys.stderr,
        )
        return 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns what the machine cannot give (memory, a file) into a BenchError."""
    try:
        yield
    except BenchError:
        raise
    except OSError as error:
        place = error.filename or "A file"
        raise BenchError(f"{place} cannot be used: {error.strerror or error}.") from error
    except (MemoryError, RuntimeError) as error:
        # PyTorch's own: OutOfMemoryError on a GPU, a RuntimeError on a CPU.
        known = re.search(r"allocate memory|not enough memory|out of memory", str(error))
        if not (isinstance(error, MemoryError) or known):
            raise
        said = str(error).splitlines()[0].rstrip(". ") if str(error) else "none is left"
        raise BenchError(
            f"There is not enough memory ({said}): choose smaller sizes, or let engine.memory_gib bound what "
            "is trained at once."
        ) from error


def run_one(config: Any, words: Sequence[str] = (), place: str = "") -> None:
    """Trains a cell unless its record is there, and prints what was selected and scored.

    Args:
        words: of the command line, for the record.
        place: of the cell among those of a multirun, for the terminal: "3 of 13".
    """
    from bench import cell as cells

    runs = Path(config.results) / "runs"
    cell = cells.prepare(config, cells.load(config), words)
    name = f"{cell.method} on {cell.dataset.name}, protocol {cell.protocol.name}"
    record = cells.find(cell, runs)
    if record is None:
        cells.clean(runs)
        why = cells.reason(cell, runs)
        if why:
            print(why, flush=True)
        if len(cell.plan.stages) > 1:
            print(f"{place}{': ' if place else ''}{name}: {cells.describe(cell)}", flush=True)
        with Bar(name) as bar:
            record = cells.run(cell, runs, bar)
    else:
        name += ", from its record"
    print(summary(name, record, runs / cell.digest), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
