"""Metrics against scikit-learn and a plain definition, with ties, empty users and short lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from bench.errors import BenchError
from bench.metrics import auc, evaluate


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
    mean = lambda values: sum(values) / len(values) if values else math.nan  # noqa: E731
    return mean(ndcg), mean(recall)


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
