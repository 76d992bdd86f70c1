"""The record of a cell: what was asked for, what was tried, what was measured, where it was trained.

`bench.cell` writes it, everything else reads it through here. S seeds of the final runs, P points tried.
Needs neither torch nor data.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.records import store
from bench.records.fingerprint import Identity
from bench.records.metric import IDEAL_LOSS, METRICS


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A stage of the sweep as it was resolved (`bench.cell.plan.Stage`); tried: points that it came to."""

    name: str
    lists: dict[str, list[Any]]
    near: bool
    around: int
    points: int
    seeds: int
    tried: int


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A point of the sweep, its AUC as means over the seeds that it was given; None where one diverged."""

    point: dict[str, Any]
    validation_auc: float | None
    held_out_auc: float | None = None
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Of the final runs, (S,) each.

    auc: best of the validation curve. held_out: `Outcome.held_out` of `bench/engine/training.py`.
    evaluation, step: where the parameters were kept.
    """

    auc: list[float]
    held_out: list[float] = field(default_factory=list)
    evaluation: list[int] = field(default_factory=list)
    step: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where, when, with what and at what cost a cell was trained; none of it determines a number here.

    training_seconds: of all its trainings, those that an earlier run kept included. kernels: which
    implementation of the engine's steps ran.
    """

    device: str = ""
    device_name: str = ""
    threads: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: float = 0.0
    python: str = ""
    torch: str = ""
    numpy: str = ""
    kernels: str = ""
    commit: str = ""
    finished: str = ""
    training_seconds: float = 0.0
    command: str = ""


@dataclass(frozen=True)
class SavedScores:
    """A seed's test ratings: users, items (N_t,) from 0, whether the label is positive, and the scores."""

    users: NDArray[Any]
    items: NDArray[Any]
    labels: NDArray[Any]
    scores: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A cell that was trained.

    digest: its name in the store. protocol, dataset, method, engine: the resolved configuration, each with
    its `name` where it has one. source, comparable, notes, counts: of the ratings. sweep: name of the plan.
    grid: field → values tried. points: tried for the chosen one, by whichever sweep chose it. selection:
    rule. selected: swept fields of the chosen point. seeds: (S,). test: metric → (S,) values, or convention
    → (S,) values. diagnostics: name → (S,). diverged: trainings that were lost. identity: what the digest
    is made of; None in records of an earlier version of the suite.
    """

    digest: str = ""
    protocol: dict[str, Any]
    dataset: dict[str, Any]
    method: dict[str, Any]
    source: str
    comparable: bool
    notes: dict[str, Any]
    counts: dict[str, Any]
    engine: dict[str, Any]
    sweep: str = ""
    plan: list[PlannedStage] = field(default_factory=list)
    grid: dict[str, list[Any]]
    points: int
    selection: str
    selected: dict[str, Any]
    tried: list[Tried]
    seeds: list[int]
    test: dict[str, Any]
    validation: Validation
    diagnostics: dict[str, list[float]]
    diverged: list[dict[str, Any]]
    provenance: Provenance = Provenance()
    identity: Identity | None = None
    runs: Path | None = field(default=None, compare=False, repr=False)  # the store that it was read from

    # --- What is asked of it most ---

    @property
    def cell(self) -> tuple[str, str, str]:
        """Protocol, data set and method, by name."""
        return self.protocol["name"], self.dataset["name"], self.method["name"]

    @property
    def k(self) -> int:
        """Cut-off of NDCG and Recall."""
        return int(self.dataset["k"])

    def metric(self, name: str, no_positive: str | None = None) -> dict[int, float]:
        """Test values of a metric, seed → value; NaN where a seed has none.

        Args:
            name: "auc", "ndcg", "recall" or, of generated data, "ideal_loss".
            no_positive: how users without a positive rating count (`CONVENTIONS`); by default as the
                protocol says.

        Raises:
            BenchError: the record has no such metric or convention.
        """
        column = self.test.get(name)
        if isinstance(column, dict):
            column = column.get(no_positive or self.protocol["no_positive"])
        if column is None:
            known = ", ".join(self.test)
            raise BenchError(f"The record {self.digest} has no {name} {no_positive or ''}: it has {known}.")
        if len(column) != len(self.seeds):
            raise BenchError(
                f"The record {self.digest} does not hold one {name} for each seed; train it again."
            )
        return {
            seed: np.nan if value is None else float(value)
            for seed, value in zip(self.seeds, column, strict=True)
        }

    def mean(self, name: str, no_positive: str | None = None) -> float:
        """Mean over seeds of a test metric."""
        return float(np.mean(list(self.metric(name, no_positive).values())))

    @property
    def metrics(self) -> list[str]:
        """The metrics that it has, in the table's order.

        The ideal loss is a cross-entropy of probabilities: rows with raw scores have none, although the
        trainer writes one, of scores cut to 0 and 1.
        """
        raw = self.method.get("score") == "raw"
        return [name for name in METRICS if name in self.test and not (raw and name == IDEAL_LOSS.key)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Curves, the sweep's trainings and the users' numbers (`bench.cell` writes and explains them).

        Raises:
            BenchError: the record was not read from a store, or its arrays are damaged.
        """
        if self.runs is None:
            raise BenchError(f"The record {self.digest} was not read from a store: it has no arrays.")
        return store.read_arrays(self.runs, self.digest)

    def curves(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Steps before each evaluation (E,) and validation AUC (S, E), NaN once a seed has stopped."""
        arrays = self.arrays()
        return arrays["curve_steps"], arrays["curve"]

    def scores(self) -> dict[int, SavedScores]:
        """Each seed's test ratings and their scores, of a run with `save=scores`.

        Raises:
            NoRecord: none were saved.
            BenchError: the record was not read from a store, or they are damaged.
        """
        arrays = self._saved("scores")
        return {
            seed: SavedScores(*(arrays[f"{each.name}_{seed}"] for each in dataclasses.fields(SavedScores)))
            for seed in self.seeds
        }

    def parameters(self) -> dict[int, dict[str, NDArray[Any]]]:
        """Each seed's arrays from which its model scores again (`bench.load`), of a run with `save=model`.

        Raises:
            NoRecord: none were saved.
            BenchError: the record was not read from a store, or they are damaged.
        """
        found: dict[int, dict[str, NDArray[Any]]] = {seed: {} for seed in self.seeds}
        for key, value in self._saved("model").items():
            seed, _, name = key.partition("/")
            found[int(seed)][name] = value
        return found

    def _saved(self, name: str) -> dict[str, NDArray[Any]]:
        if self.runs is None:
            raise BenchError(f"The record {self.digest} was not read from a store: it has no {name}.")
        return store.read_beside(self.runs, self.digest, name)

    # --- JSON ---

    def to_json(self) -> dict[str, Any]:
        """The document that the store keeps."""
        document = dataclasses.asdict(self)
        for name in ("digest", "runs"):
            del document[name]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any], digest: str = "", runs: Path | None = None) -> Self:
        """The record of a document.

        Raises:
            BenchError: it lacks a field, or one is of another kind.
        """
        try:
            known = {each.name for each in dataclasses.fields(cls)} - {"digest", "runs"}
            values = {name: value for name, value in document.items() if name in known}
            values["plan"] = [_of(PlannedStage, stage) for stage in values.get("plan", [])]
            values["tried"] = [_of(Tried, point) for point in values["tried"]]
            values["validation"] = _of(Validation, values["validation"])
            values["provenance"] = _of(Provenance, values.get("provenance", {}))
            identity = values.get("identity")
            values["identity"] = _of(Identity, identity) if identity else None
            made = cls(**values, digest=digest, runs=runs)
            for group in (made.protocol, made.dataset, made.method):
                group["name"]
        except (KeyError, TypeError, AttributeError) as error:
            raise BenchError(f"The record {digest} lacks a field ({error}); train it again.") from error
        return made


def _of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass of a document's fields; those that this version does not know are passed over."""
    known = {each.name for each in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in known})


