"""The compiled kernels are the reference's up to rounding, and bit for bit the same in any company."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import methods
from bench.cell import identity
from bench.config import EngineConfig
from bench.engine import kernels
from bench.engine.bilevel import hypergradient
from bench.engine.features import Features, Links
from bench.engine.part import Part, minimise, slopes
from bench.engine.sampling import Pairs, Sampler, TrainingData
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.metrics import auc
from methods.base import Method
from tests.every_row import LATER, of_each_kind

F32, F64 = torch.float32, torch.float64
TORCH, NUMBA = kernels.make("torch"), kernels.make("numba")
few = settings(max_examples=25, deadline=None)
small = st.integers(1, 9)
widths = st.integers(1, 35)  # below, at and above the lanes' and the tiles' sizes


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def twins(
    shapes: dict[str, tuple[int, ...]],
    seed: int = 0,
    decoupled: bool = False,
    kind: type[Part] = Part,
    features: bool = False,
) -> tuple[Part, Part]:
    """The same part for the reference in float64 and for Numba. features: see `linked`."""
    source = generator(seed)
    tables = {name: torch.randn(shape, generator=source) for name, shape in shapes.items()}
    g = next(iter(shapes.values()))[0]
    rates = 0.01 * (1 + torch.arange(g, dtype=F32))
    decays = torch.linspace(0, 0.1, g)
    made = []
    for each, dtype in ((TORCH, F64), (NUMBA, F32)):
        with kernels.using(each):
            own = {name: table.to(dtype) for name, table in tables.items()}
            links = linked(dtype) if features else {}
            made.append(kind(own, rates.to(dtype), decays.to(dtype), decoupled, links))
    return made[0], made[1]


def some_features(n: int, number: int, dtype: torch.dtype, seed: int) -> Features:
    """(n, number), mostly 0, one row all 0."""
    matrix = torch.randint(-2, 3, (n, number), generator=generator(seed)).clamp_min(0).to(dtype) / 2
    matrix[n // 2] = 0
    return Features(matrix)


def linked(dtype: torch.dtype) -> Links:
    """Features of the users and items of `factors`."""
    users, items = some_features(7, 3, dtype, 11), some_features(5, 4, dtype, 12)
    return {
        **{"users": ("user_weights", users), "user_bias": ("user_slopes", users)},
        **{"items": ("item_weights", items), "item_bias": ("item_slopes", items)},
    }


def pairs(g: int, n_users: int, n_items: int, size: int, seed: int = 1) -> Pairs:
    source = generator(seed)
    return Pairs(*(torch.randint(n, (g, size), generator=source) for n in (n_users, n_items)))


def close(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(found.double(), expected.double(), rtol=2e-5, atol=2e-6 * max(scale, 1))


def check_leaves(reference: Part, compiled: Part, seed: int = 2) -> None:
    """The values, gradients and directional changes of what both parts have handed out."""
    assert len(reference.leaves) == len(compiled.leaves) > 0
    for theirs, mine in zip(reference.leaves, compiled.leaves, strict=True):
        close(mine.value.detach(), theirs.value.detach())
        slope = torch.randn(mine.value.shape, generator=generator(seed))
        with torch.no_grad():
            theirs.pull(slope.double(), reference.adam.gradients)
            mine.pull(slope, compiled.adam.gradients)
            for table, rows in mine.rows.items():
                compiled.adam.touch(table, rows)
            for name, gradient in reference.adam.gradients.items():
                close(compiled.adam.gradients[name], gradient)
            close(
                mine.push(compiled.adam.gradients),
                theirs.push({name: each.clone() for name, each in reference.adam.gradients.items()}),
            )


def factors(
    g: int, d: int, n_users: int = 7, n_items: int = 5, features: bool = False
) -> dict[str, tuple[int, ...]]:
    own: dict[str, tuple[int, ...]] = {
        **{"users": (g, n_users, d), "items": (g, n_items, d)},
        **{"user_bias": (g, n_users), "item_bias": (g, n_items), "bias": (g, 1)},
    }
    weights: dict[str, tuple[int, ...]] = {
        **{"user_weights": (g, 3, d), "item_weights": (g, 4, d)},
        **{"user_slopes": (g, 3), "item_slopes": (g, 4)},
    }
    return {**own, **weights} if features else own


@few
@given(g=st.integers(1, 4), d=widths, size=st.integers(1, 30), features=st.booleans())
def test_factorisation(g: int, d: int, size: int, features: bool) -> None:
    both = twins(factors(g, d, features=features), features=features)
    chosen = pairs(g, 7, 5, size)
    for part in both:
        part.kernels.factorise(part, chosen)
    check_leaves(*both)


@few
@given(g=st.integers(1, 4), d=widths, size=st.integers(1, 30))
def test_squared_norms(g: int, d: int, size: int) -> None:
    """The reference computes them from rows, by autograd; the compiled one is a leaf of its own."""
    reference, compiled = twins(factors(g, d))
    chosen = pairs(g, 7, 5, size)
    slope = torch.randn(g, size, generator=generator(3))
    value = reference.kernels.squared_norms(reference, chosen)
    found = compiled.kernels.squared_norms(compiled, chosen)
    close(found.detach(), value.detach())
    (leaf,) = compiled.leaves
    down = slopes((value * slope).sum(-1), [each.value for each in reference.leaves])
    with torch.no_grad():
        for each, gradient in zip(reference.leaves, down, strict=True):
            assert gradient is not None
            each.pull(gradient, reference.adam.gradients)
        leaf.pull(slope, compiled.adam.gradients)
        for name, gradient in reference.adam.gradients.items():
            close(compiled.adam.gradients[name], gradient)
        # A gradient's product with a direction is the slope's with the change along it.
        direction = compiled.adam.gradients
        along = sum(
            (each.double().square().flatten(1).sum(-1) for each in direction.values()), torch.zeros(g)
        )
        close((leaf.push(direction) * slope).sum(-1), along)


class Headed(Part):
    entries = ("user_bias", "item_bias")


@few
@given(g=st.integers(1, 3), d=widths, t=st.integers(1, 4), size=st.integers(1, 20))
def test_heads(g: int, d: int, t: int, size: int) -> None:
    shapes = {
        **factors(g, d),
        "heads": (g, t, d),
        "user_bias": (g, t, 7),
        "item_bias": (g, t, 5),
        "bias": (g, t),
    }
    both = twins(shapes, kind=Headed)
    chosen = pairs(g, 7, 5, size)
    for part in both:
        part.kernels.heads(part, chosen)
    check_leaves(*both)


@few
@given(g=st.integers(1, 4), d=widths, size=small, features=st.booleans())
def test_rows(g: int, d: int, size: int, features: bool) -> None:
    both = twins(factors(g, d, features=features), features=features)
    chosen = pairs(g, 7, 5, size)
    for part in both:
        part.rows("users", chosen.users)
        part.rows("item_bias", chosen.items)
        part.whole("bias")
        sums = {"user_bias": chosen.users, "item_bias": chosen.items}
        if features:  # no sum is of rows with features
            sums = {"user_slopes": chosen.users % 3, "item_slopes": chosen.items % 4}
        part.kernels.row_sums(part, {**sums, "bias": torch.zeros_like(chosen.users)})
    reference, compiled = both
    # The reference has a leaf for each of the three tables of a sum.
    summed = reference.leaves[3:]
    close(compiled.leaves[3].value.detach(), torch.stack([leaf.value.detach() for leaf in summed]).sum(0))
    slope = torch.randn(g, size, generator=generator(3))
    with torch.no_grad():
        compiled.leaves[3].pull(slope, compiled.adam.gradients)
        for leaf in summed:
            leaf.pull(slope.double(), reference.adam.gradients)
    for name, gradient in reference.adam.gradients.items():
        close(compiled.adam.gradients[name], gradient)
    reference.leaves, compiled.leaves = reference.leaves[:3], compiled.leaves[:3]
    check_leaves(reference, compiled)


def layers(g: int, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer in range(len(sizes) - 1):
        found[f"weight{layer}"] = (g, sizes[layer], sizes[layer + 1])
        found[f"bias{layer}"] = (g, 1, sizes[layer + 1])
    return found


@few
@given(
    g=st.integers(1, 3),
    d=widths,
    hidden=widths,
    out=st.integers(1, 12),
    size=st.integers(1, 14),
    features=st.booleans(),
)
def test_networks(g: int, d: int, hidden: int, out: int, size: int, features: bool) -> None:
    """One hidden layer, against autograd: on inputs, and on the embeddings of another part."""
    sizes = (2 * d, hidden, out)
    networks = twins(layers(g, sizes), 4)
    models = twins(factors(g, d, features=features), 5, features=features)
    chosen = pairs(g, 7, 5, size)
    slope = torch.randn(g, size, out, generator=generator(6))
    found = []
    for network, model in zip(networks, models, strict=True):
        value = network.kernels.network_on_rows(network, model, chosen)
        minimise((network, model), (value * slope.to(value.dtype)).sum((-1, -2)))
        found.append(value.detach())
    close(found[1], found[0])
    # Adam's first step is as long as its rate, whichever way: gradients near 0 may differ in their signs.
    for reference, compiled in (networks, models):
        for name, table in reference.tables.items():
            apart = (compiled.tables[name].double() - table).abs() > 1e-4
            assert apart.double().mean() < 0.02, name
    inputs = torch.randn(g, size, 2 * d, generator=generator(7))
    for network in networks:
        network.kernels.network(network, inputs.to(next(iter(network.tables.values())).dtype))
    (mine,) = networks[1].leaves
    direction = {name: torch.randn(t.shape, generator=generator(8)) for name, t in networks[1].tables.items()}
    with torch.no_grad():
        mine.pull(slope, networks[1].adam.gradients)
        pushed = mine.push(direction)
    values = list(networks[0].tables.values())
    names = list(networks[0].tables)

    def of(*tables: Tensor) -> Tensor:
        own = dict(zip(names, tables, strict=True))
        middle = torch.relu(inputs.double() @ own["weight0"] + own["bias0"])
        return middle @ own["weight1"] + own["bias1"]

    _, expected = torch.autograd.functional.vjp(of, tuple(values), slope.double())
    for name, gradient in zip(names, expected, strict=True):
        close(networks[1].adam.gradients[name], gradient)
    _, along = torch.autograd.functional.jvp(of, tuple(values), tuple(d.double() for d in direction.values()))
    close(pushed, along)
    # ... and of the embeddings that a network stands on.
    leaf_of_model = networks[1].kernels.network_on_rows(networks[1], models[1], chosen)
    assert leaf_of_model is models[1].leaves[0].value
    direction = {name: torch.randn(t.shape, generator=generator(9)) for name, t in models[1].tables.items()}
    with torch.no_grad():
        pushed = models[1].leaves[0].push(direction)
    own = {name: table.double() for name, table in networks[1].tables.items()}
    at = torch.arange(g).unsqueeze(-1)

    def on_rows(users: Tensor, items: Tensor) -> Tensor:
        rows = torch.cat([users[at, chosen.users], items[at, chosen.items]], -1)
        return torch.relu(rows @ own["weight0"] + own["bias0"]) @ own["weight1"] + own["bias1"]

    def embeddings(tables: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As they are read: linear in the tables."""
        found = tables["users"].double(), tables["items"].double()
        if not features:
            return found
        links = (models[0].features[name] for name in ("users", "items"))
        users, items = (x.matrix @ tables[weights].double() for weights, x in links)
        return found[0] + users, found[1] + items

    _, along = torch.autograd.functional.jvp(on_rows, embeddings(models[1].tables), embeddings(direction))
    close(pushed, along)


