"""A cell: method × data set × protocol, from its configuration to its record.

    split → stages of points × seeds → train → select on validation → test → record

P points, S seeds, T trainings of the sweep.
"""

from __future__ import annotations

import dataclasses
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import methods
from bench import data
from bench.cell import plan as sweep
from bench.cell import selection
from bench.cell.plan import Plan, Stage, Values
from bench.cell.trained import Trained
from bench.cell.trainer import CHECKOUT, Setting, Trainer, code
from bench.config import Config
from bench.data import Ratings
from bench.engine.device import dtype_of
from bench.engine.members import Member
from bench.engine.method import Method, MethodConfig
from bench.errors import BenchError, Sliced, nearest
from bench.metrics import NO_POSITIVE
from bench.records import store

# Words of a command line that say where and with what it runs, not what comes out.
_PLACES = ("results", "data_dir", "hydra", "engine.device", "engine.threads", "engine.memory_gib")


class Progress(Protocol):
    """Is told of every trained member."""

    def __call__(self, done: int, total: int, stage: str, seconds_left: float | None) -> None:
        """`done` of about `total` trainings are there, this one's stage, and an estimate."""


def _silent(done: int, total: int, stage: str, seconds_left: float | None) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Cell(Setting):
    """A checked cell, before anything is trained.

    base: the configured point's fields. sweep, slices, slice: see `SweepConfig`. digest: of its record.
    words: of the command line that made it.
    """

    base: dict[str, Any]
    plan: Plan
    sweep: str
    slices: int
    slice: int
    tuned_points: int
    selection: str
    digest: str
    words: tuple[str, ...] = ()

    def config(self, values: Values) -> MethodConfig:
        """The typed configuration of a point."""
        kind = methods.get(self.method)
        return _point(kind.Config, {**self.base, **dict(zip(self.plan.fields, values, strict=True))})

    @property
    def points(self) -> list[MethodConfig]:
        """The points of the first stage, or the configured one where nothing is swept."""
        stages = self.plan.stages
        values = self.plan.points(stages[0], []) if stages else [self.plan.start]
        return [self.config(each) for each in values]

    @property
    def trainings(self) -> int:
        """An upper bound of the members that are trained."""
        return sum(self.plan.trainings()) + self.seeds

    def describe(self) -> str:
        """What is going to be trained, in words."""
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        if not self.plan.stages:
            return f"{self.plan.describe()}, {seeds}"
        return f"{self.plan.describe()}; then the winner with {seeds}: {self.trainings} trainings"


# --- From the configuration -------------------------------------------------------------------------


def load(config: Config) -> Ratings:
    """The ratings that the configuration names.

    Raises:
        MissingData: the files are absent.
        BenchError: they are wrong.
    """
    return data.load(config.dataset, Path(config.data_dir))


def prepare(config: Config, ratings: Ratings, words: Sequence[str] = ()) -> Cell:
    """Checks a resolved configuration and lays out its plan.

    Args:
        words: of the command line, for the record.

    Raises:
        BenchError: a field, a method or a list of the grid is wrong.
    """
    selection.check(config.selection)
    dtype_of(config.engine)
    for place, name, least in (
        (config, "seeds", 1),
        (config.engine, "max_epochs", 1),
        (config.engine, "patience", 1),
        (config.dataset, "screening_seeds", 1),
        (config.dataset, "selection_seeds", 1),
        (config.dataset, "k", 1),
        (config.dataset, "evaluations_per_epoch", 1),
        (config.sweep, "slices", 1),
        (config.sweep, "slice", 0),
    ):
        if getattr(place, name) < least:
            raise BenchError(f"{name} must be at least {least}, but it is {getattr(place, name)}.")
    if config.sweep.slice >= config.sweep.slices:
        raise BenchError(
            f"sweep.slice={config.sweep.slice} is too large: with sweep.slices={config.sweep.slices} they "
            f"are 0 to {config.sweep.slices - 1}."
        )
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
    plan = _plan(config, kind, base)
    setting = {
        "protocol": config.protocol,
        "dataset": config.dataset,
        "method": key,
        "engine": config.engine,
        "ratings": ratings,
        "seeds": config.seeds,
    }
    identity = {
        **Setting(**setting).identity(),
        "base": base,
        "plan": [dataclasses.asdict(stage) for stage in plan.stages],
        "seeds": config.seeds,
        "tuned_points": config.tuned_points,
        "selection": config.selection,
    }
    cell = Cell(
        **setting,
        base=base,
        plan=plan,
        sweep=config.sweep.name,
        slices=config.sweep.slices,
        slice=config.sweep.slice,
        tuned_points=config.tuned_points,
        selection=config.selection,
        digest=store.identity(identity, ratings.checksum, code(Path(__file__), key, config.dataset.name)),
        words=tuple(word for word in words if not word.lstrip("+").startswith(_PLACES)),
    )
    _check_values(cell)
    return cell


