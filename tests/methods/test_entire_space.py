"""ESMM, Multi-IPS, Multi-DR, ESCM²-IPS, ESCM²-DR, IPS-V2, DR-V2: losses, written a second time, and ties."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import methods
from bench.engine.sampling import Batch
from bench.errors import BenchError
from methods.base import total
from tests.methods.small import Whole, all_observed, all_pairs, built, gradients, plain_logits

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far

CLOSE = {"rtol": 1e-8, "atol": 1e-10}
WEIGHTS = {"cvr_weight": 0.3, "clip": 1.1}
FIELDS: dict[str, dict[str, Any]] = {
    "esmm": {"ctr_weight": 0.7},
    "multi_ips": WEIGHTS,
    "multi_dr": WEIGHTS,
    "escm2_ips": {**WEIGHTS, "ctcvr_weight": 0.2},
    "escm2_dr": {**WEIGHTS, "ctcvr_weight": 0.2},
    "ips_v2": {**WEIGHTS, "ctcvr_weight": 0.2, "balance_weight": 0.9},
    "dr_v2": {**WEIGHTS, "ctcvr_weight": 0.2, "balance_weight": 0.9},
}


def loss_of(method: Any) -> Tensor:
    observed, everything = (method.scored_batch(batch(method)) for batch in (all_observed, all_pairs))
    return total(method.losses(observed, everything))


def cross_entropy(p: Tensor, label: Tensor) -> Tensor:
    return -(label * p.log() + (1 - label) * (1 - p).log())


def formula(key: str, method: Any, free: dict[str, dict[str, Tensor]]) -> Tensor:
    """The loss of separate towers over all of O and of D, in probabilities."""
    o, d = all_observed(method), all_pairs(method)

    def of(name: str, pairs: Batch) -> Tensor:
        return torch.sigmoid(plain_logits(free[name], pairs))

    click, p, p_o, r = of("click", d), of("prediction", d), of("prediction", o), o.labels
    ctr = cross_entropy(click, d.observed).mean(-1)
    ctcvr = cross_entropy(click * p, d.observed * d.labels).mean(-1)
    if key == "esmm":
        return 0.7 * ctr + ctcvr
    w = 1 / of("click", o).detach()
    w = (w / w.mean(-1, keepdim=True)).clamp(max=1.1)
    w = w / w.mean(-1, keepdim=True)
    e = cross_entropy(p_o, r)
    if key in ("multi_dr", "escm2_dr", "dr_v2"):
        r_o, r_d = of("imputation", o), of("imputation", d)
        missed = e.detach() - cross_entropy(p_o.detach(), r_o)
        corrected = (w * (e - cross_entropy(p_o, r_o.detach()))).mean(-1)
        cvr = cross_entropy(p, r_d.detach()).mean(-1) + corrected + (w * missed.square()).mean(-1)
    else:
        cvr = (w * e).mean(-1)
    loss = ctr + 0.3 * cvr
    if key not in ("multi_ips", "multi_dr"):
        loss = loss + 0.2 * ctcvr
    if key in ("ips_v2", "dr_v2"):
        weight = (method.data.density / of("click", o)).clamp(max=1.1)
        rest = (1 / (1 - click)).clamp(max=1.1)
        # O is sampled: density times its mean is the mean over D.
        imbalance = (weight * p_o).mean(-1) - ((1 - d.observed) * rest * p).mean(-1)
        loss = loss + 0.9 * imbalance**2
    return loss


@pytest.mark.parametrize("key", FIELDS)
def test_losses_and_gradients_are_those_of_the_formula(key: str) -> None:
    method: Any = built(key, shared=False, **FIELDS[key])
    free = {
        name: {table: values.clone().requires_grad_() for table, values in part.tables.items()}
        for name, part in method.parts.items()
    }
    expected, loss = formula(key, method, free), loss_of(method)
    assert_close(loss, expected, **CLOSE)
    expected.sum().backward()
    for name, part in method.parts.items():
        for table, slope in gradients(part, loss).items():
            assert_close(slope, free[name][table].grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_squared_errors_are_conversions_alone_and_refused_with_imputed_labels(loss: str) -> None:
    method: Any = built("escm2_ips", shared=False, loss=loss)
    o = all_observed(method)
    p = torch.sigmoid(plain_logits(method.prediction.tables, o))
    e = (p - o.labels) ** 2 if loss == "mse" else cross_entropy(p, o.labels)
    scored = method.scored_batch(o)
    assert_close(method.weighted_loss(scored), (method.weights(scored) * e).mean(-1), **CLOSE)
    for key in ("multi_dr", "escm2_dr", "dr_v2"):
        with pytest.raises(BenchError, match=r"^method\.loss must be bce"):
            methods.get(key).Config(loss="mse").check()


def stepped(key: str, **fields: Any) -> dict[str, Tensor]:
    """Parameters after three steps."""
    method = built(key, **fields)
    for _ in range(3):
        method.step(Whole(method))  # type: ignore[arg-type]
    return {
        f"{name}/{table}": values
        for name, part in method.parts.items()
        for table, values in part.tables.items()
    }


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("one", "fields", "other", "others"),
    [
        ("ips_v2", {"balance_weight": 0.0, "ctcvr_weight": 0.5}, "escm2_ips", {"ctcvr_weight": 0.5}),
        ("dr_v2", {"balance_weight": 0.0, "ctcvr_weight": 0.5}, "escm2_dr", {"ctcvr_weight": 0.5}),
        ("escm2_ips", {"ctcvr_weight": 0.0}, "multi_ips", {}),
        ("escm2_dr", {"ctcvr_weight": 0.0}, "multi_dr", {}),
        ("escm2_ips", {"cvr_weight": 0.0, "ctcvr_weight": 1.0}, "esmm", {}),
    ],
)
def test_rows_are_their_neighbours_without_a_term(
    one: str, fields: dict[str, Any], other: str, others: dict[str, Any], shared: bool
) -> None:
    found, expected = stepped(one, shared=shared, **fields), stepped(other, shared=shared, **others)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert_close(found[name], values, **CLOSE)


def test_the_joint_loss_is_exact_at_the_ends() -> None:
    method: Any = built("esmm", shared=False)
    d = method.scored_batch(all_pairs(method))
    for click, conversion, label in ((40.0, 40.0, 0), (-60.0, -60.0, 1), (40.0, -60.0, 0)):
        a, b = torch.tensor([click]), torch.tensor([conversion])
        p, q = (x.double() for x in (a, b))
        scored = type(d)(Batch(a, b, torch.full((1,), label), torch.ones(1)), p, q, q)
        log_p = -torch.log1p(torch.exp(-p)) - torch.log1p(torch.exp(-q))
        expected = -log_p if label else -torch.log(-torch.expm1(log_p))
        assert_close(method.joint_loss(scored), expected.mean(-1), rtol=1e-9, atol=1e-13)


def test_the_imbalance_is_the_papers_mean_over_all_pairs() -> None:
    """mean_D [o/p − (1 − o)/(1 − p)] · r̂, which is 0 in expectation where P(o = 1) = p."""
    method: Any = built("ips_v2", shared=False, clip=1e6)
    d = all_pairs(method)
    p, r = (torch.sigmoid(plain_logits(method.parts[name].tables, d)) for name in ("click", "prediction"))
    expected = ((d.observed / p - (1 - d.observed) / (1 - p)) * r).mean(-1)
    found = method.imbalance(method.scored_batch(all_observed(method)), method.scored_batch(d), True)
    assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("key", ["ips_v2", "dr_v2"])
def test_the_imbalance_moves_the_propensity_and_the_prediction_only_where_it_may(key: str) -> None:
    for through in (True, False):
        method: Any = built(key, shared=False, balance_prediction=through)
        terms = method.losses(*(method.scored_batch(each(method)) for each in (all_observed, all_pairs)))
        moved = {
            name: any(bool(slope.any()) for slope in gradients(part, terms["balance"]).values())
            for name, part in method.parts.items()
        }
        assert moved["click"] and moved["prediction"] == through
        assert not moved.get("imputation", False)


@pytest.mark.parametrize("click", [-800.0, 800.0])
@pytest.mark.parametrize("key", [key for key in FIELDS if key != "esmm"])
def test_a_propensity_at_its_end_leaves_numbers(key: str, click: float) -> None:
    """Of all pairs, and of one user's alone, whose weights of 1 / 0 would make all others no number."""
    for table, place in (("bias", slice(None)), ("user_bias", (slice(None), 0))):
        method: Any = built(key, shared=False)
        method.click.tables[table][place] = click
        loss = loss_of(method)
        assert bool(loss.isfinite().all())
        for part in method.parts.values():
            assert all(bool(slope.isfinite().all()) for slope in gradients(part, loss).values())


def test_heads_are_as_many_as_the_rows_towers() -> None:
    for key in FIELDS:
        method: Any = built(key, shared=True)
        assert method.prediction.tables["heads"].shape[1] == (3 if "dr" in key else 2)
        with pytest.raises(BenchError, match=r"^method\.biases must be all with method\.shared=true"):
            built(key, shared=True, biases="none")


def test_separate_towers_have_decays_of_their_own() -> None:
    decays = {"weight_decay": 0.1, "propensity_weight_decay": 0.2, "imputation_weight_decay": 0.3}
    method = built("dr_v2", shared=False, **decays)
    found = {name: float(part.adam.weight_decay[0]) for name, part in method.parts.items()}
    assert found == pytest.approx({"prediction": 0.1, "click": 0.2, "imputation": 0.3})
