"""ULTD equation by equation, in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import methods
import methods.ultd
from bench import cell as cells
from bench import compose
from bench.config import EngineConfig
from bench.engine.part import minimise
from bench.engine.sampling import Batch
from bench.engine.training import Validation, train
from bench.records import store
from tests.methods.small import (
    Whole,
    all_observed,
    all_unbiased,
    built,
    data,
    gradients,
    plain_logits,
    taken,
)

EXACT = {"rtol": 1e-10, "atol": 1e-12}
ROWS = ["ultd_jl", "ultd_tp"]


def set_rate(method: Any, shift: float) -> None:
    """α_u near 0 (a very negative shift) or 1 for everybody."""
    method.rates.tables["scale"].zero_()
    method.rates.tables["shift"].fill_(shift)


def by_hand(method: Any, alpha: Tensor) -> Tensor:
    """L_f as the paper sums it: user by user. alpha: (G, U)."""
    total = []
    f = torch.sigmoid(plain_logits(method.prediction.tables, all_observed(method)))
    g = torch.sigmoid(plain_logits(method.pseudo_label.tables, all_observed(method)))
    r, users = method.data.labels, method.data.users
    for member in range(2):
        per_user = []
        for user in users.unique():
            own = users == user
            unlearned = (f[member, own] - g[member, own]).square().mean()
            kept = (f[member, own] - r[own]).square().mean()
            per_user.append(alpha[member, user] * unlearned + (1 - alpha[member, user]) * kept)
        total.append(torch.stack(per_user).mean())
    return torch.stack(total)


def loss_of(method: Any) -> Tensor:
    """The method's own L_f on all of O and A."""
    observed, unbiased = all_observed(method), all_unbiased(method)
    error = method.pointwise(method.prediction(unbiased), unbiased.labels)
    rate = method.rate(observed.users, *method.unbiased_loss(unbiased, error))
    return method.unlearning_loss(observed, method.prediction(observed), rate)


@pytest.mark.parametrize("user_mean", ["estimate", "batch"])
@pytest.mark.parametrize("users_without", ["mean", "zero", "skip"])
def test_the_loss_is_equation_four(user_mean: str, users_without: str) -> None:
    method = built("ultd_jl", rate="table", user_mean=user_mean, users_without=users_without, loss="mse")
    f_a = torch.sigmoid(plain_logits(method.prediction.tables, all_unbiased(method)))
    unbiased = all_unbiased(method)
    alpha = torch.zeros(2, 6, dtype=torch.float64)
    softplus, start = torch.nn.functional.softplus, np.log(np.e - 1)
    for member in range(2):
        losses = {}
        for user in range(6):
            own = unbiased.users[member] == user
            if own.any():
                losses[user] = (f_a[member, own] - unbiased.labels[member, own]).square().mean()
        mean = torch.stack(list(losses.values())).mean()
        for user in range(6):
            other = {"mean": mean, "zero": torch.zeros(()).double(), "skip": mean}[users_without]
            loss = losses.get(user, other)
            scale = softplus(start + method.rates.tables["scale"][member, user])
            alpha[member, user] = torch.sigmoid(scale * loss - 2 + method.rates.tables["shift"][member, user])
            if users_without == "skip" and user not in losses:
                alpha[member, user] = 0
    assert_close(method.user_arrays()["alpha"], alpha, **EXACT)
    assert_close(loss_of(method).detach(), by_hand(method, alpha), **EXACT)


def test_mini_batches_estimate_the_papers_mean_over_users() -> None:
    method = built("ultd_jl")
    whole = all_observed(method)
    rate = torch.linspace(0.1, 0.9, 6, dtype=torch.float64).expand(2, -1)
    pieces = [taken(whole, list(range(start, start + 7))) for start in (0, 7)]
    with torch.no_grad():
        found = [
            method.unlearning_loss(piece, method.prediction(piece), rate.gather(1, piece.users))
            for piece in pieces
        ]
    assert_close(torch.stack(found).mean(0), by_hand(method, rate), **EXACT)


