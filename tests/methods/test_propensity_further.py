"""StableDR, TDR, DT and RD: identities with their neighbours, and each loss again in plain autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

import methods
from bench.engine.part import Part
from bench.engine.sampling import Batch
from bench.errors import BenchError
from methods.base import Method, total
from methods.dt_ips import entangled
from methods.learned_propensity import self_normalised
from methods.targeting import targeting
from methods.weights import in_batch
from tests.methods.small import Whole, all_observed, all_pairs, built, gradients, plain_logits

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far

EXACT = {"rtol": 1e-9, "atol": 1e-11}
MEMBERS = torch.arange(2)[:, None]
Free = dict[str, Tensor]


def free(part: Part) -> Free:
    """A part's tables for plain autograd."""
    return {name: table.clone().requires_grad_() for name, table in part.tables.items()}


def adam_step(loss: Tensor, rate: float = 0.01, decay: float = 1e-4, *parts: Free) -> None:
    """A first step of torch's Adam on a loss (G,), in place."""
    tables = [table for part in parts for table in part.values()]
    optimiser = torch.optim.Adam(tables, lr=rate, weight_decay=decay)
    loss.sum().backward()
    optimiser.step()


def assert_equal_tables(part: Part, expected: Mapping[str, Tensor]) -> None:
    for name, table in part.tables.items():
        assert_close(table, expected[name].detach(), **EXACT)


def same_start(method: Method, other: Method) -> None:
    """Gives both the same parameters, in the parts that they share."""
    for name in method.parts.keys() & other.parts.keys():
        for key, table in other.parts[name].tables.items():
            table.copy_(method.parts[name].tables[key])


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, label, reduction="none")


# --- StableDR -----------------------------------------------------------------------------------------


def stable_dr() -> Any:
    return built("stable_dr", balance_weight=7.0, propensity_floor=1e-9)


def test_stable_drs_weights_have_no_unit() -> None:
    """A common factor of all propensities changes none; the prediction's loss has nothing else of p."""
    method = stable_dr()
    observed = all_observed(method)
    inverse = method.inverse(method.propensity.fixed(observed))
    assert_close(self_normalised(17 * inverse), self_normalised(inverse), **EXACT)
    before = method.inverse
    method.inverse = lambda logits: 17 * before(logits)
    scaled = method.fixed_weights(observed)
    method.inverse = before
    assert_close(scaled, method.fixed_weights(observed), **EXACT)


def test_stable_drs_imbalance_is_the_papers_over_all_pairs() -> None:
    method = stable_dr()
    observed, everything = all_observed(method), all_pairs(method)
    p = torch.sigmoid(plain_logits(method.propensity.tables, everything))
    f, g = (plain_logits(part.tables, everything) for part in (method.prediction, method.imputation))
    imputed = cross_entropy(f, torch.sigmoid(g))
    apart = imputed - imputed.mean(-1, keepdim=True)
    of_all = ((1 - everything.observed / p) * apart).mean(-1)
    where = observed.users * 5 + observed.items
    found = method.imbalance(1 / p.gather(1, where), apart.gather(1, where))
    assert_close(found, of_all, **EXACT)


