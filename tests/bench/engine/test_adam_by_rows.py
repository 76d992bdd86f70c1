"""Row-wise Adam: what a batch does not touch stays as it is, moments and decay included."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

import methods
from bench.config import EngineConfig
from bench.engine.device import by_rows
from bench.engine.part import Part, minimise
from bench.engine.sampling import Sampler, TrainingData
from bench.errors import BenchError
from methods.base import Method

F64 = torch.float64
RATES = torch.tensor([0.005, 0.05, 0.1], dtype=F64)
DECAYS = torch.tensor([0.0, 1e-2, 1e-1], dtype=F64)
N = 7  # rows of the table


def part(decoupled: bool, rows: bool, seed: int = 0) -> Part:
    """Three members of a table of rows, one of numbers, and a small one that is handed out whole."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"table": (3, N, 4), "numbers": (3, N), "whole": (3, 2)}
    tables = {name: torch.randn(shape, generator=generator, dtype=F64) for name, shape in shapes.items()}
    made = Part(tables, RATES, DECAYS, decoupled)
    made.restart(by_rows=rows)
    return made


def loss(part: Part, index: Tensor, target: Tensor) -> Tensor:
    """(G,) of rows (G, B) and everything else that a part hands out."""
    found = (
        part.rows("table", index).sum(-1) + part.rows("numbers", index) + part.whole("whole").sum(-1, True)
    )
    return (found - target).square().mean(-1)


@pytest.mark.parametrize("decoupled", [False, True])
def test_it_is_dense_adam_where_every_row_is_touched(decoupled: bool) -> None:
    dense, rows = part(decoupled, False), part(decoupled, True)
    generator = torch.Generator().manual_seed(1)
    for step in range(40):
        if step == 20:  # anchored from here on
            for each in (dense, rows):
                each.retune(0.5 * RATES, 3 * DECAYS)
        index = torch.stack([torch.randperm(N, generator=generator) for _ in range(3)])
        index = torch.cat([index, index[:, :3]], -1)  # some rows twice
        target = torch.randn(3, N + 3, generator=generator, dtype=F64)
        for each in (dense, rows):
            minimise(each, loss(each, index, target))
    for name, table in dense.tables.items():
        torch.testing.assert_close(rows.tables[name], table, rtol=1e-12, atol=1e-14)
        assert not rows.adam.gradients[name].any()


@dataclass
class RowAdam:
    """One row of one member, as the formula has it; the count of steps is the part's."""

    value: Tensor
    rate: float
    decay: float
    decoupled: bool
    first: Tensor = field(init=False)
    second: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = torch.zeros_like(self.value), torch.zeros_like(self.value)

    def move(self, gradient: Tensor, steps: int) -> None:
        """One step."""
        if self.decoupled:
            self.value = self.value * (1 - self.rate * self.decay)
        else:
            gradient = gradient + self.decay * self.value
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        unbiased = self.first / (1 - 0.9**steps), self.second / (1 - 0.999**steps)
        self.value = self.value - self.rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("leave_at", [None, 12], ids=["all stay", "one leaves"])
def test_it_is_the_formula_row_by_row(decoupled: bool, leave_at: int | None) -> None:
    mine = part(decoupled, True)
    expected = [
        {
            name: [
                RowAdam(row.clone(), float(RATES[g]), float(DECAYS[g]), decoupled)
                for row in (table[g] if name != "whole" else table[g : g + 1])
            ]
            for name, table in mine.tables.items()
        }
        for g in range(3)
    ]
    members = [0, 1, 2]
    generator = torch.Generator().manual_seed(2)
    for step in range(30):
        index = torch.randint(N, (3, 3), generator=generator)
        target = torch.randn(3, 3, generator=generator, dtype=F64)
        if step == leave_at:
            mine, members = mine.take(torch.tensor([2, 0])), [2, 0]
        minimise(mine, loss(mine, index[members], target[members]))
        for g in members:
            rows = expected[g]
            leaves = {
                name: torch.stack([row.value for row in each]).requires_grad_() for name, each in rows.items()
            }
            u = index[g]
            found = leaves["table"][u].sum(-1) + leaves["numbers"][u] + leaves["whole"].sum()
            slopes = torch.autograd.grad((found - target[g]).square().mean(), list(leaves.values()))
            for (name, each), slope in zip(rows.items(), slopes, strict=True):
                for row in set(u.tolist()) if name != "whole" else {0}:
                    each[row].move(slope[row], step + 1)
    for place, g in enumerate(members):
        for name, rows in expected[g].items():
            values = torch.stack([row.value for row in rows]).view(mine.tables[name][place].shape)
            torch.testing.assert_close(mine.tables[name][place], values, rtol=1e-10, atol=1e-12)
    if leave_at is None:  # the row that was never read is where it began
        idle = part(decoupled, True)
        minimise(idle, loss(idle, torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3, 1, dtype=F64)))
        assert torch.equal(idle.tables["table"][:, 1:], part(decoupled, True).tables["table"][:, 1:])


