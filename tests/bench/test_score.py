"""Scores that were made elsewhere become a row: with the numbers of the row that they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import cell as cells
from bench import compose, reproduce, score
from bench.records.record import Record, read_record
from bench.table.manifest import TableManifest

DATA = (
    *("dataset=synthetic", "dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    *("dataset.unbiased_per_user=20", "seeds=3"),
)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A row that is trained here, with its scores."""
    words = [*DATA, "method=mf", "sweep=none", "engine.max_epochs=3", "save=scores"]
    return cells.find_or_train(words, tmp_path_factory.mktemp("theirs"))


def exported(row: Record, file: Path) -> Path:
    """The row's scores as a file of another kind."""
    assert row.runs is not None
    if file.suffix == ".npz":
        file.write_bytes((row.runs / row.digest / "scores.npz").read_bytes())
        return file
    parts = [
        pd.DataFrame({"user": each.users, "item": each.items, "score": each.scores, "seed": seed})
        for seed, each in row.scores().items()
    ]
    whole = pd.concat(parts)
    whole = whole.sample(frac=1, random_state=0)  # in any order
    whole.to_csv(file, index=False)
    return file


def entered(file: Path, results: Path, *words: str) -> int:
    return score.main([str(file), *DATA, f"results={results}", *words])


def record_in(results: Path) -> Record:
    (digest,) = [each.digest for each in TableManifest.read(results / "table1").cells.values()]
    assert digest is not None
    return read_record(results / "runs", digest)


@pytest.mark.parametrize("name", ["theirs.csv", "theirs.npz", "theirs.csv.gz"])
def test_exported_scores_give_the_same_numbers_to_the_last_digit(
    row: Record, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(row, tmp_path / name)
    assert entered(file, tmp_path / "results", "--title", "Their own") == 0, capsys.readouterr().err
    mine = record_in(tmp_path / "results")
    assert mine.cell == ("table", "synthetic", "theirs") and mine.method["title"] == "Their own"
    for metric in ("auc", "ndcg", "recall"):
        assert mine.test[metric] == row.test[metric]
    arrays, theirs = mine.arrays(), row.arrays()
    for seed in row.seeds:
        for known in ("users", "ndcg", "recall"):
            assert np.array_equal(arrays[f"{known}_{seed}"], theirs[f"{known}_{seed}"], equal_nan=True)
        assert np.array_equal(mine.scores()[seed].scores.astype(np.float32), row.scores()[seed].scores)
    table = (tmp_path / "results" / "table1" / "table1.md").read_text()
    assert "Their own" in table
    assert (tmp_path / "results" / "table1" / "index.html").is_file()


def test_scores_of_all_pairs_hold_for_all_seeds(tmp_path: Path) -> None:
    users, items = np.divmod(np.arange(50 * 40), 40)
    values = np.random.default_rng(0).random(2000)
    np.savez(tmp_path / "constant.npz", user=users, item=items, score=values)
    assert entered(tmp_path / "constant.npz", tmp_path / "results") == 0
    mine = record_in(tmp_path / "results")
    assert len(set(mine.test["auc"])) == 3  # other splits
    assert all(0 < value < 1 for value in mine.validation.auc)  # validation has scores, too
    # Another file of the same name is another record, and takes its place in the table.
    np.savez(tmp_path / "constant.npz", user=users, item=items, score=-values)
    assert entered(tmp_path / "constant.npz", tmp_path / "results") == 0
    again = record_in(tmp_path / "results")
    assert again.digest != mine.digest
    assert again.test["auc"] == pytest.approx([1 - value for value in mine.test["auc"]])


def test_the_splits_are_those_that_are_measured(tmp_path: Path, row: Record) -> None:
    assert score.main(["--splits", str(tmp_path), *DATA]) == 0
    unbiased = pd.read_csv(tmp_path / "unbiased.csv")
    for seed, each in row.scores().items():
        mine = unbiased[unbiased[f"seed_{seed}"] == "test"]
        assert set(zip(mine.user, mine.item, mine.label, strict=True)) == set(
            zip(each.users, each.items, each.labels.astype(int), strict=True)
        )
    assert len(pd.read_csv(tmp_path / "biased.csv")) == row.counts["biased"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,item\n0,0\n", "has no column 'score'"),
        ("user,item,score\n0,0,0.5\n", "pairs have no score"),
        ("user,item,score\n0,0,nan\n", "score must be finite numbers"),
        ("user,item,score\n-1,0,0.5\n", "user must be whole numbers from 0"),
        ("user,item,score\n0,x,0.5\n", "item must be whole numbers from 0"),
        ("user,item,score,seed\n0,0,0.5,7\n", "has no scores of seed 0: it has those of 7"),
        ("", "is no file of scores"),
    ],
)
def test_a_file_that_cannot_be_meant(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.csv").write_text(text)
    assert entered(tmp_path / "own.csv", tmp_path / "results") == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_two_scores_of_a_pair_and_a_methods_key_are_refused(
    row: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(row, tmp_path / "own.csv")
    first = row.scores()[0]
    with open(file, "a") as stream:
        stream.write(f"{first.users[0]},{first.items[0]},7.0,0\n")
    assert entered(file, tmp_path / "results") == 1
    assert "have two scores" in capsys.readouterr().err
    assert entered(file, tmp_path / "results", "--name", "mf") == 1
    assert "'mf' cannot be the row's key" in capsys.readouterr().err
    compose.register()


def test_a_table_that_is_made_again_keeps_the_row(row: Record, tmp_path: Path) -> None:
    assert entered(exported(row, tmp_path / "theirs.npz"), tmp_path / "results") == 0
    key = ("table", "synthetic", "theirs")
    plan = reproduce.TablePlan(("table",), ("synthetic",), ("mf",), ())
    listing = reproduce.Listing()
    reproduce.remember(plan, tmp_path / "results" / "table1", listing)
    assert list(listing.cells) == [key]
    (known,) = reproduce.manifest(plan, listing).rows
    assert known.method == "theirs" and known.guest
