"""Environments of the observed ratings, and what adversarial methods need: for rows such as `invpref.py`.

Shapes: G members, B pairs, K environments; |O| observed ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.engine.features import Links
from bench.engine.part import Part, Tables
from bench.engine.sampling import Batch, Pairs, TrainingData, generator
from methods.parts import normal

if TYPE_CHECKING:
    from methods.base import Method

_CHUNK = 2**20  # numbers of all members and environments that are looked at together


def reversed_gradient(values: Tensor, scale: Tensor) -> Tensor:
    """The values themselves, whose gradient comes back times -scale (Ganin and Lempitsky, ICML 2015).

    What is trained on them learns as ever; what they were computed from learns the opposite.

    Args:
        values: (G, ...). scale: (G,).
    """
    fixed = values.detach()
    return fixed - scale.view(-1, *[1] * (values.dim() - 1)) * (values - fixed)


class Vectors(Part):
    """Embeddings p_u and q_i without biases, N(0, init_scale²); with features p_u + x_u W and q_i + x_i V."""

    def __init__(self, method: Method, name: str, learning_rate: Tensor, weight_decay: Tensor) -> None:
        data, size, n = method.data, method.config.embedding_size, method.n_members
        tables: Tables = {}
        links: Links = {}
        for side, number, features in (
            ("user", data.n_users, data.user_features),
            ("item", data.n_items, data.item_features),
        ):
            tables[f"{side}s"] = normal(method, f"{name}/{side}s", (number, size))
            if method.config.backbone == "features" and features is not None:
                tables[f"{side}_weights"] = data.labels.new_zeros(n, features.number, size)
                links[f"{side}s"] = f"{side}_weights", features
        super().__init__(tables, learning_rate, weight_decay, features=links)


def products(model: Part, pairs: Pairs) -> Tensor:
    """p_u ∘ q_i of pairs, (G, B, D), of a part with such embeddings, such as a `Factorisation`."""
    return model.rows("users", pairs.users) * model.rows("items", pairs.items)


@dataclass
class Environments:
    """The environment of each observed rating.

    seeds: (G,) of the members. cells: (|O|,) the ratings' cells u * I + i, sorted. order: (|O|,) where the
    ratings stand in the data. of: (G, |O|) uint8, each one's environment, in the order of `cells`.
    rounds: how often the ratings were assigned anew.
    """

    data: TrainingData
    seeds: Tensor
    number: int
    cells: Tensor
    order: Tensor
    of: Tensor
    rounds: int = 0

    @classmethod
    def random(cls, data: TrainingData, seeds: Tensor, number: int) -> Environments:
        """One of `number` environments for each rating, the same for members of one seed."""
        cells, order = (data.users * data.n_items + data.items).sort()
        drawn = {
            seed: torch.randint(
                number, cells.shape, generator=generator("environments", seed), dtype=torch.uint8
            )
            for seed in set(seeds.tolist())
        }
        of = torch.stack([drawn[seed] for seed in seeds.tolist()]).to(cells.device)
        return cls(data, seeds, number, cells, order, of)

    def __call__(self, observed: Pairs) -> Tensor:
        """(G, B) int64, the environments of a batch of O."""
        place = torch.searchsorted(self.cells, observed.users * self.data.n_items + observed.items)
        return self.of.gather(1, place).long()

    def chunks(self) -> Iterator[tuple[Tensor, Batch]]:
        """All of O, a few ratings at a time: their places (B,) in `cells`, and they themselves, (G, B)."""
        n = len(self.of)
        size = max(1, _CHUNK // (n * self.number))
        for place in torch.arange(len(self.cells), device=self.cells.device).split(size):
            which = self.order[place]
            users, items, labels = (
                each[which].expand(n, -1) for each in (self.data.users, self.data.items, self.data.labels)
            )
            yield place, Batch(users, items, labels, torch.ones_like(labels))

    def reassign(self, losses: Callable[[Batch], Tensor]) -> None:
        """Puts each rating into the environment that explains it best; of several that do, one at random.

        A rule such as the first of them would fill one environment where none of them says anything yet.

        Args:
            losses: gives of a batch (G, B) the loss in each environment, (G, B, K).
        """
        self.rounds += 1
        lots: Tensor | None = None  # of the whole round, so that they don't depend on the chunks
        for place, batch in self.chunks():
            found = losses(batch)
            least = found == found.amin(-1, keepdim=True)
            if bool((least.sum(-1) > 1).any()):
                lots = self._lots() if lots is None else lots
                self.of[:, place] = (least * lots[:, place]).argmax(-1).to(torch.uint8)
            else:
                self.of[:, place] = found.argmin(-1).to(torch.uint8)

    def _lots(self) -> Tensor:
        """Positive numbers (G, |O|, K), the same for members of one seed, others in each round."""
        shape = (len(self.cells), self.number)
        drawn = {
            seed: 1 - torch.rand(shape, generator=generator("ties", seed, self.rounds))  # in (0, 1]
            for seed in set(self.seeds.tolist())
        }
        return torch.stack([drawn[seed] for seed in self.seeds.tolist()]).to(self.cells.device)

    def root_mean_square(self, values: Callable[[Batch], Tensor]) -> Tensor:
        """(G,) of what `values` gives of a batch (G, B) for each environment, (G, B, K), over all of O."""
        sums = [values(batch).double().square().sum((-1, -2)) for _, batch in self.chunks()]
        return (torch.stack(sums).sum(0) / (len(self.cells) * self.number)).sqrt()

    def shares(self) -> Tensor:
        """(G, K) of the ratings in each environment."""
        return torch.stack([(self.of == k).double().mean(-1) for k in range(self.number)], -1)

    def take(self, members: Tensor) -> Environments:
        """The members of the index (G',)."""
        return replace(self, seeds=self.seeds[members], of=self.of[members])