def data() -> TrainingData:
    """Two seeds of 20 users, 12 items and 60 ratings, in float64."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(20 * 12, generator=generator)[:60]
    a = torch.randint(20 * 12, (2, 15), generator=generator)
    return TrainingData(
        n_users=20,
        n_items=12,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1]),
        users=cells // 12,
        items=cells % 12,
        labels=(torch.rand(60, generator=generator) < 0.5).double(),
        unbiased_users=a // 12,
        unbiased_items=a % 12,
        unbiased_labels=(torch.rand(2, 15, generator=generator) < 0.5).double(),
        propensity=torch.full((20, 12), 0.25, dtype=F64),
    )


def built(key: str, batch_size: int, rows: bool) -> Method:
    config = methods.get(key).Config(batch_size=batch_size, embedding_size=3)
    method = methods.get(key)([config, config], [0, 1], data())
    for each in method.parts.values():
        each.restart(by_rows=rows)
    return method


def steps(method: Method, n: int) -> None:
    """The first n steps of every phase."""
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        sampler = Sampler(
            method.data, method.config.batch_size, method.config.everywhere_ratio, method.kernels
        )
        for number in range(n):
            phase.step(sampler.epoch(method.data, phase.stream, number).draw(method.data, 0))


TRAINED = [key for key in methods.names() if methods.get(key).trained]


@pytest.mark.parametrize("key", TRAINED)
def test_every_method_moves_what_its_batches_read_and_nothing_else(key: str) -> None:
    method, start = built(key, 4, True), built(key, 4, True)
    seen: dict[str, set[tuple[int, int]]] = {"users": set(), "items": set()}
    unbiased = method.uses_unbiased == "yes"
    for phase in method.phases():
        sampler = Sampler(method.data, 4, method.config.everywhere_ratio, method.kernels)
        draw = sampler.epoch(method.data, phase.stream, 0).draw(method.data, 0)
        batches = [draw.observed()]
        batches += [draw.unbiased()] * unbiased
        batches += [draw.everywhere()] if method.config.everywhere_ratio else []
        for batch in batches:
            for name in seen:
                for g in range(2):
                    seen[name] |= {(g, int(row)) for row in getattr(batch, name)[g]}
    steps(method, 1)
    moved = 0
    for name, trained in method.parts.items():
        for table in ("users", "items"):
            # BRD-DR's benchmarks are never trained: a phase begins by copying its models there.
            if table not in trained.tables or name == "rates" or name.startswith("benchmark"):
                continue
            change = (trained.tables[table] != start.parts[name].tables[table]).reshape(2, -1, 1).any(-1)
            if trained.tables[table].ndim == 3:
                change = (trained.tables[table] != start.parts[name].tables[table]).any(-1)
            found = {(int(g), int(row)) for g, row in change.nonzero()}
            assert found <= seen[table], (name, table)
            moved += len(found)
        assert all(not gradient.any() for gradient in trained.adam.gradients.values())
    assert moved > 0


@pytest.mark.parametrize("key", ["mf", "eib", "escm2_dr"])
def test_a_method_whose_batches_read_every_row_trains_as_with_dense_adam(key: str) -> None:
    dense, rows = built(key, 60, False), built(key, 60, True)
    for method in (dense, rows):
        assert len(set(method.data.users.tolist())) > 15
        steps(method, 1)
    read = dense.data.users.unique(), dense.data.items.unique()
    for table, index in zip(("users", "items"), read, strict=True):
        theirs = dense.prediction.tables[table][:, index]
        torch.testing.assert_close(rows.prediction.tables[table][:, index], theirs, rtol=1e-10, atol=1e-12)


def test_an_unknown_adam_is_refused() -> None:
    assert by_rows(EngineConfig(adam="rows")) and not by_rows(EngineConfig())
    with pytest.raises(BenchError, match=r"^engine.adam=lazy is not known: the choices are dense, rows\.$"):
        by_rows(EngineConfig(adam="lazy"))
