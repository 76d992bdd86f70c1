"""Ranges that fields declare, a stack's configurations, and the sum of a loss's terms."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from bench.engine.method import (
    MethodConfig,
    Stacked,
    above,
    at_least,
    between,
    choices,
    total,
)
from bench.errors import BenchError

SIZE = "must be 0 or of a size from 1e-30 to 1e+30, but it is"


@dataclass(kw_only=True)
class First(MethodConfig):
    """A field of each kind of range."""

    clip: float = field(default=10.0, metadata=at_least(1, "the weights' mean"))
    rate: float = field(default=0.1, metadata=above(0))
    share: float = field(default=0.5, metadata=between(0, 1))
    form: str = field(default="rows", metadata=choices("rows", "all"))
    other_weight_decay: float = 1e-4


@dataclass(kw_only=True)
class Second(First):
    """Other defaults, one range narrowed and none given up."""

    learning_rate: float = 0.5
    rate: float = 0.2
    everywhere_ratio: int = field(default=1, metadata=at_least(1))


@pytest.mark.parametrize("kind", [First, Second])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("clip", 0.5, "method.clip must be at least 1, the weights' mean, but it is 0.5."),
        ("clip", float("nan"), "method.clip must be at least 1, the weights' mean, but it is nan."),
        ("rate", 0.0, "method.rate must be above 0, but it is 0.0."),
        ("rate", float("nan"), "method.rate must be above 0, but it is nan."),
        ("share", 1.5, "method.share must lie in 0 to 1, but it is 1.5."),
        ("share", -0.5, "method.share must lie in 0 to 1, but it is -0.5."),
        ("share", float("nan"), "method.share must lie in 0 to 1, but it is nan."),
        ("form", "row", "method.form=row is not known: did you mean 'rows'?"),
        ("other_weight_decay", -1.0, "method.other_weight_decay must be at least 0, but it is -1.0."),
        ("learning_rate", 0.0, "method.learning_rate must be at least 1e-09, but it is 0.0."),
        ("batch_size", 0, "method.batch_size must be at least 1, but it is 0."),
        (
            "batch_size",
            10**23,
            f"method.batch_size must be at most 1,000,000,000, but it is {10**23}.",
        ),
        ("learning_rate", float("inf"), "method.learning_rate must be a finite number, but it is inf."),
        (
            "learning_rate",
            1e-300,
            "method.learning_rate must be at least 1e-09, but it is 1e-300.",
        ),
        (
            "weight_decay",
            1e300,
            f"method.weight_decay {SIZE} 1e+300.",
        ),
        ("init_scale", 1e-300, "method.init_scale must lie in 1e-06 to 1000, but it is 1e-300."),
        ("everywhere_ratio", -1, "method.everywhere_ratio must be at least 0, but it is -1."),
        ("loss", "none", "method.loss=none is not known: the choices are bce, mse."),
    ],
)
def test_a_declared_range_is_a_sentence_where_it_is_left(
    kind: type[First], name: str, value: float | str, sentence: str
) -> None:
    """A class that gives a field another default keeps the range that its base has declared."""
    kind().check()
    with pytest.raises(BenchError) as error:
        kind(**{name: value}).check()
    assert str(error.value) == sentence


def test_bounds_belong_to_their_ranges() -> None:
    First(clip=1.0, share=0.0, everywhere_ratio=0).check()
    First(share=1.0).check()


def test_a_class_may_narrow_the_range_of_its_base() -> None:
    with pytest.raises(BenchError, match=r"method\.everywhere_ratio must be at least 1, but it is 0"):
        Second(everywhere_ratio=0).check()


def test_a_column_stands_beside_pairs() -> None:
    stacked = Stacked([First(clip=2.0), First(clip=3.0)], torch.float64, torch.device("cpu"))
    assert stacked.clip.tolist() == [2.0, 3.0]
    assert stacked.column("clip").tolist() == [[2.0], [3.0]]
    assert stacked.take(torch.tensor([1])).column("clip").tolist() == [[3.0]]
    with pytest.raises(AttributeError, match="did you mean 'clip'"):
        stacked.column("clipp")


def test_the_total_is_the_sum_of_the_terms_for_each_member() -> None:
    terms = {"one": torch.tensor([1.0, 2.0]), "two": torch.tensor([10.0, 20.0]), "three": torch.ones(2)}
    assert total(terms).tolist() == [12.0, 23.0]
