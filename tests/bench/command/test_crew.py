"""The line that says how far all cells are, and how long the rest takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest

from bench.command import crew
from bench.errors import BenchError


def task(seconds: float, tell: crew.Teller) -> float:
    """Trains for so long, in five trainings."""
    for done in range(1, 6):
        time.sleep(seconds / 5)
        tell(done, 5, "final", None)
    return seconds


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_answer_comes_with_its_place(jobs: int) -> None:
    tasks = [0.02, 0.01, 0.0]
    answers = dict(crew.train_all(task, tasks, [5] * 3, [1.0] * 3, jobs))
    assert answers == dict(enumerate(tasks))


@pytest.mark.parametrize(("jobs", "order"), [(1, [0, 1, 2, 3]), (2, [2, 1, 3, 0])])
def test_the_longest_are_begun_first_where_several_are_trained_at_once(jobs: int, order: list[int]) -> None:
    seconds = [1.0, 3.0, 4.0, 0.0]  # nothing is known of the last: as the others, 3
    with joblib.parallel_config(backend="sequential"):  # in which they come as they are begun
        answers = list(crew.train_all(task, [0.0] * 4, [5] * 4, seconds, jobs))
    assert [place for place, _ in answers] == order


def dying(seconds: float, tell: crew.Teller) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return seconds


def test_a_process_that_is_killed_is_one_sentence() -> None:
    with pytest.raises(BenchError, match=r"A process was killed.*--jobs 1"):
        list(crew.train_all(dying, [0.0, 0.0], [5] * 2, [1.0] * 2, 2))


def test_the_line_counts_cells_and_trainings_and_knows_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(crew.time, "monotonic", lambda: now[0])
    counts = np.array([[0, 10], [0, 10], [0, 20]], np.int64)
    line = crew._Line(counts, [30.0, 10.0, 0.0], jobs=2)  # nothing is known of the third: as the others, 20
    assert line.text() == "0 of 3 cells, 0 of 40 trainings, about 30 s left"
    now[0] += 30.0
    counts[0, 0], counts[1, 0] = 5, 10
    line.finished(1)
    # (15 + 10) of 60 seconds' work in 30.
    assert line.text() == "1 of 3 cells, 15 of 40 trainings, about 42 s left"
    counts[2] = 4, 40  # a sweep that has told how long it is
    assert line.text().startswith("1 of 3 cells, 19 of 60 trainings")


def test_where_nothing_is_known_no_time_is_promised_before_the_first_training() -> None:
    line = crew._Line(np.array([[0, 10]], np.int64), [0.0], jobs=1)
    assert line.text() == "0 of 1 cells, 0 of 10 trainings"


def test_without_a_terminal_there_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(crew.time, "monotonic", lambda: now[0])
    line = crew._Line(np.array([[0, 1]] * 3, np.int64), [1.0] * 3, jobs=1)
    for place, seconds in enumerate((50.0, 11.0, 20.0)):
        now[0] += seconds
        line.finished(place)
    assert [said.split(",")[0] for said in capsys.readouterr().out.splitlines()] == ["2 of 3 cells"]


@pytest.mark.parametrize("before", [None, "ignore:something else"])
def test_locks_of_processes_that_were_ended_are_not_spoken_of(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(sentence: str) -> str:
        code = f"import warnings; warnings.warn({sentence!r})"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONWARNINGS", before)
    leaked = "resource_tracker: There appear to be 1 leaked semlock objects to clean up at shutdown"
    with crew.starting_processes():
        assert warned(leaked) == "" and "other" in warned("other")
        assert (warned("something else") == "") == (before is not None)
    assert "leaked" in warned(leaked)
    assert os.environ.get("PYTHONWARNINGS") == before
