"""What a step's batches hold, and in which order, whatever makes them."""

from __future__ import annotations

import pytest
import torch

from bench.engine import kernels
from bench.engine.sampling import Batch, Draw, Sampler, TrainingData, generator
from bench.speed.workload import Workload, training_data

with_either = pytest.mark.parametrize("kernel", kernels.NAMES)
N_USERS, N_ITEMS, N_RATINGS, SIZE = 40, 30, 200, 32


def shuffled_data(n_users: int = N_USERS) -> TrainingData:
    """Ratings of ten seeds that stand in no order of their users."""
    data = training_data(
        Workload(
            users=n_users, items=N_ITEMS, ratings=N_RATINGS, batch_size=SIZE, embedding_size=1, unbiased=20
        )
    )
    order = torch.randperm(N_RATINGS, generator=torch.Generator().manual_seed(3))
    for name in ("users", "items", "labels"):
        object.__setattr__(data, name, getattr(data, name)[order])
    return data


def draws(data: TrainingData, kernel: str, number: int = 0, threads: int = 1) -> list[Draw]:
    """The steps of an epoch."""
    sampler = Sampler(data, SIZE, 2, kernels.make(kernel, threads))
    epoch = sampler.epoch(data, "stream", number)
    return [epoch.draw(data, step) for step in range(sampler.steps_per_epoch)]


def triples(batch: Batch, member: int) -> list[tuple[float, ...]]:
    columns = (batch.users, batch.items, batch.labels, batch.observed)
    return sorted(zip(*(each[member].tolist() for each in columns), strict=True))


@with_either
def test_a_batch_of_o_is_a_stretch_of_the_shuffled_ratings_by_user(kernel: str) -> None:
    data = shuffled_data()
    for step, draw in enumerate(draws(data, kernel, 5)):
        batch = draw.observed()
        for member, seed in enumerate(data.seeds):
            order = torch.randperm(N_RATINGS, generator=generator("observed", seed, "stream", 5))
            mine = order[step * SIZE : (step + 1) * SIZE]
            of = (data.users[mine], data.items[mine], data.labels[mine], torch.ones(SIZE))
            assert triples(batch, member) == sorted(zip(*(each.tolist() for each in of), strict=True))
        assert bool((batch.users.diff(dim=-1) >= 0).all())


@with_either
def test_a_batch_of_d_has_the_cells_that_were_drawn_by_user(kernel: str) -> None:
    data = shuffled_data()
    known = {(int(u), int(i)): float(r) for u, i, r in zip(data.users, data.items, data.labels, strict=True)}
    for step, draw in enumerate(draws(data, kernel, 1)):
        batch = draw.everywhere()
        for member, seed in enumerate(data.seeds):
            source = generator("everywhere", seed, "stream", 1)
            cells = torch.empty(N_RATINGS // SIZE, 2 * SIZE, dtype=torch.int64)
            mine = cells.random_(0, N_USERS * N_ITEMS, generator=source)[step].tolist()
            pairs = [divmod(cell, N_ITEMS) for cell in mine]
            expected = sorted((u, i, known.get((u, i), 0.0), float((u, i) in known)) for u, i in pairs)
            assert triples(batch, member) == expected
        assert bool((batch.users.diff(dim=-1) >= 0).all())


@with_either
def test_more_users_than_two_bytes_count_stand_nearly_in_order(kernel: str) -> None:
    n_users = 300_000
    for draw in draws(shuffled_data(n_users), kernel):
        for batch in (draw.observed(), draw.everywhere()):
            assert int(batch.users.diff(dim=-1).min()) > -(n_users >> 15)


@with_either
def test_members_of_one_seed_share_its_batches_whoever_stands_beside_them(kernel: str) -> None:
    data = shuffled_data()
    own = data.take(torch.tensor([2, 4, 7]))
    shared = data.take(torch.tensor([4, 2, 7, 4]))
    turned = data.take(torch.tensor([7, 4, 2]))
    assert own.own_seeds
    assert not shared.own_seeds
    assert not turned.own_seeds
    for a, b, c in zip(*(draws(each, kernel) for each in (own, shared, turned)), strict=True):
        for kind in ("observed", "everywhere"):
            one, two, three = (getattr(draw, kind)() for draw in (a, b, c))
            for members in ((0, 1, 2), (1, 0, 1), (2, 2, 0), (1, 3, 1)):
                mine, other, last = (
                    triples(batch, member) for batch, member in zip((one, two, three), members, strict=True)
                )
                assert mine == other == last


@pytest.mark.parametrize("threads", [1, 2])
def test_either_kernels_draw_the_same_bits(threads: int) -> None:
    data = shuffled_data().take(torch.tensor([4, 2, 7, 4]))
    for one, two in zip(draws(data, "torch", 3), draws(data, "numba", 3, threads), strict=True):
        for a, b in ((one.observed(), two.observed()), (one.everywhere(), two.everywhere())):
            for name in ("users", "items", "labels", "observed"):
                assert torch.equal(getattr(a, name), getattr(b, name))


def test_an_epoch_of_a_single_batch_is_all_ratings() -> None:
    data = shuffled_data()
    for name in kernels.NAMES:
        sampler = Sampler(data, N_RATINGS + 1, 0, kernels.make(name))
        batch = sampler.epoch(data, "stream", 0).draw(data, 0).observed()
        assert sampler.steps_per_epoch == 1
        assert triples(batch, 3) == sorted(
            zip(
                *(each.tolist() for each in (data.users, data.items, data.labels)),
                [1.0] * N_RATINGS,
                strict=True,
            )
        )


def test_a_stretch_of_a_moves_on_with_each_step_of_the_phase_and_goes_round() -> None:
    data = shuffled_data()
    whole = data.unbiased
    n = whole.labels.shape[-1]
    assert n == 20
    of_phase = draws(data, "torch") + draws(data, "torch", number=1)
    assert [draw.number for draw in of_phase] == list(range(2 * (N_RATINGS // SIZE)))
    for draw in of_phase:
        assert draw.unbiased() is whole and draw.unbiased(at_most=n) is whole
        found, columns = draw.unbiased(at_most=7), (draw.number * 7 + torch.arange(7)) % n
        for name in ("users", "items", "labels", "observed"):
            assert torch.equal(getattr(found, name), getattr(whole, name)[:, columns])
