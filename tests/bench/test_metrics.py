"""Metrics against scikit-learn and a plain definition, with ties, empty users and short lists."""

from __future__ import annotations

import inspect
import math

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from bench.errors import BenchError
from bench.metrics import _TIE_SEED, NO_POSITIVE, Ranking, auc, evaluate, summarise


def plain_ranking(users, scores, labels, k, no_positive):
    """NDCG@K and Recall@K as protocol and textbooks write them, one user at a time; no ties."""
    ndcg, recall = [], []
    for user in sorted(set(users)):
        rows = sorted((row for row in range(len(users)) if users[row] == user), key=lambda row: -scores[row])
        n_positive = sum(labels[row] for row in rows)
        if n_positive == 0:
            if no_positive != "skip":
                ndcg.append(1.0 if no_positive == "one" else 0.0)
                recall.append(0.0)
            continue
        gain = sum(labels[row] / math.log2(rank + 2) for rank, row in enumerate(rows[:k]))
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, n_positive)))
        ndcg.append(gain / ideal)
        recall.append(sum(labels[row] for row in rows[:k]) / n_positive)
    if not ndcg:
        return math.nan, math.nan
    return sum(ndcg) / len(ndcg), sum(recall) / len(recall)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6), convention=st.sampled_from(["skip", "one", "zero"]))
def test_rankings_follow_the_plain_definition(seed: int, k: int, convention: str) -> None:
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 8, 40)
    labels = (rng.random(40) < 0.25).astype(int)
    scores = rng.permutation(40) / 40.0
    found = evaluate(users, scores, labels, k, convention)
    expected = plain_ranking(users.tolist(), scores.tolist(), labels.tolist(), k, convention)
    assert (found["ndcg"], found["recall"]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), levels=st.integers(1, 20))
def test_auc_is_scikit_learns_with_any_ties(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (3, 50)) / 7.0
    labels = (rng.random((3, 50)) < 0.4).astype(int)
    labels[:, :2] = [0, 1]
    found = auc(torch.as_tensor(scores), torch.as_tensor(labels))
    for member in range(3):
        assert float(found[member]) == pytest.approx(roc_auc_score(labels[member], scores[member]), abs=1e-12)


def test_reference_values() -> None:
    users, labels = np.zeros(9, int), np.array([1] * 7 + [0] * 2)
    perfect = evaluate(users, np.arange(9)[::-1].astype(float), labels, 5)
    assert perfect == {"auc": 1.0, "ndcg": pytest.approx(1.0), "recall": pytest.approx(5 / 7)}
    assert evaluate(users, np.zeros(9), labels, 5)["auc"] == 0.5


def test_the_signature_is_frozen() -> None:
    parameters = inspect.signature(evaluate).parameters.values()
    assert [each.name for each in parameters] == ["users", "scores", "labels", "k", "no_positive"]
    assert [each.default for each in parameters][3:] == [inspect.Parameter.empty, "skip"]
    assert list(evaluate(np.zeros(2), np.arange(2.0), np.arange(2), 1)) == ["auc", "ndcg", "recall"]


def test_members_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    users, labels = rng.integers(0, 20, 200), rng.integers(0, 2, 200)
    scores = rng.random((4, 200))
    together = evaluate(users, scores, labels, 5)
    for member in range(4):
        alone = evaluate(users, scores[member], labels, 5)
        assert {name: value[member] for name, value in together.items()} == alone


