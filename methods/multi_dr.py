"""Multi-DR: click, conversion and an imputed label over shared embeddings, conversion doubly robust.

    L = click(D) + λ_c · (corrected(O, D) + missed(O))        (G,)

Terms and towers are those of `entire_space.py`. With the joint task it is ESCM²-DR.

Source: Zhang et al., "Large-Scale Causal Approaches to Debiasing Post-Click Conversion Rate Estimation with
Multi-Task Learning", WWW 2020; public code: haoxuanli-pku/ICDE24-MNAR, `Multi-DR.py`.

Differences from the paper:
1. Those of `multi_ips.py`.
2. The imputation tower gives a label, not an error: an error would leave conversion nothing to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods import register
from methods.base import require
from methods.entire_space import Scored
from methods.multi_ips import MultiIPS


@register
class MultiDR(MultiIPS):
    """Multi-IPS with a third tower."""

    title = "Multi-DR"
    imputes: ClassVar[bool] = True

    @dataclass(kw_only=True)
    class Config(MultiIPS.Config):
        """Fields of Multi-DR."""

        # L2 of the imputation tower where it is a part of its own (`shared: false`).
        imputation_weight_decay: float = 1e-5

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            demand = "must be bce: imputed labels have a wrong second root under squared errors"
            require(self, "loss", self.loss == "bce", demand)

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        corrected, missed = self.imputed_losses(observed, everywhere)
        return {
            "ctr": self.click_loss(everywhere),
            "cvr": self.config.cvr_weight * corrected,
            "imputation": self.config.cvr_weight * missed,
        }
