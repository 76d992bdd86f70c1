"""Records become runs of a tracker: parameters, metrics, curves; with no tracker in training."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cell as cells
from bench import export
from bench.records.record import Record

TINY = (
    *("dataset=synthetic", "dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=3", "seeds=2", "sweep=none", "method=mf"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    cells.find_or_train([*TINY, f"results={folder}"])
    return folder


@pytest.fixture(scope="module")
def record(results: Path) -> Record:
    return cells.find_or_train([*TINY, f"results={results}"])


def test_a_run_says_what_the_record_says(record: Record) -> None:
    run = export.tracked(record)
    auc = record.metric("auc")
    assert run.name == "mf on synthetic, table" and run.digest == record.digest
    assert run.parameters["method.learning_rate"] == record.method["learning_rate"]
    assert run.parameters["dataset.n_users"] == 50 and run.parameters["seeds"] == 2
    assert run.metrics["test.auc.mean"] == pytest.approx((auc[0] + auc[1]) / 2)
    assert run.metrics["test.auc.std"] == pytest.approx(abs(auc[0] - auc[1]) / np.sqrt(2))
    assert run.metrics["test.auc.seed_1"] == auc[1]
    assert all(np.isfinite(value) for value in run.metrics.values())
    steps, curves = record.curves()
    first, last = run.curves["validation.auc"][0], run.curves["validation.auc"][-1]
    assert first == (0, pytest.approx(curves[:, 0].mean()))
    assert last == (steps[-1], pytest.approx(np.nanmean(curves[:, -1])))


def test_every_record_reaches_the_tracker(
    results: Path, record: Record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setitem(export.TRACKERS, "mlflow", lambda runs, folder: seen.append((runs, folder)))
    assert export.main(["--to", "mlflow", "--results", str(results)]) == 0
    assert seen == [([export.tracked(record)], results / "export" / "mlflow")]
    assert capsys.readouterr().out.startswith("1 record ")


def test_what_is_not_there_is_one_sentence(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["--to", "wandb", "--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"There is no record in {tmp_path / 'runs'}: ")

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(export.importlib, "import_module", absent)
    for name in export.TRACKERS:
        assert export.main(["--to", name, "--results", str(results)]) == 1
        assert capsys.readouterr().err == (
            f"--to {name} needs a package that is not installed: pip install -e '.[{name}]'.\n"
        )


@pytest.mark.parametrize("name", list(export.TRACKERS))
def test_an_installed_tracker_takes_it(results: Path, record: Record, tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is an extra, and not installed")
    assert export.main(["--to", name, "--results", str(results), "--out", str(tmp_path)]) == 0
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    text = b"".join(file.read_bytes() for file in written)
    # wandb nests what has dots.
    assert b"test.auc.mean" in text or b"seed_1" in text or any("test.auc.mean" in f.name for f in written)
    assert record.digest[:8].encode() in text or any(record.digest[:8] in str(file) for file in written)
