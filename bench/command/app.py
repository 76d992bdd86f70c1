"""The jobs of `python -m bench`: each composes, trains and prints one cell, here or in another process."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bench import cell as cells
from bench import compose
from bench.cell.forecast import forecast
from bench.command import launchers
from bench.command.main import debugging
from bench.command.progress import Bar, Overview, summary
from bench.config import Config
from bench.errors import BenchError, NotApplicable, Sliced

_LONG = 200  # trainings that take long enough to say how long, which is measured for some seconds


class App:
    """What Hydra calls for each job. A launcher pickles it for its processes.

    words: of the command line, as `compose.hydra_words` returns them.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._home = launchers.PROCESS
        self._failed: list[Exception] = []
        self._n_cells = 0
        self._many = any(word in ("-m", "--multirun") for word in words)
        self._whole = Overview([])

    def look_ahead(self) -> None:
        """Says what a multirun of sweeps in stages is going to train; other runs start at once."""
        if self._many:
            self._whole = Overview(compose.jobs(self.words))

    def __call__(self, config: DictConfig) -> launchers.Answer | None:
        """One job."""
        if self._home == launchers.PROCESS:
            self._one(config)
            return None

        def anew() -> None:
            compose.register(self.words)
            self._one(config)

        return launchers.answer(anew, self._failed, config.engine.threads)

    def _one(self, config: DictConfig) -> None:
        job = HydraConfig.get()
        self._many = job.mode == RunMode.MULTIRUN
        self._n_cells += 1
        position = self._whole.position(job.job.num + 1 if self._many else 0)
        try:
            task = job.overrides.task
            with machine_errors():
                run_one(compose.resolved(config, task), task, position)
                if self._home == launchers.PROCESS:
                    self._whole.tell(self._n_cells)
        except Sliced as done:
            print(done, flush=True)
        except NotApplicable as error:  # of `method=glob(*)`, for instance: no failure
            print(f"{config.method.name} on {config.dataset.name}: {error}", file=sys.stderr)
            if not self._many:
                self._failed.append(error)
        except Exception as error:
            if debugging() or not (self._many or isinstance(error, BenchError)):
                raise
            self._failed.append(error)
            # Told now, since Hydra speaks at the end, and of the first failure only.
            differs = " ".join(compose.told_apart(self.words, job.overrides.task))
            print(f"{differs}: {error}" if self._many else error, file=sys.stderr)
            if not isinstance(error, BenchError):
                traceback.print_exc()

    def status(self, answers: Sequence[launchers.Answer]) -> int:
        """The exit status, once all jobs are done here or have answered."""
        n_failed = len(self._failed) + sum(answer.failed for answer in answers)
        if n_failed and (self._many or answers):
            print(f"{n_failed} of {self._n_cells + len(answers)} cells failed.", file=sys.stderr)
        return 1 if n_failed else 0


@contextmanager
def machine_errors() -> Iterator[None]:
    """Turns what the machine cannot give (memory, a file) into a BenchError."""
    try:
        yield
    except BenchError:
        raise
    except OSError as error:
        file = error.filename or "A file"
        raise BenchError(f"{file} cannot be used: {error.strerror or error}.") from error
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


def run_one(config: Config, words: Sequence[str] = (), position: str = "") -> None:
    """Trains a cell unless its record is there, and prints what was selected and scored.

    Args:
        words: of the command line, for the record.
        position: of the cell among those of a multirun, for the terminal: "3 of 13".

    Raises:
        BenchError: see `bench.cell`.
        Sliced: the cell asked for a share of a sweep.
    """
    runs = Path(config.results) / "runs"
    cell = cells.prepare(config, cells.load_ratings(config), words)
    name = f"{cell.method} on {cell.dataset.name}, protocol {cell.protocol.name}"
    record = cells.find(cell, runs)
    if record is None:
        cells.clean_runs(runs)
        why = cells.reason(cell, runs)
        if why:
            print(why, flush=True)
        if len(cell.plan.stages) > 1:
            print(f"{position}{': ' if position else ''}{name}: {cells.describe(cell)}", flush=True)
        if cell.slices == 1 and cells.trainings(cell) >= _LONG:
            print(f"{name}: from the start, {forecast(cell)}, as measured just now", flush=True)
        with Bar(name) as bar:
            record = cells.train_and_store(cell, runs, bar)
    else:
        name += ", from its record"
    print(summary(name, record, runs / cell.digest), flush=True)
