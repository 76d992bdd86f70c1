"""Launchers do what the basic one does, in other processes: same records, same sentences, same status."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.command import launchers
from bench.errors import BenchError
from bench.records import store
from tests.bench.command.stderr import of_command
from tests.every_row import LATER

ROOT = Path(bench.__file__).parents[1]
TINY = (
    *("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=1"),
    *("grid.learning_rate=[0.05]", "grid.weight_decay=[0.0]"),
)
METHOD = """
import os, signal
import torch
from threadpoolctl import threadpool_info
from methods import register
from methods.item_mean import ItemMean

@register
class {0}(ItemMean):
    title, paper, year = "{0}", "none", 2000

    def build(self):
        {1}
        super().build()

    def diagnostics(self):
        threads = max(torch.get_num_threads(), *(each["num_threads"] for each in threadpool_info()))
        return {{"threads": torch.full((self.n_members,), threads)}}
"""


@dataclass(frozen=True)
class Done:
    """A finished command, and the records that it left by method."""

    status: int
    out: str
    error: str
    records: dict[str, tuple[str, dict[str, Any]]]
    results: Path


def write_method(folder: Path, name: str, build: str) -> Path:
    """A method file outside the checkout."""
    file = folder / f"{name}.py"
    file.write_text(METHOD.format(name.capitalize(), build))
    return file


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m bench` in a process group of its own, as a terminal has it."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "BENCH_DEBUG": "", **environment},
        start_new_session=True,
        # The suite's own process may have been started to ignore Ctrl-C (nohup, a background job).
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run(results: Path, *arguments: str, **environment: str) -> Done:
    """`python -m bench` to its end."""
    process = start(*arguments, f"results={results}", **environment)
    out, error = process.communicate(timeout=300)
    found = {}
    for file in (results / "runs").glob("*/record.json"):
        record = json.loads(file.read_text())["record"]
        found[record["method"]["name"]] = (file.parent.name, record)
    return Done(process.returncode, out, of_command(error), found, results)


# --- What a sweep leaves ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A sweep with an extra method, one that counts threads, and one with a bug, by launcher."""
    folder = tmp_path_factory.mktemp("methods")
    counting = write_method(folder, "counting", "pass")
    faulty = write_method(folder, "faulty", "return 1 + '1'")
    extra = f"methods.extra=[tests/extra/toy_method.py,{counting},{faulty}]"

    @cache
    def of(launcher: str) -> Done:
        results = tmp_path_factory.mktemp(launcher)
        words = ("method=toy_method,faulty,counting,mf", extra, f"hydra/launcher={launcher}")
        return run(results, "-m", *TINY, *words)

    yield of


# Half a minute each; that joblib starts, is stopped and loses a process is tested in `make test` too.
ELSEWHERE = pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=LATER) for name in ("joblib", "submitit_local")]
)
DYING = pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=LATER)])


@ELSEWHERE
def test_the_records_are_those_of_the_basic_launcher(swept: Any, launcher: str) -> None:
    basic, other = swept("basic"), swept(launcher)
    assert set(basic.records) == {"toy_method", "counting", "mf"}
    for method, (digest, record) in basic.records.items():
        same, found = other.records[method]
        assert same == digest
        for part in ("dataset", "method", "engine", "tried", "test", "validation"):
            assert found[part] == record[part], (method, part)
        mine, theirs = (store.read_arrays(each.results / "runs", digest) for each in (basic, other))
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"trial_seconds"}:
            np.testing.assert_array_equal(mine[name], theirs[name], strict=True)


@ELSEWHERE
def test_the_terminal_shows_what_the_basic_launcher_shows(swept: Any, launcher: str) -> None:
    def said(done: Done) -> list[str]:
        lines = (line for line in done.out.splitlines() if "HYDRA" not in line)
        return sorted(line.replace(str(done.results), "results") for line in lines)

    basic, other = swept("basic"), swept(launcher)
    assert said(other) == said(basic)
    assert other.out.count("  record  ") == 3
    assert other.status == basic.status == 1
    for done in (basic, other):
        assert done.error.startswith("method=faulty: unsupported operand") and "Traceback" in done.error
        assert done.error.endswith("\n1 of 4 cells failed.\n")
        assert done.error.count("unsupported operand") == 2  # the sentence and the traceback's last line
        assert "Error executing job" not in done.error


@ELSEWHERE
def test_a_process_uses_one_core(swept: Any, launcher: str) -> None:
    _, record = swept(launcher).records["counting"]
    assert record["diagnostics"]["threads"] == [1, 1]
    _, record = swept(launcher).records["mf"]
    assert record["provenance"]["threads"] == 1


@ELSEWHERE
def test_what_a_launcher_writes_lies_among_the_scratch_files(swept: Any, launcher: str) -> None:
    before = set(ROOT.iterdir())
    results = swept(launcher).results
    assert set(ROOT.iterdir()) == before
    assert [file.name for file in results.iterdir()] == ["runs"]
    digests = {digest for digest, _ in swept(launcher).records.values()}
    assert {file.name for file in (results / "runs").iterdir()} == {*digests, "groups", ".hydra"}


# --- What goes wrong ----------------------------------------------------------------------------------


@DYING
def test_a_job_that_dies_is_one_sentence(launcher: str, tmp_path: Path) -> None:
    file = write_method(tmp_path, "dying", "os.kill(os.getpid(), signal.SIGKILL)")
    words = ("method=dying", f"methods.extra=[{file}]", f"hydra/launcher={launcher}")
    done = run(tmp_path / "results", "-m", *TINY, *words)
    assert done.status == 1
    said = {"joblib": "A process was killed, most likely", "submitit_local": "A job ended without an answer"}
    last = done.error.splitlines()[-1]
    assert last.startswith(said[launcher]) and "the same command goes on from" in last
    assert "Traceback" not in done.error


