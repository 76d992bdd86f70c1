"""Propensities become weights: formulas, normalisation, the maximum-likelihood fit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import methods
from bench.data import Ratings, config_class, load, yahoo_r3
from bench.engine.part import minimise
from bench.engine.sampling import Batch, TrainingData
from bench.errors import BenchError, MissingData
from methods.weights import in_batch, known, logistic, logistic_propensity, naive_bayes, released

DATA = Path(os.environ.get("BENCH_DATA") or "data")


def data(n_users: int = 30, n_items: int = 20, n: int = 200) -> TrainingData:
    generator = torch.Generator().manual_seed(3)
    cells = torch.randperm(n_users * n_items, generator=generator)[:n]
    a = torch.randint(n_users * n_items, (2, 40), generator=generator)
    a_labels = (torch.rand(2, 40, generator=generator) < torch.tensor([[0.1], [0.5]])).double()
    return TrainingData(
        n_users=n_users,
        n_items=n_items,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1]),
        users=cells // n_items,
        items=cells % n_items,
        labels=(torch.rand(n, generator=generator) < 0.6).double(),
        unbiased_users=a // n_items,
        unbiased_items=a % n_items,
        unbiased_labels=a_labels,
        propensity=torch.rand(n_users, n_items, generator=generator, dtype=torch.float64) * 0.9 + 0.01,
        released_propensity=torch.rand(n_users, n_items, generator=generator, dtype=torch.float64) + 0.01,
    )


def training(ratings: Ratings) -> TrainingData:
    """The observed ratings of a data set, in float64, beside two members' A without a meaning."""
    users, items = (torch.from_numpy(ids) for ids in (ratings.biased.users, ratings.biased.items))
    return replace(
        data(),
        n_users=ratings.n_users,
        n_items=ratings.n_items,
        users=users,
        items=items,
        labels=torch.from_numpy(ratings.biased.values >= 3).double(),
        propensity=None,
        released_propensity=None
        if ratings.released_propensity is None
        else torch.from_numpy(ratings.released_propensity).double(),
    )


def real(name: str) -> Ratings:
    """A data set's own files; where they are absent the test is skipped with the loader's words."""
    try:
        return load(config_class(name)(name=name), DATA)
    except MissingData as missing:
        pytest.skip(str(missing))


def all_observed(data: TrainingData) -> Batch:
    def both(values: torch.Tensor) -> torch.Tensor:
        return values.expand(2, -1)

    labels = both(data.labels)
    return Batch(both(data.users), both(data.items), labels, torch.ones_like(labels))


CLIP = torch.tensor([10.0, 10.0], dtype=torch.float64)


def test_naive_bayes_weights_are_the_ratio_of_shares() -> None:
    one = data()
    weights = naive_bayes(one, CLIP).values
    pi = float(one.labels.mean())
    for member in range(2):
        q = (float(one.unbiased_labels[member].sum()) + 1) / (40 + 2)
        assert weights[member].tolist() == pytest.approx([(1 - q) / (1 - pi), q / pi], rel=1e-12)
    # Plain inverse propensities p(o = 1 | r) = P(r | o) P(o) / P(r) sum to |D| over O.
    assert (1 / one.density / naive_bayes(one, CLIP)(all_observed(one))).isfinite().all()


@pytest.mark.parametrize("make", [naive_bayes, logistic, known, released])
@pytest.mark.parametrize("clip", [1.2, 3.0, 1000.0])
def test_weights_have_mean_one_over_the_observed_and_the_clip_binds(make, clip: float) -> None:
    one = data()
    weights = make(one, torch.full((2,), clip, dtype=torch.float64))(all_observed(one))
    assert weights.mean(-1).tolist() == pytest.approx([1, 1], rel=1e-9)
    free = make(one, torch.full((2,), 1e9, dtype=torch.float64))(all_observed(one))
    for member in range(2):
        below = free[member] < clip
        ratio = weights[member] / free[member]
        # Below the clip all weights grow by one factor; above it they are all the largest.
        assert float(ratio[below].max() - ratio[below].min()) < 1e-9
        assert bool((weights[member][~below] == weights[member].max()).all())


