"""The gate against the committed baseline, with the real profile on generated data (`make gate-test`).

Each fault is planted into a copy of the suite. What is not caught here: an area under the curve whose
ranks are off by one moves by one over the number of negatives, which is below any tolerance; the tests
of the metrics see that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Fault:
    """A change of a file, the rows to train with it, and lines (method and metric) that have to fail."""

    file: str
    right: str
    wrong: str
    rows: str
    caught: tuple[str, ...]


FAULTS = {
    "ips_climbs": Fault(
        "methods/ips.py",
        "minimise(self.prediction, (self.weights",
        "minimise(self.prediction, -(self.weights",
        "mf,ips",
        ("ips auc", "ips ndcg", "ips ideal_loss"),
    ),
    "dr_adds_what_it_imputed": Fault(
        "methods/dr.py", "(error - imputed_error)", "(error + imputed_error)", "mf,dr", ("dr auc",)
    ),
    "dr_jl_adds_what_it_imputed": Fault(
        "methods/dr_jl.py",
        "(weights * (error - imputed_error))",
        "(weights * (error + imputed_error))",
        "mf,dr_jl",
        ("dr_jl ideal_loss",),
    ),
    "the_first_rank_is_skipped": Fault(
        "bench/metrics.py",
        "stable=True).indices[..., : self.k]",
        "stable=True).indices[..., 1 : self.k + 1]",
        "mf,item_mean",
        ("mf ndcg", "mf recall", "item_mean ndcg"),
    ),
    "the_discount_is_a_rank_late": Fault(
        "bench/metrics.py",
        "np.arange(2, self.k + 2)",
        "np.arange(3, self.k + 3)",
        "mf,item_mean",
        ("mf ndcg", "item_mean ndcg"),
    ),
    "it_trains_on_the_test_ratings": Fault(
        "bench/cell/splits.py",
        "triple([each.train for each in splits])",
        "triple([each.test for each in splits])",
        "mf,mf_combine",
        ("mf_combine auc",),
    ),
    "the_test_ratings_hold_those_of_training": Fault(
        "bench/data/split.py",
        "return Split(*np.split(order.astype(np.int64), [n_train, n_train + n_validation]))",
        "rows = order.astype(np.int64); a, v, _ = np.split(rows, [n_train, n_train + n_validation]); "
        "return Split(a, v, rows)",
        "",
        (),
    ),
}

# Ways to round the last digits otherwise: other vector units, other threads, other floats.
QUIET: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({}, ["engine.threads=2"]),
    ({}, ["engine.threads=4"]),
    ({}, ["engine.dtype=float64"]),
    ({"ATEN_CPU_CAPABILITY": "default"}, []),
    ({"ATEN_CPU_CAPABILITY": "avx2"}, []),
    ({"ATEN_CPU_CAPABILITY": "default"}, ["engine.threads=2"]),
    ({"ATEN_CPU_CAPABILITY": "avx2"}, ["engine.threads=2"]),
    ({"ATEN_CPU_CAPABILITY": "default"}, ["engine.threads=4"]),
    ({"ATEN_CPU_CAPABILITY": "default"}, ["engine.dtype=float64"]),
]


def gate(
    suite: Path, scratch: Path, rows: str, overrides: list[str], environment: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    """`python -m bench.gate.quick` of a suite; returns its exit status and what it says as JSON."""
    command = [sys.executable, "-m", "bench.gate.quick", "--datasets", "synthetic", "--methods", rows]
    command += ["--scratch", str(scratch), "--json", *overrides]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    done = subprocess.run(
        command, cwd=suite, env=quiet | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def failing(document: dict[str, Any]) -> set[str]:
    return {
        f"{path.rsplit('/', 1)[1]} {metric.split('@')[0]}"
        for path, metrics in document["diff"].items()
        for metric in metrics
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    for folder in ("bench", "methods", "conf", "results/gate"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / fault.file
    text = file.read_text(encoding="utf-8")
    assert text.count(fault.right) == 1
    file.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
    status, document = gate(tmp_path, tmp_path / "scratch", fault.rows, [], {})
    print(document["summary"], sorted(failing(document)))
    assert status == 1
    assert failing(document) >= set(fault.caught)


@pytest.mark.parametrize("number", range(len(QUIET)))
def test_it_is_quiet_where_nothing_changed(tmp_path: Path, number: int) -> None:
    environment, overrides = QUIET[number]
    status, document = gate(ROOT, tmp_path, "", overrides, environment)
    print(document["summary"])
    assert status == 0, document["diff"]
