"""What a method is: a configuration, parts, and the step that trains them.

A method's tensors have the member axis first (`bench.engine` has the legend of shapes). It owns no
epoch loop, optimiser, device, metric or output: the engine does.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from bench.engine import kernels
from bench.engine.part import Part
from bench.engine.phase import Phase
from bench.engine.sampling import Draw, Pairs, TrainingData
from bench.errors import BenchError, nearest

AnyPart = TypeVar("AnyPart", bound=Part)
Range = Callable[["MethodConfig", str], None]  # raises a BenchError about a field that is out of range

# What every number of a configuration must be, for a tensor of float32 to hold it, or a loop to end.
_SMALLEST = 1e-30  # sizes of a float that is not 0
_LARGEST = 10.0**30
_LARGEST_COUNT = 10**9

# --- Ranges of fields: `clip: float = field(default=10.0, metadata=at_least(1))` --------------------

_RANGE = "range"  # key of a field's metadata


def at_least(bound: float, why: str = "") -> Mapping[str, Range]:
    """A field's metadata: its value is `bound` or more. why: what the bound is, for the sentence."""
    demand = f"must be at least {bound:g}" + (f", {why}" if why else "")
    return {_RANGE: lambda config, name: require(config, name, getattr(config, name) >= bound, demand)}


def above(bound: float) -> Mapping[str, Range]:
    """A field's metadata: its value is more than `bound`."""
    demand = f"must be above {bound:g}"
    return {_RANGE: lambda config, name: require(config, name, getattr(config, name) > bound, demand)}


def between(low: float, high: float) -> Mapping[str, Range]:
    """A field's metadata: its value is `low`, `high` or between them."""
    demand = f"must lie in {low:g} to {high:g}"
    return {_RANGE: lambda config, name: require(config, name, low <= getattr(config, name) <= high, demand)}


def choices(*names: str) -> Mapping[str, Range]:
    """A field's metadata: its value is one of these."""
    return {_RANGE: lambda config, name: one_of(config, name, names)}


@dataclass(kw_only=True)
class MethodConfig:
    """Fields that every method has. A method adds its own in its `Config`.

    A `float` field may differ between members that are trained together: inside the method it is a
    tensor (G,). A field of any other type shapes the program: members that differ in one are trained
    apart.

    A field's range is declared in its metadata (`at_least`, `above`, `between`, `choices`). A class that
    gives a field another default may narrow its range, and cannot widen it.
    """

    learning_rate: float = field(default=0.01, metadata=at_least(1e-9))
    weight_decay: float = 1e-4  # L2 as Adam's coupled weight decay, on every parameter of a part
    batch_size: int = field(default=128, metadata=at_least(1))
    embedding_size: int = field(default=8, metadata=at_least(1))
    # Pairs drawn from all of D per observed pair; 0: the method needs none.
    everywhere_ratio: int = field(default=0, metadata=at_least(0))
    # Pointwise loss on the score.
    loss: str = field(default="bce", metadata=choices("bce", "mse"))
    # Of methods with `raw_scores`: sigmoid, a probability | raw, the model's output as it is.
    score: str = field(default="sigmoid", metadata=choices("sigmoid", "raw"))
    # Which biases a factorisation has: all | no_global | none.
    biases: str = field(default="all", metadata=choices("all", "no_global", "none"))
    # What a model of a pair reads: ids | features, side features of users and items beside their ids
    # (`methods.parts.Factorisation`).
    backbone: str = field(default="ids", metadata=choices("ids", "features"))
    # Standard deviation of the initial embeddings.
    init_scale: float = field(default=0.1, metadata=between(1e-6, 1e3))

    def check(self) -> None:
        """Called on every point before training. Override it where fields depend on each other.

        Every range that the class or one of its bases declares must hold, and every field whose name
        ends in `weight_decay` must be at least 0. Every float must be finite and neither vanish nor overflow
        in float32, and no whole number may be beyond all sense.

        Raises:
            BenchError: a value is out of range.
        """
        for kind in reversed(type(self).__mro__):
            for declared in vars(kind).get("__dataclass_fields__", {}).values():
                if _RANGE in declared.metadata:
                    declared.metadata[_RANGE](self, declared.name)
        for declared in dataclasses.fields(self):
            if declared.name.endswith("weight_decay"):
                require(self, declared.name, getattr(self, declared.name) >= 0, "must be at least 0")
            _check_size(self, declared.name)
        fits = self.loss == "mse" or self.score == "sigmoid"
        require(self, "loss", fits, "must be mse with method.score=raw, which is no probability")