# --- Adam -------------------------------------------------------------------------------------------


@few
@given(g=st.integers(1, 4), n=st.integers(1, 40), d=widths, decoupled=st.booleans(), seed=st.integers(0, 99))
def test_adam_is_torch_optims(g: int, n: int, d: int, decoupled: bool, seed: int) -> None:
    """Some rows have a gradient in a step and others have none."""
    _, part = twins({"table": (g, n, d), "numbers": (g, n), "one": (g, 1)}, seed, decoupled)
    single = [
        {name: torch.nn.Parameter(table[member].double()) for name, table in part.tables.items()}
        for member in range(g)
    ]
    rates, decays = part.adam.learning_rate.tolist(), part.adam.weight_decay.tolist()
    theirs = [
        (torch.optim.AdamW if decoupled else torch.optim.Adam)(
            list(own.values()), lr=rate, weight_decay=decay
        )
        for own, rate, decay in zip(single, rates, decays, strict=True)
    ]
    source = generator(seed + 1)
    for _ in range(12):
        index = torch.randint(n, (g, 3), generator=source)
        target = torch.randn(g, 3, generator=source)
        found = part.rows("table", index).sum(-1) + part.rows("numbers", index) + part.whole("one")
        minimise(part, (found - target).square().mean(-1))
        for member, own in enumerate(single):
            theirs[member].zero_grad()
            u = index[member]
            value = own["table"][u].sum(-1) + own["numbers"][u] + own["one"]
            (value - target[member]).square().mean().backward()
            theirs[member].step()
    for member, own in enumerate(single):
        for name, table in own.items():
            torch.testing.assert_close(part.tables[name][member].double(), table.data, rtol=1e-3, atol=2e-4)
    assert not part.adam.gradients.flat.any() and not part.adam.gradients.mark_array.any()


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_is_the_references_anchored_too(decoupled: bool, by_rows: bool) -> None:
    both = twins({"table": (3, 7, 4), "numbers": (3, 7), "whole": (3, 2)}, 3, decoupled)
    for part in both:
        part.restart(by_rows=by_rows)
    source = generator(4)
    for step in range(40):
        index = torch.randint(7, (3, 2), generator=source)
        target = torch.randn(3, 2, generator=source)
        for part in both:
            if step == 20:
                part.retune(0.5 * part.adam.learning_rate, 3 * part.adam.weight_decay)
            found = part.rows("table", index).sum(-1) + part.rows("numbers", index) + part.whole("whole")
            minimise(part, (found - target.to(found.dtype)).square().mean(-1))
    for name, table in both[0].tables.items():
        torch.testing.assert_close(both[1].tables[name].double(), table, rtol=1e-3, atol=1e-4)
        assert not both[1].adam.gradients[name].any()