def _plan(config: Config, kind: type[Method], base: dict[str, Any]) -> Plan:
    """The plan of the configuration (see `StageConfig`)."""
    dataset, method = config.dataset, config.method
    of_dataset = {name: getattr(dataset, name) for name in ("quick_grid", "shared_grid", "common_grid")}
    lists = {
        # A method that is not trained has no use for learning rates and the like.
        **{name: grid if kind.trained else {} for name, grid in of_dataset.items()},
        "own_grid": method.grid,
        "long_grid": method.long_grid or method.grid,
    }
    for name, grid in (*lists.items(), ("grid", config.grid)):
        where = name if name == "grid" else f"the {name}'s"
        for field, values in grid.items():
            if field not in base:
                raise BenchError(f"{where}.{field}: the method has no such field; {nearest(field, base)}")
            if not values:
                raise BenchError(
                    f"{where}.{field} is an empty list: give at least one value, or leave it out."
                )
            if len(set(map(repr, values))) != len(values):
                raise BenchError(f"{where}.{field} names a value twice.")
    return sweep.plan(
        config.sweep.stages, lists, config.grid, base, config.seeds, config.dataset.selection_seeds
    )


def _check_values(cell: Cell) -> None:
    """Checks every listed value beside the configured ones, before hours have passed."""
    cell.config(cell.plan.start)
    for stage in cell.plan.stages:
        for name, values in stage.lists.items():
            for value in values:
                _point(methods.get(cell.method).Config, {**cell.base, name: value})


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


# --- Training ---------------------------------------------------------------------------------------


