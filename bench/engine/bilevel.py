"""The virtual step of bi-level methods: how parameters of a loss change what one step on it leads to.

An inner part θ is trained on a loss L(θ; φ) that outer parts φ shape (weights, imputed labels), and φ is
trained so that one step of θ lowers another loss L_A:

    θ' = θ − η ∇_θ L(θ; φ),        φ ← Adam step on L_A(θ'(φ)).

With g = ∇_θ' L_A(θ'), the chain rule gives dL_A/dφ = −η d/dφ ⟨∇_θ L(θ; φ), g⟩: a directional derivative.
The virtual step itself is never part of autograd's graph; only the inner loss's gradient at the leaves
(logits, rows) is, and the direction is pushed to them (`Leaf.push`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from bench.engine.part import Part, minimise, slopes

AnyPart = TypeVar("AnyPart", bound=Part)


def virtual_step(
    outer: Part | tuple[Part, ...],
    inner: AnyPart,
    loss: Tensor,
    rate: Tensor,
    ahead_loss: Callable[[AnyPart], Tensor],
) -> None:
    """One Adam step of the outer parts on L_A(θ'(φ)); the inner part stays as it is.

    The inner part's leaves stay usable, so that its true step may use the same logits again. Reduce both
    losses by sums: with means the gradients of φ are so small that Adam's epsilon counts.

    Args:
        outer: the parts φ.
        inner: the part θ.
        loss: (G,) L(θ; φ), computed from both.
        rate: (G,) η.
        ahead_loss: gives L_A, (G,), of the inner part one step ahead.

    Source: Wang et al., WSDM 2021 (LTD) and Chen et al., SIGIR 2021 (AutoDebias), §"meta" step, in the
    directional form that saves the second-order graph.
    """
    ahead, slopes = hypergradient(inner, loss, rate, ahead_loss)
    minimise(outer, slopes, noted=ahead)


def hypergradient(
    inner: AnyPart, loss: Tensor, rate: Tensor, ahead_loss: Callable[[AnyPart], Tensor]
) -> tuple[Tensor, Tensor]:
    """L_A (G,) one step ahead, and a surrogate (G,) whose gradient in φ is that of L_A(θ'(φ))."""
    leaves = list(inner.leaves)
    values = [leaf.value for leaf in leaves]
    gradients = slopes(loss, values, create_graph=True)
    used = [(leaf, slope) for leaf, slope in zip(leaves, gradients, strict=True) if slope is not None]

    with torch.no_grad():
        twin = inner.kernels.ahead(inner, [(leaf, slope.detach()) for leaf, slope in used], rate)
    ahead = ahead_loss(twin)
    found = slopes(ahead, [leaf.value for leaf in twin.leaves])
    with torch.no_grad():
        direction = [
            (leaf, slope) for leaf, slope in zip(twin.leaves, found, strict=True) if slope is not None
        ]
        pushed = inner.kernels.along(twin, direction, [leaf for leaf, _ in used])
    surrogate = torch.zeros_like(rate)
    for (_, slope), along in zip(used, pushed, strict=True):
        surrogate = surrogate - rate * (slope * along).flatten(1).sum(-1)
    return ahead.detach(), surrogate
