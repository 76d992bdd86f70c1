"""A cell: method × data set × protocol, from its configuration to its record.

    split → points × seeds → train → select on validation → test → record

P points, S seeds; N_A, N_v, N_t unbiased ratings of a seed's A, validation and test part.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

import methods
from bench import data, selection, store
from bench.config import Config, DatasetConfig, EngineConfig, ProtocolConfig
from bench.data import Ratings
from bench.data.split import Split, split
from bench.engine.members import Member, budget, bytes_per_member, device_of, dtype_of, groups
from bench.engine.sampling import Pairs, TrainingData
from bench.engine.training import Outcome, Validation, train
from bench.errors import BenchError, nearest
from bench.metrics import NO_POSITIVE, Ranking, auc, summarise
from methods.base import Method, MethodConfig

_CHECKOUT = Path(__file__).resolve().parents[1]
# Files that cannot change a number: a new version of them leaves the records valid.
_SILENT = ("bench/store.py", "bench/errors.py", "bench/config.py", "methods/__init__.py")
_UNSEEN = ("device", "threads", "memory_gib")  # fields of the engine that are no part of the identity

Progress = Callable[[int, int], None]  # (members finished just now, members that will be trained in all)


@dataclass(frozen=True)
class Cell:
    """A checked cell, before anything is trained.

    points: the configurations that are tried; each one's differences from the first are in `grid`.
    digest: of its record.
    """

    protocol: ProtocolConfig
    dataset: DatasetConfig
    method: str
    points: list[MethodConfig]
    grid: dict[str, list[Any]]
    seeds: int
    tuned_points: int
    selection: str
    engine: EngineConfig
    ratings: Ratings
    digest: str


# --- From the configuration -------------------------------------------------------------------------


def load(config: Config) -> Ratings:
    """The ratings that the configuration names.

    Raises:
        MissingData: the files are absent.
        BenchError: they are wrong.
    """
    return data.load(config.dataset, Path(config.data_dir))


def prepare(config: Config, ratings: Ratings) -> Cell:
    """Checks a resolved configuration and lists its points.

    Raises:
        BenchError: a field, a method or a list of the grid is wrong.
    """
    selection.check(config.selection)
    dtype_of(config.engine)
    for place, name, least in (
        (config, "seeds", 1),
        (config.engine, "max_epochs", 1),
        (config.engine, "patience", 1),
        (config.dataset, "selection_seeds", 1),
        (config.dataset, "k", 1),
        (config.dataset, "evaluations_per_epoch", 1),
    ):
        if getattr(place, name) < least:
            raise BenchError(f"{name} must be at least {least}, but it is {getattr(place, name)}.")
    if config.protocol.no_positive not in NO_POSITIVE:
        raise BenchError(
            f"protocol.no_positive={config.protocol.no_positive} is not known: "
            f"{nearest(config.protocol.no_positive, NO_POSITIVE)}"
        )
    fields = vars(config.method)
    key = fields["name"]
    kind = methods.get(key)
    names = [field.name for field in dataclasses.fields(kind.Config)]
    base = {name: fields[name] for name in names}
    grid = _grid(config, kind, fields["grid"], names)
    points = [
        _point(kind.Config, {**base, **dict(zip(grid, values, strict=True))})
        for values in itertools.product(*grid.values())
    ]
    identity = {
        "protocol": vars(config.protocol),
        "dataset": vars(config.dataset),
        "method": {"name": key, **base},
        "grid": grid,
        "seeds": config.seeds,
        "tuned_points": config.tuned_points,
        "selection": config.selection,
        "engine": {name: value for name, value in vars(config.engine).items() if name not in _UNSEEN},
    }
    digest = store.identity(identity, ratings.checksum, code(key, config.dataset.name))
    return Cell(
        protocol=config.protocol,
        dataset=config.dataset,
        method=key,
        points=points,
        grid=grid,
        seeds=config.seeds,
        tuned_points=config.tuned_points,
        selection=config.selection,
        engine=config.engine,
        ratings=ratings,
        digest=digest,
    )


def _grid(
    config: Config, kind: type[Method], own: Mapping[str, list[Any]], names: Sequence[str]
) -> dict[str, list[Any]]:
    """The lists whose product are the points (see `SweepConfig`)."""
    sweep = config.sweep
    shared = {
        "none": {},
        "quick_grid": config.dataset.quick_grid,
        "shared_grid": config.dataset.shared_grid,
    }
    if sweep.shared not in shared:
        raise BenchError(f"sweep.shared={sweep.shared} is not known: {nearest(sweep.shared, shared)}")
    grid = {
        **(shared[sweep.shared] if kind.trained else {}),
        **(own if sweep.own else {}),
        **config.grid,
    }
    for name, values in grid.items():
        if name not in names:
            raise BenchError(f"grid.{name}: the method has no such field; {nearest(name, names)}")
        if not values:
            raise BenchError(f"grid.{name} is an empty list: give at least one value, or leave it out.")
        if len(set(map(repr, values))) != len(values):
            raise BenchError(f"grid.{name} names a value twice.")
    return grid


def _point(kind: type[MethodConfig], values: dict[str, Any]) -> MethodConfig:
    """A typed and checked point; the grid's lists are untyped."""
    try:
        typed = OmegaConf.merge(OmegaConf.structured(kind), values)
        point = OmegaConf.to_object(typed)
    except OmegaConfBaseException as error:
        raise BenchError(f"method: {str(error).splitlines()[0]}.") from error
    assert isinstance(point, MethodConfig)
    point.check()
    return point


