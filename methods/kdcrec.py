"""KDCRec, label-based distillation ("Refine"): observed labels are moved towards a teacher's that saw only A.

    teacher:  mean_A ℓ(σ(f_t), r), then frozen
    base:     mean_O ℓ(σ(f), r), plain MF
    distil:   mean_O ℓ(σ(f), (r + α · N) / (1 + α)), f continued from the base        (G,)

    N = (σ(f_t) − min) / max(max − min, .1): the teacher's prediction, brought to [0, 1] by its range over O.

Source: Liu et al., "KDCRec: Knowledge Distillation for Counterfactual Recommendation via Uniform Data", TKDE
35(8), 2022, and their SIGIR 2020 paper.

Differences from the paper:
1. The target is divided by 1 + α, since a sigmoid output cannot reach beyond 1.
2. The range is taken once over all of O, not in each batch, where it would depend on the batch size; and it
   is at least .1, since a teacher of a few hundred ratings may be nearly constant.
3. Each of the three phases stops early on validation AUC; the distillation keeps what it has trained itself,
   never the base as it was. With α = 0 it is plain MF trained further: the control of what the third phase
   gives by itself.
4. ℓ is the suite's pointwise loss; the paper's is the squared error of raw scores.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import Method, MethodConfig, above, at_least
from methods.parts import Factorisation
from methods.weights import coverage

LEAST_RANGE = 0.1  # of the teacher's predictions


@register
class KDCRec(Method):
    """MF with refined labels."""

    title = "KDCRec"
    paper = "Liu et al., KDCRec: Knowledge Distillation for Counterfactual Recommendation, TKDE 2022"
    year = 2022
    uses_unbiased = "yes"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of KDCRec."""

        # α, the teacher's weight beside the label's.
        alpha: float = field(default=0.5, metadata=at_least(0))
        teacher_learning_rate: float = field(default=0.01, metadata=above(0))
        teacher_weight_decay: float = 1e-3

    def build(self) -> None:
        """Student and teacher."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.teacher = self.part(
            Factorisation,
            "teacher",
            learning_rate=config.teacher_learning_rate,
            weight_decay=config.teacher_weight_decay,
        )
        self.lowest = self.data.labels.new_zeros(self.n_members)
        self.range = self.data.labels.new_ones(self.n_members)

    def phases(self) -> list[Phase]:
        """Teacher, base, distillation. The last two see the batches of plain MF."""
        return [
            Phase(name="teacher", step=self.step_teacher, score=self.taught, stream="teacher"),
            Phase(name="base", step=self.step_base, score=self.score),
            Phase(name="distillation", step=self.step, score=self.score, begin=self.measure_teacher),
        ]

    def taught(self, pairs: Pairs) -> Tensor:
        """The teacher's prediction, (G, B)."""
        return torch.sigmoid(self.teacher.fixed(pairs))

    def step_teacher(self, draw: Draw) -> None:
        """The teacher on all of A."""
        unbiased = draw.unbiased()
        minimise(self.teacher, self.pointwise(self.teacher(unbiased), unbiased.labels).mean(-1))

    def step_base(self, draw: Draw) -> None:
        """The student as plain MF."""
        observed = draw.observed()
        minimise(self.prediction, self.pointwise(self.prediction(observed), observed.labels).mean(-1))

    def measure_teacher(self) -> None:
        """Smallest and largest prediction of the frozen teacher over all of O."""
        lowest, highest = self.teacher.extremes(self.data.users, self.data.items)
        self.lowest = torch.sigmoid(lowest)
        self.range = (torch.sigmoid(highest) - self.lowest).clamp_min(LEAST_RANGE)

    def refined(self, observed: Batch) -> Tensor:
        """The target, (G, B), within [0, 1]."""
        taught = (self.taught(observed) - self.lowest.unsqueeze(-1)) / self.range.unsqueeze(-1)
        alpha = self.config.column("alpha")
        return (observed.labels + alpha * taught) / (1 + alpha)

    def step(self, draw: Draw) -> None:
        """The student on refined labels."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), self.refined(observed))
        minimise(self.prediction, error.mean(-1))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `coverage`; and the teacher's range."""
        return {**coverage(self.data), "teacher_range": self.range}
