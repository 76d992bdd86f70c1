"""The nominal propensity: its start, its held-out cells, its stop rule and its floor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import methods
from bench.engine.sampling import Pairs
from methods import learned_propensity
from tests.methods.small import Whole, all_pairs, built, data, plain_logits

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far


def method_of(**fields: Any) -> Any:
    return built("res_ips", spread=0.0, **fields)


def test_it_starts_at_the_density() -> None:
    method = method_of(init_scale=1e-6)
    p = torch.sigmoid(method.propensity.fixed(all_pairs(method)))
    assert_close(p, torch.full_like(p, 14 / 30), rtol=1e-6, atol=0)


def test_the_phase_trains_the_propensity_alone_and_comes_first() -> None:
    method = method_of()
    first, main = method.phases()
    assert (first.name, first.stream, main.name) == ("propensity", "propensity", "training")
    before = {name: {k: t.clone() for k, t in part.tables.items()} for name, part in method.parts.items()}
    first.step(Whole(method))
    for name, part in method.parts.items():
        moved = any(not torch.equal(before[name][k], t) for k, t in part.tables.items())
        assert moved == (name == "propensity"), name


def test_the_criterion_is_minus_the_bce_of_held_out_cells_only() -> None:
    method = built("res_ips", spread=0.4)
    everything = all_pairs(method)
    p = torch.sigmoid(plain_logits(method.propensity.tables, everything))
    o = everything.observed
    bce = -(o * p.log() + (1 - o) * (1 - p).log())
    held = method.held_out.holds(everything)
    assert bool((held.sum(-1) == 3).all())  # a tenth of 30 cells, and all of them are looked at
    expected = torch.stack([bce[g][held[g]].mean() for g in range(2)])
    criterion = method.phases()[0].criterion
    assert criterion is not None
    assert_close(criterion(), -expected)


def test_what_happens_to_held_out_cells_changes_no_parameter() -> None:
    """The same training with the observed flags of all held-out cells turned round."""
    one, other = method_of(), method_of()
    everything = all_pairs(one)
    held = one.held_out.holds(everything)
    turned = replace(everything, observed=torch.where(held, 1 - everything.observed, everything.observed))
    wrong = replace(everything, observed=torch.where(held, everything.observed, 1 - everything.observed))
    third = method_of()
    for _ in range(5):
        one.step_nominal(Whole(one))
        other.step_nominal(Whole(other, everywhere=turned))
        third.step_nominal(Whole(third, everywhere=wrong))
    for name, table in one.propensity.tables.items():
        assert torch.equal(table, other.propensity.tables[name])
        assert not torch.equal(table, third.propensity.tables[name])


def test_many_held_out_cells_are_sampled_and_each_is_one() -> None:
    n_users, n_items = 700, 500
    cells = torch.arange(0, n_users * n_items, 7)
    small = data()
    large = replace(
        small,
        n_users=n_users,
        n_items=n_items,
        users=cells // n_items,
        items=cells % n_items,
        labels=(cells % 2).double(),
    )
    method = built("res_ips", large, spread=0.0)
    held = method.held_out
    assert held.pairs.users.shape == (2, 20_000)
    assert bool(held.holds(held.pairs).all())
    sampled = held.pairs.users * n_items + held.pairs.items
    assert_close(held.observed, (sampled % 7 == 0).double())
    everything = torch.arange(n_users * n_items).expand(2, -1)
    inside = held.holds(Pairs(everything // n_items, everything % n_items)).double()
    assert_close(inside.mean(-1), torch.full((2,), 0.1, dtype=torch.float64))
    # No user and no item is held out as a whole, or left out.
    for axis in (1, 2):
        share = inside.view(2, n_users, n_items).mean(axis)
        assert bool(((share > 0.03) & (share < 0.25)).all())


def test_a_held_out_cell_depends_on_the_seed_alone() -> None:
    pairs = all_pairs(method_of())
    whole, again = (built(key, spread=0.0).held_out for key in ("res_ips", "ltd"))
    assert torch.equal(whole.holds(pairs), again.holds(pairs))
    second = whole.take(torch.tensor([1]))
    assert torch.equal(second.holds(Pairs(pairs.users[1:], pairs.items[1:]))[0], whole.holds(pairs)[1])
    assert torch.equal(second.observed[0], whole.observed[1])


def test_the_floor_is_a_share_of_the_density_and_weights_have_mean_one() -> None:
    assert methods.get("ltd").Config().propensity_floor == 0.25
    for share in (0.25, 0.8):
        method: Any = built("res_ips", spread=0.0, propensity_floor=share)
        floor = share * 14 / 30
        logits = torch.tensor([[-9.0, -3.0, 0.0, 4.0]], dtype=torch.float64).expand(2, -1)
        p = 1 / method.inverse(logits)
        assert_close(p[0, :2], torch.full((2,), floor, dtype=torch.float64))
        assert_close(p[0, 2:], torch.sigmoid(logits[0, 2:]))
        weights = learned_propensity.self_normalised(method.inverse(logits))
        assert_close(weights.mean(-1), torch.ones(2, dtype=torch.float64))
        assert float(weights[0, 0] / weights[0, 2]) == pytest.approx(0.5 / floor)


@pytest.mark.parametrize("key", ["res_ips", "res_dr"])
def test_the_propensity_goes_on_at_a_rate_of_its_own(key: str) -> None:
    """Adam's first step has the size of its rate wherever there is a gradient; its decay stays coupled."""
    for rate in (0.0, 0.003):
        method: Any = built(key, propensity_main_rate=rate, propensity_weight_decay=0.02, gamma=0.0)
        first, main = method.phases()
        assert main.begin is not None and first.begin is None
        assert float(method.propensity.adam.learning_rate[0]) == 0.01
        main.begin()
        adam = method.propensity.adam
        assert not adam.decoupled and not adam.anchor
        assert_close(adam.weight_decay, torch.full((2,), 0.02).double())
        before = method.propensity.tables["user_bias"].clone()
        main.step(Whole(method))
        moved = (method.propensity.tables["user_bias"] - before).abs()
        assert_close(moved, torch.full_like(moved, rate), rtol=1e-3, atol=0)
        assert method.residual.adam.steps == 1  # the residual learns at any rate
