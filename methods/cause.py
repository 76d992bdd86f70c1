"""CausE: two sets of item vectors, one for each kind of ratings, pulled together.

    loss = mean_O ℓ(σ(f_c), r) + w_A · mean_A ℓ(σ(f_t), r) + λ · mean_O [i ∈ A] · ‖q_i − sg(q'_i)‖₁    (G,)

    f_c(u, i) = p_u · q_i + b_u + b_i + b     control, of the observed ratings O; the one that predicts
    f_t(u, i) = p_u · q'_i + b_u + b'_i + b   treatment, of the unbiased ratings A; users are shared
    w_A = w · |A| / |O|, so that one rating of A counts as w of O; or w, the mean over A as w means over O

Source: Bonner and Vasile, "Causal Embeddings for Recommendation", RecSys 2018, variant CausE-prod-C.

Differences from the paper:
1. The pull is one-way, control towards the treatment as it stands, and counts an item as often as it is
   observed: so do the authors' code and all ports of it.
2. Items without a rating in A keep random treatment vectors, to which the ports shrink the control vectors.
   Here they are not pulled (`mask: true`); `mask: false` is the ports' behaviour.
3. All of A is in every step, where the ports shuffle both sets into one; at w = 1 all ratings count alike,
   here as there. With `unbiased_unit: set` w is the weight of A's mean: at 1, a rating of A counts as
   |O| / |A| of O, which is tens of them.
4. Means replace the ports' sums, so λ means the same on every data set: ‖·‖₁ sums the D coordinates, and the
   pull is averaged over all pairs of the batch, of which those whose item has no rating in A count 0.
5. Biases are not pulled, as in the ports. The authors' code also learns one scale of all products p · q.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import Method, MethodConfig, at_least, choices, total
from methods.parts import Factorisation, TwinMF
from methods.weights import coverage


@register
class CausE(Method):
    """MF whose item vectors lean on those of the unbiased ratings."""

    title = "CausE"
    paper = "Bonner and Vasile, Causal Embeddings for Recommendation, RecSys 2018"
    year = 2018
    uses_unbiased = "yes"
    raw_scores = True

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of CausE."""

        distance_weight: float = field(default=0.01, metadata=at_least(0))  # λ
        unbiased_weight: float = field(default=1.0, metadata=at_least(0))  # w
        # What w is the weight of: rating (one of A beside one of O) | set (all of A beside all of O).
        unbiased_unit: str = field(default="rating", metadata=choices("rating", "set"))
        mask: bool = True  # pull only items that have a rating in A

    def build(self) -> None:
        """The control model and, over its users, the treatment's items."""
        self.prediction = self.part(Factorisation, "prediction")
        self.treatment = self.part(TwinMF, "treatment", base=self.prediction)
        data = self.data
        share = data.unbiased_labels.shape[-1] / len(data.labels)
        self.unbiased_weight = self.config.unbiased_weight * (
            share if self.config.unbiased_unit == "rating" else 1
        )  # w_A, (G,)
        seen = data.unbiased_labels.new_zeros(len(data.seeds), data.n_items)
        self.pulled = seen.scatter_(1, data.unbiased_items, 1.0)[data.seed_row]  # (G, I)
        if not self.config.mask:
            self.pulled = torch.ones_like(self.pulled)

    def step(self, draw: Draw) -> None:
        """One step of both sets of item vectors and the users."""
        terms = self.losses(draw.observed(), draw.unbiased())
        minimise((self.prediction, self.treatment), total(terms))

    def losses(self, observed: Batch, unbiased: Batch) -> dict[str, Tensor]:
        """The terms of the loss by name, (G,) each."""
        on_observed = self.pointwise(self.prediction(observed), observed.labels).mean(-1)
        on_unbiased = self.pointwise(self.treatment(self.prediction, unbiased), unbiased.labels).mean(-1)
        pull = self.pulled.gather(1, observed.items) * self.distance(observed.items)
        return {
            "observed": on_observed,
            "unbiased": self.unbiased_weight * on_unbiased,
            "pull": self.config.distance_weight * pull.mean(-1),
        }

    def distance(self, items: Tensor) -> Tensor:
        """‖q_i − sg(q'_i)‖₁, (G, B)."""
        control = self.prediction.rows("items", items)
        with torch.no_grad():
            treatment = self.treatment.rows("items", items)
        return (control - treatment).abs().sum(-1)

    def diagnostics(self) -> dict[str, Tensor]:
        """See `coverage`."""
        return coverage(self.data)
