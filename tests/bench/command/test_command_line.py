"""What a user reads when something is wrong: one sentence, exit status 1, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from bench import __main__ as command_line
from bench import cell as cells
from bench.command import progress
from bench.errors import BenchError
from tests.bench.command.stderr import of_command

ROOT = Path(bench.__file__).parents[1]
SHORT = (
    *("engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=1"),
    *("grid.learning_rate=[0.05]", "grid.weight_decay=[0.0]"),
)
TINY = (
    *("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8"),
    *("dataset.unbiased_per_user=20", *SHORT),
)
Bench = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_registry: None,
) -> Bench:
    """`python -m bench` in this process: exit status, standard output, standard error."""
    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, f"results={tmp_path / 'results'}"])
        status = command_line.main()
        said = capsys.readouterr()
        return status, said.out, of_command(said.err)

    return run


def refusal(answer: tuple[int, str, str]) -> str:
    """The one sentence of a command that failed before it had anything to print."""
    status, out, error = answer
    assert (status, out) == (1, "")
    assert error.count("\n") == 1 and error.rstrip()[-1] in ".?", error
    return error.rstrip()


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records in a results folder by digest."""
    files = (folder / "runs").glob("*/record.json")
    return {file.parent.name: json.loads(file.read_text())["record"] for file in files}