class _Search:
    """The state of a cell's sweep: what was tried, and what is to come."""

    def __init__(self, cell: Cell, trainer: Trainer, progress: Progress) -> None:
        self.cell, self.trainer, self.progress = cell, trainer, progress
        self.sees_test = cell.selection in selection.SEES_TEST
        self.numbers: dict[Values, int] = {}  # a point's number, in the order of trying
        self.trials: dict[tuple[int, int], tuple[str, Trained]] = {}  # (point, seed) → its stage, what came
        self.tried: list[int] = []  # points of each stage that has run
        self.total = cell.trainings
        self.done = 0
        self._work = 0.0
        self._seconds = 0.0
        self._to_come = 0.0
        self._planned = 0  # trainings that are there when the stage at hand is through
        self._mean_cost = 0.0  # of a training of the first stage, whose stacks are of all shapes

    def stage(self, stage: Stage, share: tuple[int, int] = (0, 1)) -> None:
        """Trains the points of a stage, or one of several shares of them.

        Raises:
            BenchError: one member does not fit into the memory budget, or the store cannot be written.
        """
        points = self.cell.plan.points(stage, self.best_first())
        self.tried.append(len(points))
        members = []
        for values in points:
            number = self.numbers.setdefault(values, len(self.numbers))
            config = self.cell.config(values)
            members += [
                Member(number, seed, config)
                for seed in range(stage.seeds)
                if (number, seed) not in self.trials
            ]
        planned = self.cell.plan.trainings()[len(self.tried) - 1]
        self.total -= max(planned - len(members), 0)
        for trained in self.train(members, self.sees_test, stage.name, share):
            self.trials[trained.member.point, trained.member.seed] = (stage.name, trained)

    def train(
        self, members: Sequence[Member], look_at_test: bool, name: str, share: tuple[int, int] = (0, 1)
    ) -> list[Trained]:
        """Trains members stack by stack, keeping count; in the order of the stacks."""
        place, of = share
        stacks = self.trainer.stacks(members, look_at_test)[place::of]
        self._to_come = sum(self._cost(stack) for stack in stacks)
        self._planned = self.done + sum(map(len, stacks))
        if not self._mean_cost:
            self._mean_cost = self._to_come / max(sum(map(len, stacks)), 1)
        found = []
        for stack in stacks:
            before = self.done

            def finished(some: int) -> None:
                self.done += some
                self.progress(self.done, self.total, name, self._left())

            trained = self.trainer.train_stack(stack, look_at_test, finished)
            self.done = before + len(stack)
            self._work += self._cost(stack)
            self._to_come -= self._cost(stack)
            self._seconds += sum(each.seconds for each in trained)
            found += trained
        return found

    def _cost(self, stack: Sequence[Member]) -> float:
        """Of an epoch of a stack, in arbitrary units: per step a fixed part, then the dense Adam's and the
        batch's share."""
        config, ratings = stack[0].config, self.cell.ratings
        steps = -(-len(ratings.biased) // config.batch_size)
        parameters = (ratings.n_users + ratings.n_items) * (config.embedding_size + 1)
        return steps * (3e5 + len(stack) * (2 * parameters + config.batch_size * config.embedding_size))

    def _left(self) -> float | None:
        """Estimated seconds: of this stage by its stacks' cost, of later ones by a training's mean cost."""
        if not self._work:
            return None
        later = max(self.total - self._planned, 0)
        return self._seconds / self._work * (self._to_come + later * self._mean_cost)

    def best_first(self) -> list[Values]:
        """The points tried from best to worst: those of the most seeds first, without the diverged."""
        by_seeds: dict[int, list[Values]] = {}
        for values, number in self.numbers.items():
            n = sum(point == number for point, _ in self.trials)
            if n:
                by_seeds.setdefault(n, []).append(values)
        ranked: list[Values] = []
        for n in sorted(by_seeds, reverse=True):
            points = by_seeds[n]
            rows = [[self.trials[self.numbers[each], seed][1] for seed in range(n)] for each in points]
            merits = selection.Merits(
                *(
                    np.array([[value(each) for each in row] for row in rows])
                    for value in (
                        lambda each: each.validation_auc,
                        lambda each: each.held_out_auc,
                        lambda each: each.test.get("auc", np.nan),
                    )
                )
            )
            ranked += [points[place] for place in selection.order(self.cell.selection, merits)]
        return ranked


def run(cell: Cell, runs: Path, progress: Progress = _silent) -> dict[str, Any]:
    """Trains a cell and puts its record into the store.

    The stages of the plan find the point that the rule of selection puts first; it is trained with all
    seeds, and only then is the test set looked at. Every stack is kept in `runs/groups` as soon as it is
    trained, so that a run that was stopped goes on from there.

    Returns:
        the record.

    Raises:
        BenchError: no point could be trained without diverging, one member is too large for the memory
            budget, or the store cannot be written. A failure is noted apart in the store.
        Sliced: the cell asks for a share of the first stage, and it is trained.
    """
    started, cpu = time.time(), time.process_time()
    trainer = Trainer(cell, runs / "groups")
    search = _Search(cell, trainer, progress)
    if cell.slices > 1:
        if not cell.plan.stages:
            raise BenchError("sweep.slices divides the first stage of a sweep, but nothing is swept here.")
        search.stage(cell.plan.stages[0], (cell.slice, cell.slices))
        raise Sliced(
            f"Share {cell.slice} of {cell.slices} of stage {cell.plan.stages[0].name}: {len(search.trials)} "
            "trainings are kept; the same command without sweep.slices goes on from all shares."
        )
    for stage in cell.plan.stages:
        search.stage(stage)
        if not search.best_first():
            break
    diverged = [_lost(each) for _, each in search.trials.values() if each.diverged]

    chosen: list[Trained] = []
    for values in search.best_first() if cell.plan.stages else [cell.plan.start]:
        number = search.numbers.setdefault(values, len(search.numbers))
        config = cell.config(values)
        members = [Member(number, seed, config) for seed in range(cell.seeds)]
        chosen = sorted(search.train(members, True, "final"), key=lambda each: each.member.seed)
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

    record = _record(search, values, chosen, diverged)
    record["provenance"] = {
        **_provenance(trainer.device, started, cpu),
        # Of all trainings, those that an earlier run kept included.
        "training_seconds": round(
            sum(each.seconds for each in [*chosen, *(each for _, each in search.trials.values())]), 3
        ),
        "command": " ".join(["python -m bench", *cell.words]) if cell.words else "",
    }
    store.write(runs, cell.digest, record, _arrays(search, chosen))
    return store.read(runs, cell.digest)


def _lost(trained: Trained) -> dict[str, Any]:
    member = trained.member
    return {"point": member.point, "seed": member.seed, "what": trained.diverged}


def _record(
    search: _Search, values: Values, chosen: list[Trained], diverged: list[dict[str, Any]]
) -> dict[str, Any]:
    cell, plan = search.cell, search.cell.plan
    kind = methods.get(cell.method)
    columns: dict[str, Any] = {"auc": [each.test["auc"] for each in chosen]}
    for name in ("ndcg", "recall"):
        columns[name] = {rule: [each.test[name][rule] for each in chosen] for rule in NO_POSITIVE}
    if "ideal_loss" in chosen[0].test:
        columns["ideal_loss"] = [each.test["ideal_loss"] for each in chosen]
    ratings = cell.ratings
    tried = _tried(search)
    return {
        "protocol": vars(cell.protocol),
        "dataset": vars(cell.dataset),
        "method": {"name": cell.method, "title": kind.title, **vars(cell.config(values))},
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
        "sweep": cell.sweep,
        "plan": [
            {**dataclasses.asdict(stage), "tried": n}
            for stage, n in zip(plan.stages, search.tried, strict=False)
        ],
        "grid": {
            name: sorted(
                {each["point"][name] for each in tried}, key=lambda value: (isinstance(value, str), value)
            )
            for name in plan.fields
        },
        "points": cell.tuned_points or max(len(tried), 1),
        "selection": cell.selection,
        "selected": dict(zip(plan.fields, values, strict=True)),
        "tried": tried,
        "seeds": [each.member.seed for each in chosen],
        "test": columns,
        "validation": {
            "auc": [each.validation_auc for each in chosen],
            "held_out": [each.held_out_auc for each in chosen],
            "evaluation": [each.best for each in chosen],
            "step": [each.steps[each.best] if each.steps else 0 for each in chosen],
        },
        "diagnostics": {name: [each.diagnostics[name] for each in chosen] for name in chosen[0].diagnostics},
        "diverged": diverged,
    }


def _tried(search: _Search) -> list[dict[str, Any]]:
    """Every point with its mean AUC over the seeds that it was given."""
    found = []
    for values, number in search.numbers.items():
        row = [each for (point, _), (_, each) in search.trials.items() if point == number]
        found.append(
            {
                "point": dict(zip(search.cell.plan.fields, values, strict=True)),
                "validation_auc": float(np.mean([each.validation_auc for each in row])) if row else None,
                "held_out_auc": float(np.mean([each.held_out_auc for each in row])) if row else None,
                "seeds": len(row),
            }
        )
    return found


def _arrays(search: _Search, chosen: list[Trained]) -> dict[str, NDArray[Any]]:
    """Curves (S, E) of the chosen point's last phase, the sweep's trainings (T,), per-user numbers."""

    def padded(curves: list[NDArray[Any]]) -> NDArray[np.float32]:
        table = np.full((len(curves), max(map(len, curves))), np.nan, np.float32)
        for row, curve in zip(table, curves, strict=True):
            row[: len(curve)] = curve
        return table

    trials = list(search.trials.values())
    stages = [stage.name for stage in search.cell.plan.stages]
    arrays: dict[str, NDArray[Any]] = {
        "curve": padded([each.curve for each in chosen]),
        "curve_steps": np.array(max((each.steps for each in chosen), key=len), np.int64),
        "trial_point": np.array([each.member.point for _, each in trials], np.int64),
        "trial_seed": np.array([each.member.seed for _, each in trials], np.int64),
        "trial_stage": np.array([stages.index(stage) for stage, _ in trials], np.int64),
        "trial_auc": np.array([each.validation_auc for _, each in trials]),
        "trial_held_out": np.array([each.held_out_auc for _, each in trials]),
        "trial_step": np.array([each.steps[each.best] if each.steps else 0 for _, each in trials], np.int64),
        "trial_seconds": np.array([each.seconds for _, each in trials], np.float32),
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


def _provenance(device: torch.device, started: float, cpu: float) -> dict[str, Any]:
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
        "wall_seconds": round(time.time() - started, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
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
                ["git", "-C", str(CHECKOUT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "bench", "methods"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answers[0] + ("+" if answers[1] else "")
