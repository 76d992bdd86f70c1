"""A small results folder for the tests of table and page: made-up numbers in records like `bench.cell`'s."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import store
from bench.records.points import Points, Training
from bench.table.manifest import Dataset, Listed, Row, TableManifest

SEEDS = list(range(8))

# AUC, NDCG and Recall (skipping) around which the seeds lie.
MEANS = {
    ("coat", "mf"): (0.750, 0.520, 0.562),
    ("coat", "ips"): (0.744, 0.534, 0.560),
    ("coat", "dr"): (0.770, 0.526, 0.542),
    ("coat", "item_mean"): (0.800, 0.480, 0.510),
    ("kuairec", "mf"): (0.827, 0.588, 0.887),
    ("kuairec", "ips"): (0.829, 0.589, 0.886),
}

ROWS = (
    ("mf", "MF", "no"),
    ("ips", "IPS", "mean label"),
    ("dr", "DR", "mean label"),
    ("ultd_jl", "JL", "yes"),
    ("item_mean", "Mean", "no"),
)
GUEST = ("mine", "Mine", "yes")  # a row of one's own
# Methods of the suite that are not the paper's.
FURTHER = (("newer", "Newer", "no"), ("newest", "Newest", "no"))
ALL_MEANS = {
    **MEANS,
    ("coat", "mine"): (0.810, 0.550, 0.600),
    ("coat", "newer"): (0.790, 0.530, 0.580),
    ("coat", "newest"): (0.740, 0.510, 0.550),
}


def make_record(protocol: str, dataset: str, method: str) -> dict[str, Any]:
    auc, ndcg, recall = ALL_MEANS[dataset, method]
    wave = [((seed * 7 + len(method)) % 8 - 3.5) / 1000 for seed in SEEDS]

    def around(mean: float) -> list[float]:
        return [round(mean + step, 6) for step in wave]

    def conventions(mean: float, of_none: float) -> dict[str, list[float]]:
        return {
            "skip": around(mean),
            "one": around(0.8 * mean + 0.2 * of_none),
            "zero": around(0.8 * mean),
        }

    return {
        "protocol": {
            "name": protocol,
            "no_positive": "skip",
            "compare_with_paper": protocol == "table",
            "star_threshold": 4.0 if protocol == "table" else 3.0,
        },
        "dataset": {
            "name": dataset,
            "title": dataset,
            "k": 5 if dataset == "coat" else 50,
            "threshold": 2.0 if dataset == "kuairec" else 4.0 if protocol == "table" else 3.0,
        },
        "source": "real ratings" if dataset == "coat" else "real labels, simulated selection",
        "comparable": dataset == "coat",
        "method": {
            "name": method,
            "title": method.upper(),
            "learning_rate": 0.01,
            "loss": "bce",
            "batch_size": 10,
        },
        "points": 80 if dataset == "coat" else 60,
        "seeds": SEEDS,
        "engine": {"device": "auto", "dtype": "float32", "max_epochs": 500, "patience": 20},
        "grid": {"learning_rate": [0.01, 0.05]},
        "selection": "validation_auc",
        "selected": {"learning_rate": 0.01},
        "tried": [
            {"point": {"learning_rate": 0.01}, "validation_auc": auc, "seeds": 2},
            {"point": {"learning_rate": 0.05}, "validation_auc": auc - 0.01, "seeds": 2},
        ],
        "plan": [
            {
                "name": "grid",
                "lists": {"learning_rate": [0.01, 0.05]},
                "near": False,
                "around": 1,
                "points": 2,
                "seeds": 2,
                "tried": 2,
            }
        ],
        "validation": {
            "auc": around(auc + 0.01),
            "evaluation": [2] * len(SEEDS),
            "step": [20] * len(SEEDS),
        },
        "diagnostics": {"largest_weight": [2.0] * len(SEEDS)},
        "diverged": [],
        "counts": {"users": 20, "items": 30, "biased": 100},
        "notes": {},
        "provenance": {"commit": "0" * 40, "device": "cpu", "wall_seconds": 1.5},
        "test": {
            "auc": around(auc),
            "ndcg": conventions(ndcg, 1.0),
            "recall": conventions(recall, 0.0),
        },
    }


def make_arrays(protocol: str, dataset: str, method: str) -> dict[str, Any]:
    """Curves, and the numbers of 20 users, four of them without a positive rating."""
    rng = np.random.default_rng(zlib.crc32(f"{protocol}/{dataset}/{method}".encode()))
    auc = ALL_MEANS[dataset, method][0]
    curve = np.full((len(SEEDS), 6), auc, np.float32) + rng.normal(0, 0.005, (len(SEEDS), 6))
    curve[:, 0] = 0.5
    curve[0, 4:] = np.nan
    arrays: dict[str, Any] = {"curve": curve.astype(np.float32), "curve_steps": np.arange(6) * 10}
    # The trainings of its sweep: two points, two seeds each.
    arrays |= {
        "trial_point": np.array([0, 0, 1, 1]),
        "trial_stage": np.zeros(4, int),
        "trial_seed": np.array([0, 1, 0, 1]),
        "trial_auc": np.array([auc + 0.02, auc - 0.02, auc, auc - 0.02]),
        "trial_held_out": np.array([auc + 0.01, auc - 0.03, auc - 0.01, auc - 0.03]),
        "trial_step": np.array([20, 40, 20, 60]),
        "trial_seconds": np.full(4, 0.5),
    }
    for seed in SEEDS:
        arrays[f"users_{seed}"] = np.arange(20, dtype=np.int32)
        for name, mean in zip(("ndcg", "recall"), ALL_MEANS[dataset, method][1:], strict=True):
            values = np.clip(mean + rng.normal(0, 0.1, 20), 0, 1)
            values[[3, 7, 11, 15]] = np.nan
            arrays[f"{name}_{seed}"] = values.astype(np.float32)
    if method == "dr":
        shape = (len(SEEDS), 20)
        arrays["user_alpha"] = rng.uniform(0.1, 0.2, shape).astype(np.float32)
        arrays["user_n_observed"] = np.tile(np.arange(1, 21, dtype=np.float32), (len(SEEDS), 1))
        arrays["user_unbiased_loss"] = rng.uniform(0, 1, shape).astype(np.float32)
        arrays["user_has_unbiased"] = (rng.uniform(0, 1, shape) < 0.5).astype(np.float32)
    return arrays


def make_sweep(file: Path, trainings: list[tuple[str, int, int]], seconds: float = 1.0) -> Path:
    """A sweep's CSV file. trainings: stage, embedding size and seed of each; every one reaches .7."""
    made = [
        Training(
            stage=stage,
            point=(size,),
            seed=seed,
            validation_auc=0.7,
            held_out_auc=0.7,
            epoch=1.0,
            seconds=seconds,
        )
        for stage, size, seed in trainings
    ]
    return Points(("embedding_size",), tuple(made)).write(file)


