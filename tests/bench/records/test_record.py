"""The typed record: what is written is what is read, and old documents stay readable."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.conventions import NO_POSITIVE
from bench.errors import BenchError
from bench.records.fingerprint import Identity
from bench.records.metric import CONVENTIONS
from bench.records.record import (
    PlannedStage,
    Provenance,
    Record,
    Tried,
    Validation,
    find_record,
    read_record,
    write_record,
)

IDENTITY = Identity(config={"seeds": 2, "base": {"clip": 5.0}}, data="data", code="code")
RECORD = Record(
    protocol={"name": "table", "no_positive": "skip"},
    dataset={"name": "coat", "k": 5},
    method={"name": "ips", "title": "IPS", "clip": 5.0},
    source="made up",
    comparable=False,
    notes={"pairs_in_both": 3},
    counts={"biased": 100},
    engine={"dtype": "float32"},
    sweep="default",
    plan=[
        PlannedStage(
            name="grid", lists={"clip": [5.0, 10.0]}, near=False, around=0, points=0, seeds=2, tried=2
        )
    ],
    grid={"clip": [5.0, 10.0]},
    points=2,
    selection="validation_held_out",
    selected={"clip": 5.0},
    tried=[
        Tried(point={"clip": 5.0}, validation_auc=0.7, held_out_auc=0.69, seeds=2),
        Tried(point={"clip": 10.0}, validation_auc=None, held_out_auc=None, seeds=2),
    ],
    seeds=[0, 1],
    test={"auc": [0.7, 0.72], "ndcg": {"skip": [0.6, None], "one": [0.65, 0.7], "zero": [0.5, 0.4]}},
    validation=Validation(auc=[0.7, 0.71], held_out=[0.69, 0.7], evaluation=[3, 4], step=[30, 40]),
    diagnostics={"mean_weight": [1.5, 1.75]},
    diverged=[{"point": 1, "seed": 0, "what": "not finite in evaluation 2"}],
    provenance=Provenance(device="cpu", torch="2.13.0", kernels="torch", training_seconds=1.5),
    identity=IDENTITY,
)
ARRAYS = {"curve": np.ones((2, 5), np.float32), "curve_steps": np.arange(5)}


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = write_record(tmp_path, IDENTITY.digest, RECORD, ARRAYS)
    read = read_record(tmp_path, IDENTITY.digest)
    assert read == written == dataclasses.replace(RECORD, digest=IDENTITY.digest)
    assert read.identity is not None and read.identity.digest == read.digest
    steps, curve = read.curves()
    np.testing.assert_array_equal(steps, ARRAYS["curve_steps"])
    np.testing.assert_array_equal(curve, ARRAYS["curve"])
    assert find_record(tmp_path, IDENTITY.digest) == read and find_record(tmp_path, "0" * 20) is None


def test_a_record_of_an_earlier_version_is_read() -> None:
    document = RECORD.to_json()
    for name in ("identity", "plan", "sweep"):
        del document[name]
    del document["provenance"]["kernels"], document["validation"]["held_out"]
    document["another"] = 1
    record = Record.from_json(document)
    assert record.identity is None and record.plan == [] and record.provenance.kernels == ""
    assert record.metric("auc") == RECORD.metric("auc")


def test_values_of_a_metric_are_by_seed() -> None:
    assert RECORD.metric("auc") == {0: 0.7, 1: 0.72}
    assert RECORD.metric("ndcg", "one") == {0: 0.65, 1: 0.7}
    ndcg = RECORD.metric("ndcg")
    assert ndcg[0] == 0.6 and math.isnan(ndcg[1])
    assert RECORD.metrics == ["auc", "ndcg"]
    for name, convention in (("recall", None), ("ndcg", "two")):
        with pytest.raises(BenchError, match=f"has no {name}"):
            RECORD.metric(name, convention)
    with pytest.raises(BenchError, match="train it again"):
        dataclasses.replace(RECORD, seeds=[0]).metric("auc")
    with pytest.raises(BenchError, match="lacks a field"):
        Record.from_json({"test": {}})
    with pytest.raises(BenchError, match="was not read from a store"):
        RECORD.arrays()


def test_raw_scores_have_no_ideal_loss() -> None:
    generated = dataclasses.replace(RECORD, test={**RECORD.test, "ideal_loss": [0.6, 0.7]})
    assert generated.metrics == ["auc", "ndcg", "ideal_loss"]
    raw = dataclasses.replace(generated, method={**generated.method, "score": "raw"})
    assert raw.metrics == RECORD.metrics


def test_the_conventions_are_those_of_the_metrics() -> None:
    assert tuple(NO_POSITIVE) == CONVENTIONS


HEAVY = (
    "torch",
    "methods",
    "bench.data",
    "bench.engine",
    "bench.cell",
    "bench.compose",
    "hydra",
    "omegaconf",
)


def test_records_need_neither_torch_nor_data() -> None:
    root = Path(bench.__file__).parents[1]
    modules = [f"bench.records.{file.stem}" for file in sorted((root / "bench/records").glob("[!_]*.py"))]
    assert {"bench.records.record", "bench.records.points", "bench.records.fingerprint"} <= set(modules)
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == []
