"""Res-IPS and Res-DR: what is left without residuals, the consistency term, and the theory behind both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from bench.engine.sampling import Batch, Pairs
from methods.res_ips import residual
from tests.methods.small import Whole, all_observed, all_unbiased, built, gradients, plain_logits, stir

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far

STILL = 1e-30  # a learning rate that moves nothing
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def still(key: str, **fields: Any) -> Any:
    """A method whose residuals are 0 and whose propensity stays."""
    method = built(key, spread=0.0, propensity_learning_rate=STILL, learning_rate=0.05, **fields)
    for name in ("prediction", "propensity", "imputation"):
        if name in method.parts:
            generator = torch.Generator().manual_seed(len(name))
            for table in method.parts[name].tables.values():
                table.add_(0.4 * torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return method


def nominal_weights(method: Any) -> Tensor:
    p = torch.sigmoid(plain_logits(method.propensity.tables, all_observed(method)))
    inverse = 1 / p.clamp_min(0.25 * 14 / 30)
    return inverse / inverse.mean(-1, keepdim=True)


def free(part: Any) -> dict[str, Tensor]:
    return {name: table.clone().requires_grad_() for name, table in part.tables.items()}


def test_without_beta_gamma_and_residual_res_ips_is_ips() -> None:
    method = still("res_ips", beta=0.0, gamma=0.0)
    theta, weights, observed = free(method.prediction), nominal_weights(method), all_observed(method)
    optimiser = torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4)
    for _ in range(4):
        optimiser.zero_grad()
        error = method.pointwise(plain_logits(theta, observed), observed.labels)
        (weights * error).mean(-1).sum().backward()
        optimiser.step()
        method.step(Whole(method))
    for name, table in method.prediction.tables.items():
        assert_close(table, theta[name].detach(), **EXACT)


def test_beta_adds_the_unbiased_ratings_own_loss() -> None:
    method = still("res_ips", beta=0.3, gamma=0.0)
    theta, weights, observed = free(method.prediction), nominal_weights(method), all_observed(method)
    unbiased = all_unbiased(method)
    error = method.pointwise(plain_logits(theta, observed), observed.labels)
    on_a = method.pointwise(plain_logits(theta, unbiased), unbiased.labels)
    ((weights * error).mean(-1) + 0.3 * on_a.mean(-1)).sum().backward()
    torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4).step()
    method.step(Whole(method))
    for name, table in method.prediction.tables.items():
        assert_close(table, theta[name].detach(), **EXACT)


def test_without_beta_gamma_and_residual_res_dr_is_dr_jl() -> None:
    method = still("res_dr", beta=0.0, gamma=0.0, imputation_learning_rate=0.02)
    theta, g = free(method.prediction), free(method.imputation)
    weights, whole = nominal_weights(method), Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    first = torch.optim.Adam(g.values(), lr=0.02, weight_decay=1e-4)
    second = torch.optim.Adam(theta.values(), lr=0.05, weight_decay=1e-4)
    for _ in range(3):
        first.zero_grad()
        second.zero_grad()
        f = plain_logits(theta, observed).detach()
        label = torch.sigmoid(plain_logits(g, observed))
        gap = method.pointwise(f, observed.labels) - method.pointwise(f, label)
        (weights * gap.square()).mean(-1).sum().backward()
        first.step()
        fixed = {name: table.detach() for name, table in g.items()}
        f, f_d = plain_logits(theta, observed), plain_logits(theta, everything)
        direct = method.pointwise(f_d, torch.sigmoid(plain_logits(fixed, everything))).mean(-1)
        e_hat = method.pointwise(f, torch.sigmoid(plain_logits(fixed, observed)))
        error = method.pointwise(f, observed.labels)
        (direct + (weights * (error - e_hat)).mean(-1)).sum().backward()
        second.step()
        method.step(whole)
    for part, expected in ((method.imputation, g), (method.prediction, theta)):
        for name, table in part.tables.items():
            assert_close(table, expected[name].detach(), **EXACT)


@pytest.mark.parametrize("key", ["res_ips", "res_dr"])
def test_residuals_start_at_zero_and_move_with_gamma(key: str) -> None:
    method = still(key, gamma=0.1)
    part, observed = method.residual, all_observed(method)
    assert not part(torch.randn(2, 7, 6, dtype=torch.float64)).any()
    if key == "res_dr":
        label, rho = method.imputed_labels(observed)
        assert not rho.any() and torch.equal(label, torch.sigmoid(method.imputation(observed)))
    method.step(Whole(method))
    assert bool(part(torch.randn(2, 7, 6, dtype=torch.float64)).any())
    if key == "res_dr":
        assert bool(method.correction(torch.randn(2, 7, 6, dtype=torch.float64)).any())


def test_the_consistency_has_the_gradient_of_the_squared_gap() -> None:
    """2 · gap · ∂E, by finite differences, where the running mean has arrived at the gap."""
    method = built("res_ips", spread=0.3)
    observed, unbiased = all_observed(method), all_unbiased(method)
    error = method.pointwise(method.prediction.fixed(observed), observed.labels)
    on_a = method.pointwise(method.prediction.fixed(unbiased), unbiased.labels).mean(-1)

    def estimate() -> Tensor:
        weights = method.weights(observed, residual(method.residual, method.propensity, observed))
        return (weights * error).mean(-1)

    with torch.no_grad():
        method.gap = estimate() - on_a
    value = estimate()
    surrogate = method.consistency(value, on_a)
    assert_close(method.gap, (value - on_a).detach())
    step = 1e-6
    for part in (method.propensity, method.residual):
        found = gradients(part, surrogate)
        for name, table in part.tables.items():
            flat = table.view(2, -1)
            place = int(found[name].view(2, -1)[0].abs().argmax())
            ends = []
            for sign in (1, -1):
                flat[0, place] += sign * step
                with torch.no_grad():
                    ends.append(float((estimate() - on_a).square()[0]))
                flat[0, place] -= sign * step
            numeric = (ends[0] - ends[1]) / (2 * step)
            assert float(found[name].view(2, -1)[0, place]) == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_the_running_gap_forgets_with_its_momentum() -> None:
    method = built("res_ips")
    one = torch.ones(2, dtype=torch.float64)
    for expected in (0.1, 0.19, 0.271):
        method.consistency(2 * one, one)
        assert_close(method.gap, expected * one)


def test_the_calibration_teaches_the_correction_on_a() -> None:
    method = still("res_dr", gamma=10.0, beta=0.0, imputation_learning_rate=STILL)
    unbiased = all_unbiased(method)

    def gap() -> float:
        f = method.prediction.fixed(unbiased)
        with torch.no_grad():
            label, _ = method.imputed_labels(unbiased)
        return float((method.pointwise(f, unbiased.labels) - method.pointwise(f, label)).square().mean())

    method.prediction.adam.learning_rate = torch.full((2,), STILL, dtype=torch.float64)
    before = gap()
    for _ in range(60):
        method.step(Whole(method))
    assert gap() < 0.7 * before


class Confounded:
    """A finite population in which a hidden h in {0, 1} drives both selection and label, counted exactly.

    For each pair x and each h there are 100 units: selected of them are observed, and of those, as of the
    100, the same share is positive, so given x and h selection and label are independent. All expectations
    of the theory are then means over units. A predictor that expects positives errs less where it is seen.
    """

    def __init__(self, key: str) -> None:
        self.method = method = built(key, spread=0.0, embedding_size=5)
        generator = torch.Generator().manual_seed(2)

        def tens(low: int, high: int) -> Tensor:
            return 10 * torch.randint(low, high, (30,), generator=generator)

        selected = torch.stack([tens(2, 4), tens(5, 9)], 1)  # (x, h) of 100
        positive = torch.stack([tens(1, 4), tens(5, 9)], 1)  # percent
        logit = 0.5 + torch.rand(30, generator=generator).double()
        error = torch.stack([method.pointwise(logit, torch.full_like(logit, r)) for r in (0.0, 1.0)], -1)
        rows = []  # (x, o, r) of every unit
        for x in range(30):
            for h in range(2):
                k, share = int(selected[x, h]), int(positive[x, h])
                for o, n in ((1, k), (0, 100 - k)):
                    liked = n * share // 100
                    assert liked * 100 == n * share
                    rows += [(x, o, 1)] * liked + [(x, o, 0)] * (n - liked)
        self.x, o, r = torch.tensor(rows).T
        self.error, self.seen = error[self.x, r], o == 1
        self.p = self.mean_of_x(o.double())
        self.e = self.mean_of_x(self.error)  # E[e | x]
        self.e1 = self.mean_of_x(self.error * o) / self.p  # E[e | x, o = 1]
        self.p_star = self.mean_of_x(self.error * o) / self.e
        self.ideal = self.error.mean()
        # The nominal model is right: s = logit p, a table written as users times the unit matrix.
        method.propensity.tables["users"].copy_(torch.logit(self.p).view(6, 5).expand(2, -1, -1))
        method.propensity.tables["items"].copy_(torch.eye(5, dtype=torch.float64).expand(2, -1, -1))
        method.propensity.tables["bias"].zero_()
        x, labels = self.x[self.seen].expand(2, -1), r[self.seen].double().expand(2, -1)
        self.observed = Batch(x // 5, x % 5, labels, torch.ones_like(labels))

    def mean_of_x(self, values: Tensor) -> Tensor:
        return torch.zeros(30, dtype=torch.float64).index_add_(0, self.x, values.double()) / 200

    def inverse(self, p: Tensor) -> Tensor:
        """1 / p̃ of the observed units, by the method, whose residual takes the nominal p to this p."""
        delta = (torch.logit(p) - torch.logit(self.p))[self.observed.users * 5 + self.observed.items]
        return self.method.inverse(self.method.propensity.fixed(self.observed) + delta)

    def estimate(self, p: Tensor, imputed: Tensor) -> Tensor:
        """(1 / |D|) [Σ_D ẽ + Σ_O (e − ẽ) / p̃]."""
        missed = self.error[self.seen] - imputed[self.x[self.seen]]
        return imputed.mean() + (self.inverse(p) * missed).sum(-1)[0] / len(self.x)

    def self_normalised(self, p: Tensor) -> Tensor:
        delta = (torch.logit(p) - torch.logit(self.p))[self.observed.users * 5 + self.observed.items]
        weights = self.method.weights(self.observed, delta)
        return (weights * self.error[self.seen]).mean(-1)


def test_the_oracle_residual_repairs_ips_under_confounding() -> None:
    population = Confounded("res_ips")
    p, e, e1, p_star = population.p, population.e, population.e1, population.p_star
    nothing = torch.zeros_like(e)
    assert float(population.ideal - population.estimate(p, nothing)) > 0.05  # nominal IPS is biased
    assert_close(p_star / p, e1 / e)
    assert_close(population.estimate(p_star, nothing), population.ideal, **EXACT)
    # L_con on that scale, (E − E_A)², is 0 there.
    assert float((population.estimate(p_star, nothing) - population.ideal).square()) < 1e-20
    # The self-normalised E that the rows use does not know p̃'s scale: at p̃* it is off by E[ē / ē1].
    expected = population.ideal / (e / e1).mean()
    found = population.self_normalised(p_star).detach()
    assert_close(found, expected.expand(2), **EXACT)
    assert_close(population.self_normalised(0.9 * p_star).detach(), found, **EXACT)
    assert float((found - population.ideal).abs().min()) > 0.02


def test_under_confounding_no_pair_of_oracles_repairs_dr() -> None:
    """E_DR's expectation is ẽ + (p / p̃)(ē1 − ẽ): p̃* is right for ẽ = 0 only, ẽ = ē for no p̃."""
    population = Confounded("res_dr")
    p, e, e1, p_star = population.p, population.e, population.e1, population.p_star
    for imputed in (e1, e):  # of whatever imputation: nominal propensities give the bias of IPS back
        assert_close(population.estimate(p, imputed), e1.mean(), **EXACT)
    both = population.estimate(p_star, e)
    assert_close(both, (e + e * (1 - e / e1)).mean(), **EXACT)
    assert float((both - population.ideal).abs()) > float((e1.mean() - population.ideal).abs())
    # What a residual must find beside a given imputation:
    imputed = 0.3 * e1
    repaired = p * (e1 - imputed) / (e - imputed)
    assert_close(population.estimate(repaired, imputed), population.ideal, **EXACT)