def test_alpha_is_between_zero_and_one_and_rises_with_the_unbiased_loss() -> None:
    method = built("ultd_jl", spread=1.5)
    users = torch.arange(6).expand(2, -1)
    ones = torch.ones(2, 6, dtype=torch.float64)
    rates = [method.rate(users, loss * ones, ones) for loss in (0.0, 0.1, 0.5, 1.0)]
    for low, high in itertools.pairwise(rates):
        assert bool((low < high).all())
    assert bool((rates[0] > 0).all() and (rates[-1] < 1).all())


def test_alpha_zero_is_mf_averaged_over_users() -> None:
    method = built("ultd_jl")
    set_rate(method, -80.0)
    assert_close(loss_of(method).detach(), by_hand(method, torch.zeros(2, 6).double()), **EXACT)


def test_alpha_one_uses_no_observed_label() -> None:
    moved = []
    for flip in (False, True):
        one = data()
        one = replace(one, labels=1 - one.labels) if flip else one
        method = built("ultd_jl", one, detach_unbiased_loss=True)
        set_rate(method, 80.0)
        method.step_prediction(Whole(method))
        moved.append({name: table.clone() for name, table in method.prediction.tables.items()})
    for name in moved[0]:
        assert_close(moved[0][name], moved[1][name], **EXACT)
    # With α near 0 the labels do count.
    method = built("ultd_jl", one)
    set_rate(method, -80.0)
    method.step_prediction(Whole(method))
    assert not torch.allclose(method.prediction.tables["users"], moved[0]["users"])


@pytest.mark.parametrize(("constant", "limit"), [(0.2, 1.0), (0.8, 0.0)])
def test_pseudo_labels_oppose_a_constant_prediction(constant: float, limit: float) -> None:
    method = built("ultd_jl", spread=0.0, learning_rate=0.1, penalty=0.0)
    for table in method.prediction.tables.values():
        table.zero_()
    method.prediction.tables["bias"].fill_(float(np.log(constant / (1 - constant))))
    for _ in range(300):
        method.step_pseudo_label(Whole(method))
    everything = Whole(method).everywhere()
    found = torch.sigmoid(method.pseudo_label.fixed(everything))
    assert_close(found, torch.full_like(found, limit), rtol=0, atol=0.02)
    assert not method.prediction.leaves  # f is fixed: nothing of it was recorded


def test_the_penalty_holds_the_pseudo_labels_back() -> None:
    reach = []
    for omega, penalty in (("rows", 0.0), ("rows", 1.0), ("all", 1.0)):
        method = built("ultd_jl", spread=0.0, learning_rate=0.1, penalty=penalty, omega=omega)
        method.prediction.tables["bias"].fill_(-1.0)
        for _ in range(100):
            method.step_pseudo_label(Whole(method))
        reach.append(float(torch.sigmoid(method.pseudo_label.fixed(Whole(method).everywhere())).mean()))
    assert reach[0] > 0.9
    assert reach[1] < 0.8 and reach[2] < 0.8


