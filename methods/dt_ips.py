"""DT-IPS: the propensity's embeddings are the prediction's and some of its own, held apart.

    loss = mean_O w · e + α · mean_D BCE(o, p) + β · (‖A_uᵀ B_u‖² + ‖A_iᵀ B_i‖²) / (n · d²)    (G,)

    f(u, i) = a_u · a_i + its biases;    p = σ(a_u · a_i + b_u · b_i + biases of its own);    e = ℓ(σ(f), r)
    w = 1 / sg(p), normalised, clipped at `clip`, and normalised again within the batch

A_u, B_u: (n, d), the rows a_u, b_u of the n pairs of a step, of O and of D; A_i, B_i likewise. b is to hold
what moves the exposure and not the rating; with it apart from a, the propensity of the labels is identified.

A step costs about eight of MF's with d = 8 and batches of 128 (`make cost`): two factorisations hand out
their rows beside their logits, for the products between them.

Source: Zhang et al., "Uncovering the Limitations of Eliminating Selection Bias for Recommendation: Missing
Mechanisms, Disentanglement, and Identifiability", ICDE 2024; the authors' code: haoxuanli-pku/ICDE24-MNAR.

Differences from the paper:
1. No gradient flows through w, as in `escm2_dr.py`: a larger p makes the weighted error smaller.
2. The authors' code clips p at .05 and does not normalise; here, as in every row, weights have mean 1.
3. The Gram penalty is divided by n: the code sums over the pairs of O and of D, each for itself, so that the
   penalty's weight hangs on the batch's size. The code's β times n, from .04 to 51 for its settings, is ours.
4. The mean square of all rows, which the code adds to the penalty, is weight decay here.
5. Biases in both models; the code has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import Part, minimise
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import Method, MethodConfig, at_least, total
from methods.learned_propensity import Propensity
from methods.parts import Factorisation, joined
from methods.weights import in_batch, observed_sample, weight_diagnostics


@register
class DTIPS(Method):
    """IPS with a propensity that shares the prediction's embeddings; knows nothing of A."""

    title = "DT-IPS"
    paper = "Zhang et al., Uncovering the Limitations of Eliminating Selection Bias, ICDE 2024"
    year = 2024
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of DT-IPS."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        propensity_weight: float = field(default=0.5, metadata=at_least(0))  # α
        disentangle_weight: float = field(default=10.0, metadata=at_least(0))  # β
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))
        propensity_weight_decay: float = 1e-4

    def build(self) -> None:
        """The prediction model, and the exposure model that holds b and the propensity's biases."""
        self.prediction = self.part(Factorisation, "prediction")
        self.exposure = self.part(Propensity, "exposure", weight_decay=self.config.propensity_weight_decay)

    def step(self, draw: Draw) -> None:
        """One step of all parts on the whole loss."""
        minimise(tuple(self.parts.values()), total(self.losses(draw.observed(), draw.everywhere())))

    def losses(self, observed: Batch, everywhere: Batch) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        pairs = joined(observed, everywhere)
        a, b = rows(self.prediction, pairs), rows(self.exposure, pairs)
        logits_observed, logits = pairs.split(self.propensity_logits(a, self.exposure(pairs)))
        click = functional.binary_cross_entropy_with_logits(logits, everywhere.observed, reduction="none")
        weights = in_batch(1 / torch.sigmoid(logits_observed.detach()), self.config.clip)
        return {
            **self.prediction_losses(observed, everywhere, weights),
            "propensity": self.config.propensity_weight * click.mean(-1),
            "disentangle": self.config.disentangle_weight * entangled(a, b),
        }

    def prediction_losses(self, observed: Batch, everywhere: Batch, weights: Tensor) -> dict[str, Tensor]:
        """What trains f by name, (G,) each, given w, (G, B)."""
        error = self.pointwise(self.prediction(observed), observed.labels)
        return {"weighted": (weights * error).mean(-1)}

    def propensity_logits(self, a: tuple[Tensor, Tensor], own: Tensor) -> Tensor:
        """logit p, (G, B), from a_u and a_i, (G, B, d) each, and b_u · b_i + biases, (G, B)."""
        return (a[0] * a[1]).sum(-1) + own

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        sample = observed_sample(self.data, self.n_members)
        logits = self.propensity_logits(rows(self.prediction, sample), self.exposure(sample))
        return weight_diagnostics(in_batch(1 / torch.sigmoid(logits), self.config.clip), self.data.density)


def rows(model: Part, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """A model's rows of the users and of the items of pairs, (G, B, d) each."""
    return model.rows("users", pairs.users), model.rows("items", pairs.items)


def entangled(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """(‖A_uᵀ B_u‖² + ‖A_iᵀ B_i‖²) / (n · d²), (G,), of rows of users and of items, (G, n, d) each."""
    mine, its = torch.cat(a), torch.cat(b)  # users' rows of all members, then items'
    # Each by a product of its own: a batched one rounds otherwise in another stack.
    products = torch.stack([one.mT @ other for one, other in zip(mine, its, strict=True)])
    squares = products.square().mean((-2, -1)) / mine.shape[1]
    return squares.view(2, -1).sum(0)
