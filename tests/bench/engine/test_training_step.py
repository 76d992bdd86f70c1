"""The stacked step is the single-model step: Adam, gradients, draws."""

from __future__ import annotations

import pytest
import torch

from bench.engine import kernels
from bench.engine.part import Part, minimise, slopes
from bench.engine.sampling import Draw, Sampler, TrainingData


@pytest.mark.parametrize("n_rows", [10, 12_000], ids=["stacked", "fused"])
def test_adam_is_torch_optim_adam_for_200_steps(n_rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, n_rows, 4, generator=generator, dtype=torch.float64)
    rates = torch.tensor([0.005, 0.05, 0.1], dtype=torch.float64)
    decays = torch.tensor([0.0, 1e-3, 1e-1], dtype=torch.float64)
    part = Part({"table": start.clone()}, rates, decays)
    assert part.adam._fused == (n_rows == 12_000)
    single = [torch.nn.Parameter(start[member].clone()) for member in range(3)]
    optimisers = [
        torch.optim.Adam([p], lr=float(lr), weight_decay=float(decay))
        for p, lr, decay in zip(single, rates, decays, strict=True)
    ]
    for _ in range(200):
        index = torch.randint(n_rows, (3, 16), generator=generator)
        target = torch.randn(3, 16, 4, generator=generator, dtype=torch.float64)
        minimise(part, (part.rows("table", index) - target).square().mean((-1, -2)))
        for member in range(3):
            optimisers[member].zero_grad()
            (single[member][index[member]] - target[member]).square().mean().backward()
            optimisers[member].step()
    for member in range(3):
        torch.testing.assert_close(part.tables["table"][member], single[member].data, rtol=1e-9, atol=1e-9)


def test_members_left_in_the_stack_go_on_as_before() -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
    rates = torch.full((3,), 0.05, dtype=torch.float64)
    full = Part({"table": start.clone()}, rates, rates * 0)
    dropped = Part({"table": start.clone()}, rates, rates * 0)
    for step in range(20):
        target = torch.randn(3, 5, 2, generator=generator, dtype=torch.float64)
        minimise(full, (full.whole("table") - target).square().mean((-1, -2)))
        if step == 10:
            dropped = dropped.take(torch.tensor([0, 2]))
        chosen = target[[0, 2]] if step >= 10 else target
        minimise(dropped, (dropped.whole("table") - chosen).square().mean((-1, -2)))
    assert torch.equal(full.tables["table"][[0, 2]], dropped.tables["table"])


@pytest.mark.parametrize("name", kernels.NAMES)
def test_a_mean_loss_is_of_the_steps_since_it_was_last_asked(name: str) -> None:
    with kernels.using(kernels.make(name)):
        part = Part({"x": torch.ones(2, 3)}, torch.full((2,), 0.1), torch.zeros(2))

    def steps(*losses: float) -> None:
        for loss in losses:
            table = part.whole("x")
            minimise(part, table.sum(-1), noted=torch.tensor([loss, 2 * loss]))

    assert bool(part.mean_loss().isnan().all())
    steps(1, 3)
    assert part.mean_loss().tolist() == [2, 4]
    assert bool(part.mean_loss().isnan().all())
    steps(5)
    assert part.mean_loss().tolist() == [5, 10]
    steps(6, 8)
    part = part.take(torch.tensor([1, 0]))
    steps(11)
    assert part.mean_loss().tolist() == [13, 12]  # of 12, 16, 11 and of 6, 8, 22
    for anew in (part.restart, lambda: part.retune(torch.full((2,), 0.1), torch.zeros(2))):
        steps(7)
        anew()
        assert bool(part.mean_loss().isnan().all())
        steps(1, 2)
        assert part.mean_loss().tolist() == [1.5, 3]


