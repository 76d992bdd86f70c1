"""MRDR, DR-BIAS and DR-MSE: the weights of their imputations, and what ties them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from methods.weights import PROPENSITIES, LabelWeights
from tests.methods.small import Whole, all_observed, all_pairs, built, plain_logits

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far

WEIGHTS = {
    "mrdr": lambda p: (1 - p) / p**2,
    "dr_bias": lambda p: (1 - p) ** 2 / p**3,
    "dr_mse": lambda p: 0.3 * (1 - p) ** 2 / p**3 + 0.7 * (1 - p) / p**2,
}


@pytest.mark.parametrize("propensity", ["naive_bayes", "logistic"])
@pytest.mark.parametrize("key", WEIGHTS)
def test_it_steps_on_its_two_losses_in_turn(key: str, propensity: str) -> None:
    """Adam's step on either, in plain autograd."""
    own = {"bias_share": 0.3} if key == "dr_mse" else {}
    method: Any = built(key, imputation_weight_decay=1e-4, propensity=propensity, **own)
    observed, everything = all_observed(method), all_pairs(method)
    w = method.weights(observed)
    v = WEIGHTS[key]((14 / 30 / w).clamp(max=1))
    v = v / v.mean(-1, keepdim=True)
    f, g = (
        {name: table.clone().requires_grad_() for name, table in part.tables.items()}
        for part in (method.prediction, method.imputation)
    )

    def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        return -(label * p.log() + (1 - label) * (1 - p).log())

    e = cross_entropy(plain_logits(f, observed), observed.labels)
    imputed = torch.sigmoid(plain_logits(g, observed))
    missed = e.detach() - cross_entropy(plain_logits(f, observed).detach(), imputed)
    optimiser = torch.optim.Adam(g.values(), lr=0.01, weight_decay=1e-4)
    (v * missed.square()).mean(-1).sum().backward()
    optimiser.step()
    pseudo = {name: table.detach() for name, table in g.items()}
    direct = cross_entropy(plain_logits(f, everything), torch.sigmoid(plain_logits(pseudo, everything)))
    e_hat = cross_entropy(plain_logits(f, observed), torch.sigmoid(plain_logits(pseudo, observed)))
    optimiser = torch.optim.Adam(f.values(), lr=0.01, weight_decay=1e-4)
    (direct.mean(-1) + (w * (e - e_hat)).mean(-1)).sum().backward()
    optimiser.step()
    method.step(Whole(method))
    for part, expected in ((method.imputation, g), (method.prediction, f)):
        for name, table in part.tables.items():
            assert_close(table, expected[name].detach(), rtol=1e-8, atol=1e-8)


def stepped(key: str, **fields: Any) -> list[Tensor]:
    """Parameters after three steps."""
    method = built(key, **fields)
    for _ in range(3):
        method.step(Whole(method))  # type: ignore[arg-type]
    return [table for part in method.parts.values() for table in part.tables.values()]


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize(("share", "key"), [(0.0, "mrdr"), (1.0, "dr_bias")])
def test_dr_mse_ends_in_its_neighbours(share: float, key: str, loss: str) -> None:
    found, expected = (
        stepped("dr_mse", bias_share=share, propensity="logistic", loss=loss),
        stepped(key, propensity="logistic", loss=loss),
    )
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    between = stepped("dr_mse", bias_share=0.5, propensity="logistic", loss=loss)
    assert not all(torch.equal(one, other) for one, other in zip(found, between, strict=True))


def test_with_equal_weights_it_is_dr_jl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of mean 1 that do not differ are 1, whatever their function of p."""
    equal = LabelWeights(torch.ones(2, 2, dtype=torch.float64))
    monkeypatch.setitem(PROPENSITIES, "naive_bayes", lambda data, clip: equal)
    of_dr_jl = stepped("dr_jl")
    for key in WEIGHTS:
        for one, other in zip(stepped(key), of_dr_jl, strict=True):
            assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_propensities_are_of_true_scale_and_no_more_than_one() -> None:
    method: Any = built("mrdr", propensity="logistic", clip=1e6)
    o = all_observed(method)
    inverse = 1 / method.weights.propensity(o)
    share = inverse.mean(-1, keepdim=True) * 14 / 30  # 1 / p̂ has this mean over O instead of 1 / density
    expected = (share / inverse).clamp(max=1)
    assert_close(method.propensities(method.weights(o)), expected)
    assert float(method.propensities(torch.tensor([[0.01]]))) == 1
    assert not method.imputation_weights(torch.ones(2, 3)).any()
