"""Parts that several methods are made of: matrix factorisation and small networks.

Shapes: G members, B pairs, D embedding size. The weights of `methods/weights.py` can be had from here, too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.engine.features import Links
from bench.engine.part import Part, Tables
from bench.engine.sampling import Pairs, generator
from bench.errors import BenchError
from methods.weights import (
    PROPENSITIES,
    LabelWeights,
    PairWeights,
    coverage,
    in_batch,
    known,
    logistic,
    logistic_propensity,
    naive_bayes,
    normalised,
    observed_sample,
    pair_weights,
    released,
    weight_diagnostics,
)

if TYPE_CHECKING:
    from methods.base import Method

__all__ = [
    "MF",
    "MLP",
    "PROPENSITIES",
    "Factorisation",
    "Heads",
    "LabelWeights",
    "LogLinear",
    "PairWeights",
    "TwinMF",
    "coverage",
    "in_batch",
    "known",
    "logistic",
    "logistic_propensity",
    "naive_bayes",
    "normal",
    "normalised",
    "observed_sample",
    "pair_weights",
    "released",
    "standard_normal",
    "weight_diagnostics",
]


class Factorisation(Part):
    """Matrix factorisation with biases (Koren, Bell and Volinsky, 2009).

    logit(u, i) = p_u · q_i + b_u + b_i + b; p, q ~ N(0, init_scale²), biases start at 0. Calling a
    part on pairs gives their logits (G, B).

    With `backbone: features`, x_u and x_i being side features,

        logit(u, i) = (p_u + x_u W) · (q_i + x_i V) + (b_u + x_u · a) + (b_i + x_i · c) + b.

    W, V, a, c start at 0, so that it starts as the same function as without features, whatever the seed, and
    init_scale keeps its meaning; they learn at once, since p and q are not 0. Every factorisation of a method
    reads the features: propensities, imputations and teachers are models of the same pairs. `rows` of the
    embeddings and biases are p_u + x_u W and so on, so that all that stands on them has the features, too.

    `biases` leaves out the global bias or all of them, which then stay at 0.

    Its gradient is a kernel: it is the hot spot of every method, and autograd over embedding tables
    costs several times as much.
    """

    def __init__(
        self,
        method: Method,
        name: str,
        learning_rate: Tensor,
        weight_decay: Tensor,
        *,
        embedding_size: int | None = None,
        decoupled: bool = False,
    ) -> None:
        size = method.config.embedding_size if embedding_size is None else embedding_size
        n_users, n_items = method.data.n_users, method.data.n_items
        n, like = method.n_members, method.data.labels
        tables = {
            "users": normal(method, f"{name}/users", (n_users, size)),
            "items": normal(method, f"{name}/items", (n_items, size)),
            "user_bias": like.new_zeros(n, n_users),
            "item_bias": like.new_zeros(n, n_items),
            "bias": like.new_zeros(n, 1),
        }
        more, links = _featured(method, size)
        super().__init__({**tables, **more}, learning_rate, weight_decay, decoupled, links)
        self.fixed_tables = _fixed_biases(method, self.tables)

    def fixed(self, pairs: Pairs) -> Tensor:
        """Logits (G, B) of pairs that no gradient will flow through."""
        with torch.no_grad():
            return self(pairs)

    def extremes(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest logit (G,) over pairs (N,) that all members share."""
        lowest, highest = [], []
        for chunk in torch.arange(len(users), device=users.device).split(20_000):
            shape = (self.n_members, -1)
            logits = self.fixed(Pairs(users[chunk].expand(shape), items[chunk].expand(shape)))
            lowest.append(logits.min(-1).values)
            highest.append(logits.max(-1).values)
        return torch.stack(lowest).min(0).values, torch.stack(highest).max(0).values

    def __call__(self, pairs: Pairs) -> Tensor:
        """Logits (G, B) of pairs."""
        return self.kernels.factorise(self, pairs)

    def squared_norms(self, pairs: Pairs) -> Tensor:
        """|p_u|² + |q_i|² + b_u² + b_i² + b² of pairs (G, B), (G, B)."""
        return self.kernels.squared_norms(self, pairs)