def test_a_balanced_propensity_gives_stable_dr_the_imputed_mean() -> None:
    method = stable_dr()
    inverse = torch.rand(2, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    imputed = torch.linspace(0, 1, 14, dtype=torch.float64).expand(2, -1)
    mean = (inverse * imputed).sum(-1, keepdim=True) / inverse.sum(-1, keepdim=True)
    assert_close(method.imbalance(inverse, imputed - mean), torch.zeros(2, dtype=torch.float64), **EXACT)
    assert_close((self_normalised(inverse) * imputed).mean(-1), mean.squeeze(-1), **EXACT)


def test_stable_dr_again() -> None:
    method = stable_dr()
    observed, everything = all_observed(method), all_pairs(method)
    f, s, g = (free(part) for part in (method.prediction, method.propensity, method.imputation))
    error = cross_entropy(plain_logits(f, observed), observed.labels)
    logits = {"O": plain_logits(f, observed).detach(), "D": plain_logits(f, everything).detach()}

    inverse = 1 / torch.sigmoid(plain_logits(s, observed)).detach()
    gap = error.detach() - cross_entropy(logits["O"], torch.sigmoid(plain_logits(g, observed)))
    weights = inverse / inverse.mean(-1, keepdim=True)
    adam_step((weights * gap.square()).mean(-1), 0.01, 1e-4, g)

    mean = cross_entropy(logits["D"], torch.sigmoid(plain_logits(g, everything))).mean(-1, keepdim=True)
    apart = (cross_entropy(logits["O"], torch.sigmoid(plain_logits(g, observed))) - mean).detach()
    imbalance = -14 / 30 * (apart / torch.sigmoid(plain_logits(s, observed))).mean(-1)
    trains = (~method.held_out.holds(everything)).double()
    click = (trains * cross_entropy(plain_logits(s, everything), everything.observed)).sum(-1)
    balance = 7.0 * 2 * 0.1 * imbalance.detach() * imbalance  # the running mean began at 0
    adam_step(click / trains.sum(-1) + balance, 0.01, 1e-4, s)

    inverse = 1 / torch.sigmoid(plain_logits(s, observed)).detach()
    adam_step((inverse * error).sum(-1) / inverse.sum(-1), 0.01, 1e-4, f)
    method.step(Whole(method))
    for part, expected in ((method.imputation, g), (method.propensity, s), (method.prediction, f)):
        assert_equal_tables(part, expected)


# --- TDR ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "neighbour"), [("tdr", "dr"), ("tdr_jl", "dr_jl")])
def test_tdr_without_targeting_is_dr(key: str, neighbour: str) -> None:
    method = built(key, targeting=0.0)
    other = built(neighbour, propensity="logistic")
    same_start(method, other)
    method.step(Whole(method))
    other.step(Whole(other))
    for name, part in other.parts.items():
        assert_equal_tables(method.parts[name], part.tables)


def of_batch(batch: Batch, columns: slice) -> Batch:
    return Batch(*(getattr(batch, name)[:, columns] for name in ("users", "items", "labels", "observed")))


@pytest.mark.parametrize("key", ["tdr", "tdr_jl"])
def test_tdr_again(key: str) -> None:
    method = built(key, targeting=0.8)
    observed, everywhere = all_observed(method), of_batch(all_pairs(method), slice(0, 20))
    f, g = free(method.prediction), free(method.imputation)
    density = 14 / 30
    p, p_everywhere = (density / method.weights(batch) for batch in (observed, everywhere))
    if key == "tdr_jl":
        fixed = plain_logits(f, observed).detach()
        missed = cross_entropy(fixed, observed.labels) - cross_entropy(
            fixed, torch.sigmoid(plain_logits(g, observed))
        )
        adam_step((density / p * missed.square()).mean(-1), 0.01, 1e-5, g)
    imputed = [torch.sigmoid(plain_logits(g, batch)).detach() for batch in (observed, everywhere)]
    logits = plain_logits(f, observed)
    e, e_hat = cross_entropy(logits, observed.labels), cross_entropy(logits, imputed[0])
    direct = cross_entropy(plain_logits(f, everywhere), imputed[1])
    epsilon = ((e - e_hat) * (1 / p - 1)).sum(-1, keepdim=True) / (1 / p - 1).square().sum(-1, keepdim=True)
    step = 0.8 * epsilon
    loss = (direct + step * (1 / p_everywhere - 1)).mean(-1)
    loss = loss + (density / p * (e - e_hat - step * (1 / p - 1))).mean(-1)
    adam_step(loss, 0.01, 1e-4, f)
    method.step(Whole(method, observed, everywhere))
    assert_equal_tables(method.prediction, f)
    if key == "tdr_jl":
        assert_equal_tables(method.imputation, g)


def test_targeting_takes_out_what_the_inverse_propensity_explains() -> None:
    """With e − ê along 1/p − 1 the estimate is mean_D ẽ of the batch of D, whatever the batch of O is."""
    method = built("tdr", clip=100.0)
    everywhere = all_pairs(method)
    h = method.weights(everywhere) - method.data.density

    def estimate(columns: list[int]) -> Tensor:
        observed = of_batch(all_observed(method), slice(columns[0], columns[1]))
        own = h.gather(1, observed.users * 5 + observed.items)
        weights = method.weights(observed)
        missed = 0.3 * own
        extra = targeting(missed, weights, method.weights(everywhere), method.data.density)
        return (weights * missed).mean(-1) + extra

    assert_close(estimate([0, 7]), estimate([7, 14]), **EXACT)
    assert_close(estimate([0, 7]), 0.3 * h.mean(-1), **EXACT)


def test_tdr_refuses_a_propensity_that_needs_labels() -> None:
    for key in ("tdr", "tdr_jl"):
        with pytest.raises(BenchError, match=r"method\.propensity=naive_bayes is not known"):
            methods.get(key).Config(propensity="naive_bayes").check()


# --- DT -----------------------------------------------------------------------------------------------


def dt(key: str, **fields: Any) -> Any:
    return built(key, clip=1.5, propensity_weight_decay=1e-3, **fields)


def products(tables: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
    return tables["users"][MEMBERS, batch.users], tables["items"][MEMBERS, batch.items]


def propensity_logits(a: Mapping[str, Tensor], b: Mapping[str, Tensor], batch: Batch) -> Tensor:
    users, items = products(a, batch)
    return (users * items).sum(-1) + plain_logits(dict(b), batch)


@pytest.mark.parametrize("key", ["dt_ips", "dt_dr"])
def test_dt_again(key: str) -> None:
    method = dt(key, propensity_weight=0.7, disentangle_weight=3.0)
    observed, everywhere = all_observed(method), all_pairs(method)
    parts = {name: free(part) for name, part in method.parts.items()}
    a, b = parts["prediction"], parts["exposure"]
    f = plain_logits(a, observed)
    weights = in_batch(1 / torch.sigmoid(propensity_logits(a, b, observed)).detach(), method.config.clip)
    error = cross_entropy(f, observed.labels)
    loss = 0.7 * cross_entropy(propensity_logits(a, b, everywhere), everywhere.observed).mean(-1)
    for side in (0, 1):  # users, items
        mine, its = (
            torch.cat([products(x, observed)[side], products(x, everywhere)[side]], 1) for x in (a, b)
        )
        gram = torch.einsum("gnd,gne->gde", mine, its)
        loss = loss + 3.0 * gram.square().sum((-2, -1)) / (44 * 3**2)
    if key == "dt_ips":
        loss = loss + (weights * error).mean(-1)
    else:
        g = parts["imputation"]
        label, label_everywhere = (torch.sigmoid(plain_logits(g, x)) for x in (observed, everywhere))
        direct = cross_entropy(plain_logits(a, everywhere), label_everywhere.detach())
        missed = error.detach() - cross_entropy(f.detach(), label)
        loss = loss + direct.mean(-1) + (weights * (error - cross_entropy(f, label.detach()))).mean(-1)
        loss = loss + (weights * missed.square()).mean(-1)
    loss.sum().backward()
    for name, tables in parts.items():
        decay = {"exposure": 1e-3}.get(name, 1e-4)
        torch.optim.Adam(tables.values(), lr=0.01, weight_decay=decay).step()
    method.step(Whole(method))
    for name, tables in parts.items():
        assert_equal_tables(method.parts[name], tables)


@pytest.mark.parametrize("key", ["dt_ips", "dt_dr"])
def test_dts_propensity_at_its_end_leaves_numbers(key: str) -> None:
    method = dt(key)
    method.exposure.tables["user_bias"][:, 0] = -800.0
    loss = total(method.losses(all_observed(method), all_pairs(method)))
    assert bool(loss.isfinite().all())
    for part in method.parts.values():
        assert all(bool(slope.isfinite().all()) for slope in gradients(part, loss).values())


@pytest.mark.parametrize(("key", "neighbour"), [("dt_ips", "ips"), ("dt_dr", "dr_jl")])
def test_dt_without_embeddings_of_its_own_is_its_neighbour_with_that_propensity(
    key: str, neighbour: str
) -> None:
    """b = 0, β = 0, and the propensity learned already (α = 0)."""
    method = dt(key, propensity_weight=0.0, disentangle_weight=0.0)
    for name in ("users", "items"):
        method.exposure.tables[name].zero_()
    other: Any = built(neighbour, imputation_weight_decay=1e-4) if key == "dt_dr" else built(neighbour)
    same_start(method, other)
    a, b = method.prediction.tables, method.exposure.tables
    weights = in_batch(1 / torch.sigmoid(propensity_logits(a, b, all_observed(method))), method.config.clip)
    other.weights = lambda batch: weights
    if key == "dt_dr":  # there the imputation's step comes first; here both are one
        observed = all_observed(other)
        logits = other.prediction(observed)
        found = total(other.losses(observed, all_pairs(other), logits, weights))
        terms = method.losses(all_observed(method), all_pairs(method))
        mine = terms["direct"] + terms["correction"]
        assert_close(mine, found, **EXACT)
        slopes = gradients(other.prediction, found)
        for name, slope in gradients(method.prediction, mine).items():
            assert_close(slope, slopes[name], **EXACT)
        gap = other.imputation_gap(logits.detach(), other.imputation(observed), observed.labels)
        slopes = gradients(other.imputation, (weights * gap.square()).mean(-1))
        for name, slope in gradients(method.imputation, terms["imputation"]).items():
            assert bool(slope.any()) and bool((slope - slopes[name]).abs().max() < 1e-11), name
        return
    other.step(Whole(other))
    method.step(Whole(method))
    assert_equal_tables(method.prediction, other.prediction.tables)


def test_dts_penalty_sees_what_is_entangled() -> None:
    """0 where a and b lie in other dimensions, and more where they are the same."""
    one = torch.zeros(2, 14, 4, dtype=torch.float64)
    one[..., :2] = 1 + torch.rand(2, 14, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    centred = torch.cat([one[:, :7], -one[:, :7]], 1)  # b has no direction in common with a over the batch
    even = torch.cat([one[:, :7], one[:, :7]], 1)
    assert_close(entangled((even, even), (centred, centred)), torch.zeros(2).double(), **EXACT)
    assert float(entangled((one, one), (one, one)).min()) > 1


# --- RD -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "neighbour"), [("rd_ips", "ips"), ("rd_dr", "dr_jl")])
@pytest.mark.parametrize("normalise", [True, False])
def test_rd_without_a_confounder_is_its_neighbour(key: str, neighbour: str, normalise: bool) -> None:
    method = built(key, spread=0.0, gamma=1.0, adversary_rate=0.3, normalise=normalise)
    other = built(neighbour, spread=0.0)
    for _ in range(3):
        method.step(Whole(method))
        other.step(Whole(other))
    for name, part in other.parts.items():
        for key_, table in part.tables.items():
            assert torch.equal(table, method.parts[name].tables[key_])
    assert not bool(method.adversary.tables["shift"].any())


def test_brd_without_a_confounder_goes_on_as_dr_jl() -> None:
    method = built("brd_dr", gamma=1.0)
    other = built("dr_jl")
    same_start(method, other)
    assert [phase.name for phase in method.phases()] == ["benchmark", "training"]
    method.step_benchmark(Whole(method))
    with torch.no_grad():
        method.keep_benchmark()
    method.adversary.tables["shift"].zero_()
    kept = {name: table.clone() for name, table in method.prediction.tables.items()}
    method.step(Whole(method))
    for _ in range(2):
        other.step(Whole(other))
    assert_equal_tables(method.prediction, other.prediction.tables)
    for name, table in method.benchmark.tables.items():
        assert torch.equal(table, kept[name])


def test_brds_adversary_sees_nothing_at_the_benchmark() -> None:
    method: Any = built("brd_dr")
    with torch.no_grad():
        method.keep_benchmark()
    observed = all_observed(method)
    at_stake = method.at_stake(observed, method.prediction.fixed(observed))
    assert not bool(at_stake.any())
    assert bool(super(type(method), method).at_stake(observed, method.prediction.fixed(observed)).any())


def test_the_worst_weights_stay_within_their_bounds_and_the_odds_are_theirs() -> None:
    method: Any = built("rd_ips", gamma=2.0, adversary_rate=0.9, normalise=False, propensity="logistic")
    method.adversary.tables["shift"].zero_()
    observed = all_observed(method)
    nominal, density = method.weights(observed), 14 / 30
    p = (density / nominal).clamp_max(1)
    weights = method.attack(observed, nominal, lambda w: w.mean(-1))
    odds = 1 / p - 1
    assert float(odds.max()) > 0.1
    beyond = nominal - density / p  # where the weight is below the density, there is nothing to move
    # Adam's first step is the rate, .9, and exp(.9) lies beyond the bound.
    assert_close(weights, beyond + density * (1 + odds * 2), **EXACT)
    sunk = weights
    for _ in range(10):
        sunk = method.attack(observed, nominal, lambda w: -w.mean(-1))
    assert_close(sunk, beyond + density * (1 + odds / 2), **EXACT)


def test_the_adversary_raises_the_weights_of_large_errors() -> None:
    method: Any = built("rd_ips", gamma=2.0, adversary_rate=0.05)
    method.adversary.tables["shift"].zero_()
    observed = all_observed(method)
    nominal = method.weights(observed)
    error = (observed.labels * 3 + 0.1) * torch.ones_like(nominal)
    worst = nominal
    for _ in range(40):
        worst = method.attack(observed, nominal, lambda w: (w * error).mean(-1))
    assert_close(worst.mean(-1), nominal.mean(-1), **EXACT)
    assert bool(((worst * error).mean(-1) > (nominal * error).mean(-1) * 1.05).all())
    positive = observed.labels > 0
    assert bool((worst > nominal)[positive].all()) and bool((worst < nominal)[~positive].all())


@pytest.mark.parametrize("key", ["rd_ips", "rd_dr"])
def test_rd_again(key: str) -> None:
    method: Any = built(key, gamma=3.0, adversary_rate=0.01)
    method.adversary.tables["shift"].clamp_(-1, 1)
    observed, everywhere = all_observed(method), all_pairs(method)
    parts = {name: free(part) for name, part in method.parts.items()}
    f, m = parts["prediction"], parts["adversary"]["shift"]
    nominal, density = method.weights(observed), 14 / 30
    logits = plain_logits(f, observed)
    error = cross_entropy(logits, observed.labels)

    def weights() -> Tensor:
        odds = (nominal / density - 1).clamp_min(0)
        shift = m.view(2, 5, 2)[MEMBERS, observed.items, observed.labels.long()]
        found = density * (1 + odds * shift.exp()) + (nominal - density).clamp_max(0)
        return found / found.mean(-1, keepdim=True) * nominal.mean(-1, keepdim=True)

    at_stake = error.detach()
    if key == "rd_dr":
        g = parts["imputation"]
        label = torch.sigmoid(plain_logits(g, observed)).detach()
        at_stake = at_stake - cross_entropy(logits.detach(), label)
    adam_step(-(weights() * at_stake).mean(-1), 0.01, 0, {"shift": m})
    with torch.no_grad():
        limit = torch.tensor(3.0, dtype=torch.float64).log()
        m.clamp_(-limit, limit)
    worst = weights().detach()
    loss = (worst * error).mean(-1)
    if key == "rd_dr":
        missed = error.detach() - cross_entropy(logits.detach(), torch.sigmoid(plain_logits(g, observed)))
        adam_step((worst * missed.square()).mean(-1), 0.01, 1e-5, g)
        label, of_all = (torch.sigmoid(plain_logits(g, x)).detach() for x in (observed, everywhere))
        loss = cross_entropy(plain_logits(f, everywhere), of_all).mean(-1)
        loss = loss + (worst * (error - cross_entropy(logits, label))).mean(-1)
    adam_step(loss, 0.01, 1e-4, f)
    method.step(Whole(method))
    for name, tables in parts.items():
        assert_equal_tables(method.parts[name], tables)
