"""Which hyper-parameter points a cell tries: a plan of stages, each around the best points so far.

The full product of a method's lists is out of reach (ULTD's in the paper: 145,200 points), so a plan sweeps
some fields exhaustively, others around the best points found, and gives the last few points more seeds
(`conf/sweep/paper.yaml`). Learning rate and weight decay come first and together: the decay that a row needs
depends on its loss and its rate, and at a wrong one no other field can tell. Every row gets the same number
of points. Pure: neither data nor torch.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.config import StageConfig
from bench.errors import BenchError
from bench.seeds import stream_seed

_MOST_POINTS = 1_000_000  # of a stage's product, which is gone through even where a few are drawn

Values = tuple[Any, ...]  # one value for each of a plan's fields: a point
Lists = Mapping[str, list[Any]]  # field → values
# (field, value) → the fields that nothing reads where it has that value.
Inert = Mapping[tuple[str, Any], tuple[str, ...]]


@dataclass(frozen=True)
class Stage:
    """A resolved stage; see `StageConfig`. lists: field → values; none: the best points get more seeds."""

    name: str
    lists: dict[str, list[Any]]
    near: bool
    around: int
    points: int
    seeds: int


@dataclass(frozen=True)
class Plan:
    """The stages of a cell.

    fields: those swept in any stage. start: the configured point. inert: of the method, see `Inert`.
    """

    fields: tuple[str, ...]
    start: Values
    stages: tuple[Stage, ...]
    inert: Inert = field(default_factory=dict)

    def points(self, stage: Stage, best_first: Sequence[Values]) -> list[Values]:
        """The points of a stage, given all points tried before it from best to worst.

        A stage of given size goes around further points where the lists around its own are used up, so that
        rows with short lists are given as many points as rows with long ones.
        """
        if not stage.lists:
            return list(best_first[: stage.around])
        if stage.around == 0:
            around, rest = [self.start], []
        else:
            around, rest = list(best_first[: stage.around]), list(best_first[stage.around :])
        seen = set(best_first)
        found: list[Values] = []
        draw = random.Random(stream_seed("sweep", stage.name))
        quota = -(-stage.points // len(around))
        for number, centre in enumerate(itertools.chain(around, rest if stage.points else [])):
            if stage.points and len(found) == stage.points:
                break
            alike = dict.fromkeys(map(self._read, self._around(stage, centre)))
            new = [point for point in alike if point not in seen]
            if stage.points:
                room = min(quota * (number + 1), stage.points) if number < len(around) else stage.points
                new = _drawn(draw, new, centre if stage.near else None, max(room - len(found), 0))
            found += new
            seen.update(new)
        return found

    def _read(self, point: Values) -> Values:
        """A point with what nothing reads as it is configured: points that differ in that alone are one."""
        values = dict(zip(self.fields, point, strict=True))
        start = dict(zip(self.fields, self.start, strict=True))
        for (name, value), unread in self.inert.items():
            if values.get(name) == value:
                values |= {each: start[each] for each in unread if each in values}
        return tuple(values.values())

    def _around(self, stage: Stage, centre: Values) -> Iterator[Values]:
        choices = []
        for name, own in zip(self.fields, centre, strict=True):
            values = stage.lists.get(name)
            choices.append([own] if values is None else _near(values, own) if stage.near else values)
        yield from itertools.product(*choices)


def _drawn(draw: random.Random, points: list[Values], centre: Values | None, size: int) -> list[Values]:
    """At most so many of the points, in their order; with a centre, those that differ from it least first."""
    if centre is None:
        chosen = draw.sample(range(len(points)), min(len(points), size))
    else:
        chosen = draw.sample(range(len(points)), len(points))
        differences = [sum(map(operator.ne, point, centre)) for point in points]
        chosen = sorted(chosen, key=lambda place: differences[place])[:size]
    return [points[place] for place in sorted(chosen)]


def _near(values: list[Any], own: Any) -> list[Any]:
    """A value and its neighbours in a list of numbers; other lists have no order, and are taken whole."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in [*values, own]):
        return values
    ordered = sorted(values)
    below, above = bisect.bisect_left(ordered, own), bisect.bisect_right(ordered, own)
    return [*ordered[max(below - 1, 0) : below], own, *ordered[above : above + 1]]


