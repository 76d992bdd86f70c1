"""Options of the test-suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

import methods
from bench import compose, data
from bench.cell import compiled
from bench.compose import groups
from bench.errors import BenchError
from tests.every_row import of_the_paper

_KEYS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--extra-method my_method.py` puts a method from anywhere through the contract tests, it alone."""
    parser.addoption("--extra-method", action="append", default=[], type=Path, metavar="FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Loads the files of `--extra-method`; a wrong one ends the session with its sentence."""
    compiled.use_cache_folder()  # tests of the engine alone do not load a cell
    try:
        config.stash[_KEYS] = [_key(file) for file in config.getoption("--extra-method")]
    except BenchError as error:
        raise pytest.UsageError(str(error).replace("methods.extra", "--extra-method")) from error


def _key(file: Path) -> str:
    """The key of a method's file, which may stand in the suite's own folder too."""
    own = Path(methods.__file__).parent
    if file.resolve().parent == own and file.stem in methods.names():
        return file.stem
    return methods.load_extra(file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Contract tests run over every registered method, or over those of `--extra-method`.

    Those that are marked `trains` or `composes` leave the further methods to `make test-long`.
    """
    if "method_key" in metafunc.fixturenames:
        own, every = metafunc.config.stash[_KEYS], methods.names()
        takes_long = any(map(metafunc.definition.get_closest_marker, ("trains", "composes")))
        metafunc.parametrize("method_key", own or (of_the_paper(every) if takes_long else every))


def _folders_copied(entry: Any) -> Any:
    """Hydra's store of configurations with folders of its own; files in them are replaced, never changed."""
    return {name: _folders_copied(each) for name, each in entry.items()} if isinstance(entry, dict) else entry


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods and data sets that the test registers are gone after it."""
    compose.register()  # so that the suite's own are there before,
    compose.composed([])  # and what Hydra enters by itself when it composes for the first time
    monkeypatch.setattr(methods, "_registered", dict(methods._registered))
    monkeypatch.setattr(data, "_from_outside", dict(data._from_outside))
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", _folders_copied(store.repo))
    monkeypatch.setattr(groups, "_entered", dict(groups._entered))
