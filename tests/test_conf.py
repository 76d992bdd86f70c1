"""`conf/README.md` knows every group and every list, and its commands are understood."""

from __future__ import annotations

import dataclasses
import re
import shlex

import pytest

from bench import compose
from bench.config import DatasetConfig
from bench.files import CONF

TEXT = (CONF / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m bench (.*)$", TEXT, re.MULTILINE)


def test_every_group_is_on_it() -> None:
    folders = {each.name for each in CONF.iterdir() if each.is_dir()}
    assert set(re.findall(r"^\| `(\w+)/`", TEXT, re.MULTILINE)) == folders


def test_every_list_of_a_stage_is_on_it() -> None:
    of_dataset = {each.name for each in dataclasses.fields(DatasetConfig) if each.name.endswith("_grid")}
    assert set(re.findall(r"^\| `(\w+_grid)`", TEXT, re.MULTILINE)) == of_dataset | {"own_grid", "long_grid"}
    used = set(re.findall(r"\b\w+_grid\b", "".join(file.read_text() for file in CONF.glob("sweep/*.yaml"))))
    assert used <= of_dataset | {"own_grid", "long_grid"}


def test_conf_holds_values_only() -> None:
    assert not list(CONF.rglob("*.py"))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command: str) -> None:
    words = shlex.split(command, comments=True)
    compose.register(words)
    for job in compose.jobs(compose.hydra_words(words)):
        assert compose.composed(job)


def test_it_has_commands() -> None:
    assert len(COMMANDS) > 5
