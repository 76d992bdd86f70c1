"""A cell: its points, its identity, its record, and the selection that never sees the test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import cell as cells
from bench import compose
from bench.cell import Cell, selection
from bench.cell.splits import Seeds
from bench.conventions import NO_POSITIVE
from bench.data.ratings import SideFeatures
from bench.engine.members import Member
from bench.errors import BenchError
from bench.records import fingerprint, store
from bench.records.record import Record

TINY = (
    *(
        "dataset=synthetic_item_effects",
        "dataset.n_users=50",
        "dataset.n_items=40",
        "dataset.ratings_per_user=10",
    ),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=3", "seeds=3", "dataset.selection_seeds=2"),
    *("grid.learning_rate=[0.01,0.1]", "grid.weight_decay=[0.0]"),
)


def prepared(*overrides: str) -> Cell:
    compose.register()
    config = compose.composed([*TINY, *overrides])
    return cells.prepare(config, cells.load_ratings(config))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return cells.train_and_store(
        prepared("method=ips", "~method.grid.propensity"), tmp_path_factory.mktemp("runs")
    )


def test_only_cells_that_read_side_features_depend_on_them() -> None:
    compose.register()
    config = compose.composed([*TINY, "method=mf"])
    known = SideFeatures(np.ones((50, 2), np.float32), None, "of the features")
    without = cells.load_ratings(config)
    found = replace(without, features=lambda: known)
    assert cells.prepare(config, found).identity == cells.prepare(config, without).identity
    for word in ("method.backbone=features", "grid.backbone=[ids,features]"):
        reading = cells.prepare(compose.composed([*TINY, "method=mf", word]), found)
        assert reading.identity.data == f"{without.checksum} of the features"
        other = replace(without, features=lambda: replace(known, checksum="of others"))
        assert cells.prepare(compose.composed([*TINY, "method=mf", word]), other).digest != reading.digest
        with pytest.raises(BenchError, match="the data set 'synthetic_item_effects' has none"):
            cells.prepare(compose.composed([*TINY, "method=mf", word]), without)


def test_side_features_reach_the_members_that_read_them() -> None:
    compose.register()
    config = compose.composed([*TINY, "method=mf", "grid.backbone=[ids,features]"])
    known = SideFeatures(np.ones((50, 2), np.float32), None, "of the features")
    cell = cells.prepare(config, replace(cells.load_ratings(config), features=lambda: known))
    seeds = Seeds.of(cell, torch.device("cpu"), torch.float64)
    for point in cell.points:
        training, _ = seeds.of_members([Member(0, 1, point)])
        assert training.item_features is None
        if point.backbone == "ids":
            assert training.user_features is None
        else:
            assert training.user_features is not None
            assert training.user_features.matrix.dtype == torch.float64


def test_the_points_are_the_product_of_the_grid() -> None:
    cell = prepared("grid.weight_decay=[0.0,1e-3,1e-2]", "grid.batch_size=[16,32]")
    assert len(cell.points) == 12
    assert {(p.learning_rate, p.weight_decay, p.batch_size) for p in cell.points} == {
        (rate, decay, size) for rate in (0.01, 0.1) for decay in (0.0, 1e-3, 1e-2) for size in (16, 32)
    }


def test_later_lists_replace_earlier_ones() -> None:
    assert prepared("method=eib").plan.stages[0].lists["learning_rate"] == [0.01, 0.1]
    assert len(prepared("method=eib").points) == 2 * 1 * 5
    assert len(prepared("method=eib", "grid.missing_weight=[0.5]").points) == 2
    rates, shared, *_ = prepared("sweep=paper", "method=mf").plan.stages
    assert rates.lists == {"learning_rate": [0.01, 0.1], "weight_decay": [0.0]}
    assert shared.lists["learning_rate"] == [0.01, 0.1]


@pytest.mark.parametrize(
    "same", ["engine.threads=2", "engine.memory_gib=3", "engine.device=cpu", "method.clip=10.0", "again=true"]
)
def test_what_cannot_change_a_number_keeps_the_identity(same: str) -> None:
    assert prepared("method=ips", same).digest == prepared("method=ips").digest


@pytest.mark.parametrize(
    "other",
    [
        *("seeds=4", "method.clip=5", "engine.patience=3", "dataset.k=6", "protocol.unbiased_train=0.1"),
        *("dataset.data_seed=1", "method=mf", "selection=oracle_test", "grid.learning_rate=[0.1,0.01]"),
    ],
)
def test_what_can_change_a_number_changes_the_identity(other: str) -> None:
    assert prepared("method=ips", other).digest != prepared("method=ips").digest


def test_a_change_of_code_changes_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepared("method=ips").digest
    really = fingerprint._parsed
    altered = "parts.py"

    def parsed(content: bytes, path: Path) -> Any:
        return really(content + (b"\nMORE = 1\n" if path.name == altered else b""), path)

    monkeypatch.setattr(fingerprint, "_parsed", parsed)
    for altered, same in (("", True), ("parts.py", False), ("dr.py", True), ("store.py", True)):
        monkeypatch.setattr(fingerprint, "_sources", {})
        assert (prepared("method=ips").digest == before) == same, altered


def test_the_record_says_everything(record: Record) -> None:
    arrays = record.arrays()
    assert record.cell == ("table", "synthetic_item_effects", "ips")
    assert record.points == len(record.tried) == 2
    assert record.seeds == [0, 1, 2]
    assert len(record.metric("auc")) == len(record.metric("ideal_loss")) == 3
    assert set(record.test["ndcg"]) == set(record.test["recall"]) == set(NO_POSITIVE)
    assert record.selected in [each.point for each in record.tried]
    for name in ("torch", "device", "wall_seconds", "cpu_seconds", "peak_memory_mib", "commit", "finished"):
        assert getattr(record.provenance, name)
    assert arrays["trial_point"].tolist() == [0, 0, 1, 1] and arrays["trial_seed"].tolist() == [0, 1, 0, 1]
    assert arrays["curve"].shape == (3, 4)  # three epochs and the start
    assert arrays["loss_prediction"].shape == (3, 4)
    for seed, ndcg in record.metric("ndcg", "skip").items():
        assert np.nanmean(arrays[f"ndcg_{seed}"]) == pytest.approx(ndcg, abs=1e-6)
        assert len(arrays[f"users_{seed}"]) == len(arrays[f"ndcg_{seed}"])


def test_the_selected_point_has_the_best_mean_validation_auc(record: Record) -> None:
    point_auc = record.arrays()["trial_auc"].reshape(2, 2)
    best = int(point_auc.mean(-1).argmax())
    assert record.selected == record.tried[best].point
    # Its members of the selection are trained again with the others: the same numbers come out.
    np.testing.assert_allclose(point_auc[best], record.validation.auc[:2], atol=1e-6)


def test_only_the_oracle_looks_at_the_test_set() -> None:
    validation = np.array([[0.6, 0.7], [0.8, 0.4], [0.66, 0.66], [0.9, np.nan]])
    test = np.array([[0.1, 0.1], [0.2, 0.2], [0.1, 0.1], [0.9, 0.9]])
    held_out = np.array([[0.5, 0.5], [0.7, 0.7], [0.6, 0.6], [0.9, np.nan]])
    for known in (test, np.full_like(test, np.nan)):
        merits = selection.Merits(validation, held_out, known)
        assert selection.order("validation_auc", merits) == [2, 0, 1]
        assert selection.order("validation_held_out", merits) == [1, 2, 0]
    assert selection.order("oracle_test", selection.Merits(validation, held_out, test))[0] == 3
    assert {"oracle_test"} == selection.SEES_TEST
    with pytest.raises(BenchError, match="did you mean 'validation_auc'"):
        selection.check("validation")


def test_other_seeds_have_other_splits_and_shared_ones_the_same() -> None:
    one, other = (Seeds.of(prepared(f"seeds={n}"), *_cpu()) for n in (2, 3))
    assert one.validation.users.tolist() == other.validation.users[:2].tolist()
    assert one.training.unbiased_users[0].tolist() != one.training.unbiased_users[1].tolist()
    parts = [one.training.unbiased_users[0], one.validation.users[0], one.test[0][0]]
    assert [len(part) for part in parts] == [50, 50, 900]


def _cpu() -> tuple[Any, Any]:
    import torch

    return torch.device("cpu"), torch.float32


def test_a_cell_whose_every_point_diverges_is_a_failure_and_no_record(tmp_path: Path) -> None:
    cell = prepared("grid.learning_rate=[1e30]")
    with pytest.raises(BenchError, match="every point diverged"):
        cells.train_and_store(cell, tmp_path)
    assert store.find(tmp_path, cell.digest) is None
    assert len(list((tmp_path / "failed").iterdir())) == 1


def test_a_point_that_diverges_is_recorded_and_not_chosen(tmp_path: Path) -> None:
    found = cells.train_and_store(prepared("grid.learning_rate=[1e30,0.05]"), tmp_path)
    assert found.selected["learning_rate"] == 0.05
    assert {(each["point"], each["seed"]) for each in found.diverged} == {(0, 0), (0, 1)}
    assert "evaluation" in found.diverged[0]["what"]
