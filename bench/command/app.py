"""The jobs of `python -m bench`: each composes, trains and prints one cell, here or in another process."""

from __future__ import annotations

import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
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
from bench.records.record import Record
from bench.records.trials import trial_name

Beside = Callable[[Record], Sequence[str]]


def nothing(record: Record) -> Sequence[str]:
    """No lines."""
    return ()


_LONG = 200  # trainings that take long enough to say how long, which is measured for some seconds


class App:
    """What Hydra calls for each job. A launcher pickles it for its processes.

    words: of the command line, as `compose.hydra_words` returns them. beside: lines that hold a record's
    numbers against what is published; a function that other processes can import.
    """

    def __init__(self, words: Sequence[str], beside: Beside = nothing) -> None:
        self.words, self._beside = list(words), beside
        self._home = launchers.PROCESS
        self._failed: list[Exception] = []
        self._n_cells = 0
        self._many = any(word in ("-m", "--multirun") for word in words)
        self._whole = Overview([])

    def look_ahead(self) -> None:
        """Says what a multirun of sweeps in stages is going to train; other runs start at once."""
        if self._many and launchers.sweeper(self.words) == "basic":
            self._whole = Overview(compose.jobs(self.words))

    def __call__(self, config: DictConfig) -> launchers.Answer | float:
        """One job.

        Returns:
            what a sweeper of Hydra's goes by: the mean held-out validation AUC, NaN of a failure.
        """
        if self._home == launchers.PROCESS:
            return self._one(config)

        def anew() -> float:
            compose.register(self.words)
            return self._one(config)

        return launchers.answer(anew, self._failed, config.engine.threads)

    def _one(self, config: DictConfig) -> float:
        job = HydraConfig.get()
        self._many = job.mode == RunMode.MULTIRUN
        self._n_cells += 1
        position = self._whole.position(job.job.num + 1 if self._many else 0)
        try:
            task = job.overrides.task
            with machine_errors():
                plain = compose.resolved(config, task)
                sweeper = str(job.runtime.choices.get("hydra/sweeper") or "basic")
                if self._many and sweeper != "basic":
                    # Its budget is its own: the record says whose trial it was.
                    plain.sweep.name = trial_name(plain.sweep.name, sweeper)
                value = run_one(plain, task, position, self._beside, brief=self._many)
                if self._home == launchers.PROCESS:
                    self._whole.tell(self._n_cells)
            return value
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
        return math.nan

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


def run_one(
    config: Config,
    words: Sequence[str] = (),
    position: str = "",
    beside: Beside = nothing,
    brief: bool = False,
) -> float:
    """Trains a cell unless its record is there, and prints what was selected and scored.

    Args:
        words: of the command line, for the record.
        position: of the cell among those of a multirun, for the terminal: "3 of 13".
        beside: see `App`.
        brief: says nothing of records that differ in their configuration or data: of other jobs, most likely.

    Returns:
        the mean held-out validation AUC of the final runs; NaN of a dry run whose record is not there.

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
        if why and not (brief and "other code" not in why and "another" in why):
            print(why, flush=True)
        lists = {field: values for stage in cell.plan.stages for field, values in stage.lists.items()}
        for sentence in compose.swept_over(config, lists):
            print(sentence, flush=True)
        if config.dry_run:
            print(f"{position}{': ' if position else ''}{name}: {cells.describe(cell)}")
            return math.nan
        if len(cell.plan.stages) > 1:
            print(f"{position}{': ' if position else ''}{name}: {cells.describe(cell)}", flush=True)
        if cell.slices == 1 and cells.trainings(cell) >= _LONG:
            print(f"{name}: from the start, {forecast(cell)}, as measured just now", flush=True)
        with Bar(name) as bar:
            record = cells.train_and_store(cell, runs, bar)
    else:
        name += ", from its record"
    print(summary(name, record, runs / cell.digest, beside(record)), flush=True)
    return float(np.mean(record.validation.held_out or record.validation.auc))
