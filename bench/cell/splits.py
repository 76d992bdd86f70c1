"""The splits of a cell's seeds, with labels, on the device.

S seeds; N observed ratings; N_A, N_v, N_t unbiased ratings of a seed's A, validation and test part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.cell.spec import Setting
from bench.data.ratings import side_features
from bench.data.split import Split, split
from bench.engine.features import Features
from bench.engine.members import Member
from bench.engine.sampling import TrainingData
from bench.engine.training import Validation
from bench.errors import BenchError


@dataclass(frozen=True)
class Seeds:
    """The splits of seeds 0 .. S - 1 with labels, on the device; see `Split`."""

    training: TrainingData  # of no member in particular
    validation: Validation
    test: list[tuple[Tensor, Tensor, NDArray[np.bool_]]]  # users, items (N_t,) and labels of each seed
    features: Callable[[], dict[str, Features]]  # fields of `TrainingData`, of members that read them

    @classmethod
    def of(cls, cell: Setting, device: torch.device, dtype: torch.dtype) -> Seeds:
        """Splits and binarises the cell's ratings.

        Raises:
            BenchError: a seed's A, validation or test ratings have one class only.
        """
        ratings, protocol = cell.ratings, cell.protocol
        unbiased, threshold = ratings.unbiased, cell.dataset.threshold
        labels = unbiased.values >= threshold
        splits: list[Split] = [
            split(len(unbiased), seed, protocol.unbiased_train, protocol.unbiased_validation)
            for seed in range(cell.seeds)
        ]
        if protocol.leak_a_stays_in_test:
            splits = [replace(each, test=np.concatenate([each.test, each.train])) for each in splits]
        if protocol.leak_validates_on_test:
            splits = [replace(each, validation=each.test) for each in splits]

        def moved(values: NDArray[Any]) -> Tensor:
            # A copy: the loaders' arrays are not to be written to.
            tensor = torch.tensor(values, device=device)
            return tensor.to(dtype) if tensor.dtype in (torch.bool, torch.float32) else tensor

        def stacked(values: NDArray[Any], rows: list[NDArray[np.int64]]) -> Tensor:
            return moved(np.stack([values[each] for each in rows]))

        def triple(rows: list[NDArray[np.int64]]) -> tuple[Tensor, Tensor, Tensor]:
            return (
                stacked(unbiased.users, rows),
                stacked(unbiased.items, rows),
                stacked(labels, rows),
            )

        for seed, each in enumerate(splits):
            for part, named in (("train", "A"), ("validation", "validation"), ("test", "test")):
                found = labels[getattr(each, part)]
                if found.all() or not found.any():
                    which = "positive" if found.all() else "negative"
                    lacking = (
                        "nothing can be learnt from them" if part == "train" else "no AUC can be measured"
                    )
                    share = " or a larger protocol.unbiased_train" if part == "train" else ""
                    raise BenchError(
                        f"The {named} ratings of seed {seed} are all {which} at "
                        f"dataset.threshold={threshold:g}, so {lacking}: choose another one{share}."
                    )
        a_users, a_items, a_labels = triple([each.train for each in splits])
        truth, released = ratings.truth, ratings.released_propensity
        training = TrainingData(
            n_users=ratings.n_users,
            n_items=ratings.n_items,
            seeds=tuple(range(cell.seeds)),
            seed_row=torch.arange(cell.seeds, device=device),
            users=moved(ratings.biased.users),
            items=moved(ratings.biased.items),
            labels=moved(ratings.biased.values >= threshold),
            unbiased_users=a_users,
            unbiased_items=a_items,
            unbiased_labels=a_labels,
            propensity=None if truth is None else moved(truth.propensity),
            released_propensity=None if released is None else moved(released),
        )
        test = [
            (moved(unbiased.users[each.test]), moved(unbiased.items[each.test]), labels[each.test])
            for each in splits
        ]

        @cache
        def features() -> dict[str, Features]:
            found = side_features(ratings)
            sides = {"user_features": found.users, "item_features": found.items}
            return {name: Features(moved(each)) for name, each in sides.items() if each is not None}

        validation = Validation(*triple([each.validation for each in splits]))
        return cls(training, validation, test, features)

    def of_members(self, members: Sequence[Member]) -> tuple[TrainingData, Validation]:
        """What a stack of members trains on and is stopped by."""
        rows = torch.tensor([member.seed for member in members], device=self.training.seed_row.device)
        training = self.training.take(rows)
        if members[0].config.backbone == "features":  # as all of a stack
            training = replace(training, **self.features())  # type: ignore[arg-type]
        seeds = torch.tensor(training.seeds, device=rows.device)
        v = self.validation
        return training, Validation(v.users[seeds], v.items[seeds], v.labels[seeds])