def test_members_that_leave_take_their_moments_along() -> None:
    _, part = twins(factors(3, 5))
    _, alone = twins(factors(3, 5))
    chosen = pairs(3, 7, 5, 4)
    for step in range(6):
        if step == 3:
            alone = alone.take(torch.tensor([2, 0]))
        mine = chosen if step < 3 else Pairs(chosen.users[[2, 0]], chosen.items[[2, 0]])
        for each, its in ((part, chosen), (alone, mine)):
            minimise(each, each.kernels.factorise(each, its).square().sum(-1))
    for name, table in part.tables.items():
        assert torch.equal(table[[2, 0]], alone.tables[name]), name


# --- A look ahead -----------------------------------------------------------------------------------


@few
@given(g=st.integers(1, 3), d=widths, size=st.integers(1, 12))
def test_a_virtual_step_is_the_references(g: int, d: int, size: int) -> None:
    both = twins(factors(g, d), 6)
    inner, outer = pairs(g, 7, 5, size, 2), pairs(g, 7, 5, 5, 3)
    rate = torch.linspace(0.05, 0.3, g)
    found = []
    for part in both:
        like = part.adam.learning_rate
        before = {name: table.clone() for name, table in part.tables.items()}
        weight = torch.linspace(-1, 1, g * size).view(g, size).to(like).requires_grad_()
        loss = (weight.exp() * torch.nn.functional.softplus(part.kernels.factorise(part, inner))).sum(-1)
        loss = loss + part.rows("users", inner.users).square().sum((-1, -2)) * weight.sum(-1)

        def ahead(twin: Part) -> Tensor:
            rows = twin.rows("items", outer.items).square().sum((-1, -2))
            return twin.kernels.factorise(twin, outer).square().sum(-1) + rows + twin.whole("bias").sum(-1)

        value, surrogate = hypergradient(part, loss, rate.to(like), ahead)
        (slope,) = torch.autograd.grad(surrogate.sum(), weight)
        found.append((value, slope))
        assert all(torch.equal(before[name], table) for name, table in part.tables.items())
        assert not any(gradient.any() for gradient in part.adam.gradients.values())
    for mine, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=1e-3, atol=1e-4)


