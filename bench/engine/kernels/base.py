"""What an implementation of the kernels provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.engine.adam import Adam
    from bench.engine.part import Leaf, Part, Tables
    from bench.engine.sampling import Pairs

AnyPart = TypeVar("AnyPart", bound="Part")


class Kernels(ABC):
    """The operations that a training step spends its time in.

    Those that give a value computed from a part's tables give it as a leaf (`Part.leaf`): the value is
    differentiated down to the leaf by autograd, and from there to the tables by the leaf's `pull`.

    A row of a table that has side features (`Part.features`) is meant with what they add to it.
    """

    name: ClassVar[str]  # in `engine.kernels`

    @property
    def described(self) -> str:
        """For a record: the name, and the version of what it is made with where torch's does not say it."""
        return self.name

    @abstractmethod
    def adam(
        self,
        tables: Tables,
        learning_rate: Tensor,
        weight_decay: Tensor,
        decoupled: bool = False,
        anchor: Tables | None = None,
        by_rows: bool = False,
        entries: Sequence[str] = (),
    ) -> Adam:
        """An `Adam` of these tables. entries: tables whose rows, for `by_rows`, are single numbers."""

    @abstractmethod
    def ahead(self, part: AnyPart, pulled: Sequence[tuple[Leaf, Tensor]], rate: Tensor) -> AnyPart:
        """The part after one step of gradient descent; the part stays as it is.

        Args:
            pulled: leaves of the part and the gradients of their values.
            rate: (G,).
        """

    @abstractmethod
    def along(
        self, twin: Part, pulled: Sequence[tuple[Leaf, Tensor]], leaves: Sequence[Leaf]
    ) -> list[Tensor]:
        """The changes of leaves of a part along a gradient of its `ahead`, which ends its use.

        Args:
            twin: what `ahead` gave.
            pulled: leaves of the twin and the gradients of their values: together the direction.
            leaves: of the part itself.
        """

    @abstractmethod
    def factorise(self, part: Part, pairs: Pairs) -> Tensor:
        """p_u · q_i + b_u + b_i + b, (G, B), of pairs (G, B)."""

    @abstractmethod
    def heads(self, part: Part, pairs: Pairs) -> Tensor:
        """h_t · (p_u ∘ q_i) + b_tu + b_ti + b_t, (G, T, B), of pairs (G, B) and T heads t."""

    def squared_norms(self, part: Part, pairs: Pairs) -> Tensor:
        """|p_u|² + |q_i|² + b_u² + b_i² + b², (G, B), of pairs (G, B): what `factorise` reads for each."""
        p, q = self.rows(part, "users", pairs.users), self.rows(part, "items", pairs.items)
        b_u, b_i = self.rows(part, "user_bias", pairs.users), self.rows(part, "item_bias", pairs.items)
        norms = p.square().sum(-1) + q.square().sum(-1) + b_u.square() + b_i.square()
        return norms + part.whole("bias").square()

    @abstractmethod
    def rows(self, part: Part, table: str, index: Tensor) -> Tensor:
        """Rows (G, B, D) of a table (G, n, D) at index (G, B); entries (G, B) of a table (G, n)."""

    @abstractmethod
    def row_sums(self, part: Part, index: Mapping[str, Tensor]) -> Tensor:
        """Sums (G, B) of entries of three tables (G, n) at their indices (G, B)."""

    @abstractmethod
    def network(self, part: Part, inputs: Tensor) -> Tensor:
        """Outputs (G, B, M) of a network's layers (tables weight0, bias0, ...), ReLU between them."""

    @abstractmethod
    def network_on_rows(self, network: Part, model: Part, pairs: Pairs) -> Tensor:
        """`network` on a model's embeddings [p_u, q_i] of pairs (G, B)."""

    # --- Draws: the same numbers from every implementation ------------------------------------------

    @abstractmethod
    def deal(
        self,
        shuffled: Tensor,
        place: Tensor,
        ratings: tuple[Tensor, ...],
        out: tuple[Tensor, ...],
        row: int,
    ) -> None:
        """Deals n shuffled ratings to the batches of an epoch, each of which keeps their order in `ratings`.

        Args:
            shuffled: (n,) int64 on the CPU: the first B are the first batch's, and so on; the rest is left.
            place: (n,) int32 on the CPU: where the rating of a shuffled number stands in `ratings`.
            ratings: users, items (n,) int64 and labels (n,).
            out: the same of the batches, (steps, S, B), of which [:, row] is filled.
        """

    @abstractmethod
    def look_up(
        self, cells: Tensor, table: Tensor, n_items: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Users, items, labels and observed flags of cells u · n_items + i of D, shaped as they are.

        Args:
            table: (|D|,) int8; 0 not observed, 1 observed negative, 2 observed positive.
            dtype: of labels and flags.
        """

    # --- Evaluation ---------------------------------------------------------------------------------

    @abstractmethod
    def areas(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """`metrics.auc` (G,) of all candidates (G, N), and (G, 2) of the even and of the odd ones."""
