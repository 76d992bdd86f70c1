"""InvPref: its loss in plain autograd, MF where there is one environment, and its engine pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from bench.config import EngineConfig
from bench.engine.sampling import Batch
from bench.engine.training import Validation, train
from methods import environments
from methods.environments import Environments, reversed_gradient
from tests.methods.small import Whole, all_observed, built, data, gradients, plain_logits


def test_a_reversed_gradient_is_the_values_and_minus_the_slope() -> None:
    values = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64)
    found = reversed_gradient(values, scale)
    assert torch.equal(found, values)
    (slope,) = torch.autograd.grad(found.square().sum(), values)
    assert_close(slope, -2 * scale.view(2, 1, 1) * values.detach())


def test_environments_follow_their_ratings_and_the_least_loss() -> None:
    of = data()
    seeds = torch.tensor([0, 1, 0])
    found = Environments.random(of, seeds, 3)
    assert torch.equal(found.of[0], found.of[2]) and not torch.equal(found.of[0], found.of[1])
    method: Any = built("invpref", of)
    batch = all_observed(method)
    wanted = (of.users + 2 * of.items) % 3
    pair = Environments.random(of, torch.tensor([0, 1]), 3)
    pair.reassign(
        lambda pairs: (
            ((pairs.users + 2 * pairs.items) % 3 != torch.arange(3).view(3, 1, 1)).double().permute(1, 2, 0)
        )
    )
    assert torch.equal(pair(batch), wanted.expand(2, -1))
    assert_close(pair.shares()[0], torch.bincount(wanted, minlength=3) / 14.0, check_dtype=False)
    one = pair.take(torch.tensor([1]))
    assert torch.equal(one.of, pair.of[1:])


def test_ties_go_to_one_of_the_least_at_random_the_same_for_one_seed_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of, seeds = data(), torch.tensor([0, 1, 0])

    def losses(pairs: Batch) -> Tensor:  # the first and the last of three are tied
        return torch.tensor([0.5, 1.0, 0.5]).expand(*pairs.users.shape, 3)

    found = Environments.random(of, seeds, 3)
    rounds = []
    for _ in range(40):
        found.reassign(losses)
        rounds.append(found.of.clone())
    assert torch.equal(rounds[0][0], rounds[0][2]) and not torch.equal(rounds[0][0], rounds[0][1])
    assert not torch.equal(rounds[0], rounds[1])
    every = torch.stack(rounds)
    assert set(every.unique().tolist()) == {0, 2}
    # 1,120 draws of two seeds: 3.3 standard errors.
    assert abs((every == 0).double().mean().item() - 0.5) < 0.05
    monkeypatch.setattr(environments, "_CHUNK", 18)
    small = Environments.random(of, seeds, 3)
    assert len(list(small.chunks())) == 7
    expected = losses(all_observed(built("invpref", of))).square().mean().sqrt()
    assert_close(small.root_mean_square(losses), expected.expand(3), check_dtype=False)
    small.reassign(losses)
    assert torch.equal(small.of, rounds[0])
    taken = Environments.random(of, seeds, 3).take(torch.tensor([1, 2]))
    taken.reassign(losses)
    assert torch.equal(taken.of, rounds[0][1:])


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_its_loss_is_the_formula(loss: str) -> None:
    method: Any = built("invpref", loss=loss, environments=3, variant_weight=2.0, reversal=0.7)
    batch = all_observed(method)
    parts = {
        name: {key: table.clone().requires_grad_() for key, table in part.tables.items()}
        for name, part in method.parts.items()
    }
    theta, other, model = parts["prediction"], parts["variant"], parts["environments"]
    g = torch.arange(2).unsqueeze(-1)
    environment = method.environments(batch)

    def vectors(tables: dict[str, Tensor]) -> Tensor:
        return tables["users"][g, batch.users] * tables["items"][g, batch.items]

    c = model["vectors"] - model["vectors"].mean(1, keepdim=True)
    logits = plain_logits(theta, batch)
    variant = (vectors(other) * c[g, environment]).sum(-1)
    known = torch.log_softmax(vectors(theta) @ model["weights"] + model["bias"], -1)
    nll = -known.gather(-1, environment.unsqueeze(-1)).squeeze(-1).mean(-1)
    fit = (
        method.pointwise(logits, batch.labels).mean(-1)
        + 2.0 * method.pointwise(logits + variant, batch.labels).mean(-1)
    ) / 3
    found = sum(method.losses(batch).values())
    assert_close(found, (fit + nll).detach(), check_dtype=False)
    # The prediction model ascends the classifier's loss; the others descend the sum.
    signs = {"prediction": -0.7, "variant": 1.0, "environments": 1.0}
    for name, tables in parts.items():
        expected = torch.autograd.grad(
            (fit + signs[name] * nll).sum(), list(tables.values()), retain_graph=True, allow_unused=True
        )
        ours = gradients(method.parts[name], found)
        for key, slope in zip(tables, expected, strict=True):
            wanted = torch.zeros_like(tables[key]) if slope is None else slope
            assert_close(ours[key], wanted, rtol=1e-8, atol=1e-12, msg=f"{name}/{key}")
    assert_close(
        method.errors(batch).gather(-1, environment.unsqueeze(-1)).squeeze(-1),
        method.pointwise(logits + variant, batch.labels).detach(),
        check_dtype=False,
    )


def trained(key: str, **fields: Any) -> Any:
    of = data()
    method = built(key, of, spread=0.0, batch_size=7, learning_rate=0.05, **fields)
    validation = Validation(of.unbiased_users, of.unbiased_items, of.unbiased_labels)
    return train(method, validation, EngineConfig(max_epochs=6, patience=9), 1).method


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_one_environment_is_mf(weight_decay: float) -> None:
    fields = {"everywhere_ratio": 0, "weight_decay": weight_decay}
    expected = trained("mf", **fields)
    method = trained("invpref", environments=1, interval=1, **fields)
    for name, table in expected.prediction.tables.items():
        assert_close(method.prediction.tables[name], table, rtol=1e-6, atol=1e-9)
    two = trained("invpref", environments=2, interval=1, **fields)
    assert not torch.allclose(two.prediction.tables["users"], expected.prediction.tables["users"], rtol=1e-3)


def test_the_ratings_change_environments_when_the_interval_is_over() -> None:
    method: Any = built("invpref", interval=2)
    (phase,) = method.phases()
    assert [each.epochs for each in phase.every] == [2]
    before = method.environments.of.clone()
    phase.step(Whole(method))
    assert torch.equal(method.environments.of, before)
    with torch.no_grad():
        phase.every[0].run()
    batch = all_observed(method)
    assert not torch.equal(method.environments.of, before)
    assert torch.equal(method.environments(batch), method.errors(batch).argmin(-1))
    share = method.diagnostics()["largest_environment"]
    assert share.shape == (2,) and bool(((share >= 0.5) & (share <= 1)).all())


def test_the_environments_stay_alive_under_a_decay_of_the_preferences() -> None:
    """With the c_k decayed as well, and ties sent to the first, all were in one after this training."""
    method: Any = built("invpref", environments=2, interval=1, learning_rate=0.05, weight_decay=1e-2)
    (phase,) = method.phases()
    for _ in range(150):
        for _ in range(2):  # batches an epoch
            phase.step(Whole(method))
        with torch.no_grad():
            phase.every[0].run()
    found = method.diagnostics()
    assert not found["variant_size"].requires_grad
    assert bool((found["largest_environment"] <= 0.8).all()), found
    assert bool((found["variant_size"] > 0.5).all()), found
