"""ULTD in two phases: the pseudo-labels first, then, with them fixed, prediction model and unlearning rates.

    base:           mean_O ℓ(f, r), plain MF
    pseudo-labels:  `phase_one_steps` steps of L_g(φ) against the base, then φ is frozen
    training:       L_f(θ, ψ), f continued from the base        (G,)

Source: Li and Sui, "Causal Recommendation via Machine Unlearning with a Few Unbiased Data", "Performance
Comparison" (two-phase learning); the losses are in `ultd.py`.

Differences from the paper:
1. The paper does not say which f the pseudo-labels are learned against. Here it is plain MF, stopped on
   validation; `restart: true` starts f anew in the last phase. That phase keeps what it has trained itself,
   never the base as it was.
2. L_g has no minimum while λ is small, so that phase has a fixed length.
3. Those of `ultd_jl.py`, the moving stretch of a large A among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.engine.part import minimise
from bench.engine.phase import Phase
from bench.engine.sampling import Draw
from methods import register
from methods.base import at_least
from methods.parts import Factorisation
from methods.ultd import ULTD, ULTDConfig


@register
class TwoPhaseULTD(ULTD):
    """The paper's Ours-TP."""

    title = "ULTD-TP"

    @dataclass(kw_only=True)
    class Config(ULTDConfig):
        """Fields of two-phase ULTD."""

        phase_one_steps: int = field(default=300, metadata=at_least(0))
        restart: bool = False  # f starts anew after the pseudo-labels are learned

    def phases(self) -> list[Phase]:
        """Base, pseudo-labels, training."""
        steps = self.config.phase_one_steps
        return [
            Phase(name="base", step=self.step_base, score=self.score),
            Phase(
                name="pseudo-labels",
                step=self.step_pseudo_label,
                score=self.score,
                steps=steps,
                stream="pseudo-labels",
            ),
            Phase(name="training", step=self.step_prediction, score=self.score, begin=self.begin),
        ]

    def step_base(self, draw: Draw) -> None:
        """f as plain MF."""
        observed = draw.observed()
        minimise(self.prediction, self.pointwise(self.prediction(observed), observed.labels).mean(-1))

    def begin(self) -> None:
        """Starts f anew if that is asked for."""
        if self.config.restart:
            config = self.config
            fresh = Factorisation(self, "prediction", config.learning_rate, config.weight_decay)
            self.prediction.restart(fresh.tables)