MF = Factorisation  # its name before the row `MF` had it, for methods that were written then


class TwinMF(Part):
    """Item vectors and item biases of their own over the users of a `Factorisation` (CausE's treatment).

    The twin's users are the base's, so a loss on its logits trains both parts. Its items read features if the
    base's do, with weights of their own.
    """

    def __init__(
        self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor, *, base: Factorisation
    ) -> None:
        tables = {
            "items": normal(method, f"{name}/items", tuple(base.tables["items"].shape[1:])),
            "item_bias": torch.zeros_like(base.tables["item_bias"]),
        }
        more, links = _featured(method, base.tables["items"].shape[-1], sides=("item",))
        super().__init__({**tables, **more}, learning_rate, weight_decay, features=links)
        self.fixed_tables = _fixed_biases(method, self.tables)

    def __call__(self, base: Factorisation, pairs: Pairs) -> Tensor:
        """Logits (G, B): the base's users and global bias, the twin's items."""
        product = (base.rows("users", pairs.users) * self.rows("items", pairs.items)).sum(-1)
        biases = base.rows("user_bias", pairs.users) + self.rows("item_bias", pairs.items)
        return product + biases + base.whole("bias")


class LogLinear(Part):
    """Positive weights exp((a_u + a_i + a_k) / 5) of pairs of kind k, 1 at the start (AutoDebias)."""

    def __init__(
        self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor, *, kinds: int = 2
    ) -> None:
        n, like = method.n_members, method.data.labels
        sizes = {"users": method.data.n_users, "items": method.data.n_items, "kinds": kinds}
        tables = {key: like.new_zeros(n, size) for key, size in sizes.items()}
        super().__init__(tables, learning_rate, weight_decay, decoupled=True)

    def __call__(self, pairs: Pairs, kind: Tensor) -> Tensor:
        """Weights (G, B); kind: (G, B) int64."""
        index = {"users": pairs.users, "items": pairs.items, "kinds": kind}
        return torch.exp(self.kernels.row_sums(self, index) / 5)


class MLP(Part):
    """A small network for each member, ReLU between layers; its last layer starts at 0, so its output too.

    Args:
        sizes: of the input, the hidden layers and the output.
    """

    def __init__(
        self,
        method: Method,
        name: str,
        learning_rate: Tensor,
        weight_decay: Tensor,
        *,
        sizes: tuple[int, ...],
    ) -> None:
        n_layers = len(sizes) - 1
        tables: Tables = {}
        n, like = method.n_members, method.data.labels
        for layer, (wide, out) in enumerate(itertools.pairwise(sizes)):
            last = layer == n_layers - 1
            # He et al., 2015: keeps the scale of the activations from layer to layer.
            weight = standard_normal(method, f"{name}/{layer}", (wide, out)) * (2 / wide) ** 0.5
            tables[f"weight{layer}"] = torch.zeros_like(weight) if last else weight
            tables[f"bias{layer}"] = like.new_zeros(n, 1, out)
        super().__init__(tables, learning_rate, weight_decay)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (G, B, last size) of inputs (G, B, first size)."""
        return self.kernels.network(self, inputs)

    def on_rows(self, model: Part, pairs: Pairs) -> Tensor:
        """Outputs (G, B, last size) on the embeddings [p_u, q_i] of a model's pairs (G, B)."""
        return self.kernels.network_on_rows(self, model, pairs)


