"""Unlearning to debias (ULTD): the parts that its two rows, `ultd_jl` and `ultd_tp`, share.

    L_A(u) = mean over u's pairs in A of ℓ(f, r)                    unbiased loss of a user
    α_u    = σ(s_u · L_A(u) + b_u),  s_u > 0                        user unlearning rate
    L_g(φ) = − mean_D (f − g)² + λ · Ω(g),  θ fixed                 error-maximising pseudo-labels
    L_f(θ, ψ) = (1/m) Σ_u mean_{O_u} [ α_u · ℓ(f, g) + (1 − α_u) · ℓ(f, r) ],  φ fixed

    f = σ(logit of θ), g = σ(logit of φ), ψ = {s_u, b_u}; ℓ(f, r) = (f − r)² (`loss: mse`); m: users with a
    rating in O.

A g that maximises its error without λ is, on every pair, the label farther from f: (f − g)² ≥ (f − r)². Then
L_f is least where all α_u are 0, and nobody is unlearned. λ keeps g from there, and so decides how much is.

Source: Li and Sui, "Causal Recommendation via Machine Unlearning with a Few Unbiased Data": "Methodology"
and Algorithm 1. What the paper leaves open is a field of `ULTDConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine.part import Part, minimise
from bench.engine.sampling import Batch, Draw, Pairs
from methods.base import Method, MethodConfig, Shared, at_least, between, choices, total
from methods.parts import MLP, Factorisation
from methods.weights import coverage

START_SCALE = 0.5413248546129181  # softplus of it is 1: s_u at the start
UNDECIDED = 0.25  # squared error of a prediction of one half: L_A(u) of `no_unbiased`


@dataclass(kw_only=True)
class ULTDConfig(MethodConfig):
    """Fields of both rows. The paper's β is `weight_decay`, the L2 of θ, as in every other row."""

    loss: str = "mse"
    everywhere_ratio: int = field(default=1, metadata=at_least(1))
    # Free s_u, b_u for each user, the paper's equation | network: out of the user's embedding.
    rate: str = field(default="table", metadata=choices("table", "network"))
    layers: int = field(default=1, metadata=between(1, 20))  # hidden layers of the network
    # Learning rate of ψ over that of θ: .3 to 1; of a network .01 to .1.
    rate_factor: float = field(default=0.3, metadata=at_least(0))
    rate_start: float = -2.0  # b_u at the start
    # γ, L2 of ψ.
    gamma: float = field(default=1e-5, metadata=at_least(0))
    # Of its distance from the start | literal: of ψ itself.
    psi_penalty: str = field(default="deviation", metadata=choices("deviation", "literal"))
    penalty: float = field(default=1e-3, metadata=at_least(0))  # λ
    # Ω: squared norm of what g reads for a pair | all: weight decay of φ.
    omega: str = field(default="rows", metadata=choices("rows", "all"))
    # L_A(u) of users without a rating in A: mean | zero | skip (α_u = 0).
    users_without: str = field(default="mean", metadata=choices("mean", "zero", "skip"))
    # Of pairs weighted |O| / (m n_u) | batch: mean within the batch.
    user_mean: str = field(default="estimate", metadata=choices("estimate", "batch"))
    # Of a direct term mean_A ℓ(f, r), the other reading of β.
    unbiased_weight: float = field(default=0.0, metadata=at_least(0))
    no_unbiased: bool = False  # L_A(u) is a constant: A is not used
    detach_unbiased_loss: bool = False  # no gradient reaches θ through α_u
    # Of a whole-space term as in `eib.py`, which the paper does not have.
    missing_weight: float = field(default=0.0, metadata=at_least(0))
    imputed_label: float = field(default=0.1, metadata=between(0, 1))  # of that term