class _OtherEngine:
    """An engine whose call has other names, as that of another torch may have."""

    def __init__(self) -> None:
        self.own = torch.autograd.Variable._execution_engine  # type: ignore[attr-defined]
        self.calls = 0

    def run_backward(self, *given: object, accumulate_grad: bool) -> object:
        self.calls += 1
        return self.own.run_backward(*given, accumulate_grad=accumulate_grad)


@pytest.mark.parametrize("create_graph", [False, True])
def test_slopes_are_autograds_whatever_torchs_engine_is_called_by(
    create_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(4)
    one, two, unused = (torch.randn(3, 5, generator=generator, requires_grad=True) for _ in range(3))
    loss = (one.exp() * two).mean(-1)
    direct = slopes(loss, [one, two, unused], create_graph)
    other = _OtherEngine()
    monkeypatch.setattr(torch.autograd.Variable, "_execution_engine", other)
    public = slopes(loss, [one, two, unused], create_graph)
    assert other.calls == 1
    assert direct[2] is None and public[2] is None
    for found, again in zip(direct[:2], public[:2], strict=True):
        assert found is not None and again is not None
        assert torch.equal(found, again)
        assert found.requires_grad == again.requires_grad == create_graph


def test_a_loss_from_before_the_last_step_is_refused() -> None:
    part = Part({"table": torch.zeros(1, 3)}, torch.ones(1), torch.zeros(1))
    loss = part.whole("table").sum(-1)
    minimise(part, loss)
    with pytest.raises(RuntimeError, match="does not depend"):
        minimise(part, loss)


def data(seeds: tuple[int, ...], seed_row: list[int]) -> TrainingData:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(30 * 20, generator=generator)[:100]
    empty = torch.zeros(len(seeds), 4)
    return TrainingData(
        n_users=30,
        n_items=20,
        seeds=seeds,
        seed_row=torch.tensor(seed_row),
        users=cells // 20,
        items=cells % 20,
        labels=(torch.rand(100, generator=generator) < 0.5).float(),
        unbiased_users=empty.long(),
        unbiased_items=empty.long(),
        unbiased_labels=empty,
    )


def draws(data: TrainingData, ratio: int, epoch: int, size: int = 16) -> list[Draw]:
    """All draws of one epoch."""
    sampler = Sampler(data, size, ratio, kernels.make("torch"))
    epoch_draws = sampler.epoch(data, "training", epoch)
    return [epoch_draws.draw(data, step) for step in range(sampler.steps_per_epoch)]


def test_draws_depend_on_the_seed_alone() -> None:
    alone, stacked = data((7,), [0]), data((3, 7), [0, 1, 1])
    for epoch in (0, 5):
        one = draws(alone, 2, epoch)
        many = draws(stacked, 2, epoch)
        assert len(one) == 6
        for mine, theirs in zip(one, many, strict=True):
            for kind in ("observed", "everywhere"):
                a, b = getattr(mine, kind)(), getattr(theirs, kind)()
                assert torch.equal(a.users[0], b.users[1])
                assert torch.equal(a.items[0], b.items[2])
                assert not torch.equal(b.users[0], b.users[1])


def test_draws_from_everywhere_know_what_is_observed() -> None:
    one = data((0,), [0])
    labels = {(int(u), int(i)): float(r) for u, i, r in zip(one.users, one.items, one.labels, strict=True)}
    for draw in draws(one, 4, 0, size=50):
        batch = draw.everywhere()
        for u, i, r, o in zip(
            batch.users[0], batch.items[0], batch.labels[0], batch.observed[0], strict=True
        ):
            assert bool(o) == ((int(u), int(i)) in labels)
            assert float(r) == labels.get((int(u), int(i)), 0.0)


def test_an_epoch_shows_every_rating_at_most_once() -> None:
    one = data((0,), [0])
    users, items = zip(
        *((b.users[0], b.items[0]) for b in (d.observed() for d in draws(one, 0, 0))),
        strict=True,
    )
    cells = torch.cat(users) * 20 + torch.cat(items)
    assert len(cells.unique()) == len(cells) == 96
