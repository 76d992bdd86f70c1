"""ULTD with joint learning: prediction model, unlearning rates and pseudo-labels learn in turn.

    repeat: `f_steps` steps of L_f(θ, ψ) on batches of O and A, `g_steps` steps of L_g(φ) on one of D    (G,)

Source: Li and Sui, "Causal Recommendation via Machine Unlearning with a Few Unbiased Data", Algorithm 1; the
losses are in `ultd.py`.

Differences from the paper:
1. None is meant; what the paper leaves open is a field of the configuration, whose defaults are our reading.
   s_u and b_u are free parameters of each user (`rate: table`), as where the paper defines ψ. It tunes the
   layers of a network, too, which has no equation: `rate: network` is one on the user's embedding of f.
2. L_A(u) is 0/0 for users without a rating in A; they get the mean of the others (`users_without`).
3. A pair of a batch of O gets the weight |O| / (m n_u), which makes the batch's mean the paper's sum in
   expectation (`user_mean`). Users without a rating in O, for whom that sum is 0/0, do not count in m.
4. β and γ, tuned in the paper and in none of its equations, are the L2 of θ (`weight_decay`) and of ψ
   (`gamma`). γ draws s_u and b_u to their start (`psi_penalty: deviation`). The literal L2 of ψ (`literal`,
   of softplus⁻¹(s_u) and b_u) draws α towards one half whatever L_A(u) is: it unlearns those users, too,
   whose ratings the paper's introduction wants to keep.
5. Ω is the squared norm of the pseudo-label model's rows in the batch (`omega`).
6. Several g-steps use the same batch of D.
7. Where A has more ratings than four batches of O have, a step takes L_A(u) over a stretch of A of that size,
   which moves on with each step and goes round A; users without a rating in the stretch are those of 2. Else
   it is over all of A in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.engine.phase import Phase
from bench.engine.sampling import Draw
from methods import register
from methods.base import at_least
from methods.ultd import ULTD, ULTDConfig


@register
class JointULTD(ULTD):
    """The paper's Ours-JL."""

    title = "ULTD-JL"

    @dataclass(kw_only=True)
    class Config(ULTDConfig):
        """Fields of joint ULTD."""

        f_steps: int = field(default=1, metadata=at_least(1))
        g_steps: int = field(default=1, metadata=at_least(0))  # after every f_steps of the others

    def phases(self) -> list[Phase]:
        """One phase, in which every `f_steps`-th step trains g, too."""
        return [Phase(name="training", step=self.step, score=self.score, at=self.step_of)]

    def step_of(self, number: int) -> Callable[[Draw], None]:
        """The step of a number, from 0."""
        return self.step_prediction if (number + 1) % self.config.f_steps else self.step

    def step(self, draw: Draw) -> None:
        """A step of f and ψ, and the steps of g."""
        self.step_prediction(draw)
        for _ in range(self.config.g_steps):
            self.step_pseudo_label(draw)
