"""CONTRIBUTING's example is a method that works from outside the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "extra" / "toy_method.py"


def test_the_example_is_the_file_that_is_tried() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert text.split("```python\n")[1].split("```")[0] == TOY.read_text(encoding="utf-8")


def test_a_file_from_anywhere_is_a_row(tmp_path: Path) -> None:
    mine = tmp_path / "toy_method.py"
    mine.write_text(TOY.read_text(encoding="utf-8"), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "bench", f"methods.extra=[{mine}]", "method=toy_method"),
        *("dataset=synthetic", "dataset.n_users=60", "seeds=2", "engine.max_epochs=2", f"results={tmp_path}"),
        *("grid.learning_rate=[0.05]", "grid.weight_decay=[0.0]", "grid.power=[0.0,1.0]"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "toy_method on synthetic" in done.stdout and "power=" in done.stdout
    assert "2 points" in done.stdout


def test_the_contract_runs_on_a_users_file() -> None:
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py"),
        *("--extra-method", str(TOY), "-k", "probabilities or notices or what_it_is"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