def require(config: MethodConfig, name: str, holds: bool, demand: str) -> None:
    """Raises a BenchError about a field unless its value is as demanded (NaN never is)."""
    if not holds:
        raise BenchError(f"method.{name} {demand}, but it is {getattr(config, name)}.")


def _check_size(config: MethodConfig, name: str) -> None:
    value = getattr(config, name)
    if isinstance(value, float):
        require(config, name, math.isfinite(value), "must be a finite number")
        held = value == 0 or _SMALLEST <= abs(value) <= _LARGEST
        require(config, name, held, f"must be 0 or of a size from {_SMALLEST:g} to {_LARGEST:g}")
    elif isinstance(value, int):
        require(config, name, abs(value) <= _LARGEST_COUNT, f"must be at most {_LARGEST_COUNT:,}")


def one_of(config: MethodConfig, name: str, choices: Sequence[str]) -> None:
    """Raises a BenchError unless a field has one of the choices."""
    value = getattr(config, name)
    if value not in choices:
        raise BenchError(f"method.{name}={value} is not known: {nearest(str(value), choices)}")


class Stacked:
    """The configurations of G members as one: float fields are tensors (G,), the others as they are.

    Raises:
        ValueError: the members differ in a field that is not a float.
    """

    def __init__(self, configs: Sequence[MethodConfig], dtype: torch.dtype, device: torch.device) -> None:
        for each in dataclasses.fields(configs[0]):
            values = [getattr(config, each.name) for config in configs]
            if is_stacked(each):
                vars(self)[each.name] = torch.tensor(values, dtype=dtype, device=device)
            elif len(set(values)) == 1:
                vars(self)[each.name] = values[0]
            else:
                raise ValueError(f"members with different {each.name} cannot be trained together")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no field {name}; {nearest(name, vars(self))}")

    def column(self, name: str) -> Tensor:
        """A float field as (G, 1), to stand beside what is (G, B)."""
        value: Tensor = getattr(self, name)
        return value.unsqueeze(-1)

    def take(self, members: Tensor) -> Stacked:
        """The members of the index (G',)."""
        return _take(self, members)


def is_stacked(field: dataclasses.Field[Any]) -> bool:
    """Whether members that differ in this field of a configuration can be trained together."""
    return field.type in (float, "float")