def code(method: str, dataset: str) -> str:
    """Fingerprint of the files that can change a number of the method on the data set."""
    module = sys.modules[methods.get(method).__module__]
    assert module.__file__ is not None
    file = Path(module.__file__)
    roots = [_CHECKOUT, file.parent]
    entries = [Path(__file__), file, _CHECKOUT / "bench" / "data" / f"{dataset}.py"]
    files = set().union(*(store.imported_files(entry, roots) for entry in entries))
    return store.code_fingerprint(sorted(files - {_CHECKOUT / name for name in _SILENT}))


# --- Training ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seeds:
    """The splits of seeds 0 .. S - 1 with labels, on the device; see `Split`."""

    training: TrainingData  # of no member in particular
    validation: Validation
    test: list[tuple[Tensor, Tensor, NDArray[np.bool_]]]  # users, items (N_t,) and labels of each seed

    @classmethod
    def of(cls, cell: Cell, device: torch.device, dtype: torch.dtype) -> Seeds:
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


@dataclass
class Trained:
    """What is kept of one member."""

    member: Member
    validation_auc: float
    curve: NDArray[np.float64]  # (E,) validation AUC of the last phase
    steps: list[int]  # steps done before each evaluation of the curve
    best: int  # evaluation whose parameters were kept
    losses: dict[str, NDArray[np.float64]]  # part, or phase/part before the last phase → (E,) mean losses
    diverged: str  # what happened, or ""
    diagnostics: dict[str, float]
    test: dict[str, Any]  # metrics; empty where the test set was not looked at
    per_user: dict[str, NDArray[np.float32]]  # NDCG and Recall of each test user
    users: NDArray[np.int64]  # those users
    user_arrays: dict[str, NDArray[np.float32]]  # what the method says about every user, (U,) each


