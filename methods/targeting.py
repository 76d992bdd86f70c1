"""Targeting: a closed form that corrects imputed errors along the inverse propensity, batch by batch.

    ẽ = ê + ε · (1/p − 1),    ε = Σ_O (e − ê)(1/p − 1) / Σ_O (1/p − 1)²        (G,)

ε is the least-squares slope of what the imputation missed. In E_DR with ẽ in place of ê, the correction adds

    (ε / density) · (mean_D h − mean_O w · h),    h = density · (1/p − 1) = w − density:

h has the same mean over D either way it is estimated, so the expectation is E_DR's where p is right, and
what the batches' own imbalance in h adds to the variance is taken out, as by a control variate.

Shapes: G members, B pairs.
"""

from __future__ import annotations

from torch import Tensor


def slope(missed: Tensor, h: Tensor) -> Tensor:
    """ε / density, (G,): of what the imputation missed on h, (G, B) each; 0 where h is 0."""
    return (missed * h).sum(-1) / h.square().sum(-1).clamp_min(1e-12)


def targeting(missed: Tensor, weights: Tensor, weights_everywhere: Tensor, density: float) -> Tensor:
    """What ẽ in place of ê adds to E_DR, (G,); its gradient flows through `missed`.

    Args:
        missed: e − ê on a batch of O, (G, B).
        weights: w = density / p there, (G, B).
        weights_everywhere: w of a batch of D, (G, B').
    """
    h, h_everywhere = weights - density, weights_everywhere - density
    return slope(missed, h) * (h_everywhere.mean(-1) - (weights * h).mean(-1))
