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
    *(f"bench.records.{module.name}" for module in pkgutil.iter_modules(bench.records.__path__)),
)


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_neither_torch_nor_data(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(bench.__file__).parents[1],
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


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
