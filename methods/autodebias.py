"""AutoDebias: weights and imputed labels are learned so that training with them does well on A.

    upper:  min_φ  Σ_A ℓ(σ(f_θ'), r),    θ' = θ − η ∇_θ L(θ, φ)
    lower:  L = mean_O w1 · ℓ(σ(f), r) + λ · (|D| / |O|) · mean_D w2 · ℓ(σ(f), m)        (G,)

    w1 = exp((a_u + a_i + a_r) / 5) of observed pairs, w2 = exp((b_u + b_i + b_o) / 5) of all pairs,
    m = σ(c) with one c for each of: missing, observed negative, observed positive. φ = {a, b, c}.

Source: Chen et al., "AutoDebias: Learning to Debias for Recommendation", SIGIR 2021.

Differences from the paper:
1. Labels are 0 and 1 and outputs sigmoid, so m = σ(c) instead of tanh; o is an explicit mask, where a
   port to labels 0 and 1 confuses missing with negative.
2. The paper's blocks of users × items become batches of O and of D. λ is the weight of a pair of D beside one
   of O, whatever the batches' sizes.
3. The division by 5 is the authors' code's. All weights start at exactly 1.
4. The virtual step is plain gradient descent on sums with a rate of its own; the true step is Adam. The meta
   parts' decay is decoupled, since their gradients are small.
5. w1 and w2 stay at 1 for `freeze_steps` steps (the authors' code waits 20 epochs), by default 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.bilevel import virtual_step
from bench.engine.part import Part, minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import Method, MethodConfig, above, at_least, total
from methods.parts import Factorisation, LogLinear
from methods.weights import coverage, observed_sample


@register
class AutoDebias(Method):
    """MF under a meta-learned loss on the whole space."""

    title = "AutoDebias"
    paper = "Chen et al., AutoDebias: Learning to Debias for Recommendation, SIGIR 2021"
    year = 2021
    uses_unbiased = "yes"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of AutoDebias."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        missing_weight: float = field(default=0.01, metadata=at_least(0))  # λ
        inner_rate: float = field(default=0.01, metadata=above(0))  # η, on losses summed over the batch
        weight_learning_rate: float = field(default=1e-3, metadata=at_least(0))  # of w1 and w2
        weight_weight_decay: float = 1e-2
        label_learning_rate: float = field(default=0.1, metadata=at_least(0))  # of m
        label_weight_decay: float = 1e-4
        freeze_steps: int = field(default=0, metadata=at_least(0))

    def build(self) -> None:
        """The prediction model and the three outer parts."""
        config = self.config
        rates = {
            "learning_rate": config.weight_learning_rate,
            "weight_decay": config.weight_weight_decay,
        }
        self.prediction = self.part(Factorisation, "prediction")
        self.observed_weight = self.part(LogLinear, "observed_weight", **rates)
        self.everywhere_weight = self.part(LogLinear, "everywhere_weight", **rates)
        self.parts["imputed_label"] = self.imputed_label = Part(
            {"logit": self.data.labels.new_zeros(self.n_members, 3)},
            config.label_learning_rate,
            config.label_weight_decay,
            decoupled=True,
        )

    def phases(self) -> list[Phase]:
        """One phase, in whose first `freeze_steps` steps the weights stay as they are."""
        return [Phase(name="training", step=self.step, score=self.score, at=self.step_of)]

    def step_of(self, number: int) -> Callable[[Draw], None]:
        """The step of a number, from 0."""
        return self.step_labels if number < self.config.freeze_steps else self.step

    def step(self, draw: Draw) -> None:
        """A step of all outer parts and of the prediction model."""
        self.step_with(draw, (self.imputed_label, self.observed_weight, self.everywhere_weight))

    def step_labels(self, draw: Draw) -> None:
        """A step of the imputed labels and of the prediction model."""
        self.step_with(draw, (self.imputed_label,))

    def step_with(self, draw: Draw, outer: tuple[Part, ...]) -> None:
        """A step of outer parts through a virtual one of the prediction model, then its true step."""
        observed, everywhere, unbiased = draw.observed(), draw.everywhere(), draw.unbiased()
        logits, logits_everywhere = self.prediction(observed), self.prediction(everywhere)
        virtual_step(
            outer,
            self.prediction,
            observed.labels.shape[-1] * total(self.losses(observed, everywhere, logits, logits_everywhere)),
            self.config.inner_rate,
            lambda ahead: self.pointwise(ahead(unbiased), unbiased.labels).sum(-1),
        )
        minimise(self.prediction, total(self.losses(observed, everywhere, logits, logits_everywhere)))

    def losses(
        self, observed: Batch, everywhere: Batch, logits: Tensor, logits_everywhere: Tensor
    ) -> dict[str, Tensor]:
        """The terms of L by name, (G,) each."""
        w1 = self.observed_weight(observed, observed.labels.long())
        w2 = self.everywhere_weight(everywhere, everywhere.observed.long())
        kind = (everywhere.observed * (1 + everywhere.labels)).long()  # 0 missing, 1 negative, 2 positive
        label = torch.sigmoid(self.imputed_label.whole("logit")).gather(1, kind)
        on_observed = (w1 * self.pointwise(logits, observed.labels)).mean(-1)
        on_everything = (w2 * self.pointwise(logits_everywhere, label)).mean(-1)
        return {
            "observed": on_observed,
            "everywhere": self.config.missing_weight / self.data.density * on_everything,
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """m of each kind, the range of w1 over a sample of O, and `coverage`."""
        label = torch.sigmoid(self.imputed_label.tables["logit"]).unbind(-1)
        sample = observed_sample(self.data, self.n_members)
        w1 = self.observed_weight(sample, sample.labels.long())
        names = ("missing", "negative", "positive")
        return {
            **{f"imputed_label_{name}": value for name, value in zip(names, label, strict=True)},
            "observed_weight_min": w1.min(-1).values,
            "observed_weight_max": w1.max(-1).values,
            "effective_sample_size": w1.mean(-1).square() / w1.square().mean(-1),
            **coverage(self.data),
        }
