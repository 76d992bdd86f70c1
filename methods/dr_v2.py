"""DR-V2: ESCM²-DR whose propensity also balances the predictions of rated and unrated pairs.

    L = click(D) + λ_g · joint(D) + λ_c · (corrected(O, D) + missed(O)) + γ · imbalance(O, D)²        (G,)

Terms and towers are those of `entire_space.py`, the imbalance that of `ips_v2.py`. A step costs six to
eight of MF's with d = 8 and batches of 128 (`make cost`): three towers are read on O and D, for five terms.

Source: Li, Xiao, Zheng, Wu and Cui, "Propensity Matters: Towards Measuring and Enhancing Balancing for
Recommendation", ICML 2023; the authors' code: haoxuanli-pku/ICML23-Propensity, `DR_V2.py`.

Differences from the paper:
1. Those of `ips_v2.py`, but cross-entropy alone.
2. The imputation loss has conversion's weight and is a mean over O. The authors' code gives it a weight of
   its own, and averages over all pairs, which teaches "unobserved = negative".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods import register
from methods.entire_space import Scored
from methods.escm2_dr import ESCM2DR
from methods.ips_v2 import IPSV2


@register
class DRV2(ESCM2DR):
    """ESCM²-DR with a term more."""

    title = "DR-V2"
    paper = "Li et al., Propensity Matters: Measuring and Enhancing Balancing for Recommendation, ICML 2023"
    year = 2023
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(IPSV2.Config, ESCM2DR.Config):
        """Fields of DR-V2: IPS-V2's, and ESCM²-DR's for the imputation."""

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        imbalance = self.imbalance(observed, everywhere, self.config.balance_prediction)
        balance = self.config.balance_weight * imbalance.square()
        return {**super().losses(observed, everywhere), "balance": balance}
