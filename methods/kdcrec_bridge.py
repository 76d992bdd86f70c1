"""KDCRec, "Bridge": the student is held near the teacher on pairs drawn from everywhere.

    teacher:  as in `kdcrec.py`
    loss = mean_O ℓ(σ(f), r) + λ · mean_D (σ(f_t) − σ(f))²        (G,)

Source: Liu et al., "A General Knowledge Distillation Framework for Counterfactual Recommendation via Uniform
Data", SIGIR 2020.

Differences from the paper:
1. The student starts afresh and is compared with the frozen, early-stopped teacher.
2. Users and items of the second term are drawn as pairs, uniformly from all of D.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Draw
from methods import register
from methods.base import require
from methods.kdcrec import KDCRec


@register
class Bridge(KDCRec):
    """An extra row beside KDCRec."""

    title = "KDCRec, Bridge"
    paper = (
        "Liu et al., A General Knowledge Distillation Framework for Counterfactual Recommendation, SIGIR 2020"
    )
    year = 2020
    control = True

    @dataclass(kw_only=True)
    class Config(KDCRec.Config):
        """Fields of the bridge; `alpha` has no meaning here."""

        everywhere_ratio: int = 1
        bridge_weight: float = 0.1  # λ

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "bridge_weight", self.bridge_weight >= 0, "must be at least 0")
            require(self, "everywhere_ratio", self.everywhere_ratio >= 1, "must be at least 1")

    def phases(self) -> list[Phase]:
        """Teacher, then student."""
        teacher = KDCRec.phases(self)[0]
        return [teacher, Phase(name="training", step=self.step, score=self.score)]

    def step(self, draw: Draw) -> None:
        """The student on O, and beside the teacher on D."""
        observed, everywhere = draw.observed(), draw.everywhere()
        error = self.pointwise(self.prediction(observed), observed.labels)
        apart = self.taught(everywhere) - torch.sigmoid(self.prediction(everywhere))
        minimise(self.prediction, error.mean(-1) + self.config.bridge_weight * apart.square().mean(-1))