class Trainer:
    """Trains members of one cell, stack by stack."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.device = device_of(cell.engine)
        self.dtype = dtype_of(cell.engine)
        self.kind = methods.get(cell.method)
        self.seeds = Seeds.of(cell, self.device, self.dtype)
        torch.set_num_threads(cell.engine.threads or os.cpu_count() or 1)

    def train(
        self, members: Sequence[Member], look_at_test: bool, finished: Callable[[int], None]
    ) -> list[Trained]:
        """Trains the members, in any order and grouping, and returns them in the given order."""
        stacks = groups(members, self._bytes_of, budget(self.cell.engine, self.device), self.device)
        done: dict[tuple[int, int], Trained] = {}
        for stack in stacks:
            training, validation = self.seeds.of_members(stack)
            method = self._build(stack, training)
            outcome = train(
                method, validation, self.cell.engine, self.cell.dataset.evaluations_per_epoch, finished
            )
            for trained in self._harvest(stack, outcome, look_at_test):
                done[trained.member.point, trained.member.seed] = trained
        return [done[member.point, member.seed] for member in members]

    def _build(self, stack: Sequence[Member], training: TrainingData) -> Method:
        return self.kind([member.config for member in stack], [member.seed for member in stack], training)

    def _bytes_of(self, member: Member) -> int:
        training, validation = self.seeds.of_members([member])
        return bytes_per_member(self._build([member], training), validation.labels.shape[-1])

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


# --- The whole of it --------------------------------------------------------------------------------


def run(cell: Cell, runs: Path, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Trains a cell and puts its record into the store.

    Every point is trained with the data set's `selection_seeds`; the one that the rule of selection puts
    first is trained with all seeds, and only then is the test set looked at.

    Returns:
        the record.

    Raises:
        BenchError: no point could be trained without diverging, one member is too large for the memory
            budget, or the store cannot be written. A failure is noted apart in the store.
    """
    wall, cpu = time.time(), time.process_time()
    trainer = Trainer(cell)
    n_points = len(cell.points)
    tried = min(cell.dataset.selection_seeds, cell.seeds) if n_points > 1 else 0
    total = n_points * tried + cell.seeds
    sees_test = cell.selection in selection.SEES_TEST

    def finished(members: int) -> None:
        progress(members, total)

    members = [
        Member(point, seed, config) for point, config in enumerate(cell.points) for seed in range(tried)
    ]
    trained = trainer.train(members, sees_test, finished)
    shape = (n_points, tried)
    validation = np.array([each.validation_auc for each in trained]).reshape(shape)
    test = np.array([each.test.get("auc", np.nan) for each in trained]).reshape(shape)
    best_first = selection.order(cell.selection, validation, test) if tried else list(range(n_points))
    diverged = [_lost(each) for each in trained if each.diverged]

    chosen: list[Trained] = []
    for point in best_first:
        final = [Member(point, seed, cell.points[point]) for seed in range(cell.seeds)]
        chosen = trainer.train(final, True, finished)
        lost = [_lost(each) for each in chosen if each.diverged]
        diverged += lost
        if not lost:
            break
    else:
        store.write_failure(runs, cell.digest, {"diverged": diverged})
        raise BenchError(
            f"{cell.method} on {cell.dataset.name}: every point diverged in at least one seed "
            f"({diverged[0]['what']}, for instance); try smaller learning rates."
        )

    record = _record(cell, point, validation, chosen, diverged)
    record["provenance"] = _provenance(trainer.device, time.time() - wall, time.process_time() - cpu)
    store.write(runs, cell.digest, record, _arrays(validation, chosen))
    return store.read(runs, cell.digest)


def _losses(outcome: Outcome, place: int) -> dict[str, NDArray[np.float64]]:
    """The loss curves of one member, of every part in every phase that trained it."""
    found = {}
    for number, history in enumerate(outcome.histories, 1 - len(outcome.histories)):
        for part, losses in history.losses.items():
            curve = losses[place].double().numpy()
            if np.isfinite(curve).any():
                found[part if number == 0 else f"{history.name}/{part}"] = curve
    return found


def _lost(trained: Trained) -> dict[str, Any]:
    member = trained.member
    return {"point": member.point, "seed": member.seed, "what": trained.diverged}


