"""Many cells trained side by side, each in a process of its own, and one line that says how far they are."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.command.progress import duration
from bench.errors import BenchError

_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")

_EVERY = 60.0  # seconds between two lines where the output is no terminal


@dataclass(frozen=True)
class Teller:
    """Tells how far a cell is, from whichever process trains it (`bench.cell.Progress`).

    file: a table (N, 2) of whole numbers that all processes map: trainings done and in all, by cell.
    """

    file: Path
    cells: int
    place: int

    def __call__(self, done: int, total: int, stage: str, seconds_left: float | None) -> None:
        """`done` of about `total` trainings are there."""
        _counts(self.file, self.cells)[self.place] = done, total


def _counts(file: Path, cells: int) -> NDArray[np.int64]:
    return np.memmap(file, np.int64, "r+", shape=(cells, 2))


def train_all(
    train: Callable[[_Task, Teller], _Answer],
    tasks: Sequence[_Task],
    trainings: Sequence[int],
    seconds: Sequence[float],
    jobs: int,
) -> Iterator[tuple[int, _Answer]]:
    """The places and answers of tasks, as they come.

    Args:
        train: does one task; it and the tasks can be pickled.
        trainings: of each task, until it tells them itself.
        seconds: that each is expected to take, for the time left; 0 where nobody knows.
        jobs: processes; 1 for this one.

    Raises:
        BenchError: one of the processes was killed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "counts"
        np.array([[0, n] for n in trainings], np.int64).tofile(file)
        n, order = len(tasks), list(enumerate(tasks))
        if jobs > 1:  # the longest first, so that none of them is trained alone at the end
            expected = _expected(seconds)
            order.sort(key=lambda each: -expected[each[0]])
        work = (
            joblib.delayed(_numbered)(train, task, Teller(file, n, place), os.getpid())
            for place, task in order
        )
        with _Line(_counts(file, n), seconds, jobs) as line:
            # Each process is given cores of its own: one thread trains as fast as two (`make speed`).
            with starting_processes():
                answers: Any = joblib.Parallel(
                    n_jobs=max(jobs, 1), return_as="generator_unordered", batch_size=1
                )(work)
            try:
                for place, answer in answers:
                    line.finished(place)
                    yield place, answer
            except BrokenProcessPool as error:
                raise BenchError(
                    "A process was killed, most likely for want of memory: train fewer cells at a time "
                    "(--jobs 1); finished cells are kept, and the same command goes on from them."
                ) from error


def _expected(seconds: Sequence[float]) -> NDArray[np.float64]:
    """Seconds of each task, (N,); the typical ones where nobody knows (0)."""
    known = [each for each in seconds if each > 0]
    typical = float(np.median(known)) if known else 0.0
    return np.array([each or typical for each in seconds])


def _numbered(
    train: Callable[[_Task, Teller], _Answer], task: _Task, teller: Teller, home: int
) -> tuple[int, _Answer]:
    if os.getpid() != home:  # also of a process that was started later, in the place of another
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return teller.place, train(task, teller)


@contextlib.contextmanager
def starting_processes() -> Iterator[None]:
    """Around what starts processes, so that Ctrl-C is one sentence of this one."""
    with _deaf_to_ctrl_c(), silent_about_locks():
        yield


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, which the terminal sends to all of them.

    This process alone hears of it, and ends them; they would each print a traceback. They inherit that it is
    ignored. A mask would not do: whatever starts a resource tracker takes it off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def silent_about_locks() -> Iterator[None]:
    """What starts meanwhile says nothing of locks that are left where processes are ended as they begin.

    The resource tracker, a process of its own that joblib starts, clears them away, and warns of it.
    """
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*([before] if before else []), "ignore:resource_tracker"])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


class _Line:
    """The line: redrawn in a terminal, and elsewhere printed once a minute.

    counts: (N, 2), see `Teller`. seconds: see `train_all`.
    """

    def __init__(self, counts: NDArray[np.int64], seconds: Sequence[float], jobs: int) -> None:
        self._counts, self._jobs = counts, max(jobs, 1)
        self._expected = _expected(seconds)
        self._finished = np.zeros(len(counts), bool)
        self._started = self._told = time.monotonic()
        tqdm.set_lock(threading.RLock())  # its own is one between processes, which needs another process
        self._bar = tqdm(total=1, disable=None, leave=False, bar_format="{percentage:3.0f}%|{bar}| {desc}")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def finished(self, index: int) -> None:
        """A cell is done, or has failed."""
        self._finished[index] = True
        self._show()

    def text(self) -> str:
        """The line."""
        done, total = self._trainings()
        cells = f"{int(self._finished.sum())} of {len(self._finished)} cells"
        left = self.left()
        time_left = "" if left is None else f", about {duration(left)} left"
        return f"{cells}, {int(done.sum()):,} of {int(total.sum()):,} trainings{time_left}"

    def left(self) -> float | None:
        """Seconds to come: as expected, but at the pace so far once there is one; None: nobody knows."""
        done, total = self._trainings()
        weight = self._expected if self._expected.any() else total.astype(float)
        share = float(weight @ (done / np.maximum(total, 1)) / max(weight.sum(), 1e-9))
        if share > 0.02:
            return (time.monotonic() - self._started) * (1 - share) / share
        return float(self._expected.sum()) / self._jobs or None

    def _trainings(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        total = np.array(self._counts[:, 1])
        return np.where(self._finished, total, np.minimum(self._counts[:, 0], total)), total

    def _show(self) -> None:
        if not self._bar.disable:
            done, total = self._trainings()
            self._bar.n = float(done.sum() / max(total.sum(), 1))
            self._bar.set_description_str(self.text())
        elif time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            print(self.text(), file=sys.stdout, flush=True)

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self._show()

    def __enter__(self) -> _Line:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._bar.close()
