"""MF as other code has it, for the study `naive`: trained for a fixed time.

    loss as in `methods/mf.py`        (G,)

Source: Steck, "Training and Testing of Recommender Systems on Data Missing Not at Random", KDD 2010, for
the product alone (`biases: none`).

Differences from the paper:
1. Those of `methods/mf.py`; an output without a bias starts, and stays for pairs that it knows nothing of,
   at a probability of 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.engine.phase import Phase
from methods import register
from methods.base import MethodConfig, require
from methods.mf import MF


@register
class NaiveMF(MF):
    """MF with and without its early stopping."""

    title = "MF, otherwise"
    paper = "Steck, Training and Testing of Recommender Systems on Data Missing Not at Random, KDD 2010"
    year = 2010

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of this MF."""

        epochs: int = 0  # trained for so long, whatever validation says; 0: stopped by validation

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "epochs", self.epochs >= 0, "must be at least 0")

    def phases(self) -> list[Phase]:
        """Training, for a fixed time if one is given."""
        epochs, per_epoch = self.config.epochs, -(-len(self.data.labels) // self.config.batch_size)
        steps = epochs * per_epoch or None
        return [Phase(name="training", step=self.step, score=self.score, steps=steps)]