def test_a_nan_member_leaves_the_others_alone() -> None:
    scores = torch.tensor([[0.1, 0.9], [torch.nan, 0.5]])
    found = auc(scores, torch.tensor([0, 1]))
    assert found[0] == 1.0
    assert found[1].isnan()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0, 0], [0.1, 0.2], [0, 1], 0), "k "),
        (([0, 0], [0.1, 0.2], [0, 2], 1), "must be 0 or 1"),
        (([0, 0], [0.1, math.nan], [0, 1], 1), "NaN"),
        (([0, 0], [0.1], [0, 1], 1), "scores"),
        (([0, 0], [0.1, 0.2], [0, 1], 1, "skp"), "skip"),
    ],
)
def test_bad_input_gets_one_sentence(arguments: tuple, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        evaluate(*arguments)


def candidates(seed: int, n: int = 40, n_users: int = 8) -> tuple:
    """Users (some of them without a positive or with few candidates), labels and scores without ties."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_users, n), (rng.random(n) < 0.25).astype(int), rng.permutation(n) / n


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6), levels=st.integers(1, 4))
def test_ties_keep_the_order_of_the_seeded_permutation(seed: int, k: int, levels: int) -> None:
    users, labels, scores = candidates(seed)
    scores = np.floor(scores * levels)
    permutation = np.random.default_rng(_TIE_SEED).permutation(len(users))
    place = np.argsort(permutation) / 1e6  # earlier in the permutation wins, and only among equal scores
    found = evaluate(users, scores, labels, k)
    expected = plain_ranking(
        users.tolist(), (scores - place).tolist(), labels.tolist(), k, no_positive="skip"
    )
    assert (found["ndcg"], found["recall"]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_constant_scores_gain_nothing_from_the_order_of_the_file() -> None:
    users, labels = np.repeat(np.arange(400), 10), np.tile([1] + [0] * 9, 400)
    assert evaluate(users, np.zeros(4000), labels, 5)["recall"] == pytest.approx(0.5, abs=0.08)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12), convention=st.sampled_from(["skip", "zero"]))
def test_ndcg_is_scikit_learns_without_ties(seed: int, k: int, convention: str) -> None:
    users, labels, scores = candidates(seed)
    per_user = [
        ndcg_score([labels[users == user]], [scores[users == user]], k=k)
        for user in np.unique(users)
        if (users == user).sum() > 1 and (convention == "zero" or labels[users == user].any())
    ]
    enough = np.isin(users, [user for user in np.unique(users) if (users == user).sum() > 1])
    found = evaluate(users[enough], scores[enough], labels[enough], k, convention)["ndcg"]
    assert found == pytest.approx(np.mean(per_user) if per_user else math.nan, abs=1e-12, nan_ok=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12))
def test_trec_eval_agrees_user_by_user(seed: int, k: int) -> None:
    users, labels, scores = candidates(seed)
    run, truth = [], []
    for item, (user, label, score) in enumerate(zip(users, labels, scores, strict=True)):
        run.append(ir_measures.ScoredDoc(f"u{user}", f"i{item}", float(score)))
        truth.append(ir_measures.Qrel(f"u{user}", f"i{item}", int(label)))
    expected = {"nDCG": {}, "R": {}}
    for entry in ir_measures.iter_calc([ir_measures.nDCG @ k, ir_measures.R @ k], truth, run):
        expected[entry.measure.NAME][entry.query_id] = entry.value
    ranking = Ranking(users, labels, k)
    for name, values in zip(("nDCG", "R"), ranking.per_user(scores), strict=True):
        for user, n_positive, value in zip(ranking.user_ids, ranking.n_positive, values, strict=True):
            if n_positive:
                assert value == pytest.approx(expected[name][f"u{user}"], abs=1e-9)
            else:
                assert math.isnan(value)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6), convention=st.sampled_from(sorted(NO_POSITIVE)))
def test_order_of_candidates_and_scale_of_scores_do_not_count(seed: int, k: int, convention: str) -> None:
    users, labels, scores = candidates(seed)
    expected = evaluate(users, scores, labels, k, convention)
    order = np.random.default_rng(seed + 1).permutation(len(users))
    shuffled = evaluate(users[order] * 7 - 3, scores[order], labels[order], k, convention)
    assert shuffled == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert evaluate(users, np.exp(3 * scores) - 9, labels, k, convention) == pytest.approx(
        expected, nan_ok=True
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12), levels=st.integers(1, 40))
def test_bounds(seed: int, k: int, levels: int) -> None:
    users, labels, scores = candidates(seed)
    labels[:2] = [0, 1]
    found = evaluate(users, np.floor(scores * levels), labels, k)
    best = evaluate(users, labels + scores / 10, labels, k)
    assert best["auc"] == best["ndcg"] == pytest.approx(1)
    ranking = Ranking(users, labels, k)
    sizes = ranking.n_positive[ranking.n_positive > 0]
    assert best["recall"] == pytest.approx(np.minimum(1, k / sizes).mean())
    for name, value in found.items():
        assert 0 <= value <= best[name] + 1e-12


def test_conventions_differ_by_the_users_without_a_positive() -> None:
    users, labels = np.repeat(np.arange(4), 3), np.array([1, 0, 0] + [0] * 6 + [0, 1, 0])
    scores = np.tile([0.3, 0.2, 0.1], 4)
    found = {name: evaluate(users, scores, labels, 2, name) for name in NO_POSITIVE}
    third = 1 / math.log2(3)
    assert found["skip"]["ndcg"] == pytest.approx((1 + third) / 2)
    assert found["one"]["ndcg"] == pytest.approx((1 + third + 2) / 4)
    assert found["zero"]["ndcg"] == pytest.approx((1 + third) / 4)
    assert [found[name]["recall"] for name in ("skip", "one", "zero")] == [1.0, 0.5, 0.5]
    nobody = evaluate(users, scores, np.zeros(12), 2, "one")
    assert (nobody["ndcg"], nobody["recall"]) == (1.0, 0.0)
    assert math.isnan(evaluate(users, scores, np.zeros(12), 2)["ndcg"])


def test_infinite_scores_rank_before_padding() -> None:
    users, labels = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    scores = np.array([1.0, np.inf, -np.inf, -np.inf])
    _, recall = Ranking(users, labels, 3).per_user(scores)
    assert recall.tolist() == [1.0, 1.0]


def test_auc_of_one_class_is_nan_and_labels_may_be_shared_or_own() -> None:
    scores = torch.tensor([[0.1, 0.4, 0.3], [0.5, 0.5, 0.9]])
    own = torch.tensor([[0, 1, 0], [1, 1, 1]])
    assert auc(scores, own)[0] == 1.0
    assert auc(scores, own)[1].isnan()
    assert auc(scores, own[0]).tolist() == [1.0, 0.25]
    assert auc(scores[1], own[0]).shape == ()


def test_auc_never_waits_for_the_device() -> None:
    """A meta tensor has no values, so anything that reads one raises."""
    areas = auc(torch.empty(4, 30, device="meta"), torch.empty(4, 30, device="meta"))
    assert areas.shape == (4,)
    assert areas.dtype == torch.float64


def test_size_of_chunks_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    users, labels, _ = candidates(3)
    scores = torch.rand(9, 40, generator=torch.Generator().manual_seed(0))
    expected = evaluate(users, scores, labels, 3)
    monkeypatch.setattr("bench.metrics._CHUNK", 2 * 40)
    for name, value in evaluate(users, scores, labels, 3).items():
        assert torch.equal(value, expected[name])


def test_the_answer_is_of_the_askers_kind() -> None:
    users, labels, scores = candidates(5)
    scores.setflags(write=False)
    single = evaluate(users, scores, labels, 3)
    assert {type(value) for value in single.values()} == {float}
    rows = np.stack([scores, -scores])
    for array, kind in ((rows, np.ndarray), (torch.as_tensor(rows), torch.Tensor)):
        found = evaluate(torch.as_tensor(users), array, torch.as_tensor(labels), 3)
        assert {type(value) for value in found.values()} == {kind}
        assert {name: float(value[0]) for name, value in found.items()} == single
    ndcg, recall = summarise(*Ranking(users, labels, 3).per_user(rows), "skip")
    assert (ndcg[0], recall[0]) == (single["ndcg"], single["recall"])


def test_shapes_that_do_not_fit_are_refused() -> None:
    users, labels, scores = candidates(1)
    for arguments in [(users[:-1], scores, labels), (users, scores[None, None], labels), ([], [], [])]:
        with pytest.raises(BenchError, match="shape"):
            evaluate(*arguments, 3)
    with pytest.raises(BenchError, match="shape"):
        auc(scores, labels[:-1])
