"""Trains members of a cell, stack by stack, and keeps every finished stack.

P points, S seeds; N_A, N_v, N_t unbiased ratings of a seed's A, validation and test part; E evaluations.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import methods
from bench.cell import trained as kept
from bench.cell.trained import Trained
from bench.config import DatasetConfig, EngineConfig, ProtocolConfig
from bench.data import Ratings
from bench.data.split import Split, split
from bench.engine.device import device_of, dtype_of
from bench.engine.members import Member, groups
from bench.engine.memory import budget, bytes_per_member, least_bytes
from bench.engine.method import Method, MethodConfig
from bench.engine.sampling import Pairs, TrainingData
from bench.engine.training import Outcome, Validation, train
from bench.errors import BenchError
from bench.metrics import NO_POSITIVE, Ranking, auc, summarise
from bench.records import store

CHECKOUT = Path(__file__).resolve().parents[2]
# Files that cannot change a number: a new version of them leaves the records valid.
_SILENT = ("bench/records/store.py", "bench/errors.py", "bench/config.py", "methods/__init__.py")
_UNSEEN = ("device", "threads", "memory_gib")  # fields of the engine that change no number
# Fields of a data set that say what to try, not what a training comes to.
_OF_SWEEPS = (
    *("title", "untuned_sweep", "screening_seeds", "selection_seeds"),
    *("quick_grid", "shared_grid", "common_grid"),
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What members are trained and measured on: everything but their points.

    seeds: how many; a seed fixes a split, batches and initial values.
    """

    protocol: ProtocolConfig
    dataset: DatasetConfig
    method: str
    engine: EngineConfig
    ratings: Ratings
    seeds: int

    def identity(self) -> dict[str, Any]:
        """The fields that can change what a training comes to."""
        dataset, engine = vars(self.dataset), vars(self.engine)
        return {
            "protocol": vars(self.protocol),
            "dataset": {name: value for name, value in dataset.items() if name not in _OF_SWEEPS},
            "method": self.method,
            "engine": {name: value for name, value in engine.items() if name not in _UNSEEN},
        }


def code(entry: Path, method: str, dataset: str) -> str:
    """Fingerprint of the files that `entry`, a method and a data set run."""
    module = sys.modules[methods.get(method).__module__]
    assert module.__file__ is not None
    file = Path(module.__file__)
    roots = [CHECKOUT, file.parent]
    entries = [entry, file, CHECKOUT / "bench" / "data" / f"{dataset}.py"]
    files = set().union(*(store.imported_files(each, roots) for each in entries))
    return store.code_fingerprint(sorted(files - {CHECKOUT / name for name in _SILENT}))


@dataclass(frozen=True)
class Seeds:
    """The splits of seeds 0 .. S - 1 with labels, on the device; see `Split`."""

    training: TrainingData  # of no member in particular
    validation: Validation
    test: list[tuple[Tensor, Tensor, NDArray[np.bool_]]]  # users, items (N_t,) and labels of each seed

    @classmethod
    def of(cls, cell: Setting, device: torch.device, dtype: torch.dtype) -> Seeds:
        """Splits and binarises the cell's ratings.

        Raises:
            BenchError: a seed's validation or test ratings have one class only.
        """
        ratings, protocol = cell.ratings, cell.protocol
        unbiased, threshold = ratings.unbiased, cell.dataset.threshold
        labels = unbiased.values >= threshold
        splits: list[Split] = [
            split(len(unbiased), seed, protocol.unbiased_train, protocol.unbiased_validation)
            for seed in range(cell.seeds)
        ]

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
            for part in ("validation", "test"):
                found = labels[getattr(each, part)]
                if found.all() or not found.any():
                    which = "positive" if found.all() else "negative"
                    raise BenchError(
                        f"The {part} ratings of seed {seed} are all {which} at "
                        f"dataset.threshold={threshold:g}, so no AUC can be measured: choose another one."
                    )
        a_users, a_items, a_labels = triple([each.train for each in splits])
        truth = ratings.truth
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
        )
        test = [
            (moved(unbiased.users[each.test]), moved(unbiased.items[each.test]), labels[each.test])
            for each in splits
        ]
        return cls(training, Validation(*triple([each.validation for each in splits])), test)

    def of_members(self, members: Sequence[Member]) -> tuple[TrainingData, Validation]:
        """What a stack of members trains on and is stopped by."""
        rows = torch.tensor([member.seed for member in members], device=self.training.seed_row.device)
        training = self.training.take(rows)
        seeds = torch.tensor(training.seeds, device=rows.device)
        v = self.validation
        return training, Validation(v.users[seeds], v.items[seeds], v.labels[seeds])


