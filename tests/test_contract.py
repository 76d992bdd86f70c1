"""What every method must hold, the suite's and yours: `pytest tests/test_contract.py --extra-method FILE`.

Each method is trained for a few steps on small generated data, and on Coat where `BENCH_DATA` has it.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

import methods
from bench import cell as cells
from bench import compose
from bench.cell import Cell
from bench.cell.state import restore, state_of
from bench.cell.trainer import Trainer
from bench.config import Config
from bench.engine.members import Member
from bench.engine.sampling import Pairs, TrainingData
from bench.engine.training import Outcome, train
from bench.errors import BenchError, NotApplicable
from methods.base import Method, MethodConfig, is_stacked

# Generated data of shapes unlike each other: about square; many users of few ratings, as Yahoo! R3 has.
SHAPES = {
    "square": {"n_users": 40, "n_items": 30, "ratings_per_user": 10.0},
    "tall": {"n_users": 300, "n_items": 25, "ratings_per_user": 4.0},
}
COMMON = (
    *("dataset.batch_size=64", "dataset.embedding_size=4", "dataset.evaluations_per_epoch=2"),
    *("sweep=none", "seeds=3", "engine.max_epochs=4", "engine.patience=2", "engine.threads=1"),
)
SOONER = {"invpref": ("method.interval=1",)}  # what four epochs would not reach
FOLDER = Path(os.environ.get("BENCH_DATA") or "data")
SAME = {"rtol": 1e-6, "atol": 1e-8}  # in float64, where sums in another order differ by far less


@dataclass(frozen=True)
class Run:
    """A stack that was trained. scores: (G, U * I) of all pairs."""

    outcome: Outcome
    scores: Tensor


@cache
def composed(key: str) -> Config:
    compose.register()
    words = ["dataset=synthetic", "dataset.unbiased_per_user=12", *COMMON, *SOONER.get(key, ())]
    return compose.composed([f"method={key}", *words])


@cache
def prepared(key: str, shape: str = "square", dtype: str = "float32") -> Cell:
    whole = composed(key)
    config = replace(
        whole, dataset=replace(whole.dataset, **SHAPES[shape]), engine=replace(whole.engine, dtype=dtype)
    )
    return cells.prepare(config, cells.load_ratings(config))


@cache
def trainer(key: str, shape: str, dtype: str) -> Trainer:
    return Trainer(prepared(key, shape, dtype))


def run(
    key: str,
    members: Sequence[tuple[int, MethodConfig]],
    shape: str = "square",
    dtype: str = "float32",
    with_data: Callable[[TrainingData], TrainingData] = lambda training: training,
    with_method: Callable[[Method], None] = lambda method: None,
) -> Run:
    """Trains (seed, configuration) pairs as one stack, on changed data or from changed parameters."""
    own = trainer(key, shape, dtype)
    stack = [Member(place, seed, config) for place, (seed, config) in enumerate(members)]
    training, validation = own.seeds.of_members(stack)
    method = methods.get(key)([m.config for m in stack], [m.seed for m in stack], with_data(training))
    with_method(method)
    outcome = train(method, validation, own.cell.engine, own.cell.dataset.evaluations_per_epoch)
    pairs = torch.arange(training.n_users * training.n_items).expand(len(stack), -1)
    with torch.no_grad():
        scores = outcome.method.score(Pairs(pairs // training.n_items, pairs % training.n_items))
    return Run(outcome, scores)


def base(key: str, **changes: float) -> MethodConfig:
    return replace(prepared(key).points[0], **{"learning_rate": 0.02, **changes})


def other(key: str) -> MethodConfig:
    """A configuration in which every number that members may differ in is another one."""
    config = base(key)
    for field in filter(is_stacked, dataclasses.fields(config)):
        for factor in (1.5, 0.5):
            changed = replace(config, **{field.name: factor * getattr(config, field.name)})
            try:
                changed.check()
            except BenchError:
                continue
            config = changed
            break
    return config


@cache
def alone(key: str) -> Run:
    """One member by itself, in float64."""
    return run(key, [(0, base(key))], dtype="float64")


def assert_same(key: str, stack: Run, place: int) -> None:
    """A member of a stack is what it is alone."""
    for mine, all_ in zip(alone(key).outcome.histories, stack.outcome.histories, strict=True):
        assert mine.best[0] == all_.best[place], f"another evaluation was chosen in phase {mine.name}"
    torch.testing.assert_close(stack.scores[place], alone(key).scores[0], **SAME)


# --- Training ----------------------------------------------------------------------------------------


@pytest.mark.trains
@pytest.mark.parametrize("shape", list(SHAPES))
def test_it_trains_and_predicts_probabilities(method_key: str, shape: str) -> None:
    found = run(method_key, [(seed, base(method_key)) for seed in range(3)], shape)
    outcome, scores = found.outcome, found.scores
    sizes = SHAPES[shape]
    assert scores.shape == (3, sizes["n_users"] * sizes["n_items"])
    if base(method_key).score == "raw":
        assert bool(scores.isfinite().all())
    else:
        within = (scores > 0) & (scores < 1)
        assert bool(within.all()), "`score` is a probability: a sigmoid of the logits, unless `score: raw`"
    assert float(scores.std(-1).min()) > 0
    assert outcome.diverged == {}
    assert bool(outcome.best.isfinite().all())
    for history in outcome.histories:
        moved = [losses for losses in history.losses.values() if bool(losses[:, 1:].isfinite().any())]
        assert moved, f"no part was trained in phase {history.name}"
    assert bool(outcome.histories) == methods.get(method_key).trained


@pytest.mark.trains
def test_its_members_are_measured(method_key: str) -> None:
    """On Coat, where its files are."""
    cell, there = prepared(method_key), (FOLDER / "coat" / "train.ascii").is_file()
    if there:
        words = [f"method={method_key}", "dataset=coat", f"data_dir={FOLDER}", "sweep=none", "seeds=1"]
        config = compose.composed([*words, "engine.max_epochs=3"])
        cell = cells.prepare(config, cells.load_ratings(config))
    try:
        (found,) = Trainer(cell).train([Member(0, 0, cell.points[0])], True, lambda n: None)
    except NotApplicable:
        assert there, "every method can be run on generated data"
        return
    assert found.diverged == ""
    assert 0 < found.test["ndcg"]["skip"] < 1 and 0 < found.test["recall"]["skip"] < 1
    assert (0.5 if there else 0) < found.test["auc"] < 1


@pytest.mark.trains
def test_one_seed_repeats_bit_for_bit_and_two_seeds_differ(method_key: str) -> None:
    pair = [(0, base(method_key)), (1, base(method_key))]
    first, again = run(method_key, pair).scores, run(method_key, pair).scores
    assert torch.equal(first, again), "draw random numbers by `bench.engine.sampling.generator` only"
    if methods.get(method_key).trained:
        assert not torch.equal(first[0], first[1])


@pytest.mark.trains
def test_it_scores_again_from_what_is_saved_of_it(method_key: str) -> None:
    """Equal to the last bit: what `build` makes and the arrays of its state are all that scores need."""
    trained = run(method_key, [(seed, base(method_key)) for seed in range(3)]).outcome.method
    one = trained.take(torch.tensor([1]))
    training, _ = trainer(method_key, "square", "float32").seeds.of_members([Member(0, 1, base(method_key))])
    again = methods.get(method_key)([base(method_key)], [1], training)
    pairs = torch.arange(training.n_users * training.n_items)[None]
    everything = Pairs(pairs // training.n_items, pairs % training.n_items)
    with torch.no_grad():
        restore(again, state_of(one))
        assert torch.equal(again.score(everything), one.score(everything)), (
            "keep what training makes in parts, or in tensors that are attributes of the method"
        )


# --- The member axis ---------------------------------------------------------------------------------


@pytest.mark.trains
def test_nobody_notices_who_else_is_trained(method_key: str) -> None:
    """A member alone is the same among others of another seed, rate, decay or any other number."""
    stack = [
        (0, other(method_key)),
        (1, base(method_key, weight_decay=0.1)),
        (0, base(method_key)),
        (0, base(method_key, learning_rate=1e-6)),
        (2, replace(other(method_key), learning_rate=0.3)),
    ]
    together = run(method_key, stack, dtype="float64")
    assert_same(method_key, together, 2)
    if methods.get(method_key).trained:
        assert not torch.allclose(together.scores[0], together.scores[2], **SAME)


@pytest.mark.trains
def test_a_member_that_is_lost_takes_nobody_along(method_key: str) -> None:
    """Neither a rate without end nor a parameter that is not a number gets into another member."""

    def lose(method: Method) -> None:
        for part in method.parts.values():
            for table in part.tables.values():
                table[0] = torch.nan

    stack = [(1, base(method_key)), (0, base(method_key)), (0, base(method_key, learning_rate=torch.inf))]
    together = run(method_key, stack, dtype="float64", with_method=lose)
    assert_same(method_key, together, 1)
    assert set(together.outcome.diverged) == ({0, 2} if methods.get(method_key).trained else set())


@pytest.mark.trains
def test_diagnostics_and_tensors_have_the_member_axis(method_key: str) -> None:
    outcome = run(method_key, [(seed, base(method_key)) for seed in range(3)]).outcome
    with torch.no_grad():
        for name, value in outcome.method.diagnostics().items():
            assert value.shape == (3,), name
            assert bool(value.isfinite().all()), name
        for name, value in outcome.method.user_arrays().items():
            assert value.shape == (3, outcome.method.data.n_users), name
    for name, value in vars(outcome.method).items():
        if isinstance(value, Tensor):
            assert value.ndim and value.shape[0] == 3, f"wrap self.{name} in Shared, or give it a member axis"


# --- What it knows -----------------------------------------------------------------------------------


@pytest.mark.trains
def test_it_uses_of_the_unbiased_ratings_what_it_says(method_key: str) -> None:
    """`uses_unbiased` is what the table tells its readers, so it must be true."""

    def numbers(of: Run) -> list[Tensor]:
        """Scores and loss curves: a phase that does not help goes back to where it began."""
        return [of.scores, *(losses for each in of.outcome.histories for losses in each.losses.values())]

    def learns(with_data: Callable[[TrainingData], TrainingData]) -> bool:
        changed = run(method_key, [(0, base(method_key))], dtype="float64", with_data=with_data)
        before, after = numbers(alone(method_key)), numbers(changed)
        return any(
            a.shape != b.shape or not torch.allclose(a, b, equal_nan=True, **SAME)
            for a, b in zip(before, after, strict=True)
        )

    def flipped(data: TrainingData) -> TrainingData:
        assert float(data.unbiased_labels.mean()) != 0.5
        return replace(data, unbiased_labels=1 - data.unbiased_labels)

    def elsewhere(data: TrainingData) -> TrainingData:
        """The same labels on other pairs: their mean is all that stays."""
        users = (data.unbiased_users + 1) % data.n_users
        return replace(data, unbiased_users=users, unbiased_labels=data.unbiased_labels.flip(-1))

    knows = methods.get(method_key).uses_unbiased
    assert learns(flipped) == (knows != "no"), "what it learns from A's labels is not what it says"
    assert learns(elsewhere) == (knows == "yes"), "what it learns from A's pairs is not what it says"


# --- The file ----------------------------------------------------------------------------------------


def source(key: str) -> str:
    file = sys.modules[methods.get(key).__module__].__file__
    assert file is not None
    return Path(file).read_text(encoding="utf-8")


@pytest.mark.composes
def test_a_misspelt_field_is_refused(method_key: str) -> None:
    compose.register()
    with pytest.raises(BenchError, match=r"no field 'method\.wieght_decay'.*did you mean 'weight_decay'"):
        compose.composed([f"method={method_key}", "method.wieght_decay=1"])


def test_values_that_cannot_be_are_refused(method_key: str) -> None:
    """Its own `check` calls the one that all methods have."""
    for field, value in (("learning_rate", 0.0), ("weight_decay", -1.0), ("batch_size", 0)):
        with pytest.raises(BenchError, match=rf"method\.{field} must be "):
            replace(base(method_key), **{field: value}).check()
    with pytest.raises(BenchError, match=r"method\.loss=none is not known"):
        replace(base(method_key), loss="none").check()


def test_it_says_what_it_is(method_key: str) -> None:
    kind = methods.get(method_key)
    assert kind.title and kind.paper and isinstance(kind.year, int)
    assert kind.uses_unbiased in ("no", "mean label", "yes")
    document = sys.modules[kind.__module__].__doc__ or ""
    assert "\nSource: " in document, "the docstring names the source of the formula"
    assert "\n    " in document, "the docstring gives the formula, indented"
    assert "\nDifferences from the paper:\n1. " in document, "the docstring lists where it differs"
    assert kind.__doc__ and kind.build.__doc__


def test_its_file_holds_the_method_only(method_key: str) -> None:
    text = source(method_key)
    nodes = list(ast.walk(ast.parse(text)))
    loops = [ast.unparse(node).splitlines()[0] for node in nodes if isinstance(node, ast.For | ast.While)]
    assert not [loop for loop in loops if "epoch" in loop or "while" in loop], "the engine has the epochs"
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    assert not used & {"print", "open", "logging"}, "the suite does the output"
    assert not used & {"backward", "optim"}, "the engine has the optimiser: `minimise`"
    assert not used & {"item", "tolist", "numpy"}, "this makes a GPU wait"
    assert not used & {"cpu", "cuda", "manual_seed"}, "the engine has the device and the random numbers"
    keywords = {word.arg for node in nodes if isinstance(node, ast.Call) for word in node.keywords}
    assert "device" not in keywords, "make a tensor like one that is there: `x.new_zeros`"
    imports = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    seen = {name for name in imports if name.split(".")[0] == "bench"}
    assert all(name.startswith(("bench.engine", "bench.errors")) for name in seen), (
        "methods see the engine only"
    )
    assert len(text.splitlines()) <= 160


def test_the_registry_refuses_two_of_a_name(method_key: str) -> None:
    kind = methods.get(method_key)
    twin = type("Twin", (kind,), {"__module__": kind.__module__, "__qualname__": "Twin"})
    with pytest.raises(BenchError, match="Two classes register"):
        methods.register(twin)
    assert methods.get(method_key) is kind


def test_rows_are_the_tables() -> None:
    assert methods.rows()[:2] == ["mf", "ips"] and len(methods.rows()) == 17
    for key in methods.names():
        own = methods.get(key).__module__.startswith("methods.")
        assert not own or methods.is_further(key) or methods.is_control(key) == (key not in methods.ROWS)
