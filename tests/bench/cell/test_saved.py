"""What a cell keeps beside its record: scores and models that give its numbers again to the last digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench import cell as cells
from bench.cell import saved
from bench.errors import BenchError
from bench.metrics import auc
from bench.records import store
from bench.records.record import Record

TINY = (
    *("dataset=synthetic", "dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=3", "seeds=3", "dataset.selection_seeds=2"),
    *("grid.learning_rate=[0.01,0.1]", "method.weight_decay=0.0"),
)


def trained(runs: Path, *overrides: str) -> tuple[Record, list[int], list[str]]:
    """The record, how many trainings ended, and what was said."""
    ended: list[int] = []
    said: list[str] = []
    words = [*TINY, *overrides]
    record = cells.find_or_train(words, runs, lambda done, *_: ended.append(done), said.append)
    return record, ended, said


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return trained(tmp_path_factory.mktemp("runs"), "method=ultd_jl", "save=scores,model")[0]


def test_saved_scores_give_the_records_numbers(both: Record) -> None:
    found = both.scores()
    assert list(found) == both.seeds == [0, 1, 2]
    for seed, each in found.items():
        assert len(each.users) == len(each.items) == len(each.labels) == len(each.scores) == 900
        assert float(auc(each.scores, each.labels)) == both.metric("auc")[seed]
        assert set(both.arrays()[f"users_{seed}"]) == set(each.users)


def test_a_model_scores_again_to_the_last_digit(both: Record) -> None:
    model = bench.load(both)
    for seed, each in both.scores().items():
        assert np.array_equal(model.score(each.users, each.items, seed), each.scores)
        some = [17, 3, 300]
        assert np.array_equal(model.score(each.users[some], each.items[some], seed), each.scores[some])
    assert not np.array_equal(model.score([1, 2], [3, 4], 0), model.score([1, 2], [3, 4], 1))
    assert len(model.score([], [], 0)) == 0


@pytest.mark.parametrize(
    ("users", "items", "seed", "said"),
    [
        ([50], [0], 0, "users must be whole numbers from 0 to 49"),
        ([0], [-1], 0, "items must be whole numbers from 0 to 39"),
        ([0.5], [0], 0, "users must be whole numbers"),
        ([0, 1], [0], 0, "lists of one length"),
        ([0], [0], 9, "has no seed 9"),
    ],
)
def test_pairs_that_cannot_be_scored(both: Record, users: Any, items: Any, seed: int, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        bench.load(both).score(users, items, seed)


def test_a_record_that_stands_is_completed_by_its_final_runs_alone(tmp_path: Path) -> None:
    first, ended, _ = trained(tmp_path, "method=ips", "method.propensity=naive_bayes")
    assert len(ended) and max(ended) == 2 * 2 + 3
    with pytest.raises(store.NoRecord, match=r"a run with save=scores writes it"):
        first.scores()
    again, ended, said = trained(tmp_path, "method=ips", "method.propensity=naive_bayes", "save=scores")
    assert again == first and max(ended) == 3
    assert "stands without its scores; its final runs are trained once more" in said[0]
    assert float(auc(again.scores()[1].scores, again.scores()[1].labels)) == first.metric("auc")[1]
    assert not trained(tmp_path, "method=ips", "method.propensity=naive_bayes", "save=[scores]")[1]
    assert max(trained(tmp_path, "method=ips", "method.propensity=naive_bayes", "save=model")[1]) == 3


def test_a_record_is_not_completed_by_other_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _, _ = trained(tmp_path, "method=mf")
    other = record.__class__(**{**vars(record), "test": {**record.test, "auc": [0.5, 0.5, 0.5]}})
    monkeypatch.setattr(saved, "find_record", lambda *_: other)
    with pytest.raises(BenchError, match=r"cannot be completed by save=scores: .* again=true"):
        trained(tmp_path, "method=mf", "save=scores")
    assert not store.has_beside(tmp_path, record.digest, "scores")


def test_what_is_saved_belongs_to_its_record(both: Record, tmp_path: Path) -> None:
    """An archive that was moved or cut off is no other record's scores."""
    assert both.runs is not None
    file = both.runs / both.digest / "scores.npz"
    (tmp_path / both.digest).mkdir()
    (tmp_path / both.digest / "scores.npz").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(store.DamagedRecord, match="is not a plain array archive"):
        store.read_beside(tmp_path, both.digest, "scores")
    (tmp_path / ("0" * 20)).mkdir()
    (tmp_path / ("0" * 20) / "scores.npz").write_bytes(file.read_bytes())
    with pytest.raises(store.DamagedRecord, match=f"belongs to the record {both.digest}"):
        store.read_beside(tmp_path, "0" * 20, "scores")


def test_other_ratings_and_an_unknown_name_are_told(both: Record, tmp_path: Path) -> None:
    other = record_with(both, dataset={**both.dataset, "data_seed": 1})
    with pytest.raises(BenchError, match="was trained on other ratings"):
        bench.load(other)
    with pytest.raises(BenchError, match=r"save=score is not known: did you mean 'scores'\?"):
        trained(tmp_path, "method=mf", "save=score")


def record_with(record: Record, **changes: Any) -> Record:
    return Record(**{**vars(record), **changes})
