"""Invariant preference learning (InvPref): what of a rating holds in every environment, and what does not.

    loss = (mean_O ℓ(σ(f), r) + b · mean_O ℓ(σ(f + n_k), r)) / (1 + b)
           + mean_O NLL(k | rev_a(p_u ∘ q_i))                                                        (G,)

    f = p_u · q_i + b_u + b_i + b, the invariant preference, which scores;
    n_k = Σ_d (p'_u ∘ q'_i ∘ (c_k − mean c))_d, the variant preference in environment k of K;
    NLL(k | x): of a softmax classifier of environments. rev_a hands x on and a gradient of -a times the
    classifier's back, so that p_u ∘ q_i learns to tell nothing of the environment.
    Each rating of O is in one environment k, at first at random; every so many epochs it goes to the one in
    which ℓ(σ(f + n_k), r) is least, of several to one at random.

With K = 1 it is MF, since n is 0 and there is nothing to tell. It sees no rating of A.

Source: Wang, He, Liu, Zou, Yu and Cui, "Invariant Preference Learning for General Debiasing in
Recommendation", KDD 2022; public code: AIflowerQ/InvPref_KDD_2022, `models.py` and `train.py`.

Differences from the paper:
1. The c_k are centred, so that what all environments share belongs to f.
2. f has biases, and n_k is added to its logit, as public code has it for explicit ratings; for clicks it
   multiplies two probabilities.
3. The first two weights sum to 1, and the classifier's loss has weight 1: Adam would undo a common factor,
   and the classifier's own. b is `variant_weight`, a is `reversal`; the weights of public settings come to
   b = .14 to 24 (3 for Yahoo! R3, 4.2 for Coat; 977 for Yahoo! R3's stars) and a = .8 to 1.3.
4. L2 is Adam's coupled weight decay as in all rows, L1 is left out; environments are not weighted by size.
   As in public code nothing decays the c_k and the classifier. p' and q' have a decay of their own, for which
   public code has that of p and q: it drives n_k to 0 in the many steps here during which environments are
   random, and there it stays. The diagnostics are the largest environment's share when training ended, and
   the root mean square of n_k at the chosen epoch, which is 0 where the row is MF.
5. Public code re-assigns every 5 to 30 epochs of a few large batches; an epoch here has more steps. The
   validation AUC may be best before the first time, and then environments stay the random ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import Part, minimise
from bench.engine.phase import Every, Phase
from bench.engine.sampling import Batch, Draw, Pairs
from methods import register
from methods.base import Method, MethodConfig, at_least, require, total
from methods.environments import Environments, Vectors, products, reversed_gradient
from methods.parts import Factorisation, normal

if TYPE_CHECKING:
    from collections.abc import Mapping


class EnvironmentModel(Part):
    """The vectors c_k (G, K, D) of environments, and their classifier, weights (G, D, K), bias (G, 1, K).

    Nothing decays them, whatever `weight_decay` is.
    """

    def __init__(
        self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor, *, number: int
    ) -> None:
        # Adam's coupled decay would drive the c_k together wherever f alone fits the ratings.
        weight_decay = torch.zeros_like(weight_decay)
        size, like = method.config.embedding_size, method.data.labels
        tables = {
            "vectors": normal(method, f"{name}/vectors", (number, size)),
            "weights": normal(method, f"{name}/weights", (size, number)),
            "bias": like.new_zeros(method.n_members, 1, number),
        }
        super().__init__(tables, learning_rate, weight_decay)

    def centred(self) -> Tensor:
        """c_k − mean c, (G, K, D)."""
        vectors = self.whole("vectors")
        return vectors - vectors.mean(1, keepdim=True)

    def classified(self, values: Tensor) -> Tensor:
        """Log-probabilities (G, B, K) of the environments, of values (G, B, D)."""
        return functional.log_softmax(values @ self.whole("weights") + self.whole("bias"), -1)


@register
class InvPref(Method):
    """MF whose vectors are to be of no environment."""

    title = "InvPref"
    paper = "Wang et al., Invariant Preference Learning for General Debiasing in Recommendation, KDD 2022"
    year = 2022
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(MethodConfig):
        """Fields of InvPref."""

        environments: int = field(default=2, metadata=at_least(1))  # K
        interval: int = field(default=5, metadata=at_least(1))  # epochs until ratings change environments
        variant_weight: float = field(default=4.0, metadata=at_least(0))  # b
        reversal: float = field(default=1.0, metadata=at_least(0))  # a
        variant_weight_decay: float = field(default=1e-5, metadata=at_least(0))  # of p' and q'

        def check(self) -> None:
            """See `MethodConfig.check`."""
            super().check()
            require(self, "environments", self.environments <= 255, "must be at most 255")

    def build(self) -> None:
        """Both preferences, the environments' model, and each rating's environment."""
        config = self.config
        self.prediction = self.part(Factorisation, "prediction")
        self.variant = self.part(Vectors, "variant", weight_decay=config.variant_weight_decay)
        self.model = self.part(EnvironmentModel, "environments", number=config.environments)
        self.environments = Environments.random(self.data, self.seeds, config.environments)

    def phases(self) -> list[Phase]:
        """One phase, in which the ratings change environments every `interval` epochs."""
        anew = Every(self.config.interval, self.reassign)
        return [Phase(name="training", step=self.step, score=self.score, every=(anew,))]

    def step(self, draw: Draw) -> None:
        """One step of all parts on the whole loss."""
        minimise((self.prediction, self.variant, self.model), total(self.losses(draw.observed())))

    def reassign(self) -> None:
        """Puts each rating into the environment that explains it best."""
        self.environments.reassign(self.errors)

    def losses(self, observed: Batch) -> Mapping[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        config, labels = self.config, observed.labels
        environment = self.environments(observed).unsqueeze(-1)  # (G, B, 1)
        logits = self.prediction(observed)
        variant = self.variants(observed).gather(-1, environment).squeeze(-1)
        invariant = products(self.prediction, observed)
        known = self.model.classified(reversed_gradient(invariant, config.reversal))
        share = 1 / (1 + config.variant_weight)  # (G,)
        return {
            "invariant": share * self.pointwise(logits, labels).mean(-1),
            "variant": (1 - share) * self.pointwise(logits + variant, labels).mean(-1),
            "classifier": -known.gather(-1, environment).squeeze(-1).mean(-1),
        }

    def variants(self, pairs: Pairs) -> Tensor:
        """n_k of every environment, (G, B, K)."""
        return products(self.variant, pairs) @ self.model.centred().mT

    def errors(self, batch: Batch) -> Tensor:
        """ℓ(σ(f + n_k), r) in every environment, (G, B, K)."""
        logits = self.prediction(batch).unsqueeze(-1) + self.variants(batch)
        return self.pointwise(logits, batch.labels.unsqueeze(-1).expand_as(logits))

    def diagnostics(self) -> dict[str, Tensor]:
        """The largest environment's share of O, and the root mean square of n_k over O and all k."""
        with torch.no_grad():
            size = self.environments.root_mean_square(self.variants)
        return {
            "largest_environment": self.environments.shares().max(-1).values,
            "variant_size": size,
        }
