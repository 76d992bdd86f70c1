"""RD-IPS (robust deconfounder): IPS with the worst weights that a bounded hidden confounder allows.

    min_θ  max_w  mean_O w · e,    w(u, i) ∈ density · [1 + (1/p − 1) / Γ,  1 + (1/p − 1) · Γ]        (G,)

e and the nominal weights density / p are those of `ips.py`; `robust.py` has the adversary. With Γ = 1 it is
IPS.

Source: Ding et al., "Addressing Unmeasured Confounder for Recommendation with Sensitivity Analysis", KDD
2022; the authors' code: Dingseewhole/Robust_Deconfounder_master.

Differences from the paper:
1. Those of `ips.py`.
2. The worst weights keep the nominal ones' mean over the batch. Errors are never negative, so without that
   the adversary raises every weight to its upper bound; it is slow to get there in the authors' code, whose
   ascent is by tiny steps in every fifth or eighth epoch. `normalise: false` lets it.
3. One step of Adam up for one down, of m = log((w − 1) / (1/p − 1)) instead of w itself: its interval, of
   length 2 log Γ, is the same for all pairs.
4. As in the authors' code, the adversary has a weight for each item and label, not for each pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.ips import IPS
from methods.robust import RobustConfig, RobustMethod


@register
class RDIPS(RobustMethod, IPS):
    """IPS with an adversary."""

    title = "RD-IPS"
    paper = "Ding et al., Addressing Unmeasured Confounder for Recommendation, KDD 2022"
    year = 2022
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(IPS.Config, RobustConfig):
        """Fields of RD-IPS."""

    def build(self) -> None:
        """What IPS builds, and the adversary."""
        super().build()
        self.build_adversary()

    def step(self, draw: Draw) -> None:
        """The adversary, then the prediction model."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), observed.labels)
        fixed = error.detach()
        weights = self.attack(observed, self.weights(observed), lambda w: (w * fixed).mean(-1))
        minimise(self.prediction, (weights * error).mean(-1))