@pytest.mark.parametrize("key", ["res_ips", "res_dr"])
def test_the_consistency_narrows_the_gap_to_a(key: str) -> None:
    """With θ at rest, γ alone brings E towards E_A; the floor bounds the weights, so not always to it."""
    fields = {"imputation_learning_rate": STILL} if key == "res_dr" else {}
    method = still(key, beta=0.0, gamma=100.0, **fields)
    method.prediction.adam.learning_rate = torch.full((2,), STILL, dtype=torch.float64)
    observed, unbiased, everything = all_observed(method), all_unbiased(method), Whole(method).everywhere()

    @torch.no_grad()
    def gap() -> Tensor:
        weights = method.weights(observed, residual(method.residual, method.propensity, observed))
        missed = method.pointwise(method.prediction(observed), observed.labels)
        direct = torch.zeros(2, dtype=torch.float64)
        if key == "res_dr":
            label, label_d = (method.imputed_labels(each)[0] for each in (observed, everything))
            missed = missed - method.pointwise(method.prediction(observed), label)
            direct = method.pointwise(method.prediction(everything), label_d).mean(-1)
        on_a = method.pointwise(method.prediction(unbiased), unbiased.labels).mean(-1)
        return direct + (weights * missed).mean(-1) - on_a

    before = gap()
    for _ in range(75):
        method.step(Whole(method))
    assert bool((before.abs() > 0.02).all())
    assert bool((gap().abs() < 0.6 * before.abs()).all())