class Method:
    """One row of the table; see CONTRIBUTING for how to add one.

    A method sets attributes in `build` and in a phase's `begin`. Those that are tensors have the
    member axis first; tensors that all members share are wrapped in `Shared`.

    Attributes:
        config: the members' configuration (`Stacked`).
        data: what they train on.
        parts: name → part, in the order of their making.
        kernels: what it computes with, those that were current when it was made.
    """

    title: ClassVar[str]  # in the table
    paper: ClassVar[str]  # authors, title, venue
    year: ClassVar[int]
    uses_unbiased: ClassVar[str] = "no"  # no | mean label | yes: what it knows of A
    # True: there is `score: raw`, whose scores may leave [0, 1] and count by their order alone. Then outputs
    # of the prediction model are read through `scored` and `pointwise` only.
    raw_scores: ClassVar[bool] = False
    trained: ClassVar[bool] = True  # False: `phases` is empty, so no shared hyper-parameter is swept

    Config: ClassVar[type[MethodConfig]] = MethodConfig

    config: Any
    prediction: Any  # the part that `score` reads

    def __init__(self, configs: Sequence[MethodConfig], seeds: Sequence[int], data: TrainingData) -> None:
        self.data = data
        self.kernels = kernels.current()
        self.config = Stacked(configs, data.labels.dtype, data.labels.device)
        self.seeds = torch.tensor(seeds)
        self.parts: dict[str, Part] = {}
        if self.config.score == "raw" and not self.raw_scores:
            raise BenchError(
                f"method.score=raw is not made for {self.title}, whose scores are probabilities."
            )
        with torch.no_grad():
            self.build()

    # --- What a method defines ---

    def build(self) -> None:
        """Makes the parts and whatever else does not change in training."""
        raise NotImplementedError

    def step(self, draw: Draw) -> None:
        """One training step of the only phase."""
        raise NotImplementedError

    def score(self, pairs: Pairs) -> Tensor:
        """Predicted probability of a positive label, (G, N); with `raw_scores`, what pairs are ranked by."""
        return self.scored(self.prediction(pairs))

    def phases(self) -> list[Phase]:
        """The phases of training, in order; an empty list where nothing is trained."""
        return [Phase(name="training", step=self.step, score=self.score)]

    @classmethod
    def files(cls, config: MethodConfig) -> Sequence[Path]:
        """Files beside the data that training a point reads; their content is of a record's identity.

        Relative ones are looked for in the folder where the command runs.
        """
        return ()

    # --- What it builds on ---

    @property
    def n_members(self) -> int:
        """G."""
        return len(self.seeds)

    @property
    def device(self) -> torch.device:
        """Where all tensors are."""
        return self.data.labels.device

    def part(
        self,
        make: Callable[..., AnyPart],
        name: str,
        *,
        learning_rate: Tensor | None = None,
        weight_decay: Tensor | None = None,
        **settings: Any,
    ) -> AnyPart:
        """A new part of this method.

        Args:
            make: a class of `methods.parts`, for instance `Factorisation`.
            name: of the part; its initial values depend on this and the member's seed alone.
            learning_rate, weight_decay: (G,); the configuration's where they are left out.
        """
        rate = self.config.learning_rate if learning_rate is None else learning_rate
        decay = self.config.weight_decay if weight_decay is None else weight_decay
        self.parts[name] = made = make(self, name, rate, decay, **settings)
        return made

    def scored(self, outputs: Tensor) -> Tensor:
        """What outputs of a model stand for: probabilities σ(outputs), or with `score: raw` themselves."""
        return outputs if self.config.score == "raw" else torch.sigmoid(outputs)

    def pointwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The pointwise loss ℓ(scored(logits), labels) of `config.loss`, shaped as the logits."""
        if self.config.loss == "mse":
            return (self.scored(logits) - labels).square()
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")

    def diagnostics(self) -> dict[str, Tensor]:
        """Numbers about each trained member that a record keeps, name → (G,)."""
        return {}

    def user_arrays(self) -> dict[str, Tensor]:
        """Numbers about each user that a record keeps, name → (G, U)."""
        return {}

    def take(self, members: Tensor) -> Self:
        """The members of the index (G',), in their present state."""
        return _take(self, members)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum (G,) of a loss's named terms (G,), in their order."""
    return functools.reduce(operator.add, terms.values())


class Shared:
    """A tensor without a member axis, as an attribute of a method."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


Owner = TypeVar("Owner")


def _take(owner: Owner, members: Tensor) -> Owner:
    """A copy of an object in which everything with a member axis keeps the members (G',) only."""
    twin = copy.copy(owner)
    taken: dict[int, Any] = {}  # by identity: a part that has two names stays one part

    def chosen(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[members.to(value.device)]
        if isinstance(value, dict):
            return {key: chosen(entry) for key, entry in value.items()}
        if not hasattr(value, "take"):
            return value
        if id(value) not in taken:
            taken[id(value)] = value.take(members)
        return taken[id(value)]

    vars(twin).update({name: chosen(value) for name, value in vars(owner).items()})
    return twin
