"""Every row against another of its column: over paired seeds, and over paired users.

This is the only place where rows are tested; report, page and plots take their p-values from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.records import store
from bench.table.lines import ALPHA, Line, find_line
from bench.table.manifest import FAMILIES
from bench.table.statistics import (
    bootstrap_median,
    holm,
    mean_interval,
    paired,
    paired_users,
    t_test,
    wilcoxon,
    wilcoxon_normal,
)

# What a row is tested against; a further method also against the best row of the paper, its own method among
# them.
REFERENCE, BEST_BASELINE, BEST_ROW = "reference", "best baseline", "best row"

UserKey = tuple[str, str, str]  # digest, digest of the base, metric
UserNumbers = tuple[int, float, float, float, float]  # users, mean, low, high, p


@dataclass(frozen=True, kw_only=True)
class SeedComparison:
    """A line tested against another of its column, over paired seeds.

    against: REFERENCE, BEST_BASELINE, BEST_ROW or another word for the base. n: seeds that both have. median,
    low, high: of the paired differences, the line minus the base, with their bootstrap interval. p_holm:
    corrected within the family.

    tuning_std: of the difference of the two means over re-tunings of both rows, √(τ² + τ'²); None where one
    of the two is not known. p_tuning: two-sided, with that spread added to the seeds' own: of Student's t
    with n - 1 degrees of freedom for

        t = mean(d) / √(sd(d)² / n + τ² + τ'²)

    p_tuning_holm: corrected within the family, in which a comparison of unknown p counts as one.
    """

    line: Line
    base: Line
    against: str
    n: int
    median: float
    low: float
    high: float
    p_value: float
    p_holm: float
    tuning_std: float | None = None
    p_tuning: float | None = None
    p_tuning_holm: float | None = None

    @property
    def sign(self) -> int:
        """1 where the line is significantly above the base, -1 where it is below, else 0."""
        return int(np.sign(self.median)) if self.p_holm < ALPHA else 0

    @property
    def survives(self) -> bool | None:
        """Whether there is a significant difference that the tuning's spread does not explain.

        None where that spread is not known.
        """
        if self.p_tuning_holm is None:
            return None
        return self.sign != 0 and self.p_tuning_holm < ALPHA


@dataclass(frozen=True, kw_only=True)
class UserComparison:
    """The same over paired users: it tells whether the trained models differ on other users, too.

    n: users with a positive test rating. mean, low, high: of the users' differences, each averaged
    over the seeds.
    """

    line: Line
    base: Line
    against: str
    n: int
    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float


# --- Over seeds ---------------------------------------------------------------------------------------


def seed_differences(comparison: SeedComparison) -> NDArray[np.float64]:
    """(n,) the paired differences that were tested, the line minus the base."""
    ours, theirs = _paired(comparison.line, comparison.base)
    return np.asarray(ours - theirs)


def compare_seeds(lines: Sequence[Line], base: Line | None, against: str) -> list[SeedComparison]:
    """Tests of a column's lines against one of them, with their effects; none where it has no values.

    Raises:
        BenchError: the seeds of two rows are not the same.
    """
    if base is None or not base.values:
        return []
    comparisons = []
    tested = _p_values(lines, base)
    with_tuning = [_p_with_tuning(line, base) for line, _, _ in tested]
    adjusted = corrected([line for line, _, _ in tested], [1.0 if p is None else p for p in with_tuning])
    for (line, p_value, p_holm), p_tuning, p_tuning_holm in zip(tested, with_tuning, adjusted, strict=True):
        ours, theirs = _paired(line, base)
        median, low, high = bootstrap_median(ours - theirs, seed=0)
        variance = _tuning_variance(line, base)
        comparisons.append(
            SeedComparison(
                line=line,
                base=base,
                against=against,
                n=len(ours),
                median=median,
                low=low,
                high=high,
                p_value=p_value,
                p_holm=p_holm,
                tuning_std=None if variance is None else float(np.sqrt(variance)),
                p_tuning=p_tuning,
                p_tuning_holm=None if p_tuning is None else p_tuning_holm,
            )
        )
    return comparisons


def _tuning_variance(line: Line, base: Line) -> float | None:
    ours, theirs = line.tuning_variance, base.tuning_variance
    return None if ours is None or theirs is None else ours + theirs


def _p_with_tuning(line: Line, base: Line) -> float | None:
    variance = _tuning_variance(line, base)
    ours, theirs = _paired(line, base)
    return None if variance is None or len(ours) < 2 else t_test(ours - theirs, variance)


def enter_tests(lines: Sequence[Line], reference: str) -> None:
    """Enters the tests against the reference into a column's lines.

    Raises:
        BenchError: the seeds of two rows are not the same.
    """
    base = find_line(lines, reference)
    if base is not None and base.values:
        for line, p_value, p_holm in _p_values(lines, base):
            line.reference, line.p_value, line.p_holm = reference, p_value, p_holm


def _p_values(lines: Sequence[Line], base: Line) -> list[tuple[Line, float, float]]:
    """Tests every line of a column that has values against one of them: (line, p, p after Holm)."""
    tested = [line for line in lines if line is not base and line.values]
    p_values = []
    for line in tested:
        ours, theirs = _paired(line, base)
        p_values.append(wilcoxon(ours - theirs, np.zeros(len(ours)))[0])
    return list(zip(tested, p_values, corrected(tested, p_values), strict=True))


def corrected(lines: Sequence[Line], p_values: Sequence[float]) -> list[float]:
    """Holm's correction within each family: the paper's rows, further methods, controls, rows of one's own.

    Otherwise each method or control that somebody adds would weaken the tests of the paper's rows; with ten
    seeds, whose smallest p is .00195, a family of 26 could not be significant at all.
    """
    adjusted = [1.0] * len(lines)
    for family in FAMILIES:
        members = [index for index, line in enumerate(lines) if line.row.family == family]
        for index, p_holm in zip(members, holm([p_values[index] for index in members]), strict=True):
            adjusted[index] = p_holm
    return adjusted


def _common(line: Line, base: Line) -> set[int]:
    """The seeds of the one that has fewer, if the other has them all; else those of both.

    Rows that were trained at other times may have ten seeds and twenty; that one has a seed of its own beside
    the others' is a mistake, which the pairing then names.
    """
    ours, theirs = line.values.keys(), base.values.keys()
    return set(ours & theirs) if ours <= theirs or theirs <= ours else set(ours | theirs)


def _paired(line: Line, base: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    seeds = _common(line, base)
    ours, theirs = (
        {seed: value for seed, value in side.values.items() if seed in seeds} for side in (line, base)
    )
    try:
        return paired(ours, theirs)
    except BenchError as error:
        raise BenchError(_untestable(line, base, error)) from error


def _untestable(line: Line, base: Line, error: BenchError) -> str:
    return (
        f"In {line.protocol}/{line.dataset.dataset}, {line.row.method} cannot be tested against "
        f"{base.row.method}. {error}"
    )


# --- Over users ---------------------------------------------------------------------------------------


class UserValues:
    """The users' numbers in the records of one data set, each archive read once. runs: None for no store."""

    def __init__(self, runs: Path | None) -> None:
        self._runs = runs
        self._archives: dict[str, Mapping[str, NDArray[Any]] | None] = {}

    def of(self, line: Line) -> dict[int, tuple[NDArray[Any], NDArray[Any]]] | None:
        """Seed → users and values; None where the record is not here or has no such arrays."""
        digest = line.cell.digest
        if digest not in self._archives:
            self._archives[digest] = self._read(digest)
        arrays = self._archives[digest]
        if arrays is None or any(f"{line.metric}_{seed}" not in arrays for seed in line.values):
            return None
        return {seed: (arrays[f"users_{seed}"], arrays[f"{line.metric}_{seed}"]) for seed in line.values}

    def _read(self, digest: str) -> Mapping[str, NDArray[Any]] | None:
        if self._runs is None:
            return None
        try:
            return store.read_arrays(self._runs, digest, ("users_", "ndcg_", "recall_"))
        except store.NoRecord:
            return None


def compare_users(
    lines: Sequence[Line],
    base: Line | None,
    against: str,
    values: UserValues,
    published: Mapping[UserKey, UserNumbers],
) -> list[UserComparison]:
    """A column's tests over users.

    Lines whose users are known neither from a record nor from `published` are left out.

    Raises:
        BenchError: the seeds or the users of two rows are not the same.
    """
    if base is None or not base.values or not base.no_positive:
        return []
    tested, numbers = [], []
    theirs = values.of(base)
    for line in lines:
        if line is base or not line.values:
            continue
        ours = values.of(line)
        if ours is None or theirs is None:
            known = published.get((line.cell.digest, base.cell.digest, line.metric))
        else:
            known = _over_users(line, base, ours, theirs)
        if known is not None:
            tested.append(line)
            numbers.append(known)
    adjusted = corrected(tested, [each[-1] for each in numbers])
    return [
        UserComparison(
            line=line,
            base=base,
            against=against,
            n=n,
            mean=mean,
            low=low,
            high=high,
            p_value=p_value,
            p_holm=p_holm,
        )
        for line, (n, mean, low, high, p_value), p_holm in zip(tested, numbers, adjusted, strict=True)
    ]


def _over_users(line: Line, base: Line, ours: Any, theirs: Any) -> UserNumbers | None:
    """None of fewer than two users. The numbers are rounded as the CSV prints them, so that they are the
    same when they are read back from there."""
    seeds = _common(line, base)
    ours, theirs = (
        {seed: values for seed, values in side.items() if seed in seeds} for side in (ours, theirs)
    )
    try:
        differences = paired_users(ours, theirs)
    except BenchError as error:
        raise BenchError(_untestable(line, base, error)) from error
    if len(differences) < 2:
        return None
    mean, low, high = map(_printed, mean_interval(differences))
    return len(differences), mean, low, high, _printed(wilcoxon_normal(differences))


def _printed(number: float) -> float:
    return float(f"{number:.12g}")
