"""The doubly robust identities, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import methods
from bench.errors import BenchError
from methods.base import total
from methods.weights import logistic_propensity
from tests.methods.small import (
    Whole,
    all_observed,
    all_pairs,
    built,
    data,
    gradients,
    plain_logits,
    taken,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def test_without_imputed_error_it_is_ips() -> None:
    dr, ips = built("dr"), built("ips")
    for name, table in ips.prediction.tables.items():
        table.copy_(dr.prediction.tables[name])
    whole = Whole(dr)
    dr.pointwise_of = dr.pointwise

    def no_imputed_error(logits, labels):  # ℓ against m̂ is left out, ℓ against r stays
        if labels.shape == whole.observed().labels.shape and torch.equal(labels, whole.observed().labels):
            return dr.pointwise_of(logits, labels)
        return torch.zeros_like(logits)

    dr.pointwise = no_imputed_error
    ips.step(Whole(ips))
    dr.step(whole)
    for name, table in ips.prediction.tables.items():
        assert torch.equal(table, dr.prediction.tables[name])


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_with_the_right_imputed_error_it_is_the_direct_loss(loss: str) -> None:
    dr = built("dr", loss=loss)
    labels = torch.zeros(2, 6, 5, dtype=torch.float64)
    labels[:, dr.data.users, dr.data.items] = dr.data.labels
    dr.imputed = lambda pairs: labels[torch.arange(2).unsqueeze(-1), pairs.users, pairs.items]
    found = total(dr.losses(all_observed(dr), all_pairs(dr)))
    everything = all_pairs(dr)
    direct = dr.pointwise(plain_logits(dr.prediction.tables, everything), dr.imputed(everything)).mean(-1)
    assert_close(found, direct, **EXACT)


@pytest.mark.parametrize("propensity", ["naive_bayes", "logistic"])
def test_mini_batches_average_to_the_papers_sum(propensity: str) -> None:
    """(1/|D|) Σ_D [ê + o (e − ê) / p̂], with 1 / p̂ normalised so that its mean over O is 1 / density."""
    dr = built("dr", propensity=propensity)
    observed, everything = all_observed(dr), all_pairs(dr)
    f = plain_logits(dr.prediction.tables, everything)
    imputed = torch.sigmoid(plain_logits(dr.imputation.tables, everything))
    e, e_hat = dr.pointwise(f, everything.labels), dr.pointwise(f, imputed)
    inverse = dr.weights(everything) / dr.data.density
    expected = (e_hat + everything.observed * (e - e_hat) * inverse).mean(-1)
    assert float((everything.observed * inverse).sum(-1)[0] / 30) == pytest.approx(1)
    halves = [(list(range(7)), list(range(15))), (list(range(7, 14)), list(range(15, 30)))]
    batches = [(taken(observed, o), taken(everything, d)) for o, d in halves]
    mean = torch.stack([total(dr.losses(*each)) for each in batches]).mean(0)
    assert_close(mean, expected, **EXACT)


def test_the_imputation_stays_frozen_and_the_constant_is_as_mean_label() -> None:
    dr = built("dr")
    before = {name: table.clone() for name, table in dr.imputation.tables.items()}
    dr.step(Whole(dr))
    for name, table in dr.imputation.tables.items():
        assert torch.equal(table, before[name])
    assert [phase.name for phase in dr.phases()] == ["imputation", "training"]
    constant = built("dr", imputation="constant")
    assert [phase.name for phase in constant.phases()] == ["training"]
    assert_close(constant.imputed(all_pairs(constant))[:, 0], constant.data.unbiased_mean)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_dr_jls_imputation_has_no_gradient_at_the_right_imputed_error(loss: str) -> None:
    method = built("dr_jl", loss=loss)
    observed = all_observed(method)
    f = method.prediction.fixed(observed)
    residual = observed.labels - torch.sigmoid(f)

    def slope(g: torch.Tensor) -> float:
        g = g.clone().requires_grad_()
        loss_g = method.imputation_gap(f, g, observed.labels).square().sum()
        return float(torch.autograd.grad(loss_g, g)[0].abs().max())

    if loss == "bce":  # ê = e where r̃ = r
        assert slope(torch.where(observed.labels > 0, 40.0, -40.0).double()) < 1e-12
        assert slope(torch.zeros_like(f)) > 1e-3
        # At f = 1/2 the imputed error is log 2 whatever r̃ is: nothing to learn yet.
        f = torch.zeros_like(f)
        assert slope(torch.ones_like(f)) == pytest.approx(0, abs=1e-12)
    else:  # ê = e where g = ±(r − f), and only the right sign is a root of the loss
        assert slope(residual) < 1e-12
        assert slope(-residual) > 1e-3


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_dr_jls_imputed_error_is_e_with_es_gradient(loss: str) -> None:
    method = built("dr_jl", loss=loss)
    observed = all_observed(method)
    f = method.prediction.fixed(observed).requires_grad_()
    residual = observed.labels - torch.sigmoid(f.detach())
    g = residual if loss == "mse" else torch.where(observed.labels > 0, 60.0, -60.0).double()
    e, e_hat = method.pointwise(f, observed.labels), method.imputed_error(f, g)
    assert_close(e_hat, e, **EXACT)
    (expected,) = torch.autograd.grad(e.sum(), f)
    (found,) = torch.autograd.grad(e_hat.sum(), f)
    assert_close(found, expected, **EXACT)


def test_dr_jl_steps_on_its_two_losses_in_turn() -> None:
    method = built("dr_jl", imputation_weight_decay=1e-4)
    observed, everything = all_observed(method), all_pairs(method)
    w = method.weights(observed)
    f = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    g = {name: table.clone().requires_grad_() for name, table in method.imputation.tables.items()}
    e = method.pointwise(plain_logits(f, observed), observed.labels)
    gap = e.detach() - method.pointwise(
        plain_logits(f, observed).detach(), torch.sigmoid(plain_logits(g, observed))
    )
    optimiser = torch.optim.Adam(g.values(), lr=0.01, weight_decay=1e-4)
    (w * gap.square()).mean(-1).sum().backward()
    optimiser.step()
    pseudo = {name: table.detach() for name, table in g.items()}
    direct = method.pointwise(plain_logits(f, everything), torch.sigmoid(plain_logits(pseudo, everything)))
    e_hat = method.pointwise(plain_logits(f, observed), torch.sigmoid(plain_logits(pseudo, observed)))
    optimiser = torch.optim.Adam(f.values(), lr=0.01, weight_decay=1e-4)
    (direct.mean(-1) + (w * (e - e_hat)).mean(-1)).sum().backward()
    optimiser.step()
    method.step(Whole(method))
    for part, expected in ((method.imputation, g), (method.prediction, f)):
        for name, table in part.tables.items():
            assert_close(table, expected[name].detach(), rtol=1e-9, atol=1e-9)


def test_the_pseudo_label_form_with_squared_error_is_refused() -> None:
    kind = methods.get("dr_jl")
    for loss, form in (("mse", "pseudo_label"), ("bce", "residual")):
        with pytest.raises(BenchError, match=f"imputation_form={form} does not fit method.loss={loss}"):
            kind.Config(loss=loss, imputation_form=form).check()
    kind.Config(loss="mse", imputation_form="residual").check()


# --- ESCM2-DR ------------------------------------------------------------------------------------------


def flat(method, name: str) -> torch.Tensor:
    """The gradient of one term of the loss in all parts."""
    return {key: gradients(part, terms_of(method)[name]) for key, part in method.parts.items()}


def terms_of(method) -> dict[str, torch.Tensor]:
    """ESCM²-DR's terms over all of O and of D."""
    return method.losses(*(method.scored_batch(batch(method)) for batch in (all_observed, all_pairs)))


