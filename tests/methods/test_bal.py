"""BAL: its losses in plain autograd, and LTD where the coefficients cost nothing to be even."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from bench.config import EngineConfig
from bench.engine.training import Validation, train
from methods import bal_dr
from tests.methods.small import Whole, all_observed, all_pairs, all_unbiased, built, data, plain_logits

BASES = {"ips": "bal_ips", "dr": "bal_dr"}


def free(part: Any) -> dict[str, Tensor]:
    return {name: table.clone().requires_grad_() for name, table in part.tables.items()}


def steps(method: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[dict[str, Tensor]], Tensor]]:
    """What each call of `minimise` in a step trains: the parts' gradients, and the loss (G,)."""
    seen = []

    def spy(parts: Any, loss: Tensor) -> None:
        parts = parts if isinstance(parts, tuple) else (parts,)
        found = []
        for part in parts:
            slopes = torch.autograd.grad(
                loss.sum(), [leaf.value for leaf in part.leaves], retain_graph=True, allow_unused=True
            )
            tables = {name: torch.zeros_like(table) for name, table in part.tables.items()}
            for leaf, slope in zip(part.leaves, slopes, strict=True):
                if slope is not None:
                    leaf.pull(slope, tables)
            found.append(tables)
        seen.append((found, loss.detach()))

    monkeypatch.setattr(bal_dr, "minimise", spy)
    monkeypatch.setattr(bal_dr, "virtual_step", lambda *arguments: None)
    method.step(Whole(method))
    return seen


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_its_losses_are_the_formulas(base: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = built(BASES[base], loss=loss, balance_weight=3.0)
    observed, everywhere, unbiased = all_observed(method), all_pairs(method), all_unbiased(method)
    theta, parts = free(method.prediction), {name: free(part) for name, part in method.balance.items()}
    floor = 0.25 * method.data.density
    inverse = 1 / torch.sigmoid(plain_logits(method.propensity.tables, observed)).clamp_min(floor)
    w = inverse / inverse.mean(-1, keepdim=True)

    def error(tables: dict[str, Tensor], batch: Any) -> Tensor:
        return method.pointwise(plain_logits(tables, batch), batch.labels)

    def imputed(batch: Any) -> Tensor:
        logits = plain_logits(theta, batch)
        label = torch.sigmoid(logits.detach()) + plain_logits(method.imputation.tables, batch)
        return method.pointwise(logits, label.clamp(0, 1))

    def coefficients(name: str, batch: Any) -> Tensor:
        logits = plain_logits(parts[name], batch)
        return torch.softmax(logits, -1) * logits.shape[-1]

    v = {"observed": coefficients("observed", observed)}
    if base == "dr":
        v["everywhere"] = coefficients("everywhere", everywhere)
        errors = {
            "observed": w * (error(theta, observed) - imputed(observed)),
            "everywhere": imputed(everywhere),
        }
    else:
        errors = {"observed": w * error(theta, observed)}
    gap = (
        sum((v[name] * errors[name].detach()).mean(-1) for name in v)
        - error(theta, unbiased).mean(-1).detach()
    )
    expected = 3.0 * gap.square() + sum((each * each.log()).mean(-1) for each in v.values())
    lower = sum((v[name].detach() * errors[name]).mean(-1) for name in v)

    *_, (of_balance, balance_loss), (of_theta, theta_loss) = steps(method, monkeypatch)
    assert_close(balance_loss, expected.detach(), rtol=1e-9, atol=1e-12)
    for found, tables in zip(of_balance, parts.values(), strict=True):
        slopes = torch.autograd.grad(expected.sum(), list(tables.values()), retain_graph=True)
        for name, slope in zip(tables, slopes, strict=True):
            assert_close(found[name], slope, rtol=1e-8, atol=1e-12)
    assert of_balance[0]["items"].abs().max() > 1e-3
    assert_close(theta_loss, lower.detach(), rtol=1e-9, atol=1e-12)
    for name, slope in zip(theta, torch.autograd.grad(lower.sum(), list(theta.values())), strict=True):
        assert_close(of_theta[0][name], slope, rtol=1e-8, atol=1e-12)


def trained(key: str, **fields: float) -> Any:
    of = data()
    method = built(key, of, spread=0.0, batch_size=7, propensity_weight_decay=1e-3, **fields)
    validation = Validation(of.unbiased_users, of.unbiased_items, of.unbiased_labels)
    return train(method, validation, EngineConfig(max_epochs=4, patience=9), 1).method


@pytest.mark.parametrize(("base", "ltd"), [("dr", "ltd"), ("ips", "ltd_ips")])
def test_without_balance_it_is_ltd(base: str, ltd: str) -> None:
    fields = {"learning_rate": 0.05, "meta_learning_rate": 0.05}
    expected = trained(ltd, **fields)
    method = trained(BASES[base], balance_weight=0.0, balance_learning_rate=0.05, **fields)
    assert set(method.parts) > set(expected.parts)
    for key, part in expected.parts.items():
        for name, table in part.tables.items():
            assert torch.equal(method.parts[key].tables[name], table), (key, name)
    other = trained(BASES[base], balance_weight=10.0, balance_learning_rate=0.05, **fields)
    assert not torch.equal(other.prediction.tables["users"], expected.prediction.tables["users"])
    assert set(method.diagnostics()) > set(expected.diagnostics())
    assert torch.equal(method.diagnostics()["balance_effective_sample_size"], torch.ones(2).double())
    assert other.diagnostics()["balance_effective_sample_size"].min() < 1


def test_its_coefficients_close_the_gap_to_the_unbiased_ratings() -> None:
    """From even ones on, for one fixed model: the heavier the gap weighs, the nearer the two losses come."""
    gaps = []
    for weight in (0.0, 1.0, 1000.0):
        method: Any = built("bal_ips", spread=0.0, balance_weight=weight, balance_learning_rate=0.05)
        draw = Whole(method)
        observed, unbiased = draw.observed(), draw.unbiased()
        error = method.pointwise(method.prediction.fixed(observed), observed.labels) + observed.labels
        target = method.pointwise(method.prediction.fixed(unbiased), unbiased.labels).mean(-1)
        for _ in range(60):
            logits = {"observed": method.balance["observed"](observed)}
            terms = method.balance_losses(logits, {"observed": error}, target)
            bal_dr.minimise(method.balance["observed"], bal_dr.total(terms))
        v, _ = bal_dr.coefficients(method.balance["observed"].fixed(observed))
        assert_close(v.mean(-1), torch.ones(2).double())
        gaps.append(float(((v * error).mean(-1) - target).abs().max()))
    assert gaps[0] > gaps[1] > 10 * gaps[2]
