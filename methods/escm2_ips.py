"""ESCM²-IPS: click and conversion over shared embeddings, conversion trained by inverse propensities.

    L = click(D) + λ_g · joint(D) + λ_c · weighted(O)        (G,)

Terms and towers are those of `entire_space.py`.

Source: Wang et al., "ESCM²: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate
Estimation", SIGIR 2022, the IPS variant; public code: haoxuanli-pku/ICDE24-MNAR, `ESCM2-IPS.py`.

Differences from the paper:
1. Those of `multi_ips.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from methods import register
from methods.base import at_least
from methods.entire_space import Scored
from methods.multi_ips import MultiIPS


@register
class ESCM2IPS(MultiIPS):
    """Multi-IPS with the joint task."""

    title = "ESCM²-IPS"
    paper = "Wang et al., ESCM²: Entire Space Counterfactual Multi-Task Model, SIGIR 2022"
    year = 2022

    @dataclass(kw_only=True)
    class Config(MultiIPS.Config):
        """Fields of ESCM²-IPS."""

        ctcvr_weight: float = field(default=0.5, metadata=at_least(0))  # λ_g

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        joint = self.config.ctcvr_weight * self.joint_loss(everywhere)
        return {**super().losses(observed, everywhere), "ctcvr": joint}