class Heads(Part):
    """Several logits on one pair of embeddings: h_t · (p_u ∘ q_i) + b_tu + b_ti + b_t, T heads t.

    h starts at 1, so that each head starts as a `Factorisation` without being one. Calling a part on pairs
    gives logits (G, T, B). With `backbone: features`, p, q and the biases are those of `Factorisation` with
    features; heads share W and V, and have a and c of their own.
    """

    entries: tuple[str, ...] = ("user_bias", "item_bias")

    def __init__(
        self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor, *, heads: int
    ) -> None:
        size, n_users, n_items = method.config.embedding_size, method.data.n_users, method.data.n_items
        n, like = method.n_members, method.data.labels
        tables = {
            "users": normal(method, f"{name}/users", (n_users, size)),
            "items": normal(method, f"{name}/items", (n_items, size)),
            "heads": like.new_ones(n, heads, size),
            "user_bias": like.new_zeros(n, heads, n_users),
            "item_bias": like.new_zeros(n, heads, n_items),
            "bias": like.new_zeros(n, heads),
        }
        more, links = _featured(method, size, heads)
        if links:
            self.entries = ()  # a user's biases of all heads are one row, which features add to
            for name in ("user_bias", "item_bias"):
                tables[name] = tables[name].transpose(1, 2)
        super().__init__({**tables, **more}, learning_rate, weight_decay, features=links)

    def __call__(self, pairs: Pairs) -> Tensor:
        """Logits (G, T, B) of pairs."""
        if not self.features:
            return self.kernels.heads(self, pairs)
        product = self.rows("users", pairs.users) * self.rows("items", pairs.items)  # (G, B, D)
        biases = self.rows("user_bias", pairs.users) + self.rows("item_bias", pairs.items)  # (G, B, T)
        own = product @ self.whole("heads").mT + biases
        return own.mT + self.whole("bias").unsqueeze(-1)


def _featured(
    method: Method, size: int, heads: int = 0, sides: tuple[str, ...] = ("user", "item")
) -> tuple[Tables, Links]:
    """Tables of the features' weights and what they belong to; none where the method's backbone is `ids`.

    Args:
        size: D of the embeddings. heads: T of biases (G, n, T); 0 of biases (G, n).
        sides: whose embeddings and biases the part has.

    Raises:
        BenchError: the backbone is `features`, and the data has none.
    """
    tables: Tables = {}
    links: Links = {}
    if method.config.backbone == "ids":
        return tables, links
    data, n = method.data, method.n_members
    if data.user_features is None and data.item_features is None:
        raise BenchError("method.backbone=features reads side features, and these data have none: use ids.")
    for side, features in (("user", data.user_features), ("item", data.item_features)):
        if side in sides and features is not None:
            weights, slopes = f"{side}_weights", f"{side}_slopes"
            tables[weights] = data.labels.new_zeros(n, features.number, size)
            tables[slopes] = data.labels.new_zeros(n, features.number, *([heads] if heads else []))
            links[f"{side}s"], links[f"{side}_bias"] = (weights, features), (slopes, features)
    return tables, links


_BIASES = ("bias", "user_bias", "item_bias", "user_slopes", "item_slopes")


def _fixed_biases(method: Method, tables: Tables) -> tuple[str, ...]:
    """The biases that `config.biases` leaves out: they stay where they start, at 0."""
    left_out = {"all": (), "no_global": _BIASES[:1], "none": _BIASES}[method.config.biases]
    return tuple(name for name in left_out if name in tables)


@dataclass(frozen=True)
class Joined(Pairs):
    """Pairs of several batches, one after the other. sizes: of the batches."""

    sizes: tuple[int, ...]

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Values (G, B) of all pairs, as those of each batch."""
        return values.split(self.sizes, -1)


def joined(*batches: Pairs) -> Joined:
    """The pairs of several batches as one: a pass over them costs less than one over each."""
    return Joined(
        torch.cat([each.users for each in batches], -1),
        torch.cat([each.items for each in batches], -1),
        tuple(each.users.shape[-1] for each in batches),
    )


def normal(method: Method, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Initial values (G, *shape), N(0, init_scale²), the same for members of one seed."""
    standard = standard_normal(method, stream, shape)
    return standard * method.config.init_scale.view(-1, *[1] * len(shape))


def standard_normal(method: Method, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal values (G, *shape), the same for members of one seed."""
    standard: dict[int, Tensor] = {}
    for seed in method.seeds.tolist():
        if seed not in standard:
            standard[seed] = torch.randn(shape, generator=generator("initial", seed, stream))
    return torch.stack([standard[seed] for seed in method.seeds.tolist()]).to(method.data.labels)