def test_heads_are_mf_with_a_scaled_product_and_push_is_the_transpose_of_pull() -> None:
    method = built("escm2_dr")
    part, pairs = method.prediction, all_pairs(method)
    tables = part.tables
    for t in range(3):
        as_mf = {
            "users": tables["users"] * tables["heads"][:, t].unsqueeze(1),
            "items": tables["items"],
            "user_bias": tables["user_bias"][:, t],
            "item_bias": tables["item_bias"][:, t],
            "bias": tables["bias"][:, t : t + 1],
        }
        assert_close(
            part(pairs)[:, t].detach(),
            plain_logits(as_mf, pairs),
            **EXACT,
        )
    part.leaves = []
    value = part(pairs)
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    direction = {k: torch.randn(v.shape, generator=generator, dtype=torch.float64) for k, v in tables.items()}
    pulled = {k: torch.zeros_like(v) for k, v in tables.items()}
    part.leaves[-1].pull(slope, pulled)
    left = sum(float((pulled[k] * direction[k]).sum()) for k in tables)
    assert left == pytest.approx(float((slope * part.leaves[-1].push(direction)).sum()), rel=1e-10)
    free = {k: v.clone().requires_grad_() for k, v in tables.items()}
    product = torch.einsum(
        "gbd,gtd->gtb",
        free["users"][torch.arange(2)[:, None], pairs.users]
        * free["items"][torch.arange(2)[:, None], pairs.items],
        free["heads"],
    )
    index = torch.arange(2)[:, None, None], torch.arange(3)[None, :, None]
    logits = product + free["user_bias"][(*index, pairs.users[:, None])]
    logits = logits + free["item_bias"][(*index, pairs.items[:, None])] + free["bias"][..., None]
    assert_close(value.detach(), logits.detach(), **EXACT)
    for name, expected in zip(
        free, torch.autograd.grad((slope * logits).sum(), list(free.values())), strict=True
    ):
        assert_close(pulled[name], expected, **EXACT)