def _record(
    cell: Cell,
    point: int,
    validation: NDArray[np.float64],
    chosen: list[Trained],
    diverged: list[dict[str, Any]],
) -> dict[str, Any]:
    kind = methods.get(cell.method)
    columns: dict[str, Any] = {"auc": [each.test["auc"] for each in chosen]}
    for name in ("ndcg", "recall"):
        columns[name] = {rule: [each.test[name][rule] for each in chosen] for rule in NO_POSITIVE}
    if "ideal_loss" in chosen[0].test:
        columns["ideal_loss"] = [each.test["ideal_loss"] for each in chosen]
    ratings = cell.ratings
    return {
        "protocol": vars(cell.protocol),
        "dataset": vars(cell.dataset),
        "method": {"name": cell.method, "title": kind.title, **vars(cell.points[point])},
        "source": ratings.source,
        "comparable": ratings.comparable,
        "notes": ratings.notes,
        "counts": {
            "users": ratings.n_users,
            "items": ratings.n_items,
            "biased": len(ratings.biased),
            "unbiased": len(ratings.unbiased),
            "positive_biased": float((ratings.biased.values >= cell.dataset.threshold).mean()),
            "positive_unbiased": float((ratings.unbiased.values >= cell.dataset.threshold).mean()),
        },
        "engine": vars(cell.engine),
        "grid": cell.grid,
        "points": cell.tuned_points or len(cell.points),
        "selection": cell.selection,
        "selected": {name: getattr(cell.points[point], name) for name in cell.grid},
        "tried": [
            {
                "point": {name: getattr(config, name) for name in cell.grid},
                "validation_auc": float(row.mean()) if len(row) else None,
                "seeds": len(row),
            }
            for config, row in zip(cell.points, validation, strict=True)
        ],
        "seeds": [each.member.seed for each in chosen],
        "test": columns,
        "validation": {
            "auc": [each.validation_auc for each in chosen],
            "evaluation": [each.best for each in chosen],
            "step": [each.steps[each.best] if each.steps else 0 for each in chosen],
        },
        "diagnostics": {name: [each.diagnostics[name] for each in chosen] for name in chosen[0].diagnostics},
        "diverged": diverged,
    }


def _arrays(validation: NDArray[np.float64], chosen: list[Trained]) -> dict[str, NDArray[Any]]:
    """Curves (S, E) of the chosen point's last phase, the points' AUC (P, S), per-user numbers."""

    def padded(curves: list[NDArray[Any]]) -> NDArray[np.float32]:
        table = np.full((len(curves), max(map(len, curves))), np.nan, np.float32)
        for row, curve in zip(table, curves, strict=True):
            row[: len(curve)] = curve
        return table

    arrays: dict[str, NDArray[Any]] = {
        "point_auc": validation.astype(np.float32),
        "curve": padded([each.curve for each in chosen]),
        "curve_steps": np.array(max((each.steps for each in chosen), key=len), np.int64),
    }
    for name in chosen[0].losses:
        curves = [each.losses.get(name, np.zeros(0)) for each in chosen]
        arrays[f"loss_{name.replace('/', '_')}"] = padded(curves)
    for name in chosen[0].user_arrays:
        arrays[f"user_{name}"] = np.stack([each.user_arrays[name] for each in chosen])
    for each in chosen:
        seed = each.member.seed
        arrays[f"users_{seed}"] = each.users.astype(np.int32)
        for name, values in each.per_user.items():
            arrays[f"{name}_{seed}"] = values
    return arrays


def _provenance(device: torch.device, wall: float, cpu: float) -> dict[str, Any]:
    """Where, with what and at what cost the cell was trained."""
    if device.type == "cuda":
        peak, name = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_name(device)
    else:
        # Of the whole process, in KiB on Linux and in bytes on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        peak, name = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, platform.machine()
    return {
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(cpu, 3),
        "peak_memory_mib": round(peak / 2**20, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "commit": _commit(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _commit() -> str:
    """The checkout's commit, with "+" where files have been changed since; "unknown" outside git."""
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(_CHECKOUT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "bench", "methods"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answers[0] + ("+" if answers[1] else "")
