"""What a trained member is measured by on its seed's test ratings.

U users, I items, N_t test ratings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.conventions import NO_POSITIVE
from bench.data.ratings import Truth
from bench.engine.method import Method
from bench.engine.sampling import Pairs
from bench.metrics import Ranking, auc, summarise

_CELLS = 2**20  # pairs of all of D that are scored at once
_BLOCK = 1024  # pairs that `scores_of` scores at once
_SAMPLE = 32  # users, and as many items, whose pairs show the interaction


@dataclass(frozen=True)
class Measured:
    """Of one member.

    metrics: "auc" and, of generated data, "ideal_loss", each a number; "ndcg" and "recall", each convention →
    number. users: the test users, sorted. per_user: metric → their values, NaN without a positive rating.
    user_arrays: what is known about every user, name → (U,). scores: (N_t,) in the order of the ratings.
    """

    metrics: dict[str, Any]
    users: NDArray[np.int64]
    per_user: dict[str, NDArray[np.float32]]
    user_arrays: dict[str, NDArray[np.float32]]
    scores: NDArray[Any]


def measure(
    method: Method, ratings: tuple[Tensor, Tensor, NDArray[np.bool_]], k: int, truth: Truth | None
) -> Measured:
    """Measures a method of one member.

    Args:
        ratings: users and items (N_t,) on the method's device, and labels.
        k: cut-off of NDCG and Recall.
        truth: of generated data: the ideal loss is measured too, and each user's selection strength kappa is
            among the users' arrays.
    """
    users, items, labels = ratings
    with torch.no_grad():
        scores = scores_of(method, users, items)
        arrays = method.user_arrays()
    user_arrays = {name: value[0].cpu().numpy().astype(np.float32) for name, value in arrays.items()}
    measured = of_scores(scores, users, labels, k)
    if truth is not None:
        measured.metrics["ideal_loss"] = ideal_loss(method, truth.labels)
        user_arrays["kappa"] = truth.selection_strength.astype(np.float32)
    measured.user_arrays.update(user_arrays)
    return measured


def scores_of(method: Method, users: Tensor, items: Tensor) -> Tensor:
    """(N,) scores of a method of one member, each equal to the last bit whatever stands beside its pair.

    PyTorch rounds the end of an array otherwise than its middle, so pairs are scored in blocks of one size.

    Args:
        users, items: (N,) on the method's device.
    """
    n = len(users)
    blocks = [torch.nn.functional.pad(each, (0, -n % _BLOCK)).split(_BLOCK) for each in (users, items)]
    scores = [method.score(Pairs(*(each[None] for each in block)))[0] for block in zip(*blocks, strict=True)]
    return torch.cat(scores)[:n]


def of_scores(scores: Tensor, users: Tensor, labels: NDArray[np.bool_], k: int) -> Measured:
    """Measures the scores of a seed's test ratings, wherever they come from; no ideal loss.

    Args:
        scores, users: (N_t,) on one device. labels: (N_t,).
        k: cut-off of NDCG and Recall.
    """
    ranking = Ranking(users, labels, k)
    ndcg, recall = ranking.per_user(scores)
    metrics: dict[str, Any] = {"auc": float(auc(scores, labels)), "ndcg": {}, "recall": {}}
    for convention in NO_POSITIVE:
        for name, value in zip(("ndcg", "recall"), summarise(ndcg, recall, convention), strict=True):
            metrics[name][convention] = float(value)
    per_user = {name: values.cpu().numpy() for name, values in (("ndcg", ndcg), ("recall", recall))}
    return Measured(
        metrics=metrics,
        users=ranking.user_ids,
        per_user={name: values.astype(np.float32) for name, values in per_user.items()},
        user_arrays={},
        scores=scores.cpu().numpy(),
    )


def ideal_loss(method: Method, labels: NDArray[np.uint8]) -> float:
    """L_ideal of the paper's "Problem Setup": the mean pointwise loss over all of D.

    Cross-entropy of the predicted probabilities, whatever loss the method trains with; raw scores beyond 0
    and 1 count as these.

    Args:
        labels: (U, I) of every pair.
    """
    n_users, n_items = labels.shape
    device = method.device
    total = 0.0
    rows = max(1, _CELLS // n_items)
    for start in range(0, n_users, rows):
        truth = torch.from_numpy(labels[start : start + rows]).to(device, torch.float64)
        users = torch.arange(start, start + len(truth), device=device)
        users = users.repeat_interleave(n_items)[None]
        items = torch.arange(n_items, device=device).repeat(len(truth))[None]
        with torch.no_grad():
            p = method.score(Pairs(users, items))[0].double().clamp(1e-7, 1 - 1e-7)
        total += float(torch.nn.functional.binary_cross_entropy(p, truth.flatten(), reduction="sum"))
    return total / (n_users * n_items)


def interaction_sd(method: Method) -> Tensor:
    """How much of the prediction is about the user *and* the item, (G,).

    The standard deviation, over the pairs of some users and items, of what a prediction's logit has beyond a
    part of the user's and a part of the item's: of p·q in a factorisation. Near 0 the embeddings have died,
    and all that is left are biases.
    """
    n_users, n_items = method.data.n_users, method.data.n_items
    some_users, some_items = (
        torch.linspace(0, n - 1, min(n, _SAMPLE), device=method.device).long() for n in (n_users, n_items)
    )
    users, items = torch.meshgrid(some_users, some_items, indexing="ij")
    shape = (method.n_members, users.numel())
    with torch.no_grad():
        scores = method.score(Pairs(users.flatten().expand(shape), items.flatten().expand(shape)))
    logits = torch.logit(scores.double(), eps=1e-7).view(-1, *users.shape)
    both = logits - logits.mean(1, keepdim=True) - logits.mean(2, keepdim=True)
    return both.std((1, 2), correction=0)
