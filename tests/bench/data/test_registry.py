"""The data sets are found by their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.config import DatasetConfig
from bench.data import config_class, load, names, synthetic


def test_every_data_set_is_found() -> None:
    assert names() == ["coat", "kuairec", "synthetic", "yahoo_r3"]
    assert config_class("synthetic") is synthetic.Config


def test_a_configuration_loads_the_data_set_that_it_names() -> None:
    assert load(synthetic.Config(name="synthetic"), Path("nowhere")).name == "synthetic"


def test_an_unknown_name_gets_the_nearest(refusal: Callable[..., str]) -> None:
    said = "There is no data set 'yahoo': did you mean 'yahoo_r3'?"
    assert refusal(load, DatasetConfig(name="yahoo"), Path("nowhere")) == said
    assert refusal(config_class, "yahoo") == said