def test_a_part_one_step_ahead_shows_its_tables() -> None:
    _, part = twins(factors(2, 3), 6)
    chosen = pairs(2, 7, 5, 6)
    part.kernels.factorise(part, chosen)
    slope = torch.ones(2, 6)
    rate = torch.tensor([0.1, 0.2])
    with torch.no_grad():
        twin = part.kernels.ahead(part, [(part.leaves[0], slope)], rate)
        moved = {name: table.clone() for name, table in twin.tables.items()}
        value = twin.kernels.factorise(twin, chosen)
    expected = (
        moved["bias"]
        + moved["user_bias"].gather(1, chosen.users)
        + moved["item_bias"].gather(1, chosen.items)
    )
    at = torch.arange(2).unsqueeze(-1)
    expected = expected + (moved["users"][at, chosen.users] * moved["items"][at, chosen.items]).sum(-1)
    close(value, expected)
    assert not torch.equal(moved["users"], part.tables["users"])


# --- Evaluation -------------------------------------------------------------------------------------


@few
@given(g=st.integers(1, 4), n=st.integers(2, 60), levels=st.integers(1, 9), seed=st.integers(0, 99))
def test_areas_are_the_metrics(g: int, n: int, levels: int, seed: int) -> None:
    source = generator(seed)
    scores = torch.randint(levels, (g, n), generator=source).float() / 7
    labels = (torch.rand(g, n, generator=source) < 0.3).float()
    if seed % 5 == 0:
        scores[0, seed % n] = torch.nan
    for each in (TORCH, NUMBA):
        whole, halves = each.areas(scores, labels)
        expected = [auc(scores, labels), *(auc(scores[:, k::2], labels[:, k::2]) for k in (0, 1))]
        if bool(torch.isnan(scores).any()) and each is NUMBA:
            expected = [each.masked_fill(torch.isnan(scores).any(-1), torch.nan) for each in expected]
        assert torch.equal(
            torch.stack(expected).nan_to_num(nan=-1),
            torch.stack([whole, *halves.unbind(-1)]).nan_to_num(nan=-1),
        )


