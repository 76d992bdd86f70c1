"""ULTD with joint learning: prediction model, unlearning rates and pseudo-labels learn in turn.

    repeat: `f_steps` steps of L_f(θ, ψ) on batches of O and A, `g_steps` steps of L_g(φ) on one of D    (G,)

Source: Li and Sui, "Causal Recommendation via Machine Unlearning with a Few Unbiased Data", Algorithm 1; the
losses are in `ultd.py`.

Differences from the paper:
1. None is meant; what the paper leaves open is a field of the configuration, whose defaults are our reading:
   s_u and b_u are free per user (`rate: table`, equation 2; the text also speaks of a network of layers).
2. L_A(u) is 0/0 for users without a rating in A; they get the mean of the others (`users_without`).
3. A pair of a batch of O gets the weight |O| / (m n_u), which makes the batch's mean the paper's sum in
   expectation (`user_mean`).
4. β and γ, tuned in the paper and in none of its equations, are the L2 of θ (`weight_decay`) and of ψ
   (`gamma`).
5. Ω is the squared norm of the pseudo-label model's rows in the batch (`omega`).
6. Several g-steps use the same batch of D.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.engine.sampling import Draw
from methods import register
from methods.ultd import ULTD, ULTDConfig


@register
class JointULTD(ULTD):
    """The paper's Ours-JL."""

    title = "ULTD-JL"

    @dataclass(kw_only=True)
    class Config(ULTDConfig):
        """Fields of ULTD."""

    def build(self) -> None:
        """See `ULTD.build`."""
        super().build()

    def step(self, draw: Draw) -> None:
        """A step of f and ψ, and after every `f_steps` of them the steps of g."""
        self.step_prediction(draw)
        if self.config.g_steps and self.prediction.adam.steps % self.config.f_steps == 0:
            self.step_pseudo_label(draw)