def test_the_gradient_through_alpha_is_the_closed_form() -> None:
    """α (1 − α) s [err_g − err_r] ∂L_A / ∂θ, weighted over users; nothing of it where it is detached."""
    method = built("ultd_jl")
    full = gradients(method.prediction, loss_of(method))
    method.prediction.leaves = []
    detached = built("ultd_jl", detach_unbiased_loss=True)
    without = gradients(detached.prediction, loss_of(detached))

    arrays = method.user_arrays()
    unbiased, observed = all_unbiased(method), all_observed(method)
    free = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    f = torch.sigmoid(plain_logits(free, observed)).detach()
    g = torch.sigmoid(plain_logits(method.pseudo_label.tables, observed))
    total = torch.zeros(2, dtype=torch.float64)
    error = (torch.sigmoid(plain_logits(free, unbiased)) - unbiased.labels).square()
    m = len(method.data.users.unique())
    for member in range(2):
        for user in method.data.users.unique().tolist():
            own, in_a = method.data.users == user, unbiased.users[member] == user
            if not in_a.any():
                continue
            err_g = (f[member, own] - g[member, own]).square().mean()
            err_r = (f[member, own] - method.data.labels[own]).square().mean()
            alpha, scale = arrays["alpha"][member, user], arrays["scale"][member, user]
            factor = alpha * (1 - alpha) * scale * (err_g - err_r) / m
            total[member] = total[member] + factor * error[member, in_a].mean()
    expected = torch.autograd.grad(total.sum(), list(free.values()))
    for name, slope in zip(free, expected, strict=True):
        assert_close(full[name] - without[name], slope, rtol=1e-8, atol=1e-13)
    assert expected[0].abs().max() > 1e-5


@pytest.mark.parametrize("rate", ["table", "network"])
def test_the_gradient_is_the_numerical_one(rate: str) -> None:
    method = built("ultd_jl", rate=rate, layers=2, users_without="zero")
    loss = loss_of(method)
    step = 1e-6
    for part in (method.prediction, method.rates):
        found = gradients(part, loss)
        for name, table in part.tables.items():
            flat = table.view(2, -1)
            place = int(found[name].reshape(2, -1)[1].abs().argmax())
            ends = []
            for sign in (1, -1):
                flat[1, place] += sign * step
                with torch.no_grad():
                    ends.append(float(loss_of(method)[1]))
                flat[1, place] -= sign * step
            numeric = (ends[0] - ends[1]) / (2 * step)
            if rate == "network" and name == "users":
                continue  # the network reads the embedding as it is: that way no gradient is meant to go
            assert float(found[name].reshape(2, -1)[1, place]) == pytest.approx(numeric, rel=1e-4, abs=1e-8)


def test_the_network_reads_the_embedding_of_f_and_sends_no_gradient_there() -> None:
    method = built("ultd_jl", rate="network", layers=2)
    of, hidden = method.rates.tables, method.prediction.tables["users"]
    for layer in range(3):
        hidden = hidden @ of[f"weight{layer}"] + of[f"bias{layer}"]
        hidden = torch.relu(hidden) if layer < 2 else hidden
    with torch.no_grad():
        arrays = method.user_arrays()
    start = float(np.log(np.e - 1))
    assert_close(arrays["scale"], torch.nn.functional.softplus(start + hidden[..., 0]), **EXACT)
    assert_close(arrays["shift"], hidden[..., 1] - 2, **EXACT)
    assert float(arrays["shift"].std(-1).min()) > 1e-3

    method.prediction.leaves, method.rates.leaves = [], []
    method.platt(torch.arange(6).expand(2, -1))
    assert method.rates.leaves and not method.prediction.leaves


def test_the_rates_learn_with_a_rate_and_an_l2_of_their_own() -> None:
    fields = {"learning_rate": 0.05, "rate_factor": 0.3, "gamma": 0.02, "weight_decay": 0.5}
    method = built("ultd_jl", rate="table", **fields)
    for part, decay in (("rates", 0.02), ("prediction", 0.5), ("pseudo_label", 0.0)):
        assert_close(method.parts[part].adam.weight_decay, torch.full((2,), decay).double())
    before = method.rates.tables["shift"].clone()
    method.step_prediction(Whole(method))
    # Adam's first step has the size of its rate wherever there is a gradient at all.
    moved = (method.rates.tables["shift"] - before).abs()
    assert_close(moved, torch.full_like(moved, 0.05 * 0.3), rtol=1e-3, atol=0)