def plan(
    stages: Sequence[StageConfig],
    lists: Mapping[str, Lists],
    given: Lists,
    configured: Mapping[str, Any],
    seeds: int,
    default_seeds: int,
    inert: Inert | None = None,
) -> Plan:
    """Resolves the stages of a configuration for one method.

    Args:
        lists: name of a list → field → values.
        given: the command line's: they replace a field's other lists, and a field that no stage sweeps is
            swept with the method's own, or in the first stage where no stage names those.
        configured: the point to start from, of all fields.
        seeds: of the final runs: no stage has more. default_seeds: of a stage that does not say.
        inert: of the method.

    Raises:
        BenchError: a stage names no list that there is, goes around nothing, or has a negative number.
    """
    resolved: list[Stage] = []
    for config in stages or ([StageConfig(name="grid")] if given else []):
        for name in ("around", "points", "seeds"):
            if getattr(config, name) < 0:
                raise BenchError(f"sweep.stages: {name} of stage '{config.name}' must not be negative.")
            if getattr(config, name) > _MOST_POINTS:
                raise BenchError(
                    f"sweep.stages: {name} of stage '{config.name}' must be at most {_MOST_POINTS:,}."
                )
        merged, instead = (
            _merged(config.name, names, lists, given) for names in (config.lists, config.instead)
        )
        merged = merged or instead
        stage_seeds = min(config.seeds or default_seeds, seeds)
        resolved.append(Stage(config.name, merged, config.near, config.around, config.points, stage_seeds))
    if len({stage.name for stage in resolved}) != len(resolved):
        raise BenchError("sweep.stages: two stages have one name.")
    if resolved:
        if resolved[0].around:
            raise BenchError(
                f"sweep.stages: '{resolved[0].name}' is the first stage, so there are no best points to go "
                "around yet: give it around: 0."
            )
        swept = {name for stage in resolved for name in stage.lists}
        own = (place for place, config in enumerate(stages) if {"own_grid", "long_grid"} & set(config.lists))
        more = {name: list(given[name]) for name in given if name not in swept}
        resolved[next(own, 0)].lists.update(more)
    for stage in resolved:
        size = math.prod(min(len(each), 3) if stage.near else len(each) for each in stage.lists.values())
        if size > _MOST_POINTS:
            raise BenchError(
                f"sweep.stages: the lists of stage '{stage.name}' have {size:,} points, of which at most "
                f"{_MOST_POINTS:,} can be gone through: shorten a list, or sweep fields in several stages."
            )
    # A row without parameters of its own has nothing to do in a stage of such parameters.
    resolved = [stage for stage in resolved if stage.lists or stage.around]
    # What is not trained has no use for the first stages' lists: its own begin, around the configured point.
    resolved = list(itertools.dropwhile(lambda stage: not stage.lists, resolved))
    if resolved and resolved[0].around:
        resolved[0] = replace(resolved[0], around=0)
    fields = tuple(dict.fromkeys(name for stage in resolved for name in stage.lists))
    if not fields:
        return Plan((), (), ())
    return Plan(fields, tuple(configured[name] for name in fields), tuple(resolved), inert or {})


def _merged(
    stage: str, names: Sequence[str], lists: Mapping[str, Lists], given: Lists
) -> dict[str, list[Any]]:
    """Several lists as one; see `plan`.

    Raises:
        BenchError: there is no such list.
    """
    merged: dict[str, list[Any]] = {}
    for key in names:
        if key not in lists:
            raise BenchError(
                f"sweep.stages: stage '{stage}' names the list '{key}', but there are only "
                f"{', '.join(lists)}."
            )
        merged.update({name: list(given.get(name, values)) for name, values in lists[key].items()})
    return merged
