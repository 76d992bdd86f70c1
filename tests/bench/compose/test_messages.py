"""Hydra and OmegaConf are fed mistakes; each sentence of theirs that is translated is met here.

What they say is no interface of theirs: another version may word it otherwise, and then a test here fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import compose
from bench.compose import messages
from bench.errors import BenchError


@dataclass
class Inner:
    number: float = 1.0


@dataclass
class Outer:
    """A field of every kind that a configuration has."""

    number: float = 1.0
    whole: int = 1
    switch: bool = True
    values: list[float] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)
    lists: dict[str, list[float]] = field(default_factory=dict)


# What is given → what is said about it.
GIVEN = [
    ({"number": "x"}, "must be a number, but it is 'x'"),
    ({"whole": "x"}, "must be a whole number, but it is 'x'"),
    ({"whole": 2.5}, "must be a whole number, but it is '2.5'"),
    ({"switch": "x"}, "must be true or false, but it is 'x'"),
    ({"number": None}, "needs a value, but it is null"),
    ({"values": None}, "needs a value, but it is null"),
    ({"values": [None]}, "needs a value, but it is null"),
    ({"values": 1.0}, "must be a list, such as [0.01,0.05]"),
    ({"lists": {"a": 1.0}}, "must be a list, such as [0.01,0.05]"),
    ({"lists": {1: [1.0]}}, "is no field's name"),
    ({"values": {"a": 1}}, "must be a list, such as [0.01,0.05]"),
    ({"inner": 1.0}, "has fields of its own: set one of those"),
    ({"lists": "x"}, "has fields of its own: set one of those"),
]


def said_by_omegaconf(given: dict[str, object], assign: bool) -> str:
    """The first line of its error, by the way of the command line or of a file."""
    config = OmegaConf.structured(Outer)
    with pytest.raises(OmegaConfBaseException) as raised:
        if assign:
            for name, value in given.items():
                config[name] = value
        else:
            OmegaConf.merge(config, given)
    return str(raised.value)


@pytest.mark.parametrize("assign", [True, False], ids=["assigned", "merged"])
@pytest.mark.parametrize(("given", "wanted"), GIVEN, ids=lambda each: str(each))
def test_a_value_that_does_not_fit_is_told_what_it_must_be(
    given: dict[str, object], wanted: str, assign: bool
) -> None:
    assert messages.demand(said_by_omegaconf(given, assign)) == wanted


def test_every_translation_is_of_a_sentence_that_is_said() -> None:
    lines = [
        said_by_omegaconf(given, assign).splitlines()[0].rstrip(". ")
        for given, _ in GIVEN
        for assign in (True, False)
    ]
    for pattern, _ in messages.DEMANDS:
        for alternative in pattern.split("|"):
            assert any(re.fullmatch(alternative, line) for line in lines), alternative


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dataset=coatt"], "There is no dataset 'coatt': did you mean 'coat'?"),
        (["method=ipss"], "There is no method 'ipss': did you mean 'ips'?"),
        (["sweep=pape"], "There is no sweep 'pape': did you mean 'paper'?"),
        (["+profile=quik"], "There is no profile 'quik': did you mean 'quick'?"),
        (
            ["+tuned=here/there/ips"],
            "There is no conf/tuned/here/there/ips.yaml, nor another file beside it.",
        ),
        (
            ["tuned=table/coat/mf"],
            "tuned=table/coat/mf is laid over the configuration: write it with a +, as +tuned=table/coat/mf.",
        ),
        (
            ["profile=quick"],
            "profile=quick is laid over the configuration: write it with a +, as +profile=quick.",
        ),
        (["sedes=3"], "There is no field 'sedes': did you mean 'seeds'?"),
        (["engine.thread=1"], "There is no field 'engine.thread': did you mean 'threads'?"),
        (
            ["method=ips", "method.clp=1"],
            "There is no field 'method.clp' with method=ips: did you mean 'clip'?",
        ),
        (
            ["method.grid.learning=[1]"],
            "There is no field 'method.grid.learning': write grid.learning=[...] instead.",
        ),
        (["seeds=x"], "seeds must be a whole number, but it is 'x'."),
        (["grid=3"], "grid takes lists of values by field, such as grid.learning_rate=[0.01,0.05]."),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_sentence(words: list[str], sentence: str) -> None:
    compose.register()
    with pytest.raises(BenchError) as raised:
        compose.composed(words)
    assert str(raised.value) == sentence
