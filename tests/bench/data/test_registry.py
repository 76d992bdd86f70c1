"""The data sets are found by their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.config import DatasetConfig
from bench.data import config_class, load, names, synthetic
from bench.files import CONF


def test_every_data_set_has_a_module_a_configuration_and_tests() -> None:
    configured = sorted(file.stem for file in (CONF / "dataset").glob("*.yaml"))
    assert names() == configured and "coat" in configured
    here = Path(__file__).parent
    assert [name for name in names() if not (here / f"test_{name}.py").is_file()] == []
    assert config_class("synthetic") is synthetic.Config


def test_a_configuration_loads_the_data_set_that_it_names() -> None:
    assert load(synthetic.Config(name="synthetic"), Path("nowhere")).name == "synthetic"


def test_an_unknown_name_gets_the_nearest(refusal: Callable[..., str]) -> None:
    said = "There is no data set 'yahoo': did you mean 'yahoo_r3'?"
    assert refusal(load, DatasetConfig(name="yahoo"), Path("nowhere")) == said
    assert refusal(config_class, "yahoo") == said
