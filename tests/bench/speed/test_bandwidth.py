"""The bound of a training step, and the count of what its operations move."""

from __future__ import annotations

import pytest
import torch

from bench.engine.sampling import Sampler
from bench.speed import bandwidth, steps
from bench.speed.workload import stack, training_data

SIZE = steps.Size(
    name="small",
    users=50,
    items=20,
    ratings=400,
    batch_size=32,
    embedding_size=4,
    members=3,
    steps=2,
    target=2.0,
)
CPU = torch.device("cpu")


def test_the_bound_is_eight_passes_over_the_tables_and_the_batch() -> None:
    method = stack("mf", SIZE, training_data(SIZE))
    floats = 70 * 4 + 70 + 1
    assert bandwidth.least_traffic(method) == 4 * (8 * floats + 3 * 10 * 32)


def test_operations_are_counted_by_what_they_read_and_write() -> None:
    method = stack("mf", SIZE, training_data(SIZE))
    table, rows = torch.ones(100, 4), torch.tensor([1, 2])

    def step() -> None:
        chosen = table.index_select(0, rows)  # 2 rows of 16 bytes read and written, 2 indices of 8
        table.index_add_(0, rows, chosen)  # 2 rows read, 2 of the table read and written
        table.view(-1).mul_(2.0)  # all of it read and written

    assert bandwidth.traffic(step, method) == pytest.approx((64 + 16 + 96 + 16 + 3200) / 3)


def test_a_step_moves_at_least_the_bound_and_keeps_its_kernel() -> None:
    method = stack("mf", SIZE, training_data(SIZE), kernel="torch")
    draw = Sampler(method.data, 32, 0, method.kernels).epoch(method.data, "training", 0).draw(method.data, 0)
    counted = bandwidth.traffic(lambda: method.step(draw), method)
    assert counted > bandwidth.least_traffic(method)
    assert not method.prediction.adam._fused


def test_copying_has_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "COPY_BYTES", 2**16)
    assert bandwidth.copy_bandwidth(CPU) > 0


def test_a_group_is_reported_beside_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_TURNS", 1)
    figures = steps.bandwidth(SIZE, CPU)
    assert [figure.unit for figure in figures] == ["ms/member", "member-steps/s", "x", "x"]
    assert figures[2].value == pytest.approx(1e3 / figures[0].value / figures[1].value)
    assert all(figure.value > 0 for figure in figures)
