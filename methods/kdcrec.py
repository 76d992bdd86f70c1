"""KDCRec, label-based distillation ("Refine"): observed labels are moved towards a teacher's that saw only A.

    teacher:  mean_A (f_t − r)², then frozen
    base:     mean_O (f − r)²
    distil:   mean_O (f − r − α · N)², f continued from the base        (G,)

    f, f_t: raw scores of two MFs; N = (f_t − min) / max(max − min, .1): the teacher's, brought to [0, 1] by
    its range over O.

Source: Liu et al., "KDCRec: Knowledge Distillation for Counterfactual Recommendation via Uniform Data", TKDE
35(8), 2022, and their SIGIR 2020 paper.

Differences from the paper:
1. Labels are 0 and 1, the authors' −1 and 1: their α = 1 is .5 here.
2. The range is taken once over all of O, not in each batch, where it would depend on the batch size; and it
   is at least .1, since a teacher of a few hundred ratings may be nearly constant.
3. Each of the three phases stops early on validation AUC; the distillation keeps what it has trained itself,
   never the base as it was. With α = 0 it is the base trained further: the control of what the third phase
   gives by itself.
4. Raw scores start at the mean label, as the global bias: of O, and the teacher's at that of A, smoothed.
5. A raw score is no probability, and pairs are ranked by it as it is. The ideal loss of generated data, which
   needs one, takes scores beyond 0 and 1 as these; the table leaves it out.
6. `score: sigmoid` has σ(f) and σ(f_t) in place of f and f_t, any pointwise loss, biases that start at 0 and
   the target (r + α · N) / (1 + α), since a sigmoid cannot reach beyond 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import Method, MethodConfig, above, at_least
from methods.parts import Factorisation
from methods.weights import coverage

LEAST_RANGE = 0.1  # of the teacher's scores


@register
class KDCRec(Method):
    """MF with refined labels."""

    title = "KDCRec"
    paper = "Liu et al., KDCRec: Knowledge Distillation for Counterfactual Recommendation, TKDE 2022"
    year = 2022
    uses_unbiased = "yes"
    raw_scores = True

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of KDCRec."""

        loss: str = "mse"
        score: str = "raw"
        # α, the teacher's weight beside the label's.
        alpha: float = field(default=0.5, metadata=at_least(0))
        teacher_learning_rate: float = field(default=0.01, metadata=above(0))
        teacher_weight_decay: float = 1e-3

    def build(self) -> None:
        """Student and teacher, whose raw scores start at the mean labels."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.teacher = self.part(
            Factorisation,
            "teacher",
            learning_rate=config.teacher_learning_rate,
            weight_decay=config.teacher_weight_decay,
        )
        if config.score == "raw" and config.biases == "all":
            self.prediction.tables["bias"].fill_(self.data.labels.mean())
            self.teacher.tables["bias"].copy_(self.data.unbiased_mean.unsqueeze(-1))
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
        """The teacher's score, (G, B)."""
        return self.scored(self.teacher.fixed(pairs))

    def step_teacher(self, draw: Draw) -> None:
        """The teacher on all of A."""
        unbiased = draw.unbiased()
        minimise(self.teacher, self.pointwise(self.teacher(unbiased), unbiased.labels).mean(-1))

    def step_base(self, draw: Draw) -> None:
        """The student on O."""
        observed = draw.observed()
        minimise(self.prediction, self.pointwise(self.prediction(observed), observed.labels).mean(-1))

    def measure_teacher(self) -> None:
        """Smallest and largest score of the frozen teacher over all of O."""
        lowest, highest = self.teacher.extremes(self.data.users, self.data.items)
        self.lowest = self.scored(lowest)
        self.range = (self.scored(highest) - self.lowest).clamp_min(LEAST_RANGE)

    def refined(self, observed: Batch) -> Tensor:
        """The target, (G, B): within [0, 1 + α], or within [0, 1] for σ(f)."""
        taught = (self.taught(observed) - self.lowest.unsqueeze(-1)) / self.range.unsqueeze(-1)
        alpha = self.config.column("alpha")
        target = observed.labels + alpha * taught
        return target if self.config.score == "raw" else target / (1 + alpha)

    def step(self, draw: Draw) -> None:
        """The student on refined labels."""
        observed = draw.observed()
        error = self.pointwise(self.prediction(observed), self.refined(observed))
        minimise(self.prediction, error.mean(-1))

    def diagnostics(self) -> dict[str, Tensor]:
        """See `coverage`; and the teacher's range."""
        return {**coverage(self.data), "teacher_range": self.range}