def saved_scores(scores: Mapping[int, SavedScores]) -> dict[str, NDArray[Any]]:
    """The archive that `Record.scores` reads."""
    return {
        f"{each.name}_{seed}": getattr(values, each.name)
        for seed, values in scores.items()
        for each in dataclasses.fields(SavedScores)
    }


def saved_parameters(parameters: Mapping[int, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The archive that `Record.parameters` reads."""
    return {f"{seed}/{name}": value for seed, arrays in parameters.items() for name, value in arrays.items()}


# --- In the store -------------------------------------------------------------------------------------


def write_record(
    runs: Path, digest: str, record: Record, arrays: Mapping[str, NDArray[Any]], replace: bool = False
) -> Record:
    """Puts a record into the store and returns it as it stands there.

    Args:
        replace: in the place of a valid one, too; otherwise that one is kept and returned.

    Raises:
        BenchError: see `store.write`.
    """
    store.write(runs, digest, record.to_json(), arrays, replace or _is_strange(runs, digest))
    return read_record(runs, digest)


def _is_strange(runs: Path, digest: str) -> bool:
    """Whether a record stands there, intact, that this version of the suite cannot read."""
    try:
        read_record(runs, digest)
    except (store.NoRecord, store.DamagedRecord):
        return False
    except BenchError:
        return True
    return False


def read_record(runs: Path, digest: str) -> Record:
    """The record of a digest.

    Raises:
        NoRecord: there is none.
        DamagedRecord: it is half-written, altered or of another version.
        BenchError: the store cannot be read, or the record lacks a field.
    """
    return Record.from_json(store.read(runs, digest), digest, Path(runs))


def find_record(runs: Path, digest: str, report: Callable[[str], None] | None = None) -> Record | None:
    """The record of a digest, or None where it is absent, damaged (see `store.find`) or lacks a field."""
    document = store.find(runs, digest, report)
    if document is None:
        return None
    try:
        return Record.from_json(document, digest, Path(runs))
    except BenchError as error:
        (report or warnings.warn)(str(error))
        return None