def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    endless = ("engine.max_epochs=1000000", "engine.patience=1000000")
    words = ("method=mf,ips", "hydra/launcher=joblib", f"results={tmp_path}")
    process = start("-m", *TINY, *endless, *words)
    try:
        for _ in range(600):
            time.sleep(0.1)
            if len(list(tmp_path.glob("runs/.hydra/*/[01]"))) == 2 or process.poll() is not None:
                break
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        for _ in range(100):
            alive = [
                pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs(pid, process.pid)
            ]
            if not alive:
                break
            time.sleep(0.1)
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
    assert process.returncode == 130
    assert error == "Stopped; finished cells are kept, and the same command goes on from them.\n"
    assert alive == []


def _runs(pid: int, group: int) -> bool:
    """Whether a process of the group is more than a zombie."""
    try:
        state, _, found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(found) == group and state != "Z"


def refusal(*arguments: str, **environment: str) -> str:
    """The one sentence of a command that launches nothing."""
    process = start(*arguments, **environment)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error.count("\n")) == (1, "", 1), error
    return error.rstrip()


@pytest.mark.parametrize(
    ("launcher", "extra"),
    [
        ("joblib", "parallel"),
        pytest.param("submitit_local", "slurm", marks=LATER),
        pytest.param("submitit_slurm", "slurm", marks=LATER),
    ],
)
def test_an_absent_package_is_named_with_what_to_install(launcher: str, extra: str, tmp_path: Path) -> None:
    # A package of that name without any plugin hides the one with the launchers.
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "__init__.py").touch()
    words = ("-m", "method=mf,ips", f"hydra/launcher={launcher}")
    assert refusal(*words, PYTHONPATH=str(tmp_path)) == (
        f"hydra/launcher={launcher} needs a package that is not installed: pip install -e '.[{extra}]'."
    )


def test_no_slurm_is_one_sentence(tmp_path: Path) -> None:
    words = ("-m", "method=mf,ips", "hydra/launcher=submitit_slurm")
    said = refusal(*words, PATH=str(tmp_path))
    assert said.startswith("hydra/launcher=submitit_slurm finds no Slurm (sbatch, srun) here: run it where")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hydra/launcher=joblib",), "hydra/launcher=joblib launches the jobs of a multirun: add -m."),
        (
            ("-m", "method=mf,ips", "hydra/launcher=jobllib"),
            "There is no hydra/launcher 'jobllib': did you mean 'joblib'?",
        ),
    ],
)
def test_a_launcher_that_cannot_be_meant(words: tuple[str, ...], said: str) -> None:
    assert refusal(*words) == said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "FailedSubmissionError",
            "\n".join(
                (
                    "sbatch: error: invalid partition specified: nowhere",
                    "sbatch: error: Batch job submission failed: Invalid partition name specified",
                )
            ),
            "Slurm did not take the jobs (sbatch: error: Batch job submission failed: Invalid partition "
            "name specified): mend that",
        ),
        (
            "FailedJobError",
            "sbatch: fatal: Could not establish a configuration source",
            "Slurm did not take the jobs (sbatch: fatal: Could not establish a configuration source): mend",
        ),
        (
            "UncompletedJobError",
            "Job 3_0 (task: 0) with path /r/3_0/3_0_0_result.pkl\nhas not produced output (state: TIMEOUT)",
            "A job ended without an answer (TIMEOUT, see /r/3_0): if time or memory was short, give it more",
        ),
    ],
)
def test_what_submitit_says_becomes_one_sentence(name: str, text: str, said: str) -> None:
    from submitit.core import utils as errors

    with pytest.raises(BenchError) as raised, launchers.job_errors():
        raise getattr(errors, name)(text)
    assert str(raised.value).startswith(said) and "\n" not in str(raised.value)


def test_a_bug_is_not_taken_for_a_dead_job() -> None:
    with pytest.raises(RuntimeError, match="shapes"), launchers.job_errors():
        raise RuntimeError("shapes do not match")


# --- Multiruns here, and sweepers ----------------------------------------------------------------------


def test_the_first_job_of_a_multirun_here_begins_before_the_last_is_composed() -> None:
    batch = "hydra.sweeper.max_batch_size=1"
    assert launchers.one_at_a_time(["-m", "seeds=1,2"]) == ["-m", "seeds=1,2", batch]
    for words in (
        ["seeds=1"],
        ["-m", "seeds=1,2", "hydra/launcher=joblib"],
        ["-m", "seeds=1,2", "hydra/sweeper=optuna"],
        ["-m", "seeds=1,2", "hydra.sweeper.max_batch_size=7"],
    ):
        assert launchers.one_at_a_time(words) == words


def test_a_sweeper_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "_installed", lambda module: False)
    with pytest.raises(BenchError, match=r"hydra/sweeper=optuna needs a package .* '\.\[optuna\]'"):
        launchers.require_launcher(["-m", "hydra/sweeper=optuna", "seeds=1,2"])


def test_a_job_elsewhere_answers_with_what_a_sweeper_goes_by(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> float:
        print("done")
        return 0.75

    launchers.listen()
    # A copy takes it apart and puts it together by the rules of a launcher's transport.
    answer = copy.deepcopy(launchers.answer(work, [], 1))
    assert float(answer) == 0.75 and not answer.failed and capsys.readouterr().out == "done\n"

    def refuse() -> float:
        raise BenchError("No.")

    assert math.isnan(float(launchers.answer(refuse, [], 1)))