def real(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m bench` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "BENCH_DEBUG": "", **environment},
    )


# --- Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # A misspelt name: the nearest one.
        (("method=ips", "method.clp=3"), "no field 'method.clp' with method=ips: did you mean 'clip'?"),
        (("method.clip=3",), "no field 'method.clip' with method=mf: the choices are backbone,"),
        (("dataset.n_user=3",), "no field 'dataset.n_user' with dataset=synthetic: did you mean 'n_users'?"),
        (("protocol.unbiased_trian=0.1",), "did you mean 'unbiased_train'?"),
        (("seed=3",), "no field 'seed': did you mean 'seeds'?"),
        (("+seed=3",), "no field 'seed': did you mean 'seeds'?"),
        (("++method.wieght_decay=3",), "no field 'method.wieght_decay': did you mean 'weight_decay'?"),
        (("engine.pationce=3",), "no field 'engine.pationce': did you mean 'patience'?"),
        (("sweep.slcie=true",), "no field 'sweep.slcie': did you mean 'slice'?"),
        (("grid.learning_rat=[0.1]",), "grid.learning_rat: the method has no such field; did you mean"),
        (("method.grid.clip=[1]",), "no field 'method.grid.clip': write grid.clip=[...] instead."),
        (("method=ipss",), "no method 'ipss': did you mean 'ips'?"),
        (("dataset=coats",), "no dataset 'coats': did you mean 'coat'?"),
        (("protocol=tabel",), "no protocol 'tabel': did you mean 'table'?"),
        (("sweep=papers",), "no sweep 'papers': did you mean 'paper'?"),
        (("selection=validation",), "selection=validation is not known: did you mean 'validation_auc'?"),
        (("method=ips", "method.propensity=naive_bayse"), "did you mean 'naive_bayes'?"),
        (("method.loss=bcee",), "method.loss=bcee is not known: did you mean 'bce'?"),
        (("method.name=ips",), "method.name is not to be set: choose another method by method=ips."),
        # A value of another type.
        (("method=ips", "method.clip=abc"), "method.clip must be a number, but it is 'abc'."),
        (("seeds=some",), "seeds must be a whole number, but it is 'some'."),
        (("seeds=2.5",), "seeds must be a whole number, but it is '2.5'."),
        (("seeds=null",), "seeds needs a value, but it is null."),
        (("sweep.slices=many",), "sweep.slices must be a whole number, but it is 'many'."),
        (("grid.learning_rate=[abc]",), "grid.learning_rate must be a number, but it is 'abc'."),
        (("grid.batch_size=[2.5]",), "grid.batch_size must be a whole number, but it is '2.5'."),
        (("grid.learning_rate=0.1",), "grid.learning_rate must be a list, such as [0.01,0.05]."),
        (("grid=[0.1]",), "grid takes lists of values by field, such as grid.learning_rate=[0.01,0.05]."),
        (("engine=cpu",), "engine has fields of its own: set one of those."),
        # A value out of range.
        (("grid.learning_rate=[]",), "grid.learning_rate is an empty list"),
        (("grid.learning_rate=[0.1,0.1]",), "names a value twice"),
        (("grid.learning_rate=[-1]",), "method.learning_rate must be at least 1e-09, but it is -1.0"),
        (("grid.learning_rate=[nan]",), "method.learning_rate must be at least 1e-09, but it is nan"),
        (("method.learning_rate=0.1",), "method.learning_rate and grid.learning_rate are both given"),
        (("method=ips", "method.clip=0.5"), "method.clip must be at least 1"),
        (("method.embedding_size=0",), "method.embedding_size must be at least 1"),
        (("seeds=0",), "seeds must be at least 1, but it is 0"),
        ((f"seeds={10**20 - 1}",), f"seeds must be at most 1,000, but it is {10**20 - 1}."),
        (("engine.threads=99999",), "engine.threads must be at most 1,024, but it is 99999."),
        ((f"method.batch_size={10**23}",), "method.batch_size must be at most 1,000,000,000"),
        (
            ("grid.learning_rate=[inf]",),
            "method.learning_rate must be a finite number, but it is inf.",
        ),
        (("method.init_scale=1e-300",), "method.init_scale must lie in 1e-06 to 1000"),
        (("dataset=null",), "dataset is null: choose one of "),
        (("method=null",), "method is null: choose one of "),
        (("protocol=null",), "protocol is null: choose one of table, text."),
        (("sweep=null",), "sweep is null: choose one of "),
        (("engine=null",), "engine needs a value, but it is null."),
        (("save=null",), "save needs a value, but it is null."),
        (("save=[null]",), "save[0] needs a value, but it is null."),
        (("+tuned=null",), "tuned is null: choose one of its files, or leave it out."),
        (("hydra/launcher=null",), "hydra/launcher is null: choose one of its files, or leave it out."),
        (("method=3",), "no method '3': the choices are autodebias,"),
        (("method=[mf,ips]",), "method is given twice or as a list: choose one, or give several as -m"),
        # A list that a mapping does not have.
        (
            ("dataset.shared_grid={batch_size:[8],weight_decay:[0]}",),
            "dataset.shared_grid has no list for 'weight_decay': add one by "
            "+dataset.shared_grid.weight_decay=[...], or write grid.weight_decay=[...]",
        ),
        (("dataset.quick_grid.clip=[2]",), "dataset.quick_grid has no list for 'clip': add one by"),
        (("method.long_grid={loss:[bce]}",), "method.long_grid has no list for 'loss': add one by"),
        (
            ("grid={batch_size:[8]}", "method.batch_size=4"),
            "method.batch_size and grid.batch_size are both given",
        ),
        (("grid={batch_size:8}",), "grid.batch_size must be a list, such as [0.01,0.05]."),
        (("grid={1:[0.1]}",), "grid.1 is no field's name."),
        (("protocol.star_threshold=inf",), "protocol.star_threshold must be a finite number, but it is inf."),
        (("method=eib", "method.everywhere_ratio=0"), "method.everywhere_ratio"),
        (("dataset.k=0",), "k must be at least 1"),
        (("dataset.rank=0",), "dataset.rank must be at least 1"),
        (("dataset.threshold=7",), "all negative at dataset.threshold=7"),
        (("protocol.no_positive=maybe",), "protocol.no_positive=maybe is not known"),
        (("protocol.unbiased_train=0.99",), "leave no row for test"),
        (("engine.dtype=half",), "engine.dtype=half is not known"),
        (("engine.device=gpu",), "engine.device=gpu is not known: the choices are auto, cpu, cuda."),
        (("engine.threads=-2",), "engine.threads must be a finite number of at least 0, but it is -2."),
        (
            ("engine.memory_gib=nan",),
            "engine.memory_gib must be a finite number of at least 0, but it is nan.",
        ),
        # Less than the process holds before it trains.
        (("engine.memory_gib=0.00001",), "engine.memory_gib=1e-05 leaves nothing to train with: the process"),
        # No override at all.
        (("learning_rate",), "learning_rate cannot be read: write each override as one word FIELD=VALUE"),
        (("method=ips method.clip=5",), "write each override as one word"),
        (("=3",), "=3 names no field"),
        (("--seeds=20",), "no option --seeds=20: overrides have no dashes, such as seeds=20."),
        (("method=mf,ips",), "method=mf,ips names several values: add -m to run each of them"),
        (("-m", "method=glob(zz*)"), "method=glob(zz*) matches no method: the choices are autodebias,"),
        (("-m", "method=mf,ipss"), "no method 'ipss': did you mean 'ips'?"),
        # methods.extra.
        (("methods.extra=[nowhere.py]",), "methods.extra names nowhere.py, where there is no file."),
        (
            ("methods.extra=3",),
            "methods.extra=3 is not a list of files, such as methods.extra=[mine.py].",
        ),
    ],
)
def test_a_mistake_is_one_sentence(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    assert said in refusal(bench(*TINY, *arguments))


def test_no_cuda_device(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = "engine.device=cuda, but PyTorch finds no CUDA device here: use engine.device=cpu."
    assert refusal(bench(*TINY, "engine.device=cuda")) == said


def test_a_results_folder_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file stands in the way")
    for mode in ((), ("-m",)):
        assert str(tmp_path / "results") in refusal(bench(*mode, *TINY))
    assert "results names no folder" in refusal(bench(*TINY, "results="))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken", "import nothing_of_that_name\n", "cannot be imported (ModuleNotFoundError: No module"),
        ("wrong", "def f(:\n", "cannot be imported (SyntaxError: "),
        ("empty", "x = 1\n", "registers no method: decorate its class with @register."),
        ("ips", "x = 1\n", "the suite has a method 'ips' already, so rename "),
        (
            "bare",
            "from methods import register\nfrom methods.base import Method\n\n"
            "@register\nclass Bare(Method):\n    paper, year = 'none', 2000\n",
            "The method 'bare' has no attribute 'title', which the table prints.",
        ),
    ],
)
def test_an_extra_method_that_is_wrong(bench: Bench, tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    assert said in refusal(bench(*TINY, f"methods.extra=[{file}]"))


# --- Data --------------------------------------------------------------------------------------------


@pytest.fixture
def coat(tmp_path: Path) -> Path:
    """A folder with files of Coat's form, drawn at random."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "coat"
    folder.mkdir(parents=True)
    for name, rated in (("train", 24), ("test", 16)):
        matrix = np.zeros((290, 300), int)
        for row in matrix:
            row[random.choice(300, rated, replace=False)] = random.integers(1, 6, rated)
        text = "\n".join(" ".join(map(str, row)) for row in matrix)
        (folder / f"{name}.ascii").write_text(text + "\n")
    return folder


def test_absent_data_say_where_to_get_them(bench: Bench) -> None:
    said = refusal(bench("dataset=coat", "data_dir=nowhere"))
    assert "train.ascii and test.ascii are missing under nowhere/coat: run `make data`" in said


def test_a_wrong_data_file_is_named_with_line_expectation_and_find(bench: Bench, coat: Path) -> None:
    file = coat / "test.ascii"
    rows = file.read_text().splitlines()
    for wrong, said in (
        ([*rows[:6], rows[6].replace("0 ", "7 ", 1), *rows[7:]], ", line 7: expected 300 ratings of 0 to 5"),
        ([*rows[:6], rows[6][:-2], *rows[7:]], ", line 7: expected 300 ratings of 0 to 5"),
        (rows[:-1], ": expected 290 rows, found 289; replace it"),
    ):
        file.write_text("\n".join(wrong))
        assert f"{file}{said}" in refusal(bench("dataset=coat", f"data_dir={coat.parent}"))


# --- Nothing is lost ---------------------------------------------------------------------------------


def test_a_second_run_trains_nothing_and_a_bad_record_is_trained_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench(*TINY)[0] == 0
    (file,) = (tmp_path / "results" / "runs").glob("*/record.json")
    stamp, text = file.stat().st_mtime_ns, file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(cells, "train_and_store", lambda *_: pytest.fail("it is trained again"))
        status, out, error = bench(*TINY)
    assert (status, error) == (0, "") and "from its record" in out
    assert "no field" in refusal(bench(*TINY, "method.clip=1"))
    assert (file.stat().st_mtime_ns, file.read_text()) == (stamp, text)

    for bad, why in (
        (text.replace('"schema": 1', '"schema": 0'), "is of record version 0, not 1"),
        (text[: len(text) // 2], "is cut off or altered"),
        (text.replace('"seeds": [\n   0,', '"seeds": [\n   7,'), "does not match its checksum"),
    ):
        assert bad != text
        file.write_text(bad)
        status, out, error = bench(*TINY)
        assert status == 0 and "from its record" not in out
        assert error == f"{file} {why}; it will be trained again.\n"
        fresh, before = json.loads(file.read_text())["record"], json.loads(text)["record"]
        assert fresh["test"] == before["test"]
    assert len(list((tmp_path / "results" / "runs" / "damaged").iterdir())) == 3


def test_a_member_that_diverges_is_dropped_and_noted(bench: Bench, tmp_path: Path) -> None:
    assert bench(*TINY, "seeds=3", "dataset.selection_seeds=3")[0] == 0
    (alone,) = records(tmp_path / "results").values()
    status, out, error = bench(
        *TINY[:-2], *("grid.weight_decay=[0.0]", "grid.learning_rate=[1e30,0.05]"), "seeds=3"
    )
    assert (status, error) == (0, "")
    assert "diverged  1 members; see the record" in out
    (record,) = (each for each in records(tmp_path / "results").values() if each["points"] == 2)
    (lost,) = record["diverged"]
    assert (lost["point"], lost["seed"]) == (0, 0)
    assert lost["what"].startswith("not a number at evaluation 1 (step ")
    assert lost["what"].endswith(" of phase training")
    assert record["selected"]["learning_rate"] == 0.05
    assert [each["validation_auc"] is None for each in record["tried"]] == [True, False]
    assert record["test"]["auc"] == pytest.approx(alone["test"]["auc"], abs=1e-6)


def test_a_cell_that_diverges_everywhere_fails_and_leaves_a_note(bench: Bench, tmp_path: Path) -> None:
    assert bench(*TINY)[0] == 0
    before = records(tmp_path / "results")
    status, out, error = bench(*TINY[:-2], "grid.learning_rate=[5e29,1e30]", "grid.weight_decay=[0.0]")
    assert out.startswith("mf on synthetic, protocol table, is trained although its record ")
    assert "another configuration (stage quick: learning_rate=[0.05], not [5e+29, 1e+30])" in out
    said = refusal((status, "", error))
    assert said.startswith("mf on synthetic: every point diverged in at least one seed (not a number at ")
    assert said.endswith("try smaller learning rates.")
    assert records(tmp_path / "results") == before
    (note,) = (tmp_path / "results" / "runs" / "failed").iterdir()
    lost = json.loads(note.read_text())["reason"]["diverged"]
    assert {(each["point"], each["seed"]) for each in lost} >= {(0, 0), (1, 0)}


def test_no_memory_is_one_sentence_and_a_bug_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(with_: BaseException) -> None:
        def run(*_: object) -> None:
            raise with_

        monkeypatch.setattr(cells, "train_and_store", run)

    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ):
        fails(error)
        assert refusal(bench(*TINY)).startswith("There is not enough memory (")
    fails(KeyboardInterrupt())
    status, _, said = bench(*TINY)
    assert (status, said.count("\n")) == (130, 1) and "the same command goes on" in said
    fails(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        bench(*TINY)


# --- Multirun ----------------------------------------------------------------------------------------

FAULTY = """
from methods import register
from methods.base import Method

@register
class Faulty(Method):
    title, paper, year = "Faulty", "none", 2000

    def build(self):
        return 1 + "1"
"""


def test_a_multirun_tells_what_does_not_apply(bench: Bench, coat: Path, tmp_path: Path) -> None:
    arguments = ("dataset=coat", f"data_dir={coat.parent}", *SHORT)
    status, out, error = bench("-m", "method=ips,ips_oracle,item_mean", *arguments)
    assert status == 0
    assert error.startswith("ips_oracle on coat: ") and error.count("\n") == 1
    assert {each["method"]["name"] for each in records(tmp_path / "results").values()} == {"ips", "item_mean"}
    assert out.count("  record  ") == 2
    # By itself, such a cell is a failure: its user has asked for it.
    assert refusal(bench(*arguments, "method=ips_oracle")) == error.rstrip()


def test_a_multirun_looks_ahead_only_where_a_sweep_has_stages(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking ahead composes every job and reads its ratings: minutes where there are hundreds."""
    ahead = []
    really = progress._trainings
    monkeypatch.setattr(progress, "_trainings", lambda job: ahead.append(job) or really(job))
    status, out, _ = bench("-m", *TINY, "method=item_mean,mf")
    assert status == 0 and out.count("  record  ") == 2 and ahead == []
    stages = "sweep.stages=[{name:a,lists:[quick_grid]},{name:b,around:1,seeds:2}]"
    status, out, _ = bench("-m", *TINY, "method=mf,ips", stages)
    assert status == 0 and len(ahead) == 2
    assert (
        out.startswith("2 cells, ")
        and "1 of 2: mf on synthetic, protocol table: sweep=default: a 1 × 1 seed" in out
    )


def test_a_multirun_goes_on_past_a_bug(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    # `-m` may stand anywhere.
    status, out, error = bench(*TINY, "method=faulty,item_mean", "-m", "methods.extra=[faulty.py]")
    assert status == 1
    assert error.startswith("method=faulty: unsupported operand") and "Traceback" in error
    assert error.endswith("\n1 of 2 cells failed.\n")
    assert out.count("  record  ") == 1


# --- Processes of their own --------------------------------------------------------------------------


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    arguments = (*TINY, f"results={tmp_path}", "method=ips", "method.clp=3")
    done = real(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is no field 'method.clp' with method=ips: did you mean 'clip'?\n"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_told_at_once_what_is_being_done(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "bench", f"results={tmp_path}", "method.clp=3"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs)
    try:
        os.close(theirs)
        said = os.read(ours, 4096).decode()  # before anything heavy is loaded, and so before the mistake
    finally:
        process.kill()
        process.wait(timeout=60)
        os.close(ours)
    assert said.rstrip() == "Loading PyTorch, the methods and the configuration ..."


def test_a_run_leaves_its_record_and_nothing_else(tmp_path: Path) -> None:
    before = set(ROOT.iterdir())
    done = real(*TINY, f"results={tmp_path}")
    assert (done.returncode, done.stderr) == (0, "")  # no bar: this is no terminal
    assert "selected" in done.stdout and "AUC" in done.stdout
    assert set(ROOT.iterdir()) == before
    (digest,) = records(tmp_path)
    # Stacks of trainings are kept for a run that is stopped (bench/cell/trained.py).
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {digest, "groups"}


def test_a_multirun_goes_on_past_a_failure_and_says_so(tmp_path: Path) -> None:
    before = set(ROOT.iterdir())
    arguments = ("-m", "dataset=coat,synthetic", "method=item_mean", f"results={tmp_path}", *SHORT)
    done = real(*arguments, "data_dir=nowhere")
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("dataset=coat: train.ascii and test.ascii are missing under nowhere/coat: ")
    assert last == "1 of 2 cells failed."
    assert done.stdout.count("  record  ") == 1
    assert set(ROOT.iterdir()) == before
    # Hydra's notes lie hidden among the records.
    (digest,) = records(tmp_path)
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {digest, "groups", ".hydra"}


def test_debug_raises(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DEBUG", "1")
    for arguments in (("method.clp=3",), ("seeds=0",), ("-m", "seeds=0,1")):
        with pytest.raises(BenchError):
            bench(*TINY, *arguments)
