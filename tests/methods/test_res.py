"""Res-IPS and Res-DR: what is left without residuals, the consistency term, and the theory behind both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.methods.small import Whole, all_observed, all_unbiased, built, gradients, plain_logits, stir

STILL = 1e-300  # a learning rate that moves nothing
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def still(key: str, **fields: Any) -> Any:
    """A method whose residuals are 0 and whose propensity stays."""
    method = built(key, spread=0.0, propensity_learning_rate=STILL, learning_rate=0.05, **fields)
    for name in ("prediction", "propensity", "imputation"):
        if name in method.parts:
            generator = torch.Generator().manual_seed(len(name))
            for table in method.parts[name].tables.values():
                table.add_(0.4 * torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return method


def nominal_weights(method: Any) -> Tensor:
    p = torch.sigmoid(plain_logits(method.propensity.tables, all_observed(method)))
    inverse = 1 / p.clamp_min(0.25 * 14 / 30)
    return inverse / inverse.mean(-1, keepdim=True)


def free(part: Any) -> dict[str, Tensor]:
    return {name: table.clone().requires_grad_() for name, table in part.tables.items()}


def test_without_beta_gamma_and_residual_res_ips_is_ips() -> None:
    method = still("res_ips", beta=0.0, gamma=0.0)
    theta, weights, observed = free(method.prediction), nominal_weights(method), all_observed(method)
    optimiser = torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4)
    for _ in range(4):
        optimiser.zero_grad()
        error = method.pointwise(plain_logits(theta, observed), observed.labels)
        (weights * error).mean(-1).sum().backward()
        optimiser.step()
        method.step(Whole(method))
    for name, table in method.prediction.tables.items():
        assert_close(table, theta[name].detach(), **EXACT)


def test_beta_adds_the_unbiased_ratings_own_loss() -> None:
    method = still("res_ips", beta=0.3, gamma=0.0)
    theta, weights, observed = free(method.prediction), nominal_weights(method), all_observed(method)
    unbiased = all_unbiased(method)
    error = method.pointwise(plain_logits(theta, observed), observed.labels)
    on_a = method.pointwise(plain_logits(theta, unbiased), unbiased.labels)
    ((weights * error).mean(-1) + 0.3 * on_a.mean(-1)).sum().backward()
    torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4).step()
    method.step(Whole(method))
    for name, table in method.prediction.tables.items():
        assert_close(table, theta[name].detach(), **EXACT)


def test_without_beta_gamma_and_residual_res_dr_is_dr_jl() -> None:
    method = still("res_dr", beta=0.0, gamma=0.0, imputation_learning_rate=0.02)
    theta, g = free(method.prediction), free(method.imputation)
    weights, whole = nominal_weights(method), Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    first = torch.optim.Adam(g.values(), lr=0.02, weight_decay=1e-4)
    second = torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4)
    for _ in range(3):
        first.zero_grad()
        second.zero_grad()
        f = plain_logits(theta, observed).detach()
        label = torch.sigmoid(plain_logits(g, observed))
        gap = method.pointwise(f, observed.labels) - method.pointwise(f, label)
        (weights * gap.square()).mean(-1).sum().backward()
        first.step()
        fixed = {name: table.detach() for name, table in g.items()}
        f, f_d = plain_logits(theta, observed), plain_logits(theta, everything)
        direct = method.pointwise(f_d, torch.sigmoid(plain_logits(fixed, everything))).mean(-1)
        e_hat = method.pointwise(f, torch.sigmoid(plain_logits(fixed, observed)))
        error = method.pointwise(f, observed.labels)
        (direct + (weights * (error - e_hat)).mean(-1)).sum().backward()
        second.step()
        method.step(whole)
    for part, expected in ((method.imputation, g), (method.prediction, theta)):
        for name, table in part.tables.items():
            assert_close(table, expected[name].detach(), **EXACT)


@pytest.mark.parametrize("key", ["res_ips", "res_dr"])
def test_residuals_start_at_zero_and_move_with_gamma(key: str) -> None:
    method = still(key, gamma=0.1)
    part = method.residual
    assert not part(torch.randn(2, 7, 6, dtype=torch.float64)).any()
    method.step(Whole(method))
    assert bool(part(torch.randn(2, 7, 6, dtype=torch.float64)).any())
    if key == "res_dr":
        assert bool(method.correction(torch.randn(2, 7, 6, dtype=torch.float64)).any())


def test_the_consistency_has_the_gradient_of_the_squared_gap() -> None:
    """2 · gap · ∂E, by finite differences, where the running mean has arrived at the gap."""
    method = built("res_ips", spread=0.3)
    observed, unbiased = all_observed(method), all_unbiased(method)
    from methods.res_ips import residual

    error = method.pointwise(method.prediction.fixed(observed), observed.labels)
    on_a = method.pointwise(method.prediction.fixed(unbiased), unbiased.labels).mean(-1)

    def estimate() -> Tensor:
        weights = method.weights(observed, residual(method.residual, method.propensity, observed))
        return (weights * error).mean(-1)

    with torch.no_grad():
        method.gap = estimate() - on_a
    value = estimate()
    surrogate = method.consistency(value, on_a)
    assert_close(method.gap, (value - on_a).detach())
    step = 1e-6
    for part in (method.propensity, method.residual):
        found = gradients(part, surrogate)
        for name, table in part.tables.items():
            flat = table.view(2, -1)
            place = int(found[name].view(2, -1)[0].abs().argmax())
            ends = []
            for sign in (1, -1):
                flat[0, place] += sign * step
                with torch.no_grad():
                    ends.append(float((estimate() - on_a).square()[0]))
                flat[0, place] -= sign * step
            numeric = (ends[0] - ends[1]) / (2 * step)
            assert float(found[name].view(2, -1)[0, place]) == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_the_running_gap_forgets_with_its_momentum() -> None:
    method = built("res_ips")
    one = torch.ones(2, dtype=torch.float64)
    for expected in (0.1, 0.19, 0.271):
        method.consistency(2 * one, one)
        assert_close(method.gap, expected * one)


def test_the_calibration_teaches_the_correction_on_a() -> None:
    method = still("res_dr", gamma=10.0, beta=0.0, imputation_learning_rate=STILL)
    unbiased = all_unbiased(method)

    def gap() -> float:
        f = method.prediction.fixed(unbiased)
        with torch.no_grad():
            label, _ = method.imputed_labels(unbiased)
        return float((method.pointwise(f, unbiased.labels) - method.pointwise(f, label)).square().mean())

    method.prediction.adam.learning_rate = torch.full((2,), STILL, dtype=torch.float64)
    before = gap()
    for _ in range(60):
        method.step(Whole(method))
    assert gap() < 0.7 * before


def test_the_oracle_residuals_repair_ips_and_dr_under_confounding() -> None:
    """§7.2 of the method's theory on a population whose hidden confounder h is known.

    For each x, h is 0 or 1, and both the chance of being observed and the error depend on it.
    """
    generator = torch.Generator().manual_seed(0)
    n = 200
    p_h, e_h = (torch.rand(n, 2, generator=generator, dtype=torch.float64) * 0.8 + 0.1 for _ in range(2))
    p, e = p_h.mean(1), e_h.mean(1)  # P(o = 1 | x) and E[e | x]
    oe = (p_h * e_h).mean(1)  # E[o e | x]
    e1 = oe / p  # E[e | x, o = 1]
    ideal = e.mean()
    assert abs(float((oe / p).mean() - ideal)) > 1e-3  # IPS with the nominal propensity is biased
    assert abs(float((e1 + (oe - p * e1) / p).mean() - ideal)) > 1e-3  # so is DR with both nominal models

    p_star = oe / e  # the propensity with its residual
    assert_close(p_star / p, e1 / e)
    assert_close((oe / p_star).mean(), ideal)
    # DR is repaired by either residual: any imputation with p*, or e itself with any propensity, whose
    # correction then vanishes in expectation under the same propensity residual.
    imputed = torch.rand(n, generator=generator, dtype=torch.float64)
    assert_close((imputed + (oe - p_star * imputed) / p_star).mean(), ideal)
    assert_close((e + (oe - p_star * e) / p_star).mean(), ideal)
    # So E − E_A = 0: the consistency term asks for nothing more.
    assert float(((oe / p_star).mean() - ideal).square()) < 1e-20


def test_stirred_residuals_reach_the_weights() -> None:
    method = still("res_ips")
    before = method.weights(all_observed(method), torch.zeros(2, 14, dtype=torch.float64))
    assert_close(before, nominal_weights(method))
    stir(method, 0.5)
    from methods.res_ips import residual

    delta = residual(method.residual, method.propensity, all_observed(method))
    assert not torch.allclose(method.weights(all_observed(method), delta), before)
    assert_close(method.weights(all_observed(method), delta).mean(-1), torch.ones(2, dtype=torch.float64))
