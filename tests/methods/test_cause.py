"""CausE: its loss, its mask, and the tie of its two tables."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from tests.methods.small import Whole, all_observed, all_unbiased, built, data, gradients, plain_logits


def with_twin(method) -> dict[str, torch.Tensor]:
    """The treatment as tables of one MF."""
    return {**method.prediction.tables, **method.treatment.tables}


def test_the_loss_is_the_formula() -> None:
    method = built("cause", distance_weight=0.3, unbiased_weight=0.7)
    observed, unbiased = all_observed(method), all_unbiased(method)
    control = method.prediction.tables
    free = {name: table.clone().requires_grad_() for name, table in control.items()}
    twin = {name: table.clone().requires_grad_() for name, table in method.treatment.tables.items()}
    g = torch.arange(2).unsqueeze(-1)
    seen = torch.zeros(2, 5, dtype=torch.float64)
    for member in range(2):
        seen[member, method.data.unbiased_items[member]] = 1
    distance = (free["items"][g, observed.items] - twin["items"].detach()[g, observed.items]).abs().sum(-1)
    expected = (
        method.pointwise(plain_logits(free, observed), observed.labels).mean(-1)
        + 0.7 * method.pointwise(plain_logits({**free, **twin}, unbiased), unbiased.labels).mean(-1)
        + 0.3 * (seen[g, observed.items] * distance).mean(-1)
    )
    loss = method.loss(observed, unbiased)
    assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    slopes = torch.autograd.grad(expected.sum(), [*free.values(), *twin.values()])
    found = [*gradients(method.prediction, loss).values(), *gradients(method.treatment, loss).values()]
    for one, other in zip(found, slopes, strict=True):
        assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_without_distance_and_unbiased_ratings_it_is_mf() -> None:
    cause, mf = (
        built("cause", distance_weight=0.0, unbiased_weight=0.0, spread=0.0),
        built("mf", spread=0.0),
    )
    for _ in range(5):
        cause.step(Whole(cause))
        mf.step(Whole(mf))
    for name, table in mf.prediction.tables.items():
        assert torch.equal(table, cause.prediction.tables[name])


def test_items_that_a_has_not_reached_are_not_pulled() -> None:
    method = built("cause", distance_weight=1.0, unbiased_weight=0.0)
    method.pulled[:] = torch.tensor([1.0, 0, 1, 0, 1], dtype=torch.float64)
    found = gradients(method.prediction, method.loss(all_observed(method), all_unbiased(method)))
    plain = built("mf")
    for name, table in plain.prediction.tables.items():
        table.copy_(method.prediction.tables[name])
    observed = all_observed(plain)
    loss = plain.pointwise(plain.prediction(observed), observed.labels).mean(-1)
    without = gradients(plain.prediction, loss)
    apart = (found["items"] - without["items"]).abs().sum(-1) > 1e-9
    rated = torch.zeros(5, dtype=torch.bool)
    rated[method.data.items] = True
    assert bool((apart[:, [1, 3]] == False).all())  # noqa: E712
    assert bool(apart[:, [i for i in (0, 2, 4) if rated[i]]].all())


def test_the_tables_tie_on_covered_items() -> None:
    """With a frozen treatment and a large λ, within about an Adam step of each coordinate."""
    rate = 0.01
    method = built("cause", data(n_observed=28), distance_weight=100.0, learning_rate=rate, weight_decay=0.0)
    method.treatment.adam.learning_rate = torch.zeros_like(method.treatment.adam.learning_rate)
    start = method.treatment.tables["items"].clone()
    for _ in range(600):
        method.step(Whole(method))
    assert torch.equal(method.treatment.tables["items"], start)
    gap = (method.prediction.tables["items"] - start).abs().sum(-1)  # (G, I), over K = 3 coordinates
    covered = method.pulled > 0
    rated = torch.zeros(5, dtype=torch.bool)
    rated[method.data.items] = True
    assert float(gap[covered & rated].max()) < 3 * rate
    assert float(gap[~covered].min() if bool((~covered).any()) else 1.0) > 3 * rate