class ULTD(Method):
    """f, g and ψ, and a step of each loss."""

    paper = "Li and Sui, Causal Recommendation via Machine Unlearning with a Few Unbiased Data"
    year = 2025
    uses_unbiased = "yes"

    def build(self) -> None:
        """Prediction, pseudo-labels and unlearning rates; the weight of a user's pairs, (U,)."""
        config, data = self.config, self.data
        self.prediction = self.part(Factorisation, "prediction")
        none = torch.zeros_like(config.penalty)
        decay = config.penalty if config.omega == "all" else none
        self.pseudo_label = self.part(Factorisation, "pseudo_label", weight_decay=decay)
        rates = {"learning_rate": config.learning_rate * config.rate_factor, "weight_decay": config.gamma}
        if config.rate == "network":
            sizes = (*[config.embedding_size] * (1 + config.layers), 2)
            self.rates: Part = self.part(MLP, "rates", **rates, sizes=sizes)
            last = self.rates.tables[f"bias{config.layers}"]
            scale, shift = last[..., 0], last[..., 1]  # (G, 1) each
        else:
            self.rates = self.part(_RateTable, "rates", **rates)
            scale, shift = self.rates.tables["scale"], self.rates.tables["shift"]
        # Where Adam's decay, which draws to 0, is to draw to the start, the start stands beside the tables.
        if config.psi_penalty == "literal":
            scale += START_SCALE
            shift += config.column("rate_start")
        self.whole_space = bool((config.missing_weight > 0).any())  # asked once, not in each step
        counts = torch.bincount(data.users, minlength=data.n_users).to(data.labels)  # n_u
        self.counts = Shared(counts)
        self.pair_weight = Shared(len(data.labels) / ((counts > 0).sum() * counts.clamp_min(1)))

    # --- The loss of f and ψ ---

    def step_prediction(self, draw: Draw) -> None:
        """One step of L_f, and of the terms that the paper does not have, in θ and ψ."""
        minimise((self.prediction, self.rates), total(self.losses(draw)))

    def losses(self, draw: Draw) -> dict[str, Tensor]:
        """The terms of the loss of f and ψ by name, (G,) each."""
        observed, unbiased = draw.observed(), draw.unbiased(at_most=4 * self.config.batch_size)
        logits, logits_unbiased = self.prediction(observed), self.prediction(unbiased)
        error_unbiased = self.pointwise(logits_unbiased, unbiased.labels)
        rate = self.rate(observed.users, *self.unbiased_loss(unbiased, error_unbiased))
        terms = {
            "unlearning": self.unlearning_loss(observed, logits, rate),
            "unbiased": self.config.unbiased_weight * error_unbiased.mean(-1),
        }
        if self.whole_space:
            everywhere = draw.everywhere()
            imputed = self.config.column("imputed_label").expand_as(everywhere.labels)
            missing = self.pointwise(self.prediction(everywhere), imputed).mean(-1)
            terms["missing"] = self.config.missing_weight / self.data.density * missing
        return terms

    def unlearning_loss(self, observed: Batch, logits: Tensor, rate: Tensor) -> Tensor:
        """L_f on a batch of O, (G,), given α of its users, (G, B)."""
        pseudo = torch.sigmoid(self.pseudo_label.fixed(observed))
        kept = self.pointwise(logits, observed.labels)
        unlearned = self.pointwise(logits, pseudo)
        per_pair = rate * unlearned + (1 - rate) * kept
        if self.config.user_mean == "estimate":
            return (self.pair_weight.value[observed.users] * per_pair).mean(-1)
        ones = torch.ones_like(per_pair)
        counts = ones.new_zeros(len(ones), self.data.n_users).scatter_add(1, observed.users, ones)
        weight = 1 / counts.gather(1, observed.users)
        return (weight * per_pair).sum(-1) / weight.sum(-1)

    def unbiased_loss(self, unbiased: Batch, error: Tensor) -> tuple[Tensor, Tensor]:
        """L_A(u) and whether u has a rating in the batch of A, (G, U) each."""
        empty = error.new_zeros(len(error), self.data.n_users)
        counts = empty.scatter_add(1, unbiased.users, torch.ones_like(error))
        has = (counts > 0).to(error.dtype)
        if self.config.no_unbiased:
            return torch.full_like(empty, UNDECIDED), torch.ones_like(has)
        loss = empty.scatter_add(1, unbiased.users, error) / counts.clamp_min(1)
        if self.config.detach_unbiased_loss:
            loss = loss.detach()
        if self.config.users_without == "mean":
            mean = (loss.detach() * has).sum(-1) / has.sum(-1).clamp_min(1)
            loss = torch.where(has > 0, loss, mean.unsqueeze(-1))
        return loss, has

    def rate(self, users: Tensor, unbiased_loss: Tensor, has: Tensor) -> Tensor:
        """α of users (G, B), (G, B)."""
        scale, shift = self.platt(users)
        rate = torch.sigmoid(scale * unbiased_loss.gather(1, users) + shift)
        return rate * has.gather(1, users) if self.config.users_without == "skip" else rate

    def platt(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """s and b of users (G, B), (G, B) each."""
        if self.config.rate == "network":
            with torch.no_grad():
                embedding = self.prediction.rows("users", users)
            scale, shift = self.rates(embedding).unbind(-1)  # type: ignore[operator]
        else:
            scale, shift = self.rates.rows("scale", users), self.rates.rows("shift", users)
        if self.config.psi_penalty == "deviation":
            scale, shift = START_SCALE + scale, self.config.column("rate_start") + shift
        return functional.softplus(scale), shift

    # --- The loss of g ---

    def step_pseudo_label(self, draw: Draw) -> None:
        """One step of L_g in φ on a batch of D."""
        minimise(self.pseudo_label, total(self.pseudo_label_losses(draw.everywhere())))

    def pseudo_label_losses(self, everywhere: Batch) -> dict[str, Tensor]:
        """The terms of L_g by name, (G,) each; `omega: all` makes the penalty a weight decay."""
        predicted = torch.sigmoid(self.prediction.fixed(everywhere))
        apart = predicted - torch.sigmoid(self.pseudo_label(everywhere))
        terms = {"error": -apart.square().mean(-1)}
        if self.config.omega == "rows":
            terms["penalty"] = self.config.penalty * self.squared_rows(everywhere)
        return terms

    def squared_rows(self, pairs: Pairs) -> Tensor:
        """Ω, (G,): mean over pairs of the squared norms of g's rows.

        The global bias is a row that every pair has; left out, g would run to 1 or 0 through it alone.
        """
        return self.pseudo_label.squared_norms(pairs).mean(-1)

    # --- What a record keeps ---

    def user_arrays(self) -> dict[str, Tensor]:
        """α_u and its inputs, (G, U) each.

        unbiased_loss: L_A(u), what takes its place where `has_unbiased` is 0. n_observed: n_u.
        """
        data = self.data
        row = data.seed_row
        labels = data.unbiased_labels[row]
        users, items = data.unbiased_users[row], data.unbiased_items[row]
        unbiased = Batch(users, items, labels, torch.zeros_like(labels))
        loss, has = self.unbiased_loss(unbiased, self.pointwise(self.prediction.fixed(unbiased), labels))
        everybody = torch.arange(data.n_users, device=self.device).expand(self.n_members, -1)
        scale, shift = self.platt(everybody)
        return {
            "alpha": self.rate(everybody, loss, has),
            "scale": scale,
            "shift": shift,
            "unbiased_loss": loss,
            "has_unbiased": has,
            "n_observed": self.counts.value.expand_as(loss),
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """α's mean and quantiles over users, and `coverage`."""
        alpha = self.user_arrays()["alpha"]
        tenths = torch.quantile(alpha, torch.tensor([0.1, 0.5, 0.9]).to(alpha), dim=-1)
        names = ("alpha_tenth", "alpha_median", "alpha_nine_tenths")
        return {
            "alpha_mean": alpha.mean(-1),
            **dict(zip(names, tenths, strict=True)),
            **coverage(self.data),
        }


class _RateTable(Part):
    """softplus⁻¹(s_u) and b_u of each user; with `psi_penalty: deviation`, their distances from the start."""

    def __init__(self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor) -> None:
        zeros = method.data.labels.new_zeros(method.n_members, method.data.n_users)
        super().__init__({"scale": zeros, "shift": zeros.clone()}, learning_rate, weight_decay)
