"""The directional form of the virtual step is the unrolled one."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.engine.bilevel import hypergradient, virtual_step
from bench.engine.part import Part
from bench.engine.sampling import Batch, Pairs, TrainingData
from methods.base import Method, MethodConfig
from methods.parts import Factorisation


class Plain(Method):
    """A bare MF of two members in float64."""

    title, paper, year = "", "", 0

    def build(self) -> None:
        self.prediction = self.part(Factorisation, "prediction")


def small() -> Plain:
    n_users, n_items = 6, 5
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(n_users * n_items, generator=generator)[:20]
    labels = (torch.rand(20, generator=generator) < 0.5).double()
    a = torch.randint(n_users * n_items, (2, 7), generator=generator)
    data = TrainingData(
        n_users=n_users,
        n_items=n_items,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1]),
        users=cells // n_items,
        items=cells % n_items,
        labels=labels,
        unbiased_users=a // n_items,
        unbiased_items=a % n_items,
        unbiased_labels=(torch.rand(2, 7, generator=generator) < 0.5).double(),
    )
    config = MethodConfig(embedding_size=3, init_scale=0.5)
    method = Plain([config, config], [0, 1], data)
    for table in method.prediction.tables.values():
        table.add_(0.3 * torch.randn(table.shape, generator=generator, dtype=torch.float64))
    return method


def batches(method: Plain) -> tuple[Batch, Batch]:
    data = method.data
    pairs = data.users.expand(2, -1), data.items.expand(2, -1)
    observed = Batch(*pairs, data.labels.expand(2, -1), torch.ones(2, 20, dtype=torch.float64))
    zero = torch.zeros_like(data.unbiased_labels)
    return observed, Batch(data.unbiased_users, data.unbiased_items, data.unbiased_labels, zero)


def logits(tables: dict[str, Tensor], pairs: Pairs) -> Tensor:
    """MF's formula in plain autograd, member by member."""
    rows = []
    for g in range(2):
        u, i = pairs.users[g], pairs.items[g]
        rows.append(
            (tables["users"][g][u] * tables["items"][g][i]).sum(-1)
            + tables["user_bias"][g][u]
            + tables["item_bias"][g][i]
            + tables["bias"][g]
        )
    return torch.stack(rows)


def test_the_directional_form_equals_the_unrolled_one() -> None:
    method = small()
    observed, unbiased = batches(method)
    rate = torch.tensor([0.1, 0.7], dtype=torch.float64)
    start = torch.linspace(-1, 1, 40, dtype=torch.float64).view(2, 20)

    free = start.clone().requires_grad_()
    tables = {k: t.clone().requires_grad_() for k, t in method.prediction.tables.items()}
    loss = (free.exp() * method.pointwise(logits(tables, observed), observed.labels)).sum(-1)
    slopes = torch.autograd.grad(loss.sum(), list(tables.values()), create_graph=True)
    ahead = {
        k: t - rate.view(-1, *[1] * (t.ndim - 1)) * s
        for (k, t), s in zip(tables.items(), slopes, strict=True)
    }
    unrolled = method.pointwise(logits(ahead, unbiased), unbiased.labels).sum(-1)
    (expected,) = torch.autograd.grad(unrolled.sum(), free)

    weight = start.clone().requires_grad_()
    inner_loss = (weight.exp() * method.pointwise(method.prediction(observed), observed.labels)).sum(-1)

    def ahead_loss(part: Factorisation) -> Tensor:
        return method.pointwise(part(unbiased), unbiased.labels).sum(-1)

    value, surrogate = hypergradient(method.prediction, inner_loss, rate, ahead_loss)
    (found,) = torch.autograd.grad(surrogate.sum(), weight)
    torch.testing.assert_close(value, unrolled.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
    assert found.abs().max() > 1e-4


def test_only_the_outer_part_moves_and_the_inner_leaves_stay_usable() -> None:
    method = small()
    observed, unbiased = batches(method)
    ones = torch.ones(2, dtype=torch.float64)
    outer = Part({"weight": torch.zeros(2, 20, dtype=torch.float64)}, 0.1 * ones, 0 * ones)
    before = {k: t.clone() for k, t in method.prediction.tables.items()}
    error = method.pointwise(method.prediction(observed), observed.labels)
    virtual_step(
        outer,
        method.prediction,
        (outer.whole("weight").exp() * error).sum(-1),
        ones,
        lambda part: method.pointwise(part(unbiased), unbiased.labels).sum(-1),
    )
    assert all(torch.equal(before[k], t) for k, t in method.prediction.tables.items())
    # Adam's first step has the size of its rate wherever there is a gradient at all.
    assert (outer.tables["weight"].abs() > 0.09).any()
    assert len(method.prediction.leaves) == 1
