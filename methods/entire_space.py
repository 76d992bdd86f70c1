"""Click and conversion on the entire space: towers and terms that several rows are made of.

    ô = σ(CTR logit), the propensity P(o = 1);  r̂ = σ(CVR logit), the prediction;  r̃ = σ(imputation logit)
    logit_t(u, i) = h_t · (p_u ∘ q_i) + b_tu + b_ti + b_t for tower t where they share tables, else MFs
    e = ℓ(r̂, r),  ê = ℓ(r̂, sg(r̃)),  ê' = ℓ(sg(r̂), r̃)
    w = density / sg(ô), normalised, clipped at `clip` and normalised again within the batch

    click(D)       = mean_D BCE(ô, o)
    joint(D)       = mean_D BCE(ô · r̂, o · r)
    weighted(O)    = mean_O w · e
    corrected(O,D) = mean_D ê + mean_O w · (e − ê)
    missed(O)      = mean_O w · (sg(e) − ê')²
    imbalance(O,D) = mean_O min(density / ô, clip) · r̂ − mean_D (1 − o) · min(1 / (1 − ô), clip) · r̂

The terms are (G,) each; not every row has the imputation tower.

Shapes: G members, B pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw, Pairs
from methods.base import Method, MethodConfig, at_least, require, total
from methods.learned_propensity import Propensity
from methods.parts import Factorisation, Heads
from methods.weights import in_batch, observed_sample, weight_diagnostics

CTR, CVR, IMPUTATION = range(3)


@dataclass(frozen=True)
class Scored:
    """A batch and the logits of its pairs, (G, B) each.

    imputed: of the last tower, which is CVR where a row imputes nothing.
    """

    batch: Batch
    click: Tensor
    conversion: Tensor
    imputed: Tensor

    @cached_property
    def propensity(self) -> Tensor:
        """ô, (G, B)."""
        return torch.sigmoid(self.click)

    @cached_property
    def imputed_label(self) -> Tensor:
        """r̃, (G, B)."""
        return torch.sigmoid(self.imputed)


@dataclass(kw_only=True)
class EntireSpaceConfig(MethodConfig):
    """Fields of all rows on the entire space."""

    # Towers of one table have its decay.
    inert: ClassVar[dict[tuple[str, Any], tuple[str, ...]]] = {
        ("shared", True): ("propensity_weight_decay", "imputation_weight_decay")
    }

    everywhere_ratio: int = field(default=1, metadata=at_least(1))
    shared: bool = True  # one embedding table for all towers
    propensity_weight_decay: float = 1e-4  # L2 of the CTR tower where it is a part of its own

    def check(self) -> None:
        """See `MethodConfig.check`."""
        super().check()
        fits = self.biases == "all" or not self.shared
        require(self, "biases", fits, "must be all with method.shared=true, whose click head needs them")


class EntireSpace(Method):
    """Towers of click and conversion, and of an imputed label where `imputes`; knows nothing of A."""

    imputes: ClassVar[bool] = False

    def build(self) -> None:
        """The towers; the CTR tower starts at the density."""
        if self.config.shared:
            self.prediction = self.part(Heads, "prediction", heads=3 if self.imputes else 2)
            density = torch.tensor(self.data.density, dtype=torch.float64)
            self.prediction.tables["bias"][:, CTR] = torch.logit(density)
            return
        config = self.config
        self.click = self.part(Propensity, "click", weight_decay=config.propensity_weight_decay)
        if self.imputes:
            self.imputation = self.part(
                Factorisation, "imputation", weight_decay=config.imputation_weight_decay
            )
        self.prediction = self.part(Factorisation, "prediction")

    def towers(self, pairs: Pairs) -> tuple[Tensor, ...]:
        """Logits of CTR, CVR and, with `imputes`, imputation; (G, B) each."""
        if self.config.shared:
            return self.prediction(pairs).unbind(1)
        logits = (self.click(pairs), self.prediction(pairs))
        return (*logits, self.imputation(pairs)) if self.imputes else logits

    def score(self, pairs: Pairs) -> Tensor:
        """r̂, (G, N)."""
        return torch.sigmoid(self.towers(pairs)[CVR])

    def step(self, draw: Draw) -> None:
        """One step of all towers on the whole loss."""
        terms = self.losses(self.scored_batch(draw.observed()), self.scored_batch(draw.everywhere()))
        minimise(tuple(self.parts.values()), total(terms))

    def scored_batch(self, batch: Batch) -> Scored:
        """A batch with its logits."""
        logits = self.towers(batch)
        return Scored(batch, logits[CTR], logits[CVR], logits[-1])

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The row's terms by name, (G,) each, with their weights."""
        raise NotImplementedError

    # --- Terms ---

    def click_loss(self, everywhere: Scored) -> Tensor:
        """click(D), (G,)."""
        return functional.binary_cross_entropy_with_logits(
            everywhere.click, everywhere.batch.observed, reduction="none"
        ).mean(-1)

    def joint_loss(self, everywhere: Scored) -> Tensor:
        """joint(D), (G,), by logits a, b: 1 − σ(a) σ(b) = (1 + eᵃ + eᵇ) / ((1 + eᵃ) (1 + eᵇ))."""
        a, b, both = everywhere.click, everywhere.conversion, everywhere.batch.labels  # o · r
        of_a, of_b = (functional.softplus(each, threshold=50) for each in (a, b))  # log(1 + eᵃ)
        error = of_a + of_b - both * (a + b) - (1 - both) * torch.logaddexp(of_a, b)
        return error.mean(-1)

    def weights(self, observed: Scored) -> Tensor:
        """w, (G, B); no gradient flows through it."""
        return in_batch(1 / observed.propensity.detach(), self.config.clip)

    def weighted_loss(self, observed: Scored) -> Tensor:
        """weighted(O), (G,)."""
        error = self.pointwise(observed.conversion, observed.batch.labels)
        return (self.weights(observed) * error).mean(-1)

    def imputed_losses(self, observed: Scored, everywhere: Scored) -> tuple[Tensor, Tensor]:
        """corrected(O, D) and missed(O), (G,) each; of cross-entropies e − ê = (r̃ − r) times r̂'s logit."""
        weights = self.weights(observed)
        off = observed.imputed_label - observed.batch.labels
        direct = self.pointwise(everywhere.conversion, everywhere.imputed_label.detach())
        correction = (weights * off.detach() * observed.conversion).mean(-1)
        missed = (weights * (off * observed.conversion.detach()).square()).mean(-1)
        return direct.mean(-1) + correction, missed

    def imbalance(self, observed: Scored, everywhere: Scored, through_prediction: bool) -> Tensor:
        """imbalance(O, D), (G,): 0 on average where ô is the propensity; a gradient flows through ô.

        Args:
            through_prediction: a gradient flows through r̂, too.
        """
        density, clip = self.data.density, self.config.column("clip")
        weight = density / torch.maximum(observed.propensity, density / clip)
        rest = (1 - everywhere.batch.observed) / torch.maximum(1 - everywhere.propensity, 1 / clip)
        logits = [each.conversion for each in (observed, everywhere)]
        if not through_prediction:
            logits = [each.detach() for each in logits]
        of_observed, of_all = map(torch.sigmoid, logits)
        return (weight * of_observed).mean(-1) - (rest * of_all).mean(-1)

    def weight_numbers(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        sample = observed_sample(self.data, self.n_members)
        return weight_diagnostics(self.weights(self.scored_batch(sample)), self.data.density)
