"""The gate's files go round: what the table and the gate write is what the gate reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import table
from bench.errors import BenchError
from bench.files import CHECKOUT, write_text
from bench.gate import tables
from tests.bench.small_results import MEANS, SEEDS, make_record, make_results


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with its seeds, by the table's own writer."""
    folder = tmp_path_factory.mktemp("results")
    texts = table.build(make_results(folder))
    file = write_text(folder / "baseline.csv", texts["table1.csv"])
    write_text(tables.seeds_file(file), texts["seeds.csv"])
    return file


def test_a_table_is_read_as_it_is_written(baseline: Path) -> None:
    found = tables.read_table(baseline)
    record = make_record("table", "coat", "dr")
    for metric, k, rule in (("auc", "", ""), ("ndcg", "5", "zero"), ("recall", "5", "skip")):
        values = record["test"][metric][rule] if rule else record["test"][metric]
        mean = found["table", "coat", "dr", metric, k, rule]
        assert mean is not None
        assert mean.value == pytest.approx(np.mean(values), abs=1e-6)
        assert mean.error == pytest.approx(np.std(values, ddof=1) / len(values) ** 0.5, abs=1e-6)
    assert found["table", "coat", "ultd_jl", "auc", "", ""] is None  # a cell without numbers


def test_seeds_are_read_as_they_are_written(baseline: Path) -> None:
    found = tables.read_seeds(tables.seeds_file(baseline))
    record = make_record("text", "coat", "ips")
    values = found["text", "coat", "ips", "ndcg", "skip"]
    assert values == {str(seed): record["test"]["ndcg"]["skip"][place] for place, seed in enumerate(SEEDS)}


def test_digests_are_those_of_the_cells(baseline: Path) -> None:
    found = tables.read_digests(baseline)
    assert set(found) == {
        (protocol, *cell)
        for protocol in ("table", "text")
        for cell in MEANS
        if (protocol, cell[0]) != ("text", "kuairec")
    }
    assert all((baseline.parent / "runs" / digest).is_dir() for digest in found.values())


def test_costs_go_round(tmp_path: Path) -> None:
    costs = {
        ("table", "coat", "mf"): tables.Cost(1.25, 0.1, 351.4),
        ("text", "coat", "res_dr"): tables.Cost(1e-7, 3e5, 1 / 3),
    }
    file = tables.write_costs(tables.cost_file(tmp_path / "baseline.csv"), costs)
    assert file.name == "baseline_cost.csv"
    assert tables.read_costs(file) == costs


def test_a_baseline_is_replaced_by_a_table_byte_for_byte(baseline: Path, tmp_path: Path) -> None:
    costs = {cell: tables.Cost(1.0, 2.0, 3.0) for cell in tables.read_digests(baseline)}
    tables.write_costs(tables.cost_file(baseline), costs)
    mine = tmp_path / "mine.csv"
    assert tables.replace_baseline(mine, baseline) == []
    assert tables.read_table(mine) == tables.read_table(baseline)
    assert tables.read_seeds(tables.seeds_file(mine)) == tables.read_seeds(tables.seeds_file(baseline))
    assert tables.read_costs(tables.cost_file(mine)) == costs
    before = mine.read_bytes()
    tables.replace_baseline(mine, mine)
    assert mine.read_bytes() == before


def test_a_file_of_another_kind_is_one_sentence(baseline: Path) -> None:
    with pytest.raises(BenchError, match="has no column 'wall_seconds'"):
        tables.read_costs(baseline)
    with pytest.raises(BenchError, match="has no column 'metric'"):
        tables.read_table(write_text(baseline.with_name("costs.csv"), "protocol,dataset,method\n"))


@pytest.mark.parametrize(
    "module", ["bench.gate", "bench.gate.compare", "bench.gate.tables", "bench.gate.tell"]
)
def test_the_gate_needs_neither_torch_nor_data(module: str) -> None:
    code = (
        f"import sys; import {module}; "
        "bad = [name for name in sys.modules if name.partition('.')[0] in ('torch', 'hydra', 'methods')]; "
        "bad += [name for name in sys.modules if name.startswith('bench.data')]; raise SystemExit(bad or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
