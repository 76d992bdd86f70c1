"""Options of the test-suite."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--extra-method my_method.py` puts a method from anywhere through the contract tests."""
    parser.addoption("--extra-method", action="append", default=[], type=Path, metavar="FILE")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Contract tests run over every registered method."""
    if "method_key" in metafunc.fixturenames:
        extra = [methods.load_extra(file) for file in metafunc.config.getoption("--extra-method")]
        metafunc.parametrize("method_key", extra or methods.names())
