"""What a user reads when something is wrong: one sentence, exit status 1, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __main__ as command_line

ROOT = Path(command_line.__file__).parents[1]
TINY = (
    *("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=1"),
    *("grid.learning_rate=[0.05]", "grid.weight_decay=[0.0]"),
)
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """`python -m bench` in this process: exit status, standard output, standard error."""
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        given = [f"results={tmp_path / 'results'}", *arguments]
        monkeypatch.setattr(sys, "argv", ["bench", *given])
        status = command_line.main()
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def real(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` as a process of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "BENCH_DEBUG": "", **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("method=ips", "method.clp=3"), "no field 'method.clp': did you mean 'clip'?"),
        (("seed=3",), "no field 'seed': did you mean 'seeds'?"),
        (("engine.pationce=3",), "no field 'engine.pationce': did you mean 'patience'?"),
        (("grid.learning_rat=[0.1]",), "grid.learning_rat: the method has no such field; did you mean"),
        (("method=ipss",), "no method 'ipss': did you mean 'ips'?"),
        (("dataset=coats",), "no dataset 'coats': did you mean 'coat'?"),
        (("protocol=tabel",), "no protocol 'tabel': did you mean 'table'?"),
        (("sweep=papers",), "no sweep 'papers': did you mean 'paper'?"),
        (("selection=validation",), "selection=validation is not known: did you mean 'validation_auc'?"),
        (("method=ips", "method.clip=abc"), "method.clip: Value 'abc'"),
        (("seeds=some",), "seeds: Value 'some'"),
        (("grid.learning_rate=[abc]",), "Value 'abc'"),
        (("grid.learning_rate=[]",), "grid.learning_rate is an empty list"),
        (("grid.learning_rate=[0.1,0.1]",), "names a value twice"),
        (("grid.learning_rate=[-1]",), "method.learning_rate must be above 0, but it is -1.0"),
        (("method=ips", "method.clip=0.5"), "method.clip must be at least 1"),
        (("method=ips", "method.propensity=naive_bayse"), "did you mean 'naive_bayes'?"),
        (("method.loss=bcee",), "method.loss=bcee is not known: did you mean 'bce'?"),
        (("method.embedding_size=0",), "method.embedding_size must be at least 1"),
        (("seeds=0",), "seeds must be at least 1, but it is 0"),
        (("dataset.k=0",), "k must be at least 1"),
        (("dataset.rank=0",), "dataset.rank must be at least 1"),
        (("protocol.no_positive=maybe",), "protocol.no_positive=maybe is not known"),
        (("protocol.unbiased_train=0.99",), "leave no row for test"),
        (("dataset.threshold=7",), "all negative at dataset.threshold=7"),
        (("engine.dtype=half",), "engine.dtype=half is not known"),
        (("engine.device=gpu",), "engine.device=gpu is not known"),
        (("engine.memory_gib=0.00001",), "needs about"),
        (("methods.extra=[nowhere.py]",), "methods.extra names nowhere.py, which does not exist"),
        (("learning_rate",), "learning_rate"),
    ],
)
def test_a_mistake_is_one_sentence(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    status, out, error = bench(*TINY, *arguments)
    assert status == 1
    assert said in error
    assert error.count("\n") == 1 and error.rstrip()[-1] in ".?"
    assert out == ""


def test_no_cuda_device(bench: Bench) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("This machine has a CUDA device.")
    status, _, error = bench(*TINY, "engine.device=cuda")
    assert (status, error.count("\n")) == (1, 1)
    assert "PyTorch finds no CUDA device here: use engine.device=cpu" in error


def test_a_results_folder_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file stands in the way")
    status, _, error = bench(*TINY)
    assert (status, error.count("\n")) == (1, 1)
    assert str(tmp_path / "results") in error


def test_an_extra_method_that_is_wrong(bench: Bench, tmp_path: Path) -> None:
    broken, empty, clash = (tmp_path / f"{name}.py" for name in ("broken", "empty", "ips"))
    broken.write_text("import nothing_of_that_name\n")
    empty.write_text("x = 1\n")
    clash.write_text("x = 1\n")
    for file, said in (
        (broken, "cannot be imported (ModuleNotFoundError"),
        (empty, "registers no method"),
        (clash, "the suite has a method 'ips' already"),
    ):
        status, _, error = bench(*TINY, f"methods.extra=[{file}]")
        assert (status, error.count("\n")) == (1, 1)
        assert said in error


def test_a_second_run_trains_nothing_and_a_damaged_record_is_trained_again(
    bench: Bench, tmp_path: Path
) -> None:
    assert bench(*TINY)[0] == 0
    (record,) = (tmp_path / "results" / "runs").glob("*/record.json")
    stamp, text = record.stat().st_mtime_ns, record.read_text()
    status, out, _ = bench(*TINY)
    assert status == 0 and "from its record" in out
    assert record.stat().st_mtime_ns == stamp
    # A mistake in a later run leaves the record alone.
    assert bench(*TINY, "method.clip=1")[0] == 1
    assert record.read_text() == text

    record.write_text(text.replace('"schema": 1', '"schema": 0'))
    status, out, error = bench(*TINY)
    assert status == 0 and "from its record" not in out
    assert "is of record version 0, not 1; it will be trained again" in error
    fresh = record.read_text()
    assert [line for line in fresh.splitlines() if '"auc"' in line] == [
        line for line in text.splitlines() if '"auc"' in line
    ]


def test_a_member_that_diverges_is_told(bench: Bench) -> None:
    status, out, _ = bench(*TINY, "grid.learning_rate=[1e30,0.05]")
    assert status == 0
    assert "diverged  1 members" in out and "learning_rate=0.05" in out
    status, _, error = bench(*TINY, "grid.learning_rate=[1e30]")
    assert (status, error.count("\n")) == (1, 1)
    assert "every point diverged" in error and "try smaller learning rates" in error


def test_debug_shows_the_traceback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.errors import BenchError

    monkeypatch.setenv("BENCH_DEBUG", "1")
    with pytest.raises(BenchError):
        bench(*TINY, "method.clp=3")


def test_processes_of_their_own(tmp_path: Path) -> None:
    """The same through the shell: status, no traceback unless asked for, no files left about."""
    before = set(ROOT.iterdir())
    results = f"results={tmp_path}"
    done = real(*TINY, results, "method.clp=3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("There is no field 'method.clp'") and done.stderr.count("\n") == 1
    done = real(*TINY, results, "method.clp=3", BENCH_DEBUG="1")
    assert done.returncode == 1 and "Traceback" in done.stderr
    done = real(*TINY, results)
    assert done.returncode == 0 and done.stderr == ""  # no bar: this is no terminal
    assert "selected" in done.stdout and "AUC" in done.stdout
    assert set(ROOT.iterdir()) == before


def test_absent_data_say_where_to_get_them(bench: Bench) -> None:
    status, out, error = bench("dataset=coat", "data_dir=nowhere")
    assert (status, out, error.count("\n")) == (1, "", 1)
    assert "train.ascii and test.ascii are missing under nowhere/coat: run `make data`" in error


NOT_HERE = """
from bench.errors import NotApplicable
from methods import register
from methods.base import Method

@register
class NotHere(Method):
    title, paper, year = "Not here", "none", 2000

    def build(self) -> None:
        raise NotApplicable("It cannot run on these data.")
"""


def test_multirun_goes_on_past_a_failure_and_says_so(tmp_path: Path) -> None:
    before = set(ROOT.iterdir())
    extra = tmp_path / "not_here.py"
    extra.write_text(NOT_HERE)
    # The sizes of the generated data are no fields of Coat, whose absence fails its cells.
    common = (f"results={tmp_path}", "data_dir=nowhere", f"methods.extra=[{extra}]", *TINY[5:])
    done = real("-m", "dataset=coat,synthetic", "method=item_mean,not_here", *common)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "dataset=coat" in done.stderr and "are missing under nowhere/coat" in done.stderr
    assert "not_here on synthetic: It cannot run on these data." in done.stderr
    assert done.stdout.count("  record  ") == 1
    # What a data set cannot have is no failure.
    done = real("-m", "dataset=synthetic", "method=item_mean,not_here", *common)
    assert done.returncode == 0 and "from its record" in done.stdout
    assert set(ROOT.iterdir()) == before
