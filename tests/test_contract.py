"""What every method must hold, the suite's and yours: `pytest tests/test_contract.py --extra-method FILE`.

Each method is trained for a few steps on small generated data; on Coat too where its files are.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch

import methods
from bench import cell as cells
from bench import compose
from bench.cell import Cell, Trainer
from bench.engine.members import Member
from bench.engine.sampling import Pairs
from bench.engine.training import Outcome, train
from bench.errors import MissingData, NotApplicable
from methods.base import MethodConfig

# Small data sets unlike each other: about square; many users of few ratings, as Yahoo! R3 has.
DATA = {
    "square": ("dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=10"),
    "tall": ("dataset.n_users=300", "dataset.n_items=25", "dataset.ratings_per_user=4"),
}
COMMON = (
    *("dataset=synthetic", "dataset.unbiased_per_user=12", "dataset.batch_size=64", "sweep=none"),
    *("dataset.embedding_size=4", "engine.max_epochs=4", "engine.patience=2", "seeds=3"),
)


@cache
def prepared(key: str, data: str = "square", *overrides: str) -> Cell:
    compose.register()
    config = compose.composed([f"method={key}", *COMMON, *DATA[data], *overrides])
    return cells.prepare(config, cells.load(config))


@cache
def trainer(key: str, data: str = "square") -> Trainer:
    found = Trainer(prepared(key, data))
    torch.set_num_threads(1)
    return found


def run(key: str, members: Sequence[tuple[int, MethodConfig]], data: str = "square") -> Outcome:
    """Trains (seed, configuration) pairs as one stack."""
    own = trainer(key, data)
    stack = [Member(place, seed, config) for place, (seed, config) in enumerate(members)]
    training, validation = own.seeds.of_members(stack)
    method = methods.get(key)([m.config for m in stack], [m.seed for m in stack], training)
    return train(method, validation, own.cell.engine, 2)


def base(key: str, **changes: float) -> MethodConfig:
    return dataclasses.replace(prepared(key).points[0], learning_rate=0.02, **changes)


def everywhere(outcome: Outcome) -> torch.Tensor:
    """Scores (G, U * I) of all pairs."""
    method = outcome.method
    pairs = torch.arange(method.data.n_users * method.data.n_items).expand(method.n_members, -1)
    with torch.no_grad():
        return method.score(Pairs(pairs // method.data.n_items, pairs % method.data.n_items))


def source(key: str) -> str:
    file = sys.modules[methods.get(key).__module__].__file__
    assert file is not None
    return Path(file).read_text(encoding="utf-8")


@pytest.mark.parametrize("data", list(DATA))
def test_it_trains_and_predicts_probabilities(method_key: str, data: str) -> None:
    outcome = run(method_key, [(seed, base(method_key)) for seed in range(3)], data)
    scores = everywhere(outcome)
    assert scores.shape == (3, outcome.method.data.n_users * outcome.method.data.n_items)
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert outcome.diverged == {}
    assert bool(outcome.best.isfinite().all())
    assert float(scores.std(-1).min()) > 0
    for history in outcome.histories:
        moved = [losses for losses in history.losses.values() if bool(losses[:, 1:].isfinite().any())]
        assert moved, f"no part was trained in phase {history.name}"


def test_one_seed_repeats_bit_for_bit_and_two_seeds_differ(method_key: str) -> None:
    pair = [(0, base(method_key)), (1, base(method_key))]
    first, again = everywhere(run(method_key, pair)), everywhere(run(method_key, pair))
    assert torch.equal(first, again)
    if methods.get(method_key).trained:
        assert not torch.equal(first[0], first[1])


def test_nobody_notices_who_else_is_trained(method_key: str) -> None:
    """A member alone is the same member among others that stop, leave or diverge."""
    others = [
        (1, base(method_key, weight_decay=0.1)),
        (2, dataclasses.replace(base(method_key), learning_rate=0.3)),
        (0, dataclasses.replace(base(method_key), learning_rate=1e-6)),
        (2, dataclasses.replace(base(method_key), learning_rate=1e30)),
    ]
    mine = (0, base(method_key))
    alone = run(method_key, [mine])
    together = run(method_key, [*others[:2], mine, *others[2:]])
    for one, all_ in zip(alone.histories, together.histories, strict=True):
        assert one.best[0] == all_.best[2], f"another evaluation was chosen in phase {one.name}"
    torch.testing.assert_close(everywhere(alone)[0], everywhere(together)[2], rtol=1e-3, atol=1e-4)
    assert float(alone.best[0]) == pytest.approx(float(together.best[2]), abs=1e-3)


def test_diagnostics_and_tensors_have_the_member_axis(method_key: str) -> None:
    outcome = run(method_key, [(seed, base(method_key)) for seed in range(3)])
    with torch.no_grad():
        for name, value in outcome.method.diagnostics().items():
            assert value.shape == (3,), name
            assert bool(value.isfinite().all()), name
    for name, value in vars(outcome.method).items():
        if isinstance(value, torch.Tensor):
            assert value.ndim and value.shape[0] == 3, f"wrap self.{name} in Shared, or give it a member axis"


def test_coat_where_it_is(method_key: str) -> None:
    compose.register()
    folder = os.environ.get("BENCH_DATA", "data")
    overrides = [f"method={method_key}", "dataset=coat", "seeds=1", "sweep=none", "engine.max_epochs=3"]
    config = compose.composed([*overrides, f"data_dir={folder}"])
    try:
        cell = cells.prepare(config, cells.load(config))
    except MissingData as missing:
        pytest.skip(str(missing))
    try:
        (found,) = Trainer(cell).train([Member(0, 0, cell.points[0])], True, lambda n: None)
    except NotApplicable:
        return
    assert found.test["auc"] > 0.5
    assert 0 < found.test["ndcg"]["skip"] < 1 and 0 < found.test["recall"]["skip"] < 1


def test_a_misspelt_field_is_refused(method_key: str) -> None:
    from bench.errors import BenchError

    compose.register()
    with pytest.raises(BenchError, match=r"no field 'method\.wieght_decay' .* did you mean 'weight_decay'"):
        compose.composed([f"method={method_key}", "method.wieght_decay=1"])


def test_it_says_what_it_is(method_key: str) -> None:
    kind = methods.get(method_key)
    assert kind.title and kind.paper and isinstance(kind.year, int)
    assert kind.uses_unbiased in ("no", "mean label", "yes")
    document = sys.modules[kind.__module__].__doc__ or ""
    assert "Differences from the paper:\n1. " in document
    assert "Source: " in document and "\n    " in document, "the docstring gives formula and source"
    assert kind.__doc__ and kind.build.__doc__


def test_its_file_holds_the_method_only(method_key: str) -> None:
    text = source(method_key)
    assert not re.search(r"for +epoch|\.cuda\(|\.to\(.cuda|device *=", text)
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    names |= {func.attr for func in calls if isinstance(func, ast.Attribute)}
    assert not names & {"print", "item", "cpu", "numpy", "backward", "manual_seed", "roc_auc_score"}
    assert len(text.splitlines()) <= 160


def test_the_registry_refuses_two_of_a_name(method_key: str) -> None:
    from bench.errors import BenchError

    kind = methods.get(method_key)
    twin = type("Twin", (kind,), {"__module__": kind.__module__, "__qualname__": "Twin"})
    with pytest.raises(BenchError, match="Two classes register"):
        methods.register(twin)
    assert methods.get(method_key) is kind


def test_rows_are_the_tables() -> None:
    assert methods.rows()[:2] == ["mf", "ips"] and len(methods.rows()) == 17
    for key in methods.names():
        assert methods.get(key).control == (key not in methods.ROWS) or key not in methods.rows()
