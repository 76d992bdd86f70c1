"""MF as other code has it, for the study `naive`: without biases, or trained for a fixed time.

    f(u, i) = p_u · q_i  or, with `biases`, as in `methods/mf.py`        (G,)

Source: Steck, "Training and Testing of Recommender Systems on Data Missing Not at Random", KDD 2010, for
the product alone.

Differences from the paper:
1. Those of `methods/mf.py`; an output without a bias starts, and stays for pairs that it knows nothing of,
   at a probability of 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.engine.part import Part
from bench.engine.phase import Phase
from bench.engine.sampling import Pairs
from methods import register
from methods.base import Method, MethodConfig, require
from methods.mf import MF
from methods.parts import Factorisation, normal


class Product(Part):
    """Logits p_u · q_i (G, B) of pairs."""

    def __init__(self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor) -> None:
        size = method.config.embedding_size
        tables = {
            "users": normal(method, f"{name}/users", (method.data.n_users, size)),
            "items": normal(method, f"{name}/items", (method.data.n_items, size)),
        }
        super().__init__(tables, learning_rate, weight_decay)

    def __call__(self, pairs: Pairs) -> Tensor:
        """Logits (G, B) of pairs."""
        return (self.rows("users", pairs.users) * self.rows("items", pairs.items)).sum(-1)


@register
class NaiveMF(MF):
    """MF with and without its biases and its early stopping."""

    title = "MF, otherwise"
    paper = "Steck, Training and Testing of Recommender Systems on Data Missing Not at Random, KDD 2010"
    year = 2010

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of this MF."""

        biases: bool = False
        epochs: int = 0  # trained for so long, whatever validation says; 0: stopped by validation

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "epochs", self.epochs >= 0, "must be at least 0")

    def build(self) -> None:
        """One part, the prediction model."""
        self.prediction = self.part(Factorisation if self.config.biases else Product, "prediction")

    def phases(self) -> list[Phase]:
        """Training, for a fixed time if one is given."""
        epochs, per_epoch = self.config.epochs, -(-len(self.data.labels) // self.config.batch_size)
        steps = epochs * per_epoch or None
        return [Phase(name="training", step=self.step, score=self.score, steps=steps)]
