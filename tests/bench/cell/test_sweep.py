"""Sweep plans: which points are tried, the same number for every row, and going on where a run stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import methods
from bench import cell as cells
from bench import compose
from bench.cell import Cell, trainer
from bench.cell import plan as sweep
from bench.cell.evaluation import Measured, measure
from bench.cell.preparation import plan_of
from bench.cell.progress import describe, sizes, stage_trainings
from bench.cell.trainer import Trainer
from bench.config import DATASET_LISTS, Config, StageConfig
from bench.conventions import NO_POSITIVE
from bench.engine.members import Member
from bench.errors import BenchError, Sliced
from bench.records import store
from bench.records.points import Points
from bench.records.record import Provenance, Record

TINY = (
    *(
        "dataset=synthetic_item_effects",
        "dataset.n_users=50",
        "dataset.n_items=40",
        "dataset.ratings_per_user=10",
    ),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=2", "seeds=3", "dataset.selection_seeds=3"),
    "dataset.screening_seeds=1",
)
# A staged plan of few points.
STAGED = (
    "dataset.shared_grid={learning_rate:[0.01,0.05,0.1],batch_size:[64,128],embedding_size:[4]}",
    "sweep.stages=[{name:shared,lists:[shared_grid],seeds:1},"
    "{name:own,lists:[common_grid,long_grid],around:2,points:5,seeds:1},"
    "{name:again,lists:[shared_grid],near:true,around:1,points:2,seeds:1},{name:confirm,around:3,seeds:3}]",
)


def prepared(*overrides: str) -> Cell:
    compose.register()
    config = compose.composed([*TINY, *overrides])
    return cells.prepare(config, cells.load_ratings(config))


def plan(stages: Sequence[StageConfig], **lists: dict[str, list[Any]]) -> sweep.Plan:
    configured = {"a": 1, "b": 1, "c": "x"}
    return sweep.plan(stages, {"first": {}, "second": {}, **lists}, {}, configured, 10, 3)


A, B = {"a": [0, 1, 2]}, {"b": [1, 2, 3, 4]}


def test_later_stages_go_around_the_best_points() -> None:
    found = plan(
        [StageConfig(name="one", lists=["first"]), StageConfig(name="two", lists=["second"], around=1)],
        first=A,
        second=B,
    )
    first, second = found.stages
    assert found.fields == ("a", "b") and found.start == (1, 1)
    assert found.points(first, []) == [(0, 1), (1, 1), (2, 1)]
    # (2, 1) is there already.
    assert found.points(second, [(2, 1), (0, 1), (1, 1)]) == [(2, 2), (2, 3), (2, 4)]
    assert sizes(found) == [3, 3]


def test_neighbours_are_the_next_values_of_a_list() -> None:
    stages = [StageConfig(name="one", lists=["first"])]
    stages += [StageConfig(name="two", lists=["first", "second"], near=True, around=1)]
    found = plan(stages, first={"a": [8, 1, 2, 4]}, second={"c": ["x", "y", "z"]})
    points = found.points(found.stages[1], [(2, "x")])
    assert {a for a, _ in points} == {1, 2, 4}
    assert {c for _, c in points} == {"x", "y", "z"}  # words have no neighbours
    assert {a for a, _ in found.points(found.stages[1], [(3, "x")])} == {2, 3, 4}  # a value of no list


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    around=st.integers(1, 5),
    size=st.integers(1, 30),
)
def test_a_stage_of_given_size_gets_it_whatever_the_lists(lengths: list[int], around: int, size: int) -> None:
    """As long as there are points enough in all; never one twice, never one that is known."""
    names = "bcd"[: len(lengths)]
    own = {name: list(range(n)) for name, n in zip(names, lengths, strict=True)}
    configured: dict[str, Any] = {"a": 0, "b": 0, "c": 0, "d": 0}
    stages = [
        StageConfig(name="one", lists=["first"]),
        StageConfig(name="two", lists=["second"], around=around, points=size),
    ]
    found = sweep.plan(stages, {"first": {"a": list(range(8))}, "second": own}, {}, configured, 10, 3)
    known = found.points(found.stages[0], [])
    new = found.points(found.stages[1], known)
    there = 8 * int(np.prod(lengths)) - 8
    assert len(new) == len(set(new)) == min(size, there)
    assert not set(new) & set(known)
    assert new == found.points(found.stages[1], known)
    if there >= size:
        assert sum(sizes(found)) == 8 + size


def test_neighbours_that_differ_least_come_first() -> None:
    stages = [
        StageConfig(name="one", lists=["first"]),
        StageConfig(name="two", lists=["first", "second"], near=True, around=1, points=5),
    ]
    found = plan(stages, first={"a": [1, 2, 4]}, second={"b": [0, 1, 2], "c": ["x", "y"]})
    points = found.points(found.stages[1], [(2, 1, "x"), (4, 1, "x")])
    # (1, 1, x), (2, 0, x), (2, 2, x), (2, 1, y), and one of those that differ in two fields
    changes = [sum(mine != own for mine, own in zip(each, (2, 1, "x"), strict=True)) for each in points]
    assert sorted(changes) == [1, 1, 1, 1, 2]


def test_points_that_differ_in_what_nothing_reads_are_one() -> None:
    stages = [StageConfig(name="one", lists=["first"])]
    lists = {"first": {"a": [1, 2], "b": [0, 1, 2], "c": ["x", "y"]}, "second": {}}
    found = sweep.plan(stages, lists, {}, {"a": 1, "b": 1, "c": "x"}, 10, 3, {("c", "x"): ("b", "unknown")})
    assert sorted(found.points(found.stages[0], [])) == sorted(
        [(a, 1, "x") for a in (1, 2)] + [(a, b, "y") for a in (1, 2) for b in (0, 1, 2)]
    )
    # In a row: one table has one decay, separate towers have three.
    cell = prepared("method=multi_dr", "sweep=select")
    own = next(stage for stage in cell.plan.stages if stage.name == "own")
    tried = cell.plan.points(replace(own, points=0, around=0), [])
    place = {name: number for number, name in enumerate(cell.plan.fields)}
    decays = [place["propensity_weight_decay"], place["imputation_weight_decay"]]
    shared = {tuple(each[at] for at in decays) for each in tried if each[place["shared"]]}
    separate = {tuple(each[at] for at in decays) for each in tried if not each[place["shared"]]}
    assert shared == {(1e-4, 1e-5)} and len(separate) == 9


def test_a_row_without_own_parameters_takes_the_lists_that_stand_instead() -> None:
    stages = [
        StageConfig(name="one", lists=["first"]),
        StageConfig(name="two", lists=["second"], instead=["third"], around=2, points=3),
    ]
    for own, field in ((B, "b"), ({}, "c")):
        found = plan(stages, first=A, second=own, third={"c": ["x", "y", "z"]})
        assert list(found.stages[1].lists) == [field]
        assert len(found.points(found.stages[1], found.points(found.stages[0], []))) == 3
    with pytest.raises(BenchError, match="names the list 'fourth'"):
        plan([StageConfig(name="one", lists=["first"], instead=["fourth"])], first=A, third={})


def test_a_row_with_own_parameters_only_starts_with_them() -> None:
    """One that is not trained: the lists of rates are none of its."""
    stages = [
        StageConfig(name="rates", lists=["first"]),
        StageConfig(name="shared", lists=["first"], around=1),
        StageConfig(name="own", lists=["second"], around=4, points=3),
        StageConfig(name="confirm", around=2),
    ]
    found = plan(stages, first={}, second=B)
    assert [stage.name for stage in found.stages] == ["own", "confirm"]
    tried = found.points(found.stages[0], [])
    assert len(tried) == 3 and found.points(found.stages[1], tried) == tried[:2]


# Plan, data set → new points of each stage, the paper's 80 shared ones among them where they belong.
PROMISED = {
    ("paper", "coat"): [20, 76, 24, 0, 12, 0],  # 4 of the 80 are among the rates
    ("select", "coat"): [20, 24, 0, 12, 0],
    ("study", "coat"): [20, 20, 0],
    ("reduced", "kuairec"): [16, 11, 16, 0],
}


@pytest.mark.parametrize(("name", "dataset"), PROMISED)
def test_a_plan_gives_every_row_as_many_points(name: str, dataset: str) -> None:
    """Whichever of its points come out best: here in the order of trying, and the other way round."""
    compose.register()
    for key in methods.rows():
        kind = methods.get(key)
        if not kind.trained or (key == "ips_oracle" and dataset != "synthetic"):
            continue
        cell = planned(name, dataset, key)
        for turned in (1, -1):
            best: list[tuple[Any, ...]] = []
            new = []
            for stage in cell.stages:
                found = cell.points(stage, best[::turned])
                if stage.name == "shared":
                    rows = [dict(zip(cell.fields, each, strict=True)) for each in [*best, *found]]
                    names = ("learning_rate", "batch_size", "embedding_size")
                    decay = dict(zip(cell.fields, best[::turned][0], strict=True))["weight_decay"]
                    mine = {tuple(row[n] for n in names) for row in rows if row["weight_decay"] == decay}
                    assert len(mine) == 80
                found = [each for each in found if each not in best]
                best += found
                new.append(len(found))
            assert new == PROMISED[name, dataset], (key, turned)


@pytest.mark.parametrize(
    ("name", "dataset", "n"),
    [
        ("paper", "coat", 830),
        ("select", "coat", 450),
        ("reduced", "yahoo_r3", 164),
        ("reduced", "kuairec", 164),
    ],
)
@pytest.mark.parametrize("key", ["mf", "ultd_jl"])
def test_a_plan_comes_to_what_its_file_says_and_the_published_sweeps_have(
    name: str, dataset: str, n: int, key: str
) -> None:
    compose.register()
    assert sum(stage_trainings(planned(name, dataset, key))) == n
    file = compose.CONF / "sweep" / f"{name}.yaml"
    comment = " ".join(line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines())
    assert f"{n} trainings for every row" in comment
    if name != "select":  # of which none is published
        swept = compose.CONF.parent / "results" / "sweep" / "table" / dataset / f"{key}.csv"
        assert len(Points.read(swept).trainings) == n


@pytest.mark.parametrize(("one", "other"), [("coat", "synthetic"), ("kuairec", "yahoo_r3")])
def test_data_sets_of_a_size_have_the_same_lists(one: str, other: str) -> None:
    """So that what holds for the number of points on the one does on the other."""
    compose.register()
    mine, its = (compose.composed([f"dataset={name}"]).dataset for name in (one, other))
    for name in set(DATASET_LISTS) - {"quick_grid"}:
        assert getattr(mine, name) == getattr(its, name)


@cache
def composed(*overrides: str) -> Config:
    return compose.composed(overrides)


def planned(name: str, dataset: str, method: str) -> sweep.Plan:
    """A sweep's plan for a row; no ratings are read."""
    stages = composed(f"sweep={name}", f"dataset={dataset}", "method=mf", "seeds=20").sweep
    config = replace(
        composed("sweep=none", f"dataset={dataset}", f"method={method}", "seeds=20"), sweep=stages
    )
    kind = methods.get(method)
    return plan_of(
        config, kind.trained, {each.name: getattr(config.method, each.name) for each in fields(kind.Config)}
    )