@pytest.mark.parametrize("rate", ["table", "network"])
@pytest.mark.parametrize("psi_penalty", ["deviation", "literal"])
def test_gamma_draws_to_the_start_or_to_zero(psi_penalty: str, rate: str) -> None:
    """What ψ comes to by its decay alone."""
    fields = {"rate": rate, "psi_penalty": psi_penalty, "rate_start": -1.0}
    method = built("ultd_jl", spread=0.0, gamma=0.1, learning_rate=0.05, rate_factor=1.0, **fields)
    with torch.no_grad():
        start = method.user_arrays()
    assert_close(start["scale"], torch.ones(2, 6).double(), rtol=1e-12, atol=0)
    assert_close(start["shift"], torch.full((2, 6), -1.0).double(), rtol=1e-12, atol=0)

    arrays = stilled(method, steps=300)
    to_scale, to_shift = {"deviation": (1.0, -1.0), "literal": (np.log(2), 0.0)}[psi_penalty]
    assert_close(arrays["scale"], torch.full((2, 6), to_scale).double(), rtol=0, atol=0.02)
    assert_close(arrays["shift"], torch.full((2, 6), to_shift).double(), rtol=0, atol=0.02)


def stilled(method: Any, steps: int) -> dict[str, Tensor]:
    """ψ after steps on a loss of α whose slope is 0."""
    users = torch.arange(6).expand(2, -1)
    ones = torch.ones(2, 6, dtype=torch.float64)
    for _ in range(steps):
        minimise(method.rates, (0 * method.rate(users, ones, ones)).sum(-1))
    with torch.no_grad():
        found: dict[str, Tensor] = method.user_arrays()
    return found


@pytest.mark.parametrize("rate", ["table", "network"])
def test_without_a_penalty_the_readings_of_gamma_are_one(rate: str) -> None:
    found = []
    for psi_penalty in ("deviation", "literal"):
        method = built("ultd_jl", spread=0.0, gamma=0.0, rate=rate, psi_penalty=psi_penalty)
        for _ in range(5):
            method.step(Whole(method))
        found.append(method.user_arrays()["alpha"].detach())
    assert_close(found[0], found[1], **EXACT)
    assert float((found[0] - found[0][:, :1]).abs().max()) > 1e-4


@pytest.mark.parametrize("omega", ["rows", "all"])
def test_the_loss_of_the_pseudo_labels_is_equation_three(omega: str) -> None:
    method = built("ultd_jl", omega=omega, penalty=0.3)
    everything, of = Whole(method).everywhere(), method.pseudo_label.tables
    f, g = (
        torch.sigmoid(plain_logits(part.tables, everything))
        for part in (method.prediction, method.pseudo_label)
    )
    expected = -(f - g).square().mean(-1)
    if omega == "rows":  # over all of D the mean over pairs is the mean over users and over items
        rows = of["users"].square().sum(-1).mean(-1) + of["items"].square().sum(-1).mean(-1)
        biases = of["user_bias"].square().mean(-1) + of["item_bias"].square().mean(-1)
        expected = expected + 0.3 * (rows + biases + of["bias"].squeeze(-1).square())
    method.step_pseudo_label(Whole(method))
    assert_close(method.pseudo_label.mean_loss(), expected, **EXACT)
    decay = 0.3 if omega == "all" else 0.0
    assert_close(method.pseudo_label.adam.weight_decay, torch.full((2,), decay).double())


