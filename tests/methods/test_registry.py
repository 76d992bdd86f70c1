"""Which files of `methods/` are rows, and which rows are controls."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import methods
from bench.errors import BenchError
from methods import parts, weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    """An empty folder whose files are scanned as if they were in `methods/`."""
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("methods."):
            del sys.modules[name]
            delattr(methods, name.split(".")[1])


BASE = "from methods.base import Method\n\n\nclass Base(Method):\n    year = 2000\n"
ROW = 'from methods.lean_base import Base\n\n\nclass Row(Base):\n    title = "Row"\n    paper = "none"\n'


def scan() -> None:
    methods._scan.__wrapped__()


def test_a_file_is_a_row_if_it_registers_and_a_base_need_not(folder: Path) -> None:
    (folder / "lean_base.py").write_text(BASE)
    (folder / "lean_row.py").write_text(
        ROW.replace("class Row", "@register\nclass Row").replace(
            "from", "from methods import register\nfrom", 1
        )
    )
    scan()
    assert "lean_row" in methods.names() and "lean_base" not in methods.names()
    assert not methods.is_control("lean_row")


def test_a_row_that_forgets_to_register_is_named(folder: Path) -> None:
    (folder / "lean_base.py").write_text(BASE)
    (folder / "lean_row.py").write_text(ROW)
    with pytest.raises(BenchError, match=r"^methods/lean_row\.py registers no method: decorate its class"):
        scan()


def test_every_row_of_the_suite_is_listed_once() -> None:
    """In the paper's table, among the controls, as an extra row or as a further method.

    What is in none of them is somebody's own.
    """
    listed = [*methods.ROWS, *methods.CONTROLS, *methods.EXTRA]
    own = [key for key in methods.names() if methods.get(key).__module__.startswith("methods.")]
    assert sorted(listed) == sorted(key for key in own if not methods.is_further(key))
    assert [key for key in listed if not methods.is_control(key)] == list(methods.ROWS)


FURTHER_ROW = """
from typing import ClassVar
from methods import register
from methods.base import Method


@register
class Row(Method):
    title, paper, year = "Row", "{paper}", {year}
    group: ClassVar[str] = "{group}"
"""


def test_further_methods_come_last_by_year_and_paper(folder: Path) -> None:
    others = methods.names()
    for key, paper, year in (("a_new", "B", 2924), ("z_old", "A", 2919), ("b_new", "A", 2924)):
        (folder / f"{key}.py").write_text(FURTHER_ROW.format(paper=paper, year=year, group="further"))
    scan()
    found = [key for key in methods.names() if key not in others]
    assert found == methods.names()[-3:] == ["z_old", "b_new", "a_new"]
    assert all(methods.is_further(key) and not methods.is_control(key) for key in found)


def test_a_group_that_is_none_is_refused(folder: Path) -> None:
    (folder / "odd.py").write_text(FURTHER_ROW.format(paper="A", year=2019, group="furthest"))
    with pytest.raises(BenchError, match=r"'odd' has group = 'furthest': write 'further' or leave it out"):
        scan()


def test_the_names_that_older_methods_import_are_there() -> None:
    assert parts.MF is parts.Factorisation
    for name in weights.__dict__:
        made_there = getattr(getattr(weights, name), "__module__", "") == weights.__name__
        assert not made_there or getattr(parts, name) is getattr(weights, name), name
    assert parts.PROPENSITIES is weights.PROPENSITIES