def network(tables: dict[str, Tensor], rows: dict[str, Tensor], pairs: Pairs) -> Tensor:
    """A residual network's formula in plain autograd."""
    g = torch.arange(2).unsqueeze(-1)
    inputs = torch.cat([rows["users"][g, pairs.users], rows["items"][g, pairs.items]], -1)
    hidden = (inputs @ tables["weight0"] + tables["bias0"]).clamp_min(0)
    return (hidden @ tables["weight1"] + tables["bias1"]).squeeze(-1)


@pytest.mark.parametrize("key", ["res_ips", "res_dr"])
def test_whole_steps_are_the_formulas_of_the_docstring(key: str) -> None:
    """Every loss with β, γ and residuals at work, by plain autograd and torch's Adam, four steps long."""
    beta, gamma, rate = 0.3, 0.7, {"prediction": 0.05, "residual": 0.05, "correction": 0.05}
    rate |= {"propensity": 0.02, "imputation": 0.03}
    fields = {"imputation_learning_rate": rate["imputation"]} if key == "res_dr" else {}
    method = built(key, beta=beta, gamma=gamma, learning_rate=0.05, propensity_learning_rate=0.02, **fields)
    decay = dict.fromkeys(rate, 1e-4) | {"propensity": 1e-4}
    tables = {name: free(part) for name, part in method.parts.items()}
    adam = {
        name: torch.optim.Adam(each.values(), lr=rate[name], weight_decay=decay[name])
        for name, each in tables.items()
    }
    whole = Whole(method)
    observed, everything, unbiased = whole.observed(), whole.everywhere(), whole.unbiased()
    trains = (~method.held_out.holds(everything)).double()
    theta, psi, xi = (tables[name] for name in ("prediction", "propensity", "residual"))
    omega, zeta = tables.get("imputation"), tables.get("correction")
    gap = torch.zeros(2, dtype=torch.float64)

    def take(names: tuple[str, ...], loss: Tensor) -> None:
        for name in names:
            adam[name].zero_grad()
        leaves = [table for name in names for table in tables[name].values()]
        for leaf, slope in zip(leaves, torch.autograd.grad(loss.sum(), leaves), strict=True):
            leaf.grad = slope
        for name in names:
            adam[name].step()

    def weights() -> tuple[Tensor, Tensor]:
        delta = network(xi, psi, observed)
        p = torch.sigmoid(plain_logits(psi, observed) + delta).clamp_min(0.25 * 14 / 30)
        return (1 / p) / (1 / p).mean(-1, keepdim=True), delta

    def imputed(batch: Batch) -> Tensor:
        """ẽ as a function of θ, ω and ζ; 0 for Res-IPS."""
        if omega is None or zeta is None:
            return torch.zeros_like(batch.labels)
        label = torch.sigmoid(plain_logits(omega, batch) + network(zeta, omega, batch))
        return method.pointwise(plain_logits(theta, batch), label)

    def estimate(w: Tensor) -> Tensor:
        error = method.pointwise(plain_logits(theta, observed), observed.labels)
        return imputed(everything).mean(-1) + (w * (error - imputed(observed))).mean(-1)

    for _ in range(4):
        error = method.pointwise(plain_logits(theta, observed), observed.labels).detach()
        error_a = method.pointwise(plain_logits(theta, unbiased), unbiased.labels)
        bce = torch.nn.functional.binary_cross_entropy_with_logits(
            plain_logits(psi, everything), everything.observed, reduction="none"
        )
        w, delta = weights()
        gap = 0.9 * gap + 0.1 * (estimate(w) - error_a.mean(-1)).detach()
        consistency = 2 * gap * estimate(w)
        prop = (trains * bce).sum(-1) / trains.sum(-1)
        loss = prop + gamma * consistency + 1e-4 * delta.square().mean(-1)
        take(("propensity", "residual"), loss)
        w = weights()[0].detach()
        if omega is not None and zeta is not None:
            nominal = torch.sigmoid(plain_logits(omega, observed))
            e_hat = method.pointwise(plain_logits(theta, observed).detach(), nominal)
            shared = 2 * gap * estimate(w) + (error_a.detach() - imputed(unbiased)).square().mean(-1)
            rho = network(zeta, omega, observed)
            loss = (w * (error - e_hat).square()).mean(-1) + gamma * shared
            take(("imputation", "correction"), loss + 1e-4 * rho.square().mean(-1))
        take(("prediction",), estimate(w) + beta * error_a.mean(-1))
        method.step(whole)
        assert_close(method.gap, gap, **EXACT)
    for name, part in method.parts.items():
        for table, values in part.tables.items():
            assert_close(values, tables[name][table].detach(), **EXACT)


def test_stirred_residuals_reach_the_weights() -> None:
    method = still("res_ips")
    before = method.weights(all_observed(method), torch.zeros(2, 14, dtype=torch.float64))
    assert_close(before, nominal_weights(method))
    stir(method, 0.5)
    delta = residual(method.residual, method.propensity, all_observed(method))
    assert not torch.allclose(method.weights(all_observed(method), delta), before)
    assert_close(method.weights(all_observed(method), delta).mean(-1), torch.ones(2, dtype=torch.float64))
