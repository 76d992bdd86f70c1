"""Balancing unobserved confounding (BAL): coefficients beside the weights of LTD, on its doubly robust loss.

    loss of θ:  E(θ) = mean_D v' · ê + mean_O v · w · (e − ê)                                        (G,)
    loss of v:  α · (sg(E) − mean_A sg(e))² + mean_O v log v + mean_D v' log v'                       (G,)

    v = B · softmax(h) over the batch of O, v' likewise over that of D, so that either has mean 1; h, h' are
    MF logits of their own that start at 0. w, e and ê are those of `ltd.py`.

The weighted loss on the biased ratings is to be what the loss on A is, even where no propensity can make it
so (unobserved confounding), by coefficients that are as even as that allows: v log v is least where v = 1.
Each step: w as in LTD, by E without coefficients; v and v' on their loss; θ on E. With α = 0 it is LTD.

A step trains five models on top of each other. LTD's step, which is a part of it, costs nine to ten of MF's,
this one fourteen to fifteen with d = 8 and batches of 128 (`make cost`).

Source: Li, Xiao, Zheng and Wu, "Balancing Unobserved Confounding with a Few Unbiased Ratings in Debiased
Recommendations", WWW 2023; public code: haoxuanli-pku/WWW23-Balancing-Unobserved-Confounding, `BAL-DR.py`.

Differences from the paper:
1. v and v' have mean 1, as w has; there both sum to 1 over the batch and the error is divided by the batch
   once more, so that α would have to grow with the batch. α = 1 is public code's.
2. The coefficients' entropy is made large, as the paper's text has it; public code subtracts it.
3. One step trains h and h' on one loss with one α; public code takes one after the other, with α = β.
4. h starts at 0 instead of at noise, by items that start there.
5. Those of `ltd.py` in w and ê.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from bench.engine.bilevel import virtual_step
from bench.engine.part import minimise
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.base import above, at_least, total
from methods.ltd import LTD
from methods.parts import Factorisation
from methods.weights import observed_sample


@register
class BALDR(LTD):
    """LTD with balancing coefficients; `base: ips` is the other row."""

    title = "BAL-DR"
    paper = "Li et al., Balancing Unobserved Confounding with a Few Unbiased Ratings, WWW 2023"
    year = 2023
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(LTD.Config):
        """Fields of BAL."""

        balance_weight: float = field(default=1.0, metadata=at_least(0))  # α
        balance_learning_rate: float = field(default=1e-3, metadata=above(0))
        balance_weight_decay: float = 1e-2

    def build(self) -> None:
        """LTD's parts, and a model of the coefficients of each batch that the loss has."""
        super().build()
        batches = ("observed", "everywhere") if self.config.base == "dr" else ("observed",)
        self.balance = {batch: self.model_of(f"balance_{batch}") for batch in batches}

    def model_of(self, name: str) -> Factorisation:
        """A model of h that is 0 everywhere and can learn at once: the users' vectors are not 0."""
        made = self.part(
            Factorisation,
            name,
            learning_rate=self.config.balance_learning_rate,
            weight_decay=self.config.balance_weight_decay,
        )
        made.tables["items"].zero_()
        return made

    def step(self, draw: Draw) -> None:
        """One step of each part."""
        observed, everywhere, unbiased = draw.observed(), draw.everywhere(), draw.unbiased()
        outputs = self.prediction.fixed(unbiased)
        if self.config.base == "dr":
            residual = unbiased.labels - torch.sigmoid(outputs)
            minimise(self.imputation, (self.imputation(unbiased) - residual).square().mean(-1))

        per_pair, direct = self.pair_errors(observed, everywhere)
        lower = per_pair.shape[-1] * total(self.losses(self.weights(observed), per_pair, direct.mean(-1)))
        virtual_step(
            self.propensity,
            self.prediction,
            lower,
            self.config.inner_rate,
            lambda ahead: self.pointwise(ahead(unbiased), unbiased.labels).sum(-1),
        )
        with torch.no_grad():
            weights = self.weights(observed)

        pairs = {"observed": observed, "everywhere": everywhere}
        errors = {"observed": weights * per_pair, "everywhere": direct}
        target = self.pointwise(outputs, unbiased.labels).mean(-1)
        logits = {batch: h(pairs[batch]) for batch, h in self.balance.items()}
        minimise(tuple(self.balance.values()), total(self.balance_losses(logits, errors, target)))
        logits = {batch: h.fixed(pairs[batch]) for batch, h in self.balance.items()}
        minimise(self.prediction, total(balanced(logits, errors)))

    def balance_losses(
        self, logits: Mapping[str, Tensor], errors: Mapping[str, Tensor], target: Tensor
    ) -> dict[str, Tensor]:
        """The terms of the loss of v and v' by name, (G,) each.

        Args:
            logits: h of each batch, (G, B). errors: what they are coefficients of, (G, B); no gradient flows
                into it.
            target: (G,) mean_A e.
        """
        fixed = {batch: error.detach() for batch, error in errors.items()}
        gap = total(balanced(logits, fixed)) - target
        terms = {"gap": self.config.balance_weight * gap.square()}
        for batch, h in logits.items():
            v, log_v = coefficients(h)
            # 1 - v has mean 0, and takes what is left of the gradient by rounding where v = 1.
            terms[f"entropy_{batch}"] = (v * log_v + 1 - v).mean(-1)
        return terms

    def pair_errors(self, observed: Batch, everywhere: Batch) -> tuple[Tensor, Tensor]:
        """What is weighted on O, (G, B), and ê on D, (G, B'); for IPS a single 0."""
        logits = self.prediction(observed)
        error = self.pointwise(logits, observed.labels)
        if self.config.base == "ips":
            return error, torch.zeros_like(error[:, :1])
        direct = self.imputed_error(self.prediction(everywhere), everywhere)
        return error - self.imputed_error(logits, observed), direct

    def errors(self, observed: Batch, everywhere: Batch) -> tuple[Tensor, Tensor]:
        """See `LTD.errors`."""
        per_pair, direct = self.pair_errors(observed, everywhere)
        return per_pair, direct.mean(-1)

    def diagnostics(self) -> dict[str, Tensor]:
        """Those of LTD, and how even v is over a sample of O: 1 where all are equal."""
        v, _ = coefficients(self.balance["observed"].fixed(observed_sample(self.data, self.n_members)))
        return {**super().diagnostics(), "balance_effective_sample_size": 1 / v.square().mean(-1)}


def coefficients(logits: Tensor) -> tuple[Tensor, Tensor]:
    """v, (G, B) of mean 1, and its logarithm, of logits (G, B)."""
    log_v = logits - logits.logsumexp(-1, keepdim=True) + math.log(logits.shape[-1])
    return log_v.exp(), log_v


def balanced(logits: Mapping[str, Tensor], errors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms of E by batch, (G,) each: mean v · error, given h and the errors (G, B)."""
    return {batch: (coefficients(h)[0] * errors[batch]).mean(-1) for batch, h in logits.items()}
