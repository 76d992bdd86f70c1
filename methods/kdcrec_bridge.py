"""KDCRec, "Bridge": the student is held near the teacher on pairs drawn from everywhere.

    teacher, base:  as in `kdcrec.py`
    distil:         mean_O (f − r)² + λ · mean_D (f_t − f)², f continued from the base        (G,)

Source: Liu et al., "A General Knowledge Distillation Framework for Counterfactual Recommendation via Uniform
Data", SIGIR 2020; the authors' code starts the student from the model of O, too.

Differences from the paper:
1. `everywhere_ratio` pairs of D stand beside one of O in a step; the paper draws as many as of O.
2. Each of the three phases stops early on validation AUC, and raw scores start at mean labels, as in
   `kdcrec.py`; the distillation keeps what it has trained itself, never the base as it was.
3. `score: sigmoid` has σ(f) and σ(f_t) in place of f and f_t, and any pointwise loss on O.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import at_least, require
from methods.kdcrec import KDCRec


@register
class Bridge(KDCRec):
    """An extra row beside KDCRec: the same teacher and base, another distillation."""

    title = "KDCRec, Bridge"
    paper = (
        "Liu et al., A General Knowledge Distillation Framework for Counterfactual Recommendation, SIGIR 2020"
    )
    year = 2020

    @dataclass(kw_only=True)
    class Config(KDCRec.Config):
        """Fields of the bridge."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        bridge_weight: float = field(default=0.1, metadata=at_least(0))  # λ

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            unused = KDCRec.Config.alpha  # labels are not refined here; another value would do nothing
            require(
                self, "alpha", self.alpha == unused, f"has no meaning in the bridge: leave it at {unused}"
            )

    def step(self, draw: Draw) -> None:
        """The student on O, and beside the teacher on D."""
        observed, everywhere = draw.observed(), draw.everywhere()
        error = self.pointwise(self.prediction(observed), observed.labels)
        apart = self.taught(everywhere) - self.score(everywhere)
        minimise(self.prediction, error.mean(-1) + self.config.bridge_weight * apart.square().mean(-1))
