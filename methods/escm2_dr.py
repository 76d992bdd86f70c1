"""ESCM²-DR: click and conversion towers over shared embeddings, conversion trained doubly robustly.

    L = click(D) + λ_g · joint(D) + λ_c · (corrected(O, D) + missed(O))        (G,)

Terms and towers are those of `entire_space.py`.

Source: Wang et al., "ESCM²: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate
Estimation", SIGIR 2022, the DR variant.

Differences from the paper:
1. Those of `multi_dr.py`. A sweep tries shared tables and separate towers, and its selected point says which
   won.
2. The imputation loss has the mask o of the paper; a public port averages it over all pairs, which teaches
   "unobserved = negative".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from methods import register
from methods.base import at_least
from methods.entire_space import Scored
from methods.multi_dr import MultiDR


@register
class ESCM2DR(MultiDR):
    """Multi-DR with the joint task; one of the paper's rows."""

    title = "ESCM²-DR"
    paper = "Wang et al., ESCM²: Entire Space Counterfactual Multi-Task Model, SIGIR 2022"
    year = 2022
    group: ClassVar[str] = ""  # unlike Multi-DR

    @dataclass(kw_only=True)
    class Config(MultiDR.Config):
        """Fields of ESCM²-DR."""

        ctcvr_weight: float = field(default=0.5, metadata=at_least(0))  # λ_g

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        joint = self.config.ctcvr_weight * self.joint_loss(everywhere)
        return {**super().losses(observed, everywhere), "ctcvr": joint}