def test_a_list_of_the_command_line_replaces_the_files() -> None:
    lists = {"first": A, "second": B}
    stages = [
        StageConfig(name="one", lists=["first"]),
        StageConfig(name="two", lists=["second"], around=1),
    ]
    found = sweep.plan(stages, lists, {"b": [9], "c": ["y"]}, {"a": 1, "b": 1, "c": "x"}, 10, 3)
    assert found.stages[0].lists == {"a": [0, 1, 2], "c": ["y"]}
    assert found.stages[1].lists == {"b": [9]}
    own = [stages[0], StageConfig(name="own", lists=["long_grid"], around=1)]
    found = sweep.plan(own, {**lists, "long_grid": B}, {"c": ["y"]}, {"a": 1, "b": 1, "c": "x"}, 10, 3)
    assert [stage.lists for stage in found.stages] == [A, {**B, "c": ["y"]}]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (StageConfig(name="one", lists=["third"]), "names the list 'third'"),
        (StageConfig(name="one", lists=["first"], around=2), "is the first stage"),
        (StageConfig(name="one", lists=["first"], points=-1), "must not be negative"),
        (
            StageConfig(name="one", lists=["first"], points=10**9),
            "must be at most 1,000,000",
        ),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(stage: StageConfig, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        plan([stage], first=A)


def test_a_product_that_nobody_can_go_through_is_refused() -> None:
    wide = {f"f{number}": list(range(10)) for number in range(7)}
    with pytest.raises(BenchError, match="lists of stage 'one' have 10,000,000 points"):
        plan([StageConfig(name="one", lists=["first"])], first=wide)


# --- Running ----------------------------------------------------------------------------------------


def comparable(record: Record) -> Record:
    return replace(record, provenance=Provenance())


def test_a_staged_sweep_keeps_every_training_and_confirms_the_best(tmp_path: Path) -> None:
    cell = prepared(*STAGED, "method=eib")
    record = cells.train_and_store(cell, tmp_path)
    arrays = store.read_arrays(tmp_path, cell.digest)
    assert [stage.tried for stage in record.plan] == [6, 5, 2, 3]
    assert record.points == len(record.tried) == 13
    stages = arrays["trial_stage"].tolist()
    assert [stages.count(number) for number in range(4)] == [6, 5, 2, 3 * 2]  # seed 0 was there
    trained = {
        (p, s) for p, s in zip(arrays["trial_point"].tolist(), arrays["trial_seed"].tolist(), strict=True)
    }
    assert len(trained) == len(stages)
    # The winner is one of those with three seeds, and the best of them.
    confirmed = [each for each in record.tried if each.seeds == 3]
    assert len(confirmed) == 3
    best = max(confirmed, key=lambda each: each.held_out_auc or 0.0)
    assert record.selected == best.point
    for each in record.tried:
        mine = arrays["trial_point"] == record.tried.index(each)
        assert arrays["trial_held_out"][mine].mean() == pytest.approx(each.held_out_auc)


def test_the_finalists_test_metrics_are_kept_and_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = prepared(*STAGED, "method=mf")
    honest = cells.train_and_store(cell, tmp_path / "honest")
    arrays = honest.arrays()
    seeds = [honest.tried[point].seeds for point in arrays["trial_point"]]
    names = ["auc", "ideal_loss", *(f"{name}_{rule}" for name in ("ndcg", "recall") for rule in NO_POSITIVE)]
    for name in names:
        # All seeds of those with most seeds, which the winner is chosen among, and no other.
        known = np.isfinite(arrays[f"trial_test_{name}"])
        assert known.tolist() == [n == 3 for n in seeds], name
    winner = arrays["trial_point"] == [each.point for each in honest.tried].index(honest.selected)
    order = arrays["trial_seed"][winner].argsort()
    np.testing.assert_allclose(arrays["trial_test_auc"][winner][order], honest.test["auc"], atol=1e-6)

    # The sweep's file has them as the protocol counts them.
    swept = Points.read(Points.of_record(honest).write(tmp_path / "mf.csv"))
    found = swept.finalists()
    assert found is not None and swept.metrics == ("auc", "ndcg", "recall", "ideal_loss")
    assert len(found.values) == 3 and tuple(honest.selected.values()) in found.values
    place = found.values.index(tuple(honest.selected.values()))
    np.testing.assert_allclose(found.test["ndcg"][place], list(honest.metric("ndcg").values()), atol=1e-6)

    # Whatever is measured on the test set: the same points are tried, and the same one wins.
    measured: list[float] = []

    def other(*rest: Any) -> Measured:
        found = measure(*rest)
        measured.append(1.0 - found.metrics["auc"] if len(measured) % 3 else np.nan)
        return replace(found, metrics={**found.metrics, "auc": measured[-1]})

    monkeypatch.setattr(trainer, "measure", other)
    odd = cells.train_and_store(cell, tmp_path / "odd")
    assert len(measured) == len(seeds) + len(odd.seeds)
    assert (odd.tried, odd.selected, odd.plan) == (honest.tried, honest.selected, honest.plan)
    assert odd.test["auc"] != honest.test["auc"]


class _Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5, 6])
def test_a_run_that_was_stopped_goes_on_with_the_stacks_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    cell = prepared(*STAGED, "method=mf")
    whole = cells.train_and_store(cell, tmp_path / "whole")
    trained: list[int] = []
    training = Trainer._train_stack

    def counted(self: Trainer, stack: Sequence[Member], *rest: Any) -> Any:
        if len(trained) == after:
            raise _Killed
        trained.append(len(stack))
        return training(self, stack, *rest)

    monkeypatch.setattr(Trainer, "_train_stack", counted)
    with pytest.raises(_Killed):
        cells.train_and_store(cell, tmp_path / "stopped")
    trained.clear()
    after = 10**6
    record = cells.train_and_store(cell, tmp_path / "stopped")
    assert comparable(record) == comparable(whole)
    kept = len(list((tmp_path / "whole" / "groups").iterdir()))
    assert 0 < len(trained) < kept
    one, other = (store.read_arrays(tmp_path / name, cell.digest) for name in ("whole", "stopped"))
    for name in one.keys() - {"trial_seconds"}:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_a_damaged_stack_is_told_and_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = prepared(*STAGED, "method=mf")
    whole = cells.train_and_store(cell, tmp_path)
    groups = sorted((tmp_path / "groups").glob("*/arrays.npz"))
    content = bytearray(groups[0].read_bytes())
    content[len(content) // 2] ^= 1
    groups[0].write_bytes(content)
    (groups[1].parent / "record.json").write_text("{")
    (tmp_path / cell.digest / "record.json").unlink()
    assert comparable(cells.train_and_store(cell, tmp_path)) == comparable(whole)
    said = capsys.readouterr().err
    assert str(groups[0]) in said and str(groups[1].parent) in said


def test_shares_of_a_stage_add_up_to_the_whole(tmp_path: Path) -> None:
    whole = cells.train_and_store(prepared(*STAGED, "method=mf"), tmp_path / "whole")
    for place in range(2):
        with pytest.raises(Sliced, match=f"Share {place} of 2 of stage shared"):
            cells.train_and_store(
                prepared(*STAGED, "sweep.slices=2", f"sweep.slice={place}"), tmp_path / "shares"
            )
    cell = prepared(*STAGED, "method=mf")
    assert len(list((tmp_path / "shares" / "groups").iterdir())) == 2  # two batch sizes
    assert comparable(cells.train_and_store(cell, tmp_path / "shares")) == comparable(whole)
    with pytest.raises(BenchError, match=r"sweep\.slice=2 is too large"):
        prepared(*STAGED, "sweep.slices=2", "sweep.slice=2")


def test_progress_counts_up_to_what_was_planned(tmp_path: Path) -> None:
    told: list[tuple[int, int, str, float | None]] = []
    cell = prepared(*STAGED, "method=mf")
    cells.train_and_store(cell, tmp_path, lambda *state: told.append(state))
    done = [each[0] for each in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1] <= cells.trainings(cell)
    assert [each[2] for each in told if each[2] == "final"]
    assert any(each[3] is not None and each[3] > 0 for each in told)


def test_what_is_told_before_a_sweep_is_what_it_trains(tmp_path: Path) -> None:
    """Points that a stage has given more seeds need fewer for the finals."""
    stages = (
        "{name:shared,lists:[shared_grid],seeds:1},{name:confirm,around:3,seeds:2},"
        "{name:near,lists:[common_grid],near:true,around:1,points:1,seeds:2},{name:finals,around:2,seeds:4}"
    )
    cell = prepared(*STAGED, f"sweep.stages=[{stages}]", "seeds=4", "method=mf")
    assert stage_trainings(cell.plan) == [6, 3, 2, 4]
    told: list[tuple[int, int]] = []
    cells.train_and_store(cell, tmp_path, lambda done, total, stage, left: told.append((done, total)))
    assert cells.trainings(cell) == 6 + 3 + 2 + 4 + 4
    assert {total for _, total in told} == {cells.trainings(cell)} and told[-1][0] == cells.trainings(cell)


def test_the_budget_of_a_plan_is_told_before_it_starts() -> None:
    cell = prepared(*STAGED, "method=eib")
    assert describe(cell) == (
        "sweep=default: shared 6 × 1 seed, own 5 × 1 seed, again 2 × 1 seed, confirm 3 × 3 seeds; then the "
        "winner with 3 seeds: 13 points, 22 trainings"
    )
    assert describe(prepared("sweep=none")) == "the configured point, 3 seeds"
