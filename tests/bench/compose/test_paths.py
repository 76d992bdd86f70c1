"""Paths on the command line are taken as they stand, and other words as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench import compose
from bench.compose.paths import readable


def value_of(word: str) -> object:
    return OverridesParser.create().parse_override(readable(word)).value()


@pytest.mark.parametrize(
    "path",
    [
        *("out/with space", "out/é ü 结果", "out/run=1", "out/(x)", "out/#3", "out/it's", "out/a,b", 'a"b'),
        *("out/{x}", "out/[1]", "C:\\results\\", "out/100%", "a:b", "-", "out/$x", "'", "*"),
    ],
)
def test_a_path_is_taken_as_it_stands(path: str) -> None:
    for field in ("results", "data_dir", "dataset.biased", "+results"):
        word = f"{field}={path}"
        assert value_of(word) == path
        assert readable(readable(word)) == readable(word)


@pytest.mark.parametrize("path", ["with space", "é 结果", "run=1", "(x)", "it's", "a#b"])
def test_a_list_of_paths_too(path: str) -> None:
    assert value_of(f"methods.extra=[{path}.py,other.py]") == [f"{path}.py", "other.py"]


def test_what_is_no_path_stays_as_it_is() -> None:
    for word in ("seeds=20", "grid.learning_rate=[0.01,0.05", "method=mf,ips", "results=", "results=null"):
        assert readable(word) == word
    for word in ("results=${oc.env:HOME}/x", "results='a b'", "-m", "--config-dir", "tuned=a/b/c"):
        assert readable(word) == word
    assert value_of("results=~/x") == os.path.expanduser("~/x")
    assert value_of("method.file=/x/a(b).csv") == "/x/a(b).csv"
    assert value_of("methods.extra=one.py") == "one.py"


def test_such_a_path_reaches_the_configuration(tmp_path: Path) -> None:
    compose.register()
    strange = tmp_path / "é =(1),#2 it's"
    config = compose.composed([f"results={strange}", f"data_dir={strange}", "method=mf"])
    assert config.results == config.data_dir == str(strange)
    assert compose.hydra_words(["-m", "method=mf,ips", f"results={strange}"])[2].startswith("results='")