def make_results(
    results: Path,
    change: Any = lambda cell, record: None,
    proposed: Sequence[str] = ("ultd_jl",),
    methods: Sequence[str] = tuple(row[0] for row in ROWS),
    edition: str = "",
) -> Path:
    """A small results folder. `change(cell, record)` may alter a record before it is stored.

    proposed: rows that are the paper's own method. methods: rows; "mine" is a row of one's own, "newer" and
    "newest" are further methods.
    edition: another one has other digests.
    """
    cells = {}
    for protocol in ("table", "text"):
        for dataset in ("coat", "kuairec"):
            for method in methods:
                cell = {"protocol": protocol, "dataset": dataset, "method": method}
                if (dataset, method) in ALL_MEANS and (protocol, dataset) != ("text", "kuairec"):
                    record = make_record(protocol, dataset, method)
                    change(cell, record)
                    digest = hashlib.sha256((json.dumps(cell) + edition).encode()).hexdigest()[:20]
                    store.write(results / "runs", digest, record, make_arrays(protocol, dataset, method))
                    listed = Listed(digest)
                else:
                    trained_later = method == "ultd_jl" and (protocol, dataset) != ("text", "kuairec")
                    listed = Listed(None, None if trained_later else f"No {dataset} | here.")
                cells[protocol, dataset, method] = listed
    manifest = TableManifest(
        protocols=["table", "text"],
        datasets=[
            Dataset(dataset="coat", title="Coat", k=5),
            Dataset(dataset="kuairec", title="KuaiRec", k=50),
        ],
        rows=[
            Row(
                method=method,
                title=title,
                uses_unbiased=unbiased,
                control=method == "item_mean",
                baseline=method not in (*proposed, "mine"),
                guest=method == "mine",
                further=method in ("newer", "newest"),
            )
            for method, title, unbiased in (*ROWS, GUEST, *FURTHER)
            if method in methods
        ],
        reference="mf",
        cells=cells,
    )
    manifest.write(results / "table1")
    return results
