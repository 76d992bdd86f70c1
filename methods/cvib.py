"""CVIB, counterfactual variational information bottleneck: MF whose mean score is alike on O and on D.

    loss = mean_O ℓ(σ(f), r) + α · CE(m_O, m_D) + γ · mean_O σ(f) log σ(f)        (G,)
    CE(m_O, m_D) = −m_O log m_D − (1 − m_O) log(1 − m_D),    m = mean of σ(f) over a batch of O, of D

The second term keeps what the model says of pairs nobody rated near what it says of rated ones; the third is
against outputs that are too sure.

Source: Wang et al., "Information Theoretic Counterfactual Learning from Missing-Not-At-Random Feedback",
NeurIPS 2020; public code: haoxuanli-pku/ICDE24-MNAR, `CVIB.py`.

Differences from the paper:
1. As in public code, the counterfactual pairs are drawn from all of D, observed ones included, and the
   third term is that of positive labels alone, not the whole entropy.
2. Their MF has no biases; here it has (`biases: none` is theirs).
3. `everywhere_ratio` pairs of D for each of O; theirs is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import Method, MethodConfig, at_least, total
from methods.parts import Factorisation


@register
class CVIB(Method):
    """MF with two terms on its own outputs; knows nothing of A."""

    title = "CVIB"
    paper = "Wang et al., Information Theoretic Counterfactual Learning from MNAR Feedback, NeurIPS 2020"
    year = 2020
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of CVIB."""

        everywhere_ratio: int = field(default=1, metadata=at_least(1))
        contrast_weight: float = field(default=0.1, metadata=at_least(0))  # α
        confidence_weight: float = field(default=0.01, metadata=at_least(0))  # γ

    def build(self) -> None:
        """One part, the prediction model."""
        self.prediction = self.part(Factorisation, "prediction")

    def step(self, draw: Draw) -> None:
        """Minimises the loss on a batch of O and a batch of D."""
        minimise(self.prediction, total(self.losses(draw.observed(), draw.everywhere())))

    def losses(self, observed: Batch, everywhere: Batch) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        logits = self.prediction(observed)
        predicted = torch.sigmoid(logits)
        factual = predicted.mean(-1)
        counterfactual = torch.sigmoid(self.prediction(everywhere)).mean(-1).clamp(1e-6, 1 - 1e-6)
        contrast = -factual * counterfactual.log() - (1 - factual) * torch.log1p(-counterfactual)
        return {
            "observed": self.pointwise(logits, observed.labels).mean(-1),
            "contrast": self.config.contrast_weight * contrast,
            "confidence": self.config.confidence_weight
            * (predicted * functional.logsigmoid(logits)).mean(-1),
        }
