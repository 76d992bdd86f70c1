"""What says that it needs neither torch nor data imports neither, so that a table is made in a second."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench
import bench.records

HEAVY = ("torch", "methods", "bench.data", "hydra", "pandas", "matplotlib")
LIGHT = (
    "bench",
    "bench.table",
    "bench.report",
    "bench.report.plots",
    "bench.gate",
    "bench.study.report",
    "bench.study.readme",
    "bench.study.files",
    "bench.study.answered",
    *(f"bench.records.{module.name}" for module in pkgutil.iter_modules(bench.records.__path__)),
)


# One process for all: each prints what is loaded once it is, and the first to load something is to blame.
LOADED = """
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
    print(module, [name for name in {heavy!r} if name in sys.modules])
"""


def loaded(modules: tuple[str, ...], heavy: tuple[str, ...]) -> list[str]:
    """Lines of `LOADED`."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(modules=modules, heavy=heavy)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(bench.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_light_module_loads_neither_torch_nor_data() -> None:
    assert loaded(LIGHT, HEAVY) == [f"{module} []" for module in LIGHT]


def test_a_command_does_not_wait_for_scipy() -> None:
    assert loaded(("bench.table.beside",), ("scipy", "matplotlib")) == ["bench.table.beside []"]


@pytest.mark.parametrize("command", ["bench", "bench.reproduce", "bench.gate"])
def test_a_python_without_the_environment_is_one_sentence(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", command, "method=mf"],  # -S: no installed package
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(bench.__file__).parents[1],
        env={"PATH": ""},
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"{sys.executable} has no module ")
    assert done.stderr.endswith(
        "run this inside the environment, which `make env` makes and `. .venv/bin/activate` enters.\n"
    )