# --- Whole methods ----------------------------------------------------------------------------------


def data(dtype: torch.dtype = F32) -> TrainingData:
    """Three members' data: two seeds of 40 users, 30 items, 300 ratings."""
    source = generator(0)
    cells = torch.randperm(40 * 30, generator=source)[:300]
    a = torch.randint(40 * 30, (2, 64), generator=source)
    return TrainingData(
        n_users=40,
        n_items=30,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1, 0]),
        users=cells // 30,
        items=cells % 30,
        labels=(torch.rand(300, generator=source) < 0.4).to(dtype),
        unbiased_users=a // 30,
        unbiased_items=a % 30,
        unbiased_labels=(torch.rand(2, 64, generator=source) < 0.4).to(dtype),
        propensity=torch.full((40, 30), 0.25, dtype=dtype),
        user_features=some_features(40, 6, dtype, 13),
        item_features=some_features(30, 9, dtype, 14),
    )


def trained(
    key: str,
    each: kernels.Kernels,
    members: list[int],
    steps: int = 12,
    by_rows: bool = False,
    backbone: str = "ids",
) -> Method:
    """Some of three members after the same number of steps of each phase."""
    kind = methods.get(key)
    of = data(F32 if each.name == "numba" else F64).take(torch.tensor(members))
    rates = (0.002, 0.02, 0.01)
    configs = [
        kind.Config(batch_size=32, embedding_size=11, learning_rate=rates[m], backbone=backbone)
        for m in members
    ]
    with kernels.using(each):
        method = kind(configs, [(0, 1, 0)[m] for m in members], of)
    for part in method.parts.values():
        part.restart(by_rows=by_rows)
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        sampler = Sampler(method.data, 32, method.config.everywhere_ratio, method.kernels)
        for number in range(steps):
            epoch = sampler.epoch(method.data, phase.stream, number // sampler.steps_per_epoch)
            phase.step(epoch.draw(method.data, number % sampler.steps_per_epoch))
            for part in method.parts.values():
                part.leaves = []
    return method


TRAINED = [key for key in methods.names() if methods.get(key).trained]
EVERY_ROW = [pytest.param(*each.values, False, marks=each.marks) for each in of_each_kind(TRAINED)]


@pytest.mark.parametrize("backbone", ["ids", "features"])
@pytest.mark.parametrize(
    ("key", "by_rows"),
    [*EVERY_ROW, *((key, True) for key in ("mf", "escm2_dr", "ltd", "res_dr"))],
)
def test_a_method_scores_as_with_the_reference(key: str, by_rows: bool, backbone: str) -> None:
    """Adam divides by gradients that may be all rounding, so scores are compared, and not parameters."""
    found = []
    for each in (TORCH, NUMBA):
        method = trained(key, each, [0, 1, 2], by_rows=by_rows, backbone=backbone)
        assert method.kernels is each and all(part.kernels is each for part in method.parts.values())
        everything = torch.arange(40 * 30).expand(3, -1)
        with torch.no_grad():
            found.append(method.score(Pairs(everything // 30, everything % 30)).double())
    apart = (found[1] - found[0]).abs()
    assert apart.max() < 2e-3 and apart.mean() < 5e-5, (apart.max(), apart.mean())
    assert found[0].std() > 0.01


@pytest.mark.parametrize(
    ("threads", "backbone"),
    [(2, "ids"), pytest.param(1, "ids", marks=LATER), pytest.param(2, "features", marks=LATER)],
)
@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=() if key in ("mf", "res_dr") else LATER) for key in TRAINED]
)
def test_neither_neighbours_nor_threads_change_a_bit(key: str, threads: int, backbone: str) -> None:
    """Batches are of 32 and 64: torch's sigmoid rounds the last few numbers of a tensor otherwise."""
    each = kernels.make("numba", threads)
    together = trained(key, each, [0, 1, 2], 4, backbone=backbone)
    for members in ([1], [2, 0]):
        alone = trained(key, NUMBA, members, 4, backbone=backbone)
        for name, part in alone.parts.items():
            for table, values in part.tables.items():
                assert torch.equal(values, together.parts[name].tables[table][members]), (name, table)


# --- Which kernels run ------------------------------------------------------------------------------


def test_auto_is_numba_where_it_fits() -> None:
    assert kernels.name_for(EngineConfig(device="cpu")) == "numba"
    assert kernels.name_for(EngineConfig(device="cpu", dtype="float64")) == "torch"
    assert kernels.name_for(EngineConfig(device="cuda")) == "torch"
    assert kernels.name_for(EngineConfig(kernels="torch")) == "torch"
    assert kernels.make("numba").described.startswith("numba ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernels": "fast"}, r"^engine.kernels=fast is not known: the choices are auto, torch, numba\.$"),
        ({"kernels": "numba", "dtype": "float64"}, "float32 on a CPU and does not fit engine.dtype=float64"),
        ({"kernels": "numba", "device": "cuda"}, "does not fit engine.device=cuda: use auto or torch"),
    ],
)
def test_kernels_that_do_not_fit_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        kernels.name_for(EngineConfig(**{"device": "cpu", **fields}))  # type: ignore[arg-type]


def test_without_numba_nothing_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bench.engine.kernels.numba_", None)
    with pytest.raises(BenchError, match=r"^engine.kernels=numba needs the package numba .*`make env`"):
        kernels.make("numba")


def test_the_loops_belong_to_the_code_of_a_record() -> None:
    names = {path.name for path in identity.closure("mf", "coat")}
    assert {"loops.py", "lanes.py", "numba_.py", "torch_.py"} <= names


@pytest.mark.slow
@pytest.mark.long
def test_compiling_is_announced_once_and_kept(tmp_path: Path) -> None:
    script = (
        "import numpy as np; from bench.engine import kernels; k = kernels.make('numba');"
        "z = np.zeros((2, 4), np.float32); k.loops.areas(z, z, np.zeros((2, 3)));"
        "k.loops.gather(z[None], np.zeros((1, 1), int), np.zeros((1, 1, 4), np.float32), 0)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stderr
        for _ in range(2)
    ]
    assert said[0].count("\n") == 1 and said[0].startswith("Compiling the engine's kernels")
    assert said[1] == ""


def test_the_cpus_are_those_that_the_process_may_use() -> None:
    assert 1 <= kernels.cpus() <= len(os.sched_getaffinity(0))
