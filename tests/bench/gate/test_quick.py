"""`make gate` on a tiny generated set: quiet where nothing changed, and what is planted is caught.

`test_gate_catches.py` does the same with the real profile (`make gate-test`).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import cell as cells
from bench import compose, metrics, reproduce
from bench.cell import splits
from bench.data.split import Split, split
from bench.engine.part import minimise
from bench.errors import BenchError
from bench.gate import quick, tables
from bench.gate.compare import compare_files
from methods.ips import IPS

ROWS = "mf,ips,mf_combine"
TINY = (
    *("dataset.n_users=120", "dataset.n_items=60", "dataset.ratings_per_user=10", "dataset.batch_size=100"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=5", "method.learning_rate=0.05"),
)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The baseline of some rows on the tiny set."""
    folder = tmp_path_factory.mktemp("baseline")
    compose.register()
    options = ["--datasets", "synthetic", "--methods", ROWS, "--jobs", "1"]
    tables.replace_baseline(
        folder / "baseline.csv", quick.train_profile(folder / "scratch", options, TINY)[0]
    )
    yield folder / "baseline.csv"


@pytest.fixture
def status(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the gate against the baseline; returns the exit status."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    options = ["--datasets", "synthetic", "--methods", ROWS, "--jobs", "1", "--baseline", str(baseline)]

    def run(*overrides: str) -> int:
        return quick.main([*options, "--scratch", str(tmp_path), *TINY, *overrides])

    return run


def failing(folder: Path, baseline: Path) -> set[str]:
    """Method and metric of the lines that failed in the last run."""
    found = compare_files(baseline, folder / "new.csv", strict=True).failing
    return {f"{each.key[2]} {each.key[3]}" for each in found}


def test_other_last_digits_are_quiet(status: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert status("engine.dtype=float64") == 0
    assert "The gate passes." in capsys.readouterr().out


def test_it_trains_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs/0123456789abcdef/record.json", "table1/table1.csv", "mine.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(reproduce, "main", lambda _: 1)
    with pytest.raises(BenchError, match="could not be trained"):
        quick.train_profile(tmp_path, [], [])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_wrong_sign_is_caught(
    status: Callable[..., int], baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: IPS, draw: object) -> None:
        observed = draw.observed()  # type: ignore[attr-defined]
        error = self.pointwise(self.prediction(observed), observed.labels)
        minimise(self.prediction, -(self.weights(observed) * error).mean(-1))

    monkeypatch.setattr(IPS, "step", step)
    assert status() == 1
    assert {name.split()[0] for name in failing(tmp_path, baseline)} == {"ips"}


def test_a_metric_that_is_one_rank_off_is_caught(
    status: Callable[..., int], baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = metrics.Ranking._hits

    def later(self: metrics.Ranking, scores: Tensor) -> Tensor:
        hits = really(self, scores).roll(1, -1)
        hits[..., 0] = 0
        return hits

    monkeypatch.setattr(metrics.Ranking, "_hits", later)
    assert status() == 1
    assert failing(tmp_path, baseline) >= {f"{row} ndcg" for row in ROWS.split(",")}


def test_what_the_spread_of_the_seeds_hides_is_caught(
    status: Callable[..., int], baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A discount that comes a rank late changes DCG and its best alike, and NDCG by less than its tolerance.
    really = metrics.Ranking.__init__

    def late(self: metrics.Ranking, *arguments: object) -> None:
        really(self, *arguments)  # type: ignore[arg-type]
        self._discount = 1 / torch.arange(3, len(self._discount) + 3).log2().double()
        self._best = self._discount.cumsum(0)[self._positives.clamp_max(self.k) - 1]

    monkeypatch.setattr(metrics.Ranking, "__init__", late)
    assert status() == 1
    found = compare_files(baseline, tmp_path / "new.csv", strict=True).failing
    assert {(each.key[3], each.verdict) for each in found} == {("ndcg", "shifted")}


def test_a_leak_of_the_test_ratings_is_caught(
    status: Callable[..., int], baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(*arguments: object) -> Split:
        found = split(*arguments)  # type: ignore[arg-type]
        return Split(found.test, found.validation, found.test)

    monkeypatch.setattr(splits, "split", leaking)
    assert status() == 1
    assert "mf_combine auc" in failing(tmp_path, baseline)  # which is better than it was


def test_an_update_keeps_a_data_set_that_is_absent(tmp_path: Path) -> None:
    def made(file: Path, *lines: tuple[str, str, str]) -> Path:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["dataset", "method", "mean"])
            writer.writerows(lines)
        costs = {
            ("table", each[0], each[1]): tables.Cost(1.0, 1.0, float(each[2])) for each in lines if each[2]
        }
        tables.write_costs(tables.cost_file(file), costs)
        seeds = ["dataset,value", *(f"{each[0]},{each[2]}" for each in lines if each[2])]
        tables.seeds_file(file).write_text("\n".join(seeds) + "\n")
        return file

    old = made(tmp_path / "old.csv", ("coat", "mf", ".7"), ("synthetic", "mf", ".6"))
    new = made(
        tmp_path / "new.csv", ("coat", "mf", ""), ("synthetic", "mf", ".5"), ("synthetic", "ips", ".5")
    )
    assert tables.replace_baseline(old, new) == ["coat"]
    assert old.read_text() == "dataset,method,mean\ncoat,mf,.7\nsynthetic,mf,.5\nsynthetic,ips,.5\n"
    for beside in (tables.cost_file, tables.seeds_file):
        assert [line[-2:] for line in beside(old).read_text().splitlines()[1:]] == [".7", ".5", ".5"]
    first = tmp_path / "first.csv"
    assert tables.replace_baseline(first, new) == [] and first.read_text() == new.read_text()


def test_a_data_set_that_was_asked_for_and_is_absent_fails(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "baseline.csv"
    lines = baseline.read_text().splitlines()
    whole.write_text("\n".join([*lines, *(line.replace(",synthetic,", ",coat,") for line in lines[1:])]))
    made = tmp_path / "made.csv"
    made.write_text(baseline.read_text())
    monkeypatch.setattr(quick, "train_profile", lambda *given: (made, 0))
    options = ["--baseline", str(whole), "--scratch", str(tmp_path)]
    assert quick.main(options) == 1
    assert "Missing: table/coat is not compared" in capsys.readouterr().out
    assert quick.main([*options, "--allow-missing"]) == 0
    assert quick.main([*options, "--datasets", "synthetic"]) == 0  # what is not asked for is not missed


def test_an_update_says_what_changed(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "baseline.csv"
    for file in (baseline, tables.seeds_file(baseline), tables.cost_file(baseline)):
        (tmp_path / file.name).write_text(file.read_text())
    before = mine.read_text()
    mine.write_text(before.replace(",ips,auc,,,0.", ",ips,auc,,,0.9"))
    assert mine.read_text() != before
    table = baseline.parent / "scratch" / "new.csv"
    monkeypatch.setattr(quick, "train_profile", lambda *_: (table, 0))
    assert quick.main(["--update", "--baseline", str(mine)]) == 0
    said = capsys.readouterr().out
    assert said.count("worse") == 2 and "table/synthetic/ips" in said  # the line, and the sentence
    assert mine.read_text() == before
    assert quick.main(["--update", "--baseline", str(mine), "seeds=2"]) == 2
    assert "leave out rows and overrides" in capsys.readouterr().err
    monkeypatch.setattr(quick, "train_profile", lambda *_: (table, 1))
    assert quick.main(["--update", "--baseline", str(mine)]) == 2
    assert "some failed" in capsys.readouterr().err


def test_a_cell_that_fails_is_gone(
    status: Callable[..., int], baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = cells.train_and_store

    def run(cell: cells.Cell, *rest: object) -> object:
        if cell.method == "ips":
            raise BenchError("It diverged.")
        return really(cell, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cells, "train_and_store", run)
    assert status("--json") == 1
    found = compare_files(baseline, tmp_path / "new.csv", strict=True).failing
    assert {(each.key[2], each.verdict) for each in found} == {("ips", "gone")}


def test_what_fails_is_status_2_and_no_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quick.main(["--baseline", str(tmp_path / "none.csv")]) == 2
    assert "none.csv does not exist: `make gate-update` writes it." in capsys.readouterr().err
    monkeypatch.setattr(reproduce, "main", lambda _: 1)
    assert quick.main(["--scratch", str(tmp_path)]) == 2
    assert "could not be trained" in capsys.readouterr().err
    monkeypatch.setattr(reproduce, "main", lambda _: 130)
    assert quick.main(["--scratch", str(tmp_path)]) == 130
    (tmp_path / "bad.csv").write_text("x")
    assert quick.main(["--baseline", str(tmp_path / "bad.csv")]) == 2
    assert "has no column" in capsys.readouterr().err
