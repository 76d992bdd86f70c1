"""RD-DR (robust deconfounder): DR-JL with the worst weights that a bounded hidden confounder allows.

    prediction:  min_θ  max_w  mean_D ê + mean_O w · (e − ê)
    imputation:  min_φ  mean_O w · (sg(e) − ê)²
    w(u, i) ∈ density · [1 + (1/p − 1) / Γ,  1 + (1/p − 1) · Γ]                                       (G,)

e, ê and the nominal weights density / p are those of `dr_jl.py`; `robust.py` has the adversary. With Γ = 1 it
is DR-JL.

Source: Ding et al., "Addressing Unmeasured Confounder for Recommendation with Sensitivity Analysis", KDD
2022; the authors' code: Dingseewhole/Robust_Deconfounder_master.

Differences from the paper:
1. Those of `dr_jl.py`, and the third and fourth of `rd_ips.py`.
2. The worst weights keep the nominal ones' mean over the batch, as in `rd_ips.py`; `normalise: false` lets
   them.
3. The adversary raises the prediction's loss alone; in the authors' code, the imputation's too, in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import total
from methods.dr_jl import DRJL
from methods.rd_ips import RDIPS
from methods.robust import RobustConfig, RobustMethod


@register
class RDDR(RobustMethod, DRJL):
    """DR-JL with an adversary."""

    title = "RD-DR"
    paper, year = RDIPS.paper, RDIPS.year
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(DRJL.Config, RobustConfig):
        """Fields of RD-DR."""

    def build(self) -> None:
        """What DR-JL builds, and the adversary."""
        super().build()
        self.build_adversary()

    def step(self, draw: Draw) -> None:
        """The adversary, the imputation model, the prediction model."""
        observed, everywhere = draw.observed(), draw.everywhere()
        logits = self.prediction(observed)
        fixed = logits.detach()
        at_stake = self.at_stake(observed, fixed)
        weights = self.attack(observed, self.weights(observed), lambda w: (w * at_stake).mean(-1))

        missed = self.imputation_gap(fixed, self.imputation(observed), observed.labels)
        minimise(self.imputation, (weights * missed.square()).mean(-1))

        minimise(self.prediction, total(self.losses(observed, everywhere, logits, weights)))

    def at_stake(self, observed: Batch, logits: Tensor) -> Tensor:
        """What the adversary weighs, (G, B), given f's logits, fixed: e − ê."""
        return self.missed_error(observed, logits, self.imputation.fixed(observed))

    def missed_error(self, observed: Batch, logits: Tensor, g: Tensor) -> Tensor:
        """e − ê, (G, B), of f's and g's outputs (G, B)."""
        return self.pointwise(logits, observed.labels) - self.imputed_error(logits, g)