class Trainer:
    """Trains members of one cell, stack by stack.

    kept: a store of finished stacks, where what an earlier run trained is found again; None: none.
    """

    def __init__(self, cell: Setting, kept: Path | None = None) -> None:
        self.cell = cell
        self.kept = kept
        self.device = device_of(cell.engine)
        self.dtype = dtype_of(cell.engine)
        self.kind = methods.get(cell.method)
        self.seeds = Seeds.of(cell, self.device, self.dtype)
        self._code = code(Path(__file__), cell.method, cell.dataset.name) if kept is not None else ""
        torch.set_num_threads(cell.engine.threads or os.cpu_count() or 1)

    def train(
        self, members: Sequence[Member], look_at_test: bool, finished: Callable[[int], None]
    ) -> list[Trained]:
        """Trains the members, in any order and grouping, and returns them in the given order."""
        done: dict[tuple[int, int], Trained] = {}
        for stack in self.stacks(members, look_at_test):
            for trained in self.train_stack(stack, look_at_test, finished):
                done[trained.member.point, trained.member.seed] = trained
        return [done[member.point, member.seed] for member in members]

    def stacks(self, members: Sequence[Member], look_at_test: bool) -> list[list[Member]]:
        """The members in stacks that are trained together.

        Raises:
            BenchError: one member does not fit into the memory budget.
        """
        ratings = self.cell.ratings

        def least(config: MethodConfig) -> int:
            return least_bytes(config, ratings.n_users, ratings.n_items, self.dtype.itemsize)

        def bytes_of(member: Member) -> int:
            training, validation = self.seeds.of_members([member])
            n_test = len(self.seeds.test[member.seed][0]) if look_at_test else 0
            return bytes_per_member(self._build([member], training), validation.labels.shape[-1], n_test)

        allowed = budget(self.cell.engine, self.device)
        return groups(members, bytes_of, allowed, self.device, least if self.kind.trained else None)

    def train_stack(
        self, stack: Sequence[Member], look_at_test: bool, finished: Callable[[int], None]
    ) -> list[Trained]:
        """Trains one stack, unless it is kept from before.

        Raises:
            BenchError: the store cannot be written.
        """
        if self.kept is None:
            return self._train_stack(stack, look_at_test, finished)
        digest = self.digest(stack, look_at_test)
        record = store.find(self.kept, digest, report=lambda sentence: print(sentence, file=sys.stderr))
        if record is not None:
            try:
                found = kept.unpacked(stack, record, store.read_arrays(self.kept, digest))
            except store.DamagedRecord as error:  # since the look before
                print(error, file=sys.stderr)
            else:
                finished(len(stack))
                return found
        trained = self._train_stack(stack, look_at_test, finished)
        store.write(self.kept, digest, *kept.packed(trained))
        return trained

    def digest(self, stack: Sequence[Member], look_at_test: bool) -> str:
        """Of a stack, in the store of kept ones."""
        members = [{"seed": member.seed, "config": vars(member.config)} for member in stack]
        identity = {**self.cell.identity(), "members": members, "look_at_test": look_at_test}
        return store.identity(identity, self.cell.ratings.checksum, self._code)

    def _train_stack(
        self, stack: Sequence[Member], look_at_test: bool, finished: Callable[[int], None]
    ) -> list[Trained]:
        start = time.perf_counter()
        training, validation = self.seeds.of_members(stack)
        method = self._build(stack, training)
        outcome = train(
            method, validation, self.cell.engine, self.cell.dataset.evaluations_per_epoch, finished
        )
        found = self._harvest(stack, outcome, look_at_test)
        for trained in found:
            trained.seconds = (time.perf_counter() - start) / len(stack)
        return found

    def _build(self, stack: Sequence[Member], training: TrainingData) -> Method:
        return self.kind([member.config for member in stack], [member.seed for member in stack], training)

    def _harvest(self, stack: Sequence[Member], outcome: Outcome, look_at_test: bool) -> list[Trained]:
        history = outcome.histories[-1] if outcome.histories else None
        with torch.no_grad():
            diagnostics = {name: value.tolist() for name, value in outcome.method.diagnostics().items()}
        found = []
        for place, member in enumerate(stack):
            diverged = outcome.diverged.get(place, "")
            trained = Trained(
                member=member,
                validation_auc=float("nan") if diverged else float(outcome.best[place]),
                held_out_auc=float("nan") if diverged else float(outcome.held_out[place]),
                curve=np.zeros(0) if history is None else history.criterion[place].numpy(),
                steps=[] if history is None else history.steps,
                best=0 if history is None else int(history.best[place]),
                losses=_losses(outcome, place),
                diverged=diverged,
                diagnostics={name: values[place] for name, values in diagnostics.items()},
                test={},
                per_user={},
                users=np.zeros(0, np.int64),
                user_arrays={},
            )
            if look_at_test and not diverged:
                self._test(trained, outcome.method.take(torch.tensor([place])))
            found.append(trained)
        return found

    def _test(self, trained: Trained, method: Method) -> None:
        """Measures one member on its seed's test ratings."""
        users, items, labels = self.seeds.test[trained.member.seed]
        with torch.no_grad():
            scores = method.score(Pairs(users[None], items[None]))[0]
            arrays = method.user_arrays()
        trained.user_arrays = {
            name: value[0].cpu().numpy().astype(np.float32) for name, value in arrays.items()
        }
        ranking = Ranking(users, labels, self.cell.dataset.k)
        ndcg, recall = ranking.per_user(scores)
        trained.test = {"auc": float(auc(scores, labels)), "ndcg": {}, "recall": {}}
        for convention in NO_POSITIVE:
            for name, value in zip(("ndcg", "recall"), summarise(ndcg, recall, convention), strict=True):
                trained.test[name][convention] = float(value)
        truth = self.cell.ratings.truth
        if truth is not None:
            trained.test["ideal_loss"] = self._ideal_loss(method, truth.labels)
        trained.users = ranking.user_ids
        trained.per_user = {
            "ndcg": ndcg.cpu().numpy().astype(np.float32),
            "recall": recall.cpu().numpy().astype(np.float32),
        }

    def _ideal_loss(self, method: Method, labels: NDArray[np.uint8]) -> float:
        """L_ideal of the paper's "Problem Setup": the mean pointwise loss over all of D.

        Cross-entropy of the predicted probabilities, whatever loss the method trains with.
        """
        n_users, n_items = labels.shape
        total = 0.0
        rows = max(1, 2**20 // n_items)
        for start in range(0, n_users, rows):
            truth = torch.from_numpy(labels[start : start + rows]).to(self.device, torch.float64)
            users = torch.arange(start, start + len(truth), device=self.device)
            users = users.repeat_interleave(n_items)[None]
            items = torch.arange(n_items, device=self.device).repeat(len(truth))[None]
            with torch.no_grad():
                p = method.score(Pairs(users, items))[0].double().clamp(1e-7, 1 - 1e-7)
            total += float(torch.nn.functional.binary_cross_entropy(p, truth.flatten(), reduction="sum"))
        return total / (n_users * n_items)


def _losses(outcome: Outcome, place: int) -> dict[str, NDArray[np.float64]]:
    """The loss curves of one member, of every part in every phase that trained it."""
    found = {}
    for number, history in enumerate(outcome.histories, 1 - len(outcome.histories)):
        for part, losses in history.losses.items():
            curve = losses[place].double().numpy()
            if np.isfinite(curve).any():
                found[part if number == 0 else f"{history.name}/{part}"] = curve
    return found