def test_one_class_only_in_a_gives_finite_weights() -> None:
    one = data()
    one = replace(one, unbiased_labels=torch.zeros_like(one.unbiased_labels))
    weights = naive_bayes(one, CLIP).values
    assert bool((weights > 0).all()) and bool(weights.isfinite().all())


def test_the_logistic_fit_reproduces_every_users_and_items_number_of_ratings() -> None:
    """The score equations of the maximum-likelihood fit."""
    assert_every_count_is_reproduced(data(n=250))


def assert_every_count_is_reproduced(one: TrainingData) -> None:
    """Of users and of items, none of whom has no rating or all of them."""
    user, item = logistic_propensity(one)
    p = torch.sigmoid(user[:, None] + item)
    for found, index, other in ((p.sum(1), one.users, one.n_items), (p.sum(0), one.items, one.n_users)):
        counts = torch.bincount(index, minlength=len(found)).double()
        assert float(counts.min()) > 0 and float(counts.max()) < other
        torch.testing.assert_close(found, counts, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["coat", "yahoo_r3"])
def test_the_logistic_fit_of_real_ratings_reproduces_every_count(name: str) -> None:
    assert_every_count_is_reproduced(training(real(name)))


def test_an_item_that_a_third_of_all_users_rated_does_not_blow_the_fit_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the form of Yahoo! R3's, sparse but for one song."""
    random, n_users, n_items = np.random.default_rng(0), 900, 200
    rated = random.random((n_users, n_items)) < 0.01
    rated[:, 7] = random.random(n_users) < 1 / 3
    rated[np.arange(n_users), np.arange(n_users) % n_items] = True  # nobody, and no song, without a rating
    users, items = np.nonzero(rated)
    rows = [
        f"{user + 1}\t{item + 1}\t{1 + (user + item) % 5}\n" for user, item in zip(users, items, strict=True)
    ]
    (tmp_path / "yahoo_r3").mkdir()
    files = []
    for file in (yahoo_r3.MANIFEST.train, yahoo_r3.MANIFEST.test):
        (tmp_path / "yahoo_r3" / file.file).write_text("".join(rows))
        files.append(replace(file, rows=len(rows), users=(1, n_users), items=(1, n_items), sha256=""))
    manifest = yahoo_r3.Manifest(n_users=n_users, n_items=n_items, train=files[0], test=files[1])
    monkeypatch.setattr(yahoo_r3, "MANIFEST", manifest)
    assert_every_count_is_reproduced(training(yahoo_r3.load(yahoo_r3.Config(name="yahoo_r3"), tmp_path)))