def test_the_cvr_terms_do_not_shape_the_propensity() -> None:
    separate = built("escm2_dr", shared=False)
    for term in ("cvr", "imputation"):
        found = flat(separate, term)
        assert all(not table.any() for table in found["click"].values()), term
    assert any(table.any() for table in flat(separate, "ctr")["click"].values())
    found = flat(separate, "cvr")
    assert all(not table.any() for table in found["imputation"].values())
    found = flat(separate, "imputation")
    assert all(not table.any() for table in found["prediction"].values())
    assert any(table.any() for table in found["imputation"].values())
    # Shared embeddings feel every task; the heads and biases of the others do not.
    shared = built("escm2_dr")
    found = flat(shared, "cvr")["prediction"]
    assert found["users"].any() and found["heads"][:, 1].any()
    for name in ("heads", "user_bias", "item_bias", "bias"):
        assert not found[name][:, 0].any() and not found[name][:, 2].any()


def test_the_imputation_learns_from_observed_pairs_only() -> None:
    method = built("escm2_dr", shared=False)
    found = flat(method, "imputation")["imputation"]
    for name, rated in (("user_bias", method.data.users), ("item_bias", method.data.items)):
        seen = torch.zeros(found[name].shape[1], dtype=torch.bool)
        seen[rated] = True
        assert found[name][:, seen].any() and not found[name][:, ~seen].any()


def test_the_click_tower_alone_is_a_propensity_model() -> None:
    """Trained on o over all of D, it finds the propensities behind it."""
    from dataclasses import replace

    generator = torch.Generator().manual_seed(0)
    user, item = torch.randn(40, 1, generator=generator), torch.randn(1, 30, generator=generator)
    propensity = torch.sigmoid(user + item - 1).double()
    drawn = (torch.rand(40, 30, generator=generator, dtype=torch.float64) < propensity).nonzero()
    labels = (torch.rand(len(drawn), generator=generator) < 0.5).double()
    one = replace(data(), n_users=40, n_items=30, users=drawn[:, 0], items=drawn[:, 1], labels=labels)
    method = built(
        "escm2_dr", one, spread=0.0, shared=False, learning_rate=0.05, propensity_weight_decay=1e-2
    )
    whole = Whole(method)
    for _ in range(100):
        method.step(whole)
    found = torch.sigmoid(method.click.fixed(whole.everywhere()))[0].view(40, 30)
    correlation = torch.corrcoef(torch.stack([found.flatten(), propensity.flatten()]))[0, 1]
    user_term, item_term = logistic_propensity(one)
    likeliest = torch.sigmoid(user_term.unsqueeze(-1) + item_term)
    best = torch.corrcoef(torch.stack([likeliest.flatten(), propensity.flatten()]))[0, 1]
    assert float(correlation) > float(best) - 0.02  # the maximum-likelihood fit of that o: about 0.90
    assert float(found.mean()) == pytest.approx(len(drawn) / 1200, abs=0.02)


def test_squared_errors_are_refused_and_each_separate_tower_has_its_own_decay() -> None:
    kind = methods.get("escm2_dr")
    with pytest.raises(BenchError, match=r"^method\.loss must be bce: imputed labels"):
        kind.Config(loss="mse").check()
    decays = {"weight_decay": 0.1, "propensity_weight_decay": 0.2, "imputation_weight_decay": 0.3}
    method = built("escm2_dr", shared=False, **decays)
    found = {name: float(part.adam.weight_decay[0]) for name, part in method.parts.items()}
    assert found == pytest.approx({"prediction": 0.1, "click": 0.2, "imputation": 0.3})