def test_against_the_exact_maximum_unlearning_never_pays() -> None:
    method = built("ultd_jl", spread=1.0)
    observed = all_observed(method)
    f = torch.sigmoid(method.prediction.fixed(observed))
    for name, table in method.prediction.tables.items():  # the logits of g are those of f, times -1e6
        method.pseudo_label.tables[name].copy_(table if name == "items" else -1e6 * table)
    g = torch.sigmoid(method.pseudo_label.fixed(observed))
    assert_close(g, (f < 0.5).double())
    rate = torch.full_like(f, 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(
        method.unlearning_loss(observed, method.prediction(observed), rate).sum(), rate
    )
    assert bool((slope >= 0).all()) and float(slope.max()) > 0


def test_the_network_starts_at_the_tables_start_and_may_have_layers() -> None:
    for layers in (1, 2, 3):
        method = built("ultd_jl", rate="network", layers=layers, spread=0.0)
        assert len(method.rates.tables) == 2 * (layers + 1)
        arrays = method.user_arrays()
        assert_close(arrays["scale"], torch.ones(2, 6).double(), rtol=1e-9, atol=1e-9)
        assert_close(arrays["shift"], torch.full((2, 6), -2.0).double())
        before = {name: table.clone() for name, table in method.prediction.tables.items()}
        method.step(Whole(method))
        assert bool(method.user_arrays()["shift"].std(-1).min() >= 0)
        assert not torch.equal(before["users"], method.prediction.tables["users"])


def test_without_unbiased_ratings_alpha_is_free_of_a() -> None:
    found = []
    for seed in (0, 1):
        one = data()
        labels = one.unbiased_labels if seed == 0 else 1 - one.unbiased_labels
        method = built("ultd_jl", replace(one, unbiased_labels=labels), no_unbiased=True)
        for _ in range(3):
            method.step(Whole(method))
        found.append(method.prediction.tables["users"].clone())
    assert torch.equal(found[0], found[1])


def test_offered_terms_enter_with_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = built("ultd_jl", detach_unbiased_loss=True)
    more = built("ultd_jl", detach_unbiased_loss=True, unbiased_weight=0.5, missing_weight=0.2)
    whole = Whole(plain)
    base = gradients(plain.prediction, loss_of(plain))
    theta = {name: table.clone().requires_grad_() for name, table in more.prediction.tables.items()}
    unbiased, everything = all_unbiased(more), whole.everywhere()
    extra = 0.5 * (torch.sigmoid(plain_logits(theta, unbiased)) - unbiased.labels).square().mean(-1)
    missing = (torch.sigmoid(plain_logits(theta, everything)) - 0.1).square().mean(-1)
    slopes = torch.autograd.grad((extra + 0.2 * 30 / 14 * missing).sum(), list(theta.values()))
    seen: dict[str, Tensor] = {}

    def spy(parts: Any, loss: Tensor) -> None:
        seen.update(gradients(more.prediction, loss))

    monkeypatch.setattr(methods.ultd, "minimise", spy)
    more.step_prediction(Whole(more))
    for name, slope in zip(theta, slopes, strict=True):
        assert_close(seen[name], base[name] + slope, **EXACT)


def small_run(key: str, **fields: Any) -> Any:
    """A short training of two members through the engine."""
    kind = methods.get(key)
    config = kind.Config(embedding_size=3, batch_size=7, learning_rate=0.05, **fields)
    config.check()
    one = data()
    labels = torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    pairs = torch.tensor([[0, 1, 2, 3]] * 2)
    method = kind([config] * 2, [0, 1], one)
    return train(method, Validation(pairs, pairs, labels), EngineConfig(max_epochs=4), 1)


def test_two_phase_learning_freezes_the_pseudo_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    method = built("ultd_tp")
    assert [phase.name for phase in method.phases()] == ["base", "pseudo-labels", "training"]
    before = {name: table.clone() for name, table in method.pseudo_label.tables.items()}
    for _ in range(3):
        method.phases()[2].step(Whole(method))
    for name, table in method.pseudo_label.tables.items():
        assert torch.equal(table, before[name])

    kind, frozen = methods.get("ultd_tp"), {}
    begin = kind.begin  # type: ignore[attr-defined]

    def noted(self: Any) -> None:
        begin(self)
        frozen.update({name: table.clone() for name, table in self.pseudo_label.tables.items()})

    monkeypatch.setattr(kind, "begin", noted)
    outcome = small_run("ultd_tp", phase_one_steps=5)
    assert float(frozen["bias"].abs().min()) > 0
    for name, table in outcome.method.parts["pseudo_label"].tables.items():
        assert torch.equal(table, frozen[name][:2])  # behind them the copies stopped on halves
    assert [history.name for history in outcome.histories] == ["base", "pseudo-labels", "training"]
    assert outcome.histories[1].steps[-1] == 5
    assert outcome.histories[2].losses["pseudo_label"].isnan().all()


def test_joint_learning_without_g_steps_is_the_second_phase_with_the_initial_g() -> None:
    joint, two = built("ultd_jl", g_steps=0), built("ultd_tp")
    for name, part in joint.parts.items():
        for key, table in part.tables.items():
            two.parts[name].tables[key].copy_(table)
    for _ in range(4):
        joint.step(Whole(joint))
        two.step_prediction(Whole(two))
    for name, part in joint.parts.items():
        for key, table in part.tables.items():
            assert torch.equal(table, two.parts[name].tables[key])


def test_step_ratios_and_restart() -> None:
    method = built("ultd_jl", f_steps=3, g_steps=2)
    (phase,) = method.phases()
    for done in range(1, 7):
        phase.step_at(done - 1)(Whole(method))  # type: ignore[arg-type]
        assert method.prediction.adam.steps == done
        assert method.pseudo_label.adam.steps == 2 * (done // 3)
    restarted = built("ultd_tp", restart=True)
    fresh = built("ultd_tp", spread=0.0)
    restarted.begin()
    assert torch.equal(restarted.prediction.tables["users"], fresh.prediction.tables["users"])


def test_a_step_takes_of_a_at_most_four_batches() -> None:
    method = built("ultd_jl", data(n_unbiased=10), batch_size=1)
    (phase,) = method.phases()
    asked: list[int | None] = []

    class Asked(Whole):
        def unbiased(self, at_most: int | None = None) -> Batch:
            asked.append(at_most)
            return super().unbiased(at_most)

    phase.step(Asked(method))  # type: ignore[arg-type]
    assert asked == [4]


@pytest.mark.parametrize("key", ROWS)
def test_a_record_keeps_whom_it_unlearned(key: str, tmp_path: Path) -> None:
    compose.register()
    small = ("dataset.n_users=30", "dataset.n_items=20", "dataset.ratings_per_user=5", "seeds=2")
    given = [f"method={key}", "dataset=synthetic", "sweep=none", "engine.max_epochs=2", *small]
    config = compose.composed(given)
    cell = cells.prepare(config, cells.load_ratings(config))
    record = cells.train_and_store(cell, tmp_path)
    arrays = store.read_arrays(tmp_path, cell.digest)
    names = ("alpha", "scale", "shift", "unbiased_loss", "has_unbiased", "n_observed")
    alpha, scale, shift, loss, has, n_observed = (arrays[f"user_{name}"] for name in names)
    assert alpha.shape == (2, 30)
    np.testing.assert_allclose(alpha, 1 / (1 + np.exp(-(scale * loss + shift))), rtol=1e-5)
    np.testing.assert_allclose(alpha.mean(1), record.diagnostics["alpha_mean"], rtol=1e-5)
    np.testing.assert_allclose(has.mean(1), record.diagnostics["users_reached"], rtol=1e-5)
    np.testing.assert_array_equal(n_observed[0], np.bincount(cell.ratings.biased.users, minlength=30))


@pytest.mark.parametrize("key", ROWS)
def test_the_defaults_are_the_files(key: str) -> None:
    compose.register()
    written = vars(compose.composed([f"method={key}", "dataset=coat"]).method)
    default = methods.get(key).Config()
    assert default.loss == "mse"
    followed = ("learning_rate", "weight_decay", "batch_size", "embedding_size", "everywhere_ratio")
    for name, value in vars(default).items():
        assert name in followed or written[name] == value, name