def test_none_and_all_of_the_ratings_have_finite_terms() -> None:
    one = data()
    cells = torch.arange(600)
    for chosen in (cells, cells[cells // 20 > 0], cells[cells % 20 == 3]):
        terms = logistic_propensity(replace(one, users=chosen // 20, items=chosen % 20))
        assert all(bool(term.isfinite().all()) for term in terms)


def test_released_propensities_are_those_of_the_release() -> None:
    """Coat's: 1 / p sums to about |D| over O."""
    ratings = real("coat")
    if ratings.released_propensity is None:
        pytest.skip("propensities.ascii is absent")
    one = training(ratings)
    weights = released(one, CLIP * 1e9)
    assert weights.propensity(all_observed(one))[1, 0] == one.released_propensity[one.users[0], one.items[0]]
    assert float((1 / weights.propensity(all_observed(one))).mean() * one.density) == pytest.approx(
        1.04, abs=0.005
    )


@pytest.mark.parametrize("key", ["ips", "dr", "dr_jl"])
def test_released_propensities_where_there_are_none_are_refused(key: str) -> None:
    one = replace(data(), released_propensity=None)
    kind = methods.get(key)
    with pytest.raises(BenchError, match=r"^method\.propensity=released needs .*: only Coat's release has"):
        kind([kind.Config(propensity="released")] * 2, [0, 1], one)


def test_ips_with_equal_weights_is_mf() -> None:
    """Where A has O's share of positives, naive Bayes changes nothing."""
    one = data()
    share = float(one.labels.mean())
    labels = torch.zeros(1, 998, dtype=torch.float64)
    labels[0, : round(share * 1000 - 1)] = 1
    empty = torch.zeros(1, 998, dtype=torch.int64)
    one = replace(
        one,
        seeds=(0,),
        seed_row=torch.tensor([0]),
        unbiased_users=empty,
        unbiased_items=empty,
        unbiased_labels=labels,
    )
    found = []
    for key in ("mf", "ips"):
        kind = methods.get(key)
        method = kind([kind.Config(embedding_size=3)], [0], one)
        batch = Batch(one.users[None], one.items[None], one.labels[None], torch.ones(1, len(one.labels)))

        class Whole:
            def observed(self, batch: Batch = batch) -> Batch:
                return batch

        for _ in range(5):
            method.step(Whole())  # type: ignore[arg-type]
        found.append(method.prediction.tables["users"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_mf_gradient_is_autograds() -> None:
    one = data()
    kind = methods.get("mf")
    method = kind([kind.Config(embedding_size=3)] * 2, [0, 1], one)
    batch = all_observed(one)
    tables = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    logits = torch.stack(
        [
            (tables["users"][g][one.users] * tables["items"][g][one.items]).sum(-1)
            + tables["user_bias"][g][one.users]
            + tables["item_bias"][g][one.items]
            + tables["bias"][g]
            for g in range(2)
        ]
    )
    torch.testing.assert_close(method.prediction(batch), logits)
    expected = torch.autograd.grad(
        method.pointwise(logits, batch.labels).mean(-1).sum(), list(tables.values())
    )
    part = method.prediction
    part.leaves = []
    loss = method.pointwise(part(batch), batch.labels).mean(-1)
    (slope,) = torch.autograd.grad(loss.sum(), [part.leaves[-1].value], retain_graph=True)
    part.leaves[-1].pull(slope, part.adam.gradients)
    for (name, found), gradient in zip(part.adam.gradients.items(), expected, strict=True):
        torch.testing.assert_close(found, gradient, msg=name)
        found.zero_()
    minimise(part, loss)
    assert part.leaves == []


def test_the_push_of_a_leaf_is_the_transpose_of_its_pull() -> None:
    one = data()
    kind = methods.get("mf")
    method = kind([kind.Config(embedding_size=3)] * 2, [0, 1], one)
    part = method.prediction
    batch = all_observed(one)
    for make in (lambda: part(batch), lambda: part.rows("users", batch.users), lambda: part.whole("bias")):
        value = make()
        leaf = part.leaves[-1]
        generator = torch.Generator().manual_seed(1)
        slope = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        direction = {
            name: torch.randn(table.shape, generator=generator, dtype=torch.float64)
            for name, table in part.tables.items()
        }
        pulled = {name: torch.zeros_like(table) for name, table in part.tables.items()}
        leaf.pull(slope, pulled)
        left = sum(float((pulled[name] * direction[name]).sum()) for name in pulled)
        right = float((slope * leaf.push(direction)).sum())
        assert left == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_propensity_that_underflows_leaves_numbers(dtype: torch.dtype) -> None:
    """1 / 0 is the limit of ever smaller propensities: that pair has the whole weight, the others none."""
    logits = torch.tensor([[-800.0, -2.0, -1.0, -3.0], [-2.0, -2.0, -1.0, -3.0]], dtype=dtype)
    weights = in_batch(1 / torch.sigmoid(logits), torch.tensor([10.0, 10.0], dtype=dtype))
    assert_close(weights[0], torch.tensor([4.0, 0.0, 0.0, 0.0], dtype=dtype), rtol=1e-6, atol=1e-12)
    usual = 1 / torch.sigmoid(logits[1])
    assert_close(weights[1], usual / usual.mean())
    none = in_batch(torch.full((1, 3), torch.inf, dtype=dtype), torch.tensor([10.0], dtype=dtype))
    assert_close(none, torch.ones(1, 3, dtype=dtype))
