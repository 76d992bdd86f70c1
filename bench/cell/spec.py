"""What a cell is: method × data set × protocol, checked and resolved, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import methods
from bench.cell.plan import Plan, Values
from bench.config import DatasetConfig, EngineConfig, ProtocolConfig
from bench.data.ratings import Ratings
from bench.engine.method import MethodConfig
from bench.errors import BenchError
from bench.records.fingerprint import Identity

SAVED = ("scores", "model")  # what may be kept of the final runs beside a record


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


@dataclass(frozen=True, kw_only=True)
class Cell(Setting):
    """A checked cell (`bench.cell.prepare` makes it).

    base: the configured point's fields. sweep, slices, slice: see `SweepConfig`. identity: of its record.
    again: trained anew even where its record stands. words: of the command line that made it. save: what of
    the final runs is kept beside the record (`SAVED`).
    """

    base: dict[str, Any]
    plan: Plan
    sweep: str
    slices: int
    slice: int
    tuned_points: int
    selection: str
    identity: Identity
    again: bool = False
    words: tuple[str, ...] = ()
    save: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of its record."""
        return self.identity.digest

    def config(self, values: Values) -> MethodConfig:
        """The typed configuration of a point.

        Raises:
            BenchError: a value does not fit its field.
        """
        return self.typed(dict(zip(self.plan.fields, values, strict=True)))

    def typed(self, changes: dict[str, Any]) -> MethodConfig:
        """The configured point with some fields changed, typed and checked; the grid's lists are untyped.

        Raises:
            BenchError: a value does not fit its field.
        """
        return point_of(self.method, {**self.base, **changes})

    @property
    def points(self) -> list[MethodConfig]:
        """The points of the first stage, or the configured one where nothing is swept."""
        stages = self.plan.stages
        values = self.plan.points(stages[0], []) if stages else [self.plan.start]
        return [self.config(each) for each in values]


def point_of(method: str, values: dict[str, Any]) -> MethodConfig:
    """A method's point, typed and checked.

    Raises:
        BenchError: a value does not fit its field.
    """
    try:
        point = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(methods.get(method).Config), values))
    except OmegaConfBaseException as error:
        raise BenchError(f"method: {str(error).splitlines()[0]}.") from error
    assert isinstance(point, MethodConfig)
    point.check()
    return point
