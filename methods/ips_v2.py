"""IPS-V2: ESCM²-IPS whose propensity also balances the predictions of rated and unrated pairs.

    L = click(D) + λ_g · joint(D) + λ_c · weighted(O) + γ · imbalance(O, D)²        (G,)

Terms and towers are those of `entire_space.py`; the imbalance is mean_D [o/ô − (1 − o)/(1 − ô)] · r̂, which is
0 on average where ô is the propensity, whatever r̂ is.

Source: Li, Xiao, Zheng, Wu and Cui, "Propensity Matters: Towards Measuring and Enhancing Balancing for
Recommendation", ICML 2023; the authors' code: haoxuanli-pku/ICML23-Propensity, `IPS_V2.py`.

Differences from the paper:
1. Those of `multi_ips.py`; so ô learns from the tasks and from the imbalance, never from conversion's errors.
2. mean_D (o/ô) · r̂ is estimated on the batch of O, of which every pair counts. Of pairs drawn from D few are
   observed, and the square would be mostly noise, which a larger ô makes smaller. The authors draw blocks of
   thousands of pairs instead. Both inverses are clipped at `clip`.
3. Cross-entropy where the authors' code has squared errors; `loss: mse` has them in conversion.
4. The authors' code lets the imbalance move r̂ as well as ô. `balance_prediction: false` has it move ô alone,
   whose measure it is; a sweep tries both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from methods import register
from methods.base import at_least
from methods.entire_space import Scored
from methods.escm2_ips import ESCM2IPS


@register
class IPSV2(ESCM2IPS):
    """ESCM²-IPS with a term more."""

    title = "IPS-V2"
    paper = "Li et al., Propensity Matters: Measuring and Enhancing Balancing for Recommendation, ICML 2023"
    year = 2023

    @dataclass(kw_only=True)
    class Config(ESCM2IPS.Config):
        """Fields of IPS-V2."""

        shared: bool = False
        ctcvr_weight: float = field(default=1.0, metadata=at_least(0))  # λ_g
        balance_weight: float = field(default=0.05, metadata=at_least(0))  # γ
        balance_prediction: bool = True  # the imbalance moves r̂, too

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        imbalance = self.imbalance(observed, everywhere, self.config.balance_prediction)
        balance = self.config.balance_weight * imbalance.square()
        return {**super().losses(observed, everywhere), "balance": balance}
