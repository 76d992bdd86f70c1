"""ESCM²-DR: click and conversion towers over shared embeddings, conversion trained doubly robustly.

    L = BCE(ô, o)_D + λ_g · BCE(ô · r̂, o · r)_D
        + λ_c · (mean_D ê + mean_O w · (e − ê) + mean_O w · (sg(e) − ê')²)        (G,)

    ô = σ(CTR logit) is the propensity, r̂ = σ(CVR logit) the prediction, r̃ = σ(imputation logit);
    e = ℓ(r̂, r), ê = ℓ(r̂, sg(r̃)), ê' = ℓ(sg(r̂), r̃); w = density / sg(ô), normalised, clipped at `clip`, and
    normalised again within the batch. logit_t(u, i) = h_t · (p_u ∘ q_i) + b_tu + b_ti + b_t for head t.

Source: Wang et al., "ESCM²: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate
Estimation", SIGIR 2022, the DR variant.

Differences from the paper:
1. Ids only, so the towers are heads on an element-wise product instead of MLPs. `shared: false` gives three
   separate MFs, as the public ports have it; a sweep tries both, and its selected point says which won.
2. The imputation loss has the mask o of the paper; a public port averages it over all pairs, which teaches
   "unobserved = negative". The stop-gradients keep the CVR terms from shaping the propensity through 1 / ô.
3. The imputation tower gives a label, not an error: an error would leave the CVR head nothing to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw, Pairs
from bench.errors import BenchError
from methods import register
from methods.base import Method, MethodConfig, at_least, require, total
from methods.learned_propensity import Propensity
from methods.parts import Factorisation, Heads
from methods.weights import in_batch, observed_sample, weight_diagnostics

CTR, CVR, IMPUTATION = range(3)


@register
class ESCM2DR(Method):
    """Three tasks on the entire space; knows nothing of A."""

    title = "ESCM²-DR"
    paper = "Wang et al., ESCM²: Entire Space Counterfactual Multi-Task Model, SIGIR 2022"
    year = 2022

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of ESCM²-DR."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        ctcvr_weight: float = field(default=0.5, metadata=at_least(0))  # λ_g
        cvr_weight: float = field(default=1.0, metadata=at_least(0))  # λ_c
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))
        shared: bool = True  # one embedding table for all towers
        # L2 of the other towers where they are parts of their own (`shared: false`).
        propensity_weight_decay: float = 1e-4
        imputation_weight_decay: float = 1e-5

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            if self.loss != "bce":
                raise BenchError(
                    f"method.loss={self.loss} does not fit escm2_dr, whose imputed labels have a wrong "
                    "second root under squared errors: use bce."
                )
            fits = self.biases == "all" or not self.shared
            require(self, "biases", fits, "must be all with method.shared=true, whose click head needs them")

    def build(self) -> None:
        """The towers; the CTR tower starts at the density."""
        if self.config.shared:
            self.prediction = self.part(Heads, "prediction", heads=3)
            self.prediction.tables["bias"][:, CTR] = _logit(self.data.density)
        else:
            config = self.config
            self.click = self.part(Propensity, "click", weight_decay=config.propensity_weight_decay)
            self.imputation = self.part(
                Factorisation, "imputation", weight_decay=config.imputation_weight_decay
            )
            self.prediction = self.part(Factorisation, "prediction")

    def towers(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of CTR, CVR and imputation, (G, B) each."""
        if self.config.shared:
            return self.prediction(pairs).unbind(1)
        return self.click(pairs), self.prediction(pairs), self.imputation(pairs)

    def score(self, pairs: Pairs) -> Tensor:
        """r̂, (G, N)."""
        return torch.sigmoid(self.towers(pairs)[CVR])

    def step(self, draw: Draw) -> None:
        """One step of all towers on the whole loss."""
        parts = (self.prediction,) if self.config.shared else (self.click, self.prediction, self.imputation)
        minimise(parts, total(self.losses(draw.observed(), draw.everywhere())))

    def losses(self, observed: Batch, everywhere: Batch) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        click, conversion, imputed = self.towers(everywhere)
        joint = -_log_likelihood(click, conversion, everywhere.observed * everywhere.labels)
        direct = self.pointwise(conversion, torch.sigmoid(imputed).detach())

        click_o, conversion_o, imputed_o = self.towers(observed)
        weights = in_batch(1 / torch.sigmoid(click_o.detach()), self.config.clip)
        error = self.pointwise(conversion_o, observed.labels)
        imputed_error = self.pointwise(conversion_o, torch.sigmoid(imputed_o).detach())
        missed = error.detach() - self.pointwise(conversion_o.detach(), torch.sigmoid(imputed_o))
        return {
            "ctr": functional.binary_cross_entropy_with_logits(
                click, everywhere.observed, reduction="none"
            ).mean(-1),
            "ctcvr": self.config.ctcvr_weight * joint.mean(-1),
            "cvr": self.config.cvr_weight * (direct.mean(-1) + (weights * (error - imputed_error)).mean(-1)),
            "imputation": self.config.cvr_weight * (weights * missed.square()).mean(-1),
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        click = self.towers(observed_sample(self.data, self.n_members))[CTR]
        weights = in_batch(1 / torch.sigmoid(click), self.config.clip)
        return weight_diagnostics(weights, self.data.density)


def _log_likelihood(a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
    """Of labels under the probability σ(a) σ(b), without leaving the log scale."""
    log_p = functional.logsigmoid(a) + functional.logsigmoid(b)
    log_rest = torch.log(-torch.expm1(log_p.clamp_max(-1e-6)))
    return labels * log_p + (1 - labels) * log_rest


def _logit(p: float) -> float:
    return float(torch.logit(torch.tensor(p, dtype=torch.float64)))
