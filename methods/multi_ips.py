"""Multi-IPS: click and conversion over shared embeddings, conversion weighted by the inverse of click.

    L = click(D) + λ_c · weighted(O)        (G,)

Terms and towers are those of `entire_space.py`.

Source: Zhang et al., "Large-Scale Causal Approaches to Debiasing Post-Click Conversion Rate Estimation with
Multi-Task Learning", WWW 2020; public code: haoxuanli-pku/ICDE24-MNAR, `Multi-IPS.py`.

Differences from the paper:
1. Ids only, so the towers are heads on an element-wise product instead of MLPs. `shared: false` gives MFs of
   their own, as public ports have it.
2. Weights have mean 1 within a batch and are clipped at a multiple of it, not at a fixed propensity.
3. The stop-gradient in w keeps conversion's errors from shaping the propensity: with a gradient through
   1 / ô, a larger ô makes every error smaller. Public code has that gradient, and one port no click loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from methods import register
from methods.base import at_least
from methods.entire_space import EntireSpace, EntireSpaceConfig, Scored


@register
class MultiIPS(EntireSpace):
    """ESCM²-IPS without the joint task."""

    title = "Multi-IPS"
    paper = "Zhang et al., Large-Scale Causal Approaches to Debiasing Post-Click Conversion Rate, WWW 2020"
    year = 2020
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(EntireSpaceConfig):
        """Fields of Multi-IPS."""

        cvr_weight: float = field(default=1.0, metadata=at_least(0))  # λ_c
        # Largest normalised weight.
        clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        return {
            "ctr": self.click_loss(everywhere),
            "cvr": self.config.cvr_weight * self.weighted_loss(observed),
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """See `weight_diagnostics`."""
        return self.weight_numbers()
