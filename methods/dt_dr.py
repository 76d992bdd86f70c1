"""DT-DR: DT-IPS on the doubly robust loss, with an imputation that learns along.

    loss = mean_D ê + mean_O w · (e − ê) + θ · mean_O w · (sg(e) − ê')²
           + α · mean_D BCE(o, p) + β · (‖A_uᵀ B_u‖² + ‖A_iᵀ B_i‖²) / (n · d²)              (G,)

    ê = ℓ(σ(f), sg(σ(g))), ê' = ℓ(sg(σ(f)), σ(g)); f, p, w, e, A and B are those of `dt_ips.py`.

A step costs more than eight of MF's (`make cost`): it trains three factorisations, and two of them hand out
their rows beside their logits.

Source: Zhang et al., "Uncovering the Limitations of Eliminating Selection Bias for Recommendation: Missing
Mechanisms, Disentanglement, and Identifiability", ICDE 2024; the authors' code: haoxuanli-pku/ICDE24-MNAR.

Differences from the paper:
1. Those of `dt_ips.py`.
2. Every gradient goes where its loss is meant to go: the imputation learns from its own error alone, and the
   prediction from the doubly robust loss alone. In the authors' code each flows into both.
3. The imputed label has a wrong second root under squared errors (`dr_jl.py`), so the loss is bce.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.sampling import Batch
from methods import register
from methods.base import above, require
from methods.dt_ips import DTIPS
from methods.parts import Factorisation, joined


@register
class DTDR(DTIPS):
    """DT-IPS with an imputation model."""

    title = "DT-DR"

    @dataclass(kw_only=True)
    class Config(DTIPS.Config):
        """Fields of DT-DR."""

        imputation_weight: float = field(default=1.0, metadata=above(0))  # θ
        imputation_weight_decay: float = 1e-4

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "loss", self.loss == "bce", "must be bce for DT-DR, which imputes labels")

    def build(self) -> None:
        """The parts of DT-IPS and the imputation model."""
        super().build()
        self.imputation = self.part(
            Factorisation, "imputation", weight_decay=self.config.imputation_weight_decay
        )

    def prediction_losses(self, observed: Batch, everywhere: Batch, weights: Tensor) -> dict[str, Tensor]:
        """What trains f and g by name, (G,) each, given w, (G, B)."""
        pairs = joined(observed, everywhere)
        logits, logits_everywhere = pairs.split(self.prediction(pairs))
        imputed = torch.sigmoid(self.imputation(observed))
        direct = self.pointwise(logits_everywhere, torch.sigmoid(self.imputation.fixed(everywhere)))
        error = self.pointwise(logits, observed.labels)
        corrected = error - self.pointwise(logits, imputed.detach())
        missed = error.detach() - self.pointwise(logits.detach(), imputed)
        return {
            "direct": direct.mean(-1),
            "correction": (weights * corrected).mean(-1),
            "imputation": self.config.imputation_weight * (weights * missed.square()).mean(-1),
        }
