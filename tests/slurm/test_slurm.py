"""A sweep through a real Slurm gives the records and the table of the local run: `make slurm-test`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import store

ROOT = Path(__file__).parents[2]
SETUP = Path(__file__).with_name("setup.sh")
METHODS = "mf,ips,dr"
LAUNCHER = (
    *("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"),
    "hydra.launcher.timeout_min=10",
)
SHORT = ("engine.max_epochs=10", "seeds=3")

pytestmark = pytest.mark.slow


def why_not() -> str:
    """Why there can be no Slurm here, if there cannot."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    absent = [
        name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=path)
    ]
    if absent:
        return f"{', '.join(absent)} not found: tests/slurm/setup.sh --install"
    return "slurmd must run as root" if os.geteuid() else ""


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment of commands that use a Slurm on this machine."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    was_there = subprocess.run([SETUP, "status"], check=False).returncode == 0
    started = subprocess.run([SETUP], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    yield {"SLURM_CONF": started.stdout.strip()}
    if not was_there:
        subprocess.run([SETUP, "stop"], check=True)


@pytest.fixture(scope="module")
def dataset() -> str:
    """Coat where its files are, generated data otherwise."""
    folder = Path(os.environ.get("BENCH_DATA") or ROOT / "data") / "coat"
    return "coat" if (folder / "train.ascii").is_file() else "synthetic"


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE` from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "BENCH_DEBUG": "", **environment},
    )


def records(results: Path) -> dict[str, dict[str, Any]]:
    """The records in a results folder by digest."""
    files = (results / "runs").glob("*/record.json")
    return {file.parent.name: json.loads(file.read_text())["record"] for file in files}


def test_a_sweep_through_slurm_makes_the_table_of_the_local_run(
    slurm: dict[str, str], dataset: str, tmp_path: Path
) -> None:
    before = set(ROOT.iterdir())
    here, there = tmp_path / "here", tmp_path / "there"
    # The cells of Table 1, as `make table1` takes them from the files of their sweeps.
    words = ("protocol=table", f"dataset={dataset}", f"method={METHODS}")
    words = (*words, f"+tuned=table/{dataset}/${{method}}", *SHORT)
    done = run("bench", "-m", *words, *LAUNCHER, f"results={there}", **slurm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  record  ") == 3
    assert set(ROOT.iterdir()) == before
    # It was Slurm that ran them: in jobs of an array, with their files among the scratch files.
    logs = list(there.glob("runs/.hydra/*/.submitit/*/*_log.out"))
    assert len(logs) == 3
    assert all("Starting with JobEnvironment(job_id=" in log.read_text() for log in logs)

    reproduce = ("--datasets", dataset, "--methods", METHODS, "--protocols", "table", "--jobs", "1")
    local = run("bench.reproduce", *reproduce, *SHORT, f"results={here}")
    assert local.returncode == 0, local.stderr
    assert "3 cells to be trained" in local.stdout
    from_slurm = run("bench.reproduce", *reproduce, *SHORT, f"results={there}")
    assert from_slurm.returncode == 0, from_slurm.stderr
    assert "to be trained" not in from_slurm.stdout

    mine, theirs = records(here), records(there)
    assert mine.keys() == theirs.keys()
    for digest, record in mine.items():
        for part in record.keys() - {"provenance"}:
            assert theirs[digest][part] == record[part], (digest, part)
        arrays, others = (store.read_arrays(each / "runs", digest) for each in (here, there))
        assert arrays.keys() == others.keys()
        for name in arrays.keys() - {"trial_seconds"}:
            np.testing.assert_array_equal(arrays[name], others[name], strict=True)
    for name in ("table1.csv", "seeds.csv", "comparisons.csv", "table1.md", "cells.json"):
        assert (there / "table1" / name).read_bytes() == (here / "table1" / name).read_bytes(), name


def test_failures_and_extra_methods_in_slurm(slurm: dict[str, str], tmp_path: Path) -> None:
    faulty = tmp_path / "faulty.py"
    faulty.write_text(
        "from methods import register\nfrom methods.item_mean import ItemMean\n\n@register\n"
        "class Faulty(ItemMean):\n    title, paper, year = 'Faulty', 'none', 2000\n\n"
        "    def build(self):\n        return 1 + '1'\n"
    )
    words = ("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8")
    words = (*words, "dataset.unbiased_per_user=20", "method=toy_method,faulty", *SHORT)
    extra = f"methods.extra=[tests/extra/toy_method.py,{faulty}]"
    done = run("bench", "-m", *words, extra, *LAUNCHER, f"results={tmp_path / 'results'}", **slurm)
    assert done.returncode == 1
    assert "\nmethod=faulty: unsupported operand" in f"\n{done.stderr}"
    assert done.stderr.endswith("\n1 of 2 cells failed.\n")
    (record,) = records(tmp_path / "results").values()
    assert record["method"]["name"] == "toy_method"


def test_a_refusal_of_slurm_ends_in_one_sentence(slurm: dict[str, str], tmp_path: Path) -> None:
    words = ("dataset=synthetic", "method=mf,ips", "hydra.launcher.partition=nowhere")
    done = run("bench", "-m", *words, *LAUNCHER, f"results={tmp_path}", **slurm)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    # sbatch speaks to the terminal itself, before.
    assert done.stderr.splitlines()[-1].startswith(
        "Slurm did not take the jobs (sbatch: error: Batch job submission failed: Invalid partition"
    )
