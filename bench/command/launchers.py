"""Hydra's launchers whose jobs run elsewhere: in other processes (joblib), or on a cluster (submitit).

    python -m bench -m method=mf,ips hydra/launcher=joblib

Such a launcher pickles the application for each job. What a job prints comes back with its answer, so that
one process alone writes to the terminal and hears of every failure.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import math
import os
import re
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bench.command.main import debugging
from bench.errors import BenchError
from bench.outside import PACKAGES

# Names this process, and is another one wherever the module is imported anew. A pid would not do: nodes of
# a cluster share them.
PROCESS = uuid.uuid4().hex

_GROUP, _SWEEPER = "hydra/launcher", "hydra/sweeper"
# Launcher → its package, and the extra of pyproject.toml that has it.
_PACKAGES = {
    "joblib": ("hydra_joblib_launcher", "parallel"),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
}


def chosen(words: Sequence[str]) -> str:
    """The launcher that a command line names, or Hydra's own."""
    named = [word.partition("=")[2] for word in words if word.split("=")[0].lstrip("+") == _GROUP]
    return named[-1] if named else "basic"


def sweeper(words: Sequence[str]) -> str:
    """The sweeper that a command line names, or Hydra's own."""
    named = [word.partition("=")[2] for word in words if word.split("=")[0].lstrip("+") == _SWEEPER]
    return named[-1] if named else "basic"


def require_launcher(words: Sequence[str]) -> None:
    """Refuses a launcher that cannot work here, before Hydra is asked for it.

    Args:
        words: of the command line, as `compose.hydra_words` returns them.

    Raises:
        BenchError: its package or Slurm is absent, or there are no jobs to launch.
    """
    if sweeper(words) == "optuna" and not _installed("hydra_plugins.hydra_optuna_sweeper"):
        raise BenchError(
            f"{_SWEEPER}=optuna needs a package that is not installed: pip install -e '.[optuna]'."
        )
    launcher = chosen(words)
    if launcher not in _PACKAGES:
        return
    if not any(word in ("-m", "--multirun") or word.startswith("hydra.mode=MULTIRUN") for word in words):
        raise BenchError(f"{_GROUP}={launcher} launches the jobs of a multirun: add -m.")
    package, extra = _PACKAGES[launcher]
    if not _installed(f"hydra_plugins.{package}"):
        raise BenchError(
            f"{_GROUP}={launcher} needs a package that is not installed: pip install -e '.[{extra}]'."
        )
    if launcher == "submitit_slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise BenchError(
            f"{_GROUP}={launcher} finds no Slurm (sbatch, srun) here: run it where jobs are submitted from, "
            f"or use {_GROUP}=joblib."
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def ready_to_launch() -> None:
    """Makes this process ready to launch jobs."""
    # It complains of a Slurm without accounting again and again, to standard output and by Hydra's log.
    logging.getLogger("submitit").addFilter(_is_error)
    # Jobs take the classes from outside the checkout with them: no other process can import their files.
    picklers = [_module(name) for name in ("cloudpickle", "joblib.externals.cloudpickle")]
    extra = [module for name, module in sys.modules.items() if name.split(".")[0] in PACKAGES]
    for pickler in filter(None, picklers):
        for module in extra:
            pickler.register_pickle_by_value(module)


def one_at_a_time(words: Sequence[str]) -> list[str]:
    """The words of a multirun here, whose first job is to begin before the last one is composed.

    Hydra's own sweeper composes all jobs of a batch, a tenth of a second each, before it launches any.
    """
    own = any(word.lstrip("+").startswith("hydra.sweeper") for word in words)
    many = any(word in ("-m", "--multirun") or word.startswith("hydra.mode=MULTIRUN") for word in words)
    if not many or own or chosen(words) != "basic" or sweeper(words) != "basic":
        return list(words)
    logging.getLogger("hydra._internal.core_plugins.basic_launcher").addFilter(_is_no_headline)
    return [*words, "hydra.sweeper.max_batch_size=1"]


def _is_no_headline(record: logging.LogRecord) -> bool:
    return record.getMessage() != "Launching 1 jobs locally"


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:  # joblib has brought its own cloudpickle in some versions only
        return None


# --- Answers ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came of a job elsewhere.

    Hydra keeps the return values of a multirun to itself. An answer therefore speaks up where it is
    unpickled, which is in the process that waits for it, as soon as its job is done.
    """

    out: str
    error: str
    failed: bool
    value: float = math.nan  # what a sweeper goes by
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __reduce__(self) -> tuple[Callable[..., Answer], tuple[Any, ...]]:
        return _arrived, (self.out, self.error, self.failed, self.value, self.key)

    def __float__(self) -> float:
        return self.value


_answers: dict[str, Answer] = {}


def _arrived(*fields: Any) -> Answer:
    answer = Answer(*fields)
    if answer.key not in _answers:  # submitit reads some answers twice
        _answers[answer.key] = answer
        print(answer.error, end="", file=sys.stderr, flush=True)
        print(answer.out, end="", flush=True)
    return answer


def listen() -> dict[str, Answer]:
    """The answers that come from now on, to be looked at when all are there."""
    _answers.clear()
    return _answers


def answer(work: Callable[[], float], failed: Sequence[Exception], threads: int) -> Answer:
    """Does a job's work elsewhere.

    Args:
        failed: where the work notes failures.
        threads: of numerical libraries (0: as they like); torch is told by the engine.
    """
    # The lock between processes that tqdm would make outlives a killed job, which Python warns about.
    tqdm.set_lock(threading.RLock())
    out, error = io.StringIO(), io.StringIO()
    refused, value = False, math.nan
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            threadpool_limits(threads if threads > 0 else None),
        ):
            value = work()
    except Exception as problem:
        if debugging() or not isinstance(problem, BenchError):
            sys.stderr.write(error.getvalue())
            raise
        print(problem, file=error)
        refused = True
    return Answer(out.getvalue(), error.getvalue(), refused or bool(failed), value)


@contextlib.contextmanager
def job_errors() -> Iterator[None]:
    """Turns the end of a job that gave no answer into a BenchError."""
    try:
        yield
    except BrokenProcessPool as error:  # of joblib
        raise BenchError(
            "A process was killed, most likely for want of memory: take fewer at a time "
            "(hydra.launcher.n_jobs=2); finished cells are kept, and the same command goes on from them."
        ) from error
    except RuntimeError as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        raise BenchError(_of_submitit(str(error), type(error).__name__)) from error


def _of_submitit(text: str, kind: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "FailedSubmissionError" or "sbatch: " in text:
        sbatch = [line for line in lines if line.startswith("sbatch: ")] or lines or [kind]
        why = sbatch[-1].rstrip(".")
        return f"Slurm did not take the jobs ({why}): mend that, and run the same command again."
    path = re.search(r"path (\S+)", text)
    state = re.search(r"\(state: (\w+)\)", text)
    said = state[1] if state else lines[-1].rstrip(".")
    place = f", see {os.path.dirname(path[1])}" if path else ""
    return (
        f"A job ended without an answer ({said}{place}): if time or memory was short, give it more "
        "(hydra.launcher.timeout_min=120 hydra.launcher.mem_gb=8); the others go on, and the same command "
        "goes on from the finished cells."
    )


def left_behind(words: Sequence[str]) -> str:
    """What to add when the command is stopped."""
    if chosen(words) != "submitit_slurm":
        return ""
    return " Jobs that Slurm has already taken go on; scancel ends them."
