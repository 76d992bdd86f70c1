"""AUC, NDCG@K and Recall@K of many score vectors at once.

G members (score vectors), N candidates (rated test pairs), U users, L candidates of the longest user.
A user's candidates are his rated test items. Everything accepts NumPy arrays or torch tensors on any
device, computes in float64 and answers in kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.conventions import NO_POSITIVE
from bench.errors import BenchError, nearest

Array = Tensor | NDArray[Any]
AnyArray = TypeVar("AnyArray", Tensor, NDArray[Any])

_TIE_SEED = 20  # of the candidates' order among equal scores; any number does, but always the same
_CHUNK = 2**20  # scores worked on at once, so that extra memory stays below some 100 MB


def evaluate(users: Array, scores: Array, labels: Array, k: int, no_positive: str = "skip") -> dict[str, Any]:
    """AUC over all candidates; NDCG@K and Recall@K per user, averaged over users.

    Args:
        users: (N,) integers.
        scores: (N,), or (G, N) for G members.
        labels: (N,), 0 or 1.
        k: cut-off of NDCG and Recall.
        no_positive: users without a positive candidate are left out ("skip"), count NDCG 1 and
            Recall 0 ("one"), or count 0 in both ("zero").

    Returns:
        "auc", "ndcg" and "recall", each a float for (N,) scores, else (G,) float64. AUC is NaN where
        all labels are equal; NDCG and Recall are NaN where nobody is left to average over.

    Raises:
        BenchError: shapes disagree, labels are not 0 or 1, scores are NaN, k < 1 or `no_positive` is
            unknown.
    """
    _check_no_positive(no_positive)
    ranking = Ranking(users, labels, k)
    rows = _tensor(scores)
    ndcg, recall = summarise(*ranking.per_user(rows), no_positive)
    values = {"auc": auc(rows, ranking.labels), "ndcg": ndcg, "recall": recall}
    if rows.ndim == 1:
        return {name: float(value) for name, value in values.items()}
    if isinstance(scores, Tensor):
        return dict(values)
    return {name: value.numpy() for name, value in values.items()}


def auc(scores: AnyArray, labels: Array) -> AnyArray:
    """Area under the ROC curve over all pairs of a positive and a negative; a tie counts half.

    The Mann-Whitney form: (sum of the positives' mid-ranks - n+ (n+ + 1) / 2) / (n+ n-), exact in
    integers up to the division. Nothing waits for the device.

    Args:
        scores: (..., N).
        labels: (N,), or one labelling per member, (..., N); nonzero is positive.

    Returns:
        (...) float64; NaN for a member with a NaN score or with one class only.

    Raises:
        BenchError: shapes disagree.
    """
    values = _tensor(scores)
    positive = _tensor(labels).to(values.device) != 0
    if values.ndim < 1 or values.shape[-1] == 0 or positive.shape not in (values.shape, values.shape[-1:]):
        raise BenchError(
            f"Scores of shape {tuple(values.shape)} and labels of shape {tuple(positive.shape)} do not fit: "
            "both need the same, nonzero number of candidates on their last axis."
        )
    flat = values.reshape(-1, values.shape[-1])
    positive = positive.expand(values.shape).reshape(flat.shape)
    parts = [_auc(flat[rows], positive[rows]) for rows in _chunks(*flat.shape)]
    areas = torch.cat(parts) if parts else flat.new_zeros(0, dtype=torch.float64)
    return _like(areas.reshape(values.shape[:-1]), scores)


def _auc(scores: Tensor, positive: Tensor) -> Tensor:
    """(G, N) scores and booleans to (G,) areas."""
    n = scores.shape[-1]
    ordered, order = torch.sort(scores, dim=-1)
    place = torch.arange(n, device=scores.device)
    step = ordered[:, 1:] != ordered[:, :-1]  # True between two groups of equal scores
    first, last = place.repeat(len(scores), 1), place.repeat(len(scores), 1)
    first[:, 1:].masked_fill_(~step, 0)
    last[:, :-1].masked_fill_(~step, n)
    first = torch.cummax(first, dim=-1).values
    last = torch.cummin(last.flip(-1), dim=-1).values.flip(-1)
    twice_mid_rank = first + last + 2  # places count from 0, ranks from 1

    positives = positive.sum(-1)
    rank_sum = (twice_mid_rank * positive.gather(-1, order)).sum(-1)
    wins = (rank_sum - positives * (positives + 1)).double()
    area = wins / (2 * positives * (n - positives)).double()
    return area.masked_fill(torch.isnan(scores).any(-1), torch.nan)


class Ranking:
    """Per-user ranking of one test set's candidates, prepared once for any number of score vectors.

    DCG = sum over the first K of y_j / log2(j + 1); NDCG divides by the DCG of min(K, n+) leading
    positives; Recall = hits within K / n+. Equal scores keep the order of one seeded permutation.

    Attributes:
        user_ids: (U,) the users, sorted.
        n_positive: (U,) their number of positive candidates, n+.
        labels: (N,) booleans.
        k: the cut-off.

    Raises:
        BenchError: shapes disagree, labels are not 0 or 1, or k < 1.
    """

    user_ids: NDArray[Any]
    n_positive: NDArray[np.int64]

    def __init__(self, users: Array, labels: Array, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise BenchError(f"The cut-off k is {k!r}; it must be a whole number of at least 1.")
        ids, positive = _array(users), _array(labels)
        if ids.ndim != 1 or positive.shape != ids.shape or not len(ids):
            raise BenchError(
                f"Users of shape {ids.shape} and labels of shape {positive.shape} do not fit: "
                "both need one entry per candidate, and at least one."
            )
        if not np.isin(positive, (0, 1)).all():
            stranger = positive[~np.isin(positive, (0, 1))][0]
            raise BenchError(f"The labels contain {stranger}; they must be 0 or 1 (apply a threshold first).")
        positive = positive.astype(bool)

        self.k = int(k)
        self.labels = torch.from_numpy(positive)
        self.user_ids, user = np.unique(ids, return_inverse=True)
        self.n_positive = np.bincount(user[positive], minlength=len(self.user_ids))

        # (R, L) candidates of the R users with a positive, in permuted order; N where there is none.
        n = len(ids)
        order = np.random.default_rng(_TIE_SEED).permutation(n)
        order = order[self.n_positive[user[order]] > 0]
        order = order[np.argsort(user[order], kind="stable")]
        ranked, row, size = np.unique(user[order], return_inverse=True, return_counts=True)
        column = np.arange(len(order)) - (np.cumsum(size) - size)[row]
        candidates = np.full((len(ranked), int(size.max(initial=0))), n)
        candidates[row, column] = order

        discount = 1 / np.log2(np.arange(2, self.k + 2))
        best = np.cumsum(discount)[np.minimum(self.n_positive[ranked], self.k) - 1]
        self._ranked = torch.from_numpy(ranked)
        self._candidates = torch.from_numpy(candidates)
        self._relevant = torch.from_numpy(np.append(positive, False)[candidates])
        self._discount = torch.from_numpy(discount[: candidates.shape[1]])
        self._best = torch.from_numpy(best)
        self._positives = torch.from_numpy(self.n_positive[ranked])

    def per_user(self, scores: AnyArray) -> tuple[AnyArray, AnyArray]:
        """NDCG@K and Recall@K of every user.

        Args:
            scores: (N,) or (G, N).

        Returns:
            Two float64 arrays, (U,) or (G, U), in the order of `user_ids`; NaN for users without a
            positive candidate.

        Raises:
            BenchError: shapes disagree or a score is NaN.
        """
        values: Tensor = _tensor(scores)
        n = len(self.labels)
        if values.ndim not in (1, 2) or values.shape[-1] != n:
            raise BenchError(f"The scores have shape {tuple(values.shape)}; ({n},) or (G, {n}) is needed.")
        flat = values.reshape(-1, n)
        broken = torch.isnan(flat).any(-1)
        if broken.any():
            raise BenchError(
                f"The scores of member {int(broken.nonzero()[0])} contain NaN; drop it or train it anew."
            )

        shape = (len(flat), len(self.user_ids))
        ndcg = torch.full(shape, torch.nan, dtype=torch.float64, device=flat.device)
        recall = ndcg.clone()
        ranked, best, positives, discount = (
            each.to(flat.device) for each in (self._ranked, self._best, self._positives, self._discount)
        )
        for rows in _chunks(len(flat), self._candidates.numel()):
            hits = self._hits(flat[rows])
            ndcg[rows, ranked] = (hits * discount).sum(-1) / best
            recall[rows, ranked] = hits.sum(-1) / positives
        if values.ndim == 1:
            ndcg, recall = ndcg[0], recall[0]
        return _like(ndcg, scores), _like(recall, scores)

    def _hits(self, scores: Tensor) -> Tensor:
        """(G, N) scores to (G, R, min(K, L)) float64: the labels of each user's first K."""
        # The stable sort leaves a row's padding behind the candidates, even behind scores of -inf.
        padded = torch.nn.functional.pad(scores, (0, 1), value=-torch.inf)
        candidates, relevant = self._candidates.to(scores.device), self._relevant.to(scores.device)
        table = padded.index_select(1, candidates.flatten()).view(len(scores), *candidates.shape)
        order = torch.sort(table, dim=-1, descending=True, stable=True).indices[..., : self.k]
        return relevant.expand(table.shape).gather(-1, order).double()


def summarise(ndcg: AnyArray, recall: AnyArray, no_positive: str) -> tuple[AnyArray, AnyArray]:
    """Averages of `Ranking.per_user` over users under a convention for users without a positive.

    Args:
        ndcg, recall: (..., U), NaN for users without a positive candidate.
        no_positive: "skip", "one" or "zero", as in `evaluate`.

    Returns:
        Two float64 arrays of shape (...).

    Raises:
        BenchError: `no_positive` is unknown.
    """
    _check_no_positive(no_positive)
    counted = NO_POSITIVE[no_positive]
    means = []
    for place, values in enumerate((_tensor(ndcg), _tensor(recall))):
        means.append(values.nanmean(-1) if counted is None else values.nan_to_num(counted[place]).mean(-1))
    return _like(means[0], ndcg), _like(means[1], recall)


def _check_no_positive(name: str) -> None:
    if name not in NO_POSITIVE:
        raise BenchError(f"no_positive={name!r} is unknown; {nearest(name, NO_POSITIVE)}")


def _chunks(rows: int, width: int) -> Iterator[slice]:
    """Slices of rows that hold about `_CHUNK` numbers each."""
    size = max(1, _CHUNK // max(width, 1))
    return (slice(start, start + size) for start in range(0, rows, size))


def _array(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _tensor(values: Any) -> Tensor:
    if not isinstance(values, Tensor):
        array = np.ascontiguousarray(values)
        values = torch.from_numpy(array if array.flags.writeable else array.copy())
    tensor: Tensor = values.detach()
    return tensor if tensor.is_floating_point() else tensor.double()


def _like(result: Tensor, given: AnyArray) -> AnyArray:
    """The result as the caller's kind of array."""
    if isinstance(given, Tensor):
        return result
    return result.cpu().numpy()
