"""Table and page of a large store: `make report-scale` (slow).

100,000 valid records lie in the store. The table names the cells of 19 rows on four data sets under two
protocols, each with long curves, a large sweep and a thousand users.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.records import store

ROOT = Path(bench.__file__).parents[1]
RECORDS = 100_000
SEEDS = list(range(10))
METHODS = [f"method_{number}" for number in range(19)]
DATASETS = [f"data_{number}" for number in range(4)]
POINTS, USERS, EVALUATIONS = 240, 1000, 200

pytestmark = pytest.mark.slow


def record(
    protocol: str, dataset: str, method: str, rng: np.random.Generator, points: int = POINTS
) -> dict[str, Any]:
    def column() -> list[float]:
        return rng.normal(0.7, 0.01, len(SEEDS)).tolist()

    names = ["learning_rate", "weight_decay", "momentum", "dropout", "gamma"]
    return {
        "protocol": {"name": protocol, "no_positive": "skip", "compare_with_paper": True},
        "dataset": {"name": dataset, "title": dataset, "k": 5, "threshold": 4.0},
        "method": {"name": method, "title": method, "batch_size": 64} | {name: 0.01 for name in names},
        "source": "generated",
        "comparable": False,
        "points": points,
        "seeds": SEEDS,
        "engine": {"device": "auto", "dtype": "float32", "max_epochs": 500, "patience": 20},
        "grid": {name: [0.01, 0.05] for name in names},
        "selection": "validation_auc",
        "selected": {},
        "tried": [
            {
                "point": {name: float(value) for name, value in zip(names, values, strict=True)},
                "validation_auc": float(auc),
                "seeds": 10,
            }
            for values, auc in zip(
                rng.choice([0.001, 0.01, 0.05, 0.1], (points, 5)), rng.normal(0.7, 0.01, points), strict=True
            )
        ],
        "plan": [
            {
                "name": "grid",
                "lists": {name: [0.01, 0.05] for name in names},
                "near": False,
                "around": 1,
                "points": points,
                "seeds": 2,
                "tried": points,
            }
        ],
        "validation": {"auc": column(), "evaluation": [3] * 10, "step": [30] * 10},
        "test": {
            "auc": column(),
            "ndcg": {rule: column() for rule in ("skip", "one", "zero")},
            "recall": {rule: column() for rule in ("skip", "one", "zero")},
        },
        "diagnostics": {"alpha_mean": column()},
        "diverged": [],
        "counts": {"users": USERS, "items": 1000, "biased": 10_000},
        "notes": {},
        "provenance": {"commit": "0" * 40, "device": "cpu", "wall_seconds": 1.5},
    }


def arrays(rng: np.random.Generator, *, rates: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "curve": rng.normal(0.7, 0.01, (10, EVALUATIONS)).astype(np.float32),
        "curve_steps": np.arange(EVALUATIONS) * 50,
        "trial_point": np.repeat(np.arange(POINTS), 2),
        "trial_stage": np.zeros(2 * POINTS, int),
        "trial_seed": np.tile([0, 1], POINTS),
        "trial_step": np.full(2 * POINTS, 500),
        "trial_seconds": np.full(2 * POINTS, 0.5),
    }
    for name in ("trial_auc", "trial_held_out"):
        found[name] = rng.normal(0.7, 0.01, 2 * POINTS)
    for seed in SEEDS:
        found[f"users_{seed}"] = np.arange(USERS, dtype=np.int32)
        for name in ("ndcg", "recall"):
            found[f"{name}_{seed}"] = rng.uniform(0, 1, USERS).astype(np.float32)
    if rates:
        for name in ("alpha", "n_observed", "unbiased_loss"):
            found[f"user_{name}"] = rng.uniform(1, 2, (10, USERS)).astype(np.float32)
    return found


def fill(runs: Path, digest: str, number: int) -> None:
    """Copies of a record under other digests, each with a valid checksum; their arrays are one file."""
    document = json.loads((runs / digest / "record.json").read_text())
    document.pop("checksum")
    bare = store._render(document).decode()
    for place in range(number):
        copy = f"{place:020x}"
        text = bare.replace(digest, copy)
        checksum = store._sha256(text.encode())
        folder = runs / copy
        folder.mkdir()
        # Keys are sorted: the checksum stands between the arrays' and the digest.
        whole = text.replace(f' "digest": "{copy}"', f' "checksum": "{checksum}",\n "digest": "{copy}"', 1)
        (folder / "record.json").write_text(whole)
        if place % 50_000 == 0:  # a file may have about 65,000 names
            original = folder / "arrays.npz"
            shutil.copy(runs / digest / "arrays.npz", original)
        else:
            os.link(original, folder / "arrays.npz")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    results = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    cells = []
    for protocol in ("table", "text"):
        for dataset in DATASETS:
            for method in METHODS:
                digest = f"{len(cells):04d}" + "f" * 16
                made = arrays(rng, rates=method == METHODS[-1])
                store.write(results / "runs", digest, record(protocol, dataset, method, rng), made)
                cells.append({"protocol": protocol, "dataset": dataset, "method": method, "cell": digest})
    digest = "f" * 20
    made = record("table", DATASETS[0], "elsewhere", rng, points=2)
    store.write(results / "runs", digest, made, arrays(rng, rates=False))
    fill(results / "runs", digest, RECORDS - len(cells) - 1)
    manifest = {
        "protocols": ["table", "text"],
        "datasets": [{"dataset": dataset, "title": dataset, "k": 5} for dataset in DATASETS],
        "rows": [
            {
                "method": method,
                "title": method,
                "uses_unbiased": "no",
                "control": place > 12,
                "baseline": place < 11,
            }
            for place, method in enumerate(METHODS)
        ],
        "reference": METHODS[0],
        "cells": cells,
    }
    (results / "table1").mkdir()
    (results / "table1" / "cells.json").write_text(json.dumps(manifest))
    yield results
    shutil.rmtree(results)  # now: pytest would do it in a later session, which then takes minutes longer


def test_a_hundred_thousand_records_make_table_and_page_in_a_minute_and_two_gib(results: Path) -> None:
    digests = store.digests(results / "runs")
    assert len(digests) == RECORDS
    for digest in (digests[0], digests[RECORDS // 2]):
        store.read(results / "runs", digest)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.time()
    for module in ("bench.table", "bench.report"):
        subprocess.run([sys.executable, "-m", module, "--results", str(results)], check=True, cwd=ROOT)
    wall = time.time() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: the clock's depends on who else is at work.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / 2**20 * (1 if sys.platform == "linux" else 2**-10)
    size = (results / "table1" / "index.html").stat().st_size / 2**20
    print(f"{seconds:.1f} s of the processor, {wall:.1f} s, {peak:.2f} GiB, a page of {size:.2f} MiB")
    assert seconds < 60 and peak < 2 and size < 5
