"""AutoDebias and LTD: hyper-gradients against an unrolled step, and what is left without them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from bench.config import EngineConfig
from bench.engine.bilevel import hypergradient
from bench.engine.training import Validation, train
from methods import autodebias, ltd
from tests.methods.small import (
    Whole,
    all_observed,
    all_unbiased,
    built,
    data,
    gradients,
    plain_logits,
    stir,
)

ETA = 0.05


def free(part: Any) -> dict[str, Tensor]:
    return {name: table.clone().requires_grad_() for name, table in part.tables.items()}


def unrolled(method: Any, tables: dict[str, Tensor], lower: Tensor) -> Tensor:
    """Σ_A ℓ one plain gradient step of the prediction model ahead, (G,), with the step in the graph."""
    slopes = torch.autograd.grad(lower.sum(), list(tables.values()), create_graph=True)
    ahead = {name: table - ETA * slope for (name, table), slope in zip(tables.items(), slopes, strict=True)}
    unbiased = all_unbiased(method)
    return method.pointwise(plain_logits(ahead, unbiased), unbiased.labels).sum(-1)


def captured(module: Any, method: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Tensor]:
    """The outer parts that a step trains, and the surrogate loss that it trains them with."""
    seen: list[tuple[Any, Tensor, Tensor]] = []

    def spy(outer: Any, inner: Any, loss: Tensor, rate: Tensor, ahead: Any) -> None:
        value, surrogate = hypergradient(inner, loss, rate, ahead)
        seen.append((outer if isinstance(outer, tuple) else (outer,), surrogate, value))

    monkeypatch.setattr(module, "virtual_step", spy)
    method.step(Whole(method))
    ((outer, surrogate, _),) = seen
    return outer, surrogate


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_autodebias_hypergradients_are_the_unrolled_ones(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = built("autodebias", loss=loss, inner_rate=ETA, missing_weight=0.3)
    whole = Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    theta = free(method.prediction)
    w1, w2, m = (
        free(part) for part in (method.observed_weight, method.everywhere_weight, method.imputed_label)
    )
    g = torch.arange(2).unsqueeze(-1)

    def weight(tables: dict[str, Tensor], batch: Any, kind: Tensor) -> Tensor:
        linear = tables["users"][g, batch.users] + tables["items"][g, batch.items] + tables["kinds"][g, kind]
        return torch.exp(linear / 5)

    kind = torch.where(everything.observed > 0, 1 + everything.labels, 0).long()
    label = torch.sigmoid(m["logit"])[g, kind]
    lower = (
        weight(w1, observed, observed.labels.long())
        * method.pointwise(plain_logits(theta, observed), observed.labels)
    ).sum(-1)
    on_everything = (
        weight(w2, everything, everything.observed.long())
        * method.pointwise(plain_logits(theta, everything), label)
    ).mean(-1)
    lower = lower + 14 * 0.3 * (30 / 14) * on_everything
    ahead = unrolled(method, theta, lower)
    outer, surrogate = captured(autodebias, method, monkeypatch)
    assert list(map(id, outer)) == list(
        map(id, (method.imputed_label, method.observed_weight, method.everywhere_weight))
    )
    for part, tables in zip(outer, (m, w1, w2), strict=True):
        expected = torch.autograd.grad(ahead.sum(), list(tables.values()), retain_graph=True)
        found = gradients(part, surrogate)
        for name, slope in zip(tables, expected, strict=True):
            assert_close(found[name], slope, rtol=1e-8, atol=1e-14)
            assert slope.abs().max() > 1e-7


@pytest.mark.parametrize("base", ["dr", "ips"])
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_ltd_hypergradients_are_the_unrolled_ones(
    base: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a learning rate the residual model stays as the test reads it.
    method = built("ltd", base=base, loss=loss, inner_rate=ETA, imputation_learning_rate=1e-30)
    whole = Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    theta, phi = free(method.prediction), free(method.propensity)

    def imputed_error(batch: Any) -> Tensor:
        logits = plain_logits(theta, batch)
        g = plain_logits(method.imputation.tables, batch)
        return method.pointwise(logits, (torch.sigmoid(logits.detach()) + g).clamp(0, 1))

    p = torch.sigmoid(plain_logits(phi, observed)).clamp_min(0.25 * 14 / 30)
    weights = (1 / p) / (1 / p).mean(-1, keepdim=True)
    error = method.pointwise(plain_logits(theta, observed), observed.labels)
    if base == "dr":
        lower = 14 * imputed_error(everything).mean(-1)
        lower = lower + (weights * (error - imputed_error(observed))).sum(-1)
    else:
        lower = (weights * error).sum(-1)
    ahead = unrolled(method, theta, lower)
    expected = torch.autograd.grad(ahead.sum(), list(phi.values()))
    (part,), surrogate = captured(ltd, method, monkeypatch)
    assert part is method.propensity
    found = gradients(part, surrogate)
    for name, slope in zip(phi, expected, strict=True):
        assert_close(found[name], slope, rtol=1e-8, atol=1e-14)
    assert expected[0].abs().max() > 1e-7


def test_autodebias_without_weights_and_missing_pairs_is_mf() -> None:
    still = {"weight_learning_rate": 0.0, "label_learning_rate": 0.0, "missing_weight": 0.0}
    auto, mf = built("autodebias", spread=0.0, **still), built("mf", spread=0.0)
    for _ in range(5):
        auto.step(Whole(auto))
        mf.step(Whole(mf))
    for name, table in mf.prediction.tables.items():
        assert_close(auto.prediction.tables[name], table, rtol=1e-12, atol=1e-14)


def test_autodebias_draws_the_batches_of_mf() -> None:
    """The same through the engine: a batch of D beside it changes no batch of O."""
    still = {"weight_learning_rate": 0.0, "label_learning_rate": 0.0, "missing_weight": 0.0}
    pairs = torch.arange(4).expand(2, -1)
    validation = Validation(pairs, pairs, torch.tensor([[1.0, 0, 1, 0]] * 2, dtype=torch.float64))
    trained = []
    for key, fields in (("autodebias", still), ("mf", {})):
        method = built(key, spread=0.0, batch_size=6, learning_rate=0.05, **fields)
        trained.append(train(method, validation, EngineConfig(max_epochs=6, patience=6), 1))
    auto, mf = trained
    assert_close(auto.histories[0].losses["prediction"], mf.histories[0].losses["prediction"], equal_nan=True)
    for name, table in mf.method.prediction.tables.items():
        assert_close(auto.method.prediction.tables[name], table, rtol=1e-12, atol=1e-14)


def test_the_outer_parts_of_autodebias_have_their_own_rates_and_a_decoupled_decay() -> None:
    fields = ("weight_learning_rate", "weight_weight_decay", "label_learning_rate", "label_weight_decay")
    method = built("autodebias", **{name: 0.1 + number for number, name in enumerate(fields)})
    rates = {
        name: (float(part.adam.learning_rate[0]), float(part.adam.weight_decay[0]), part.adam.decoupled)
        for name, part in method.parts.items()
    }
    assert rates == {
        "prediction": (0.01, 1e-4, False),
        "observed_weight": (0.1, 1.1, True),
        "everywhere_weight": (0.1, 1.1, True),
        "imputed_label": (2.1, 3.1, True),
    }


def test_autodebias_freezes_its_weights_and_not_its_labels() -> None:
    method = built("autodebias", spread=0.0, freeze_steps=2)
    (phase,) = method.phases()
    for done in range(4):
        phase.step_at(done)(Whole(method))
        assert bool(method.imputed_label.tables["logit"].any())
        assert bool(method.observed_weight.tables["users"].any()) == (done >= 2)


@pytest.mark.parametrize("meta_rate", [0.0, 0.3])
@pytest.mark.parametrize("base", ["dr", "ips"])
def test_ltd_steps_by_the_estimator_it_stands_on_with_the_new_propensity(base: str, meta_rate: float) -> None:
    """A frozen propensity leaves IPS or DR; a learned one is used in the very step that learned it."""
    method = built("ltd", base=base, meta_learning_rate=meta_rate, learning_rate=0.05)
    method.anchor()
    theta = free(method.prediction)
    whole = Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    before = {name: table.clone() for name, table in method.propensity.tables.items()}
    start = {name: table.clone() for name, table in method.prediction.tables.items()}
    method.step(whole)
    still = all(torch.equal(before[name], table) for name, table in method.propensity.tables.items())
    assert still == (meta_rate == 0)
    p = torch.sigmoid(plain_logits(method.propensity.tables, observed)).clamp_min(0.25 * 14 / 30)
    weights = (1 / p) / (1 / p).mean(-1, keepdim=True)

    error = method.pointwise(plain_logits(theta, observed), observed.labels)
    if base == "ips":
        loss = (weights * error).mean(-1)
    else:
        g = method.imputation.tables  # after its own step, as the prediction's step sees it

        def imputed(batch: Any) -> Tensor:
            label = (torch.sigmoid(plain_logits(start, batch)) + plain_logits(g, batch)).clamp(0, 1)
            return method.pointwise(plain_logits(theta, batch), label)

        loss = imputed(everything).mean(-1) + (weights * (error - imputed(observed))).mean(-1)
    optimiser = torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4)
    loss.sum().backward()
    optimiser.step()
    for name, table in method.prediction.tables.items():
        assert_close(table, theta[name].detach(), rtol=1e-9, atol=1e-10)


def test_ltd_decays_to_the_nominal_propensity_and_not_to_zero() -> None:
    method = built("ltd", base="ips", meta_learning_rate=0.1, meta_weight_decay=5.0)
    method.anchor()
    nominal = {name: table.clone() for name, table in method.propensity.tables.items()}
    stir(method, 0.5)
    apart = [(t - nominal[n]).clone() for n, t in method.propensity.tables.items()]
    part = method.propensity
    part.adam.step()  # no gradient: Adam itself moves nothing
    for before, (name, table) in zip(apart, part.tables.items(), strict=True):
        assert_close(table - nominal[name], 0.5 * before)


def test_the_main_phase_of_ltd_starts_with_the_outer_rates_from_the_nominal_propensity() -> None:
    method = built("ltd", meta_learning_rate=0.2, meta_weight_decay=3.0)
    first, main = method.phases()
    assert (first.name, main.name) == ("propensity", "training")
    assert main.begin is not None
    main.begin()
    adam = method.propensity.adam
    assert (float(adam.learning_rate[0]), float(adam.weight_decay[0]), adam.decoupled) == (0.2, 3.0, True)
    assert all(torch.equal(adam.anchor[name], table) for name, table in method.propensity.tables.items())


def test_a_member_that_stays_keeps_its_own_nominal_propensity() -> None:
    method = built("ltd_ips", meta_learning_rate=0.1, meta_weight_decay=5.0)
    method.anchor()
    nominal = {name: table[1:].clone() for name, table in method.propensity.tables.items()}
    stir(method, 0.5)
    part = method.take(torch.tensor([1])).propensity
    apart = {name: table - nominal[name] for name, table in part.tables.items()}
    part.restart()  # as the engine does at the start of a phase
    part.adam.step()
    for name, table in part.tables.items():
        assert_close(table - nominal[name], 0.5 * apart[name])


def test_ltd_ips_is_ltd_on_the_ips_loss() -> None:
    method = built("ltd_ips")
    assert isinstance(method, ltd.LTD)
    assert method.config.base == "ips"
    assert set(method.parts) == {"prediction", "propensity"}


def test_ltd_imputes_the_label_that_a_says_is_missing() -> None:
    method = built("ltd", imputation_learning_rate=0.05, imputation_weight_decay=0.0, learning_rate=1e-9)
    unbiased = all_unbiased(method)
    residual = unbiased.labels - torch.sigmoid(method.prediction.fixed(unbiased))
    before = (method.imputation.fixed(unbiased) - residual).square().mean()
    for _ in range(100):
        method.step(Whole(method))
    assert (method.imputation.fixed(unbiased) - residual).square().mean() < 0.3 * before
    logits = method.prediction.fixed(unbiased)
    label = (torch.sigmoid(logits) + method.imputation.fixed(unbiased)).clamp(0, 1)
    assert_close(method.imputed_error(logits, unbiased), method.pointwise(logits, label))


@pytest.mark.parametrize("key", ["autodebias", "ltd_ips"])
def test_weights_of_wrong_labels_fall(key: str) -> None:
    """A has every pair with its true label; O's label of item 0 is always wrong."""
    from dataclasses import replace

    one = data(n_observed=24)
    cells = torch.arange(30).expand(2, -1)
    truth = (cells % 5 < 3).double()
    observed_truth = (one.items < 3).double()
    labels = torch.where(one.items == 0, 1 - observed_truth, observed_truth)
    one = replace(
        one, labels=labels, unbiased_users=cells // 5, unbiased_items=cells % 5, unbiased_labels=truth
    )
    rates = (
        {"weight_learning_rate": 0.05, "missing_weight": 0.0}
        if key == "autodebias"
        else {"meta_learning_rate": 0.05, "meta_weight_decay": 0.0}
    )
    method = built(key, one, spread=0.0, inner_rate=0.1, learning_rate=0.01, **rates)
    if key == "ltd_ips":
        method.anchor()
    for _ in range(60):
        method.step(Whole(method))
    observed = all_observed(method)
    with torch.no_grad():
        weights = (
            method.observed_weight(observed, observed.labels.long())
            if key == "autodebias"
            else method.weights(observed)
        )
    wrong = one.items == 0
    assert float(weights[:, wrong].mean()) < 0.8 * float(weights[:, ~wrong].mean())


def test_held_out_cells_never_train_the_propensity() -> None:
    method = built("ltd", data(n_observed=14), spread=0.0)
    everything = Whole(method).everywhere()
    held = method.held_out.holds(everything)
    assert 0 < float(held.double().mean()) < 0.5
    logits = method.propensity(everything)
    (slope,) = torch.autograd.grad(method.propensity_loss(logits, everything).sum(), logits)
    assert not slope[held].any() and bool((slope[~held] != 0).all())
    assert bool(method.held_out.holds(method.held_out.pairs).all())
    assert not torch.equal(held[0], held[1])  # each seed holds out others
