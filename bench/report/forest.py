"""Forest plots: every row's paired difference from the reference and from the best baseline.

Interval and dot are of one test, the exact signed-rank test over paired seeds: the thin interval is its own
after Holm's correction, so that the dot is filled exactly where that interval is free of zero; the thick one
is without correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.records.metric import METRICS
from bench.report.choices import column_title
from bench.table.comparisons import SeedComparison, UserComparison, seed_differences
from bench.table.frame import Frame
from bench.table.lines import ALPHA
from bench.table.statistics import wilcoxon_interval

_WIDTH = 200  # of a strip, in its own units
_EDGE = 6  # room at its ends
_Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """A row of one forest plot. interval, corrected: of the differences, without and with Holm's correction.

    mean: of the differences. thick, thin, median_at: where they are drawn, in units of the strip. beyond: -1
    or 1 where the median lies outside of the strip. first_of_family: stands below a rule.
    """

    comparison: SeedComparison
    users: UserComparison | None
    mean: float
    interval: _Interval
    corrected: _Interval
    thick: _Interval
    thin: _Interval
    median_at: float
    beyond: int
    significant: bool
    first_of_family: bool


@dataclass(frozen=True, kw_only=True)
class Forest:
    """One forest plot. against: "reference" or "best baseline". reach: at the strip's ends.

    over_users: whether the metric can be tested over users, too. with_tuning: whether the tuning's spread of
    two rows is known.
    """

    protocol: str
    dataset: str
    metric: str
    against: str
    title: str
    base: str
    better: str
    reach: float
    over_users: bool
    with_tuning: bool
    rows: list[ForestRow]


def forests(frame: Frame) -> list[Forest]:
    """Every forest plot of a table, in its order."""
    seeds: dict[tuple[str, str, str, str], list[SeedComparison]] = {}
    for each in frame.comparisons:
        seeds.setdefault(_place(each), []).append(each)
    users: dict[tuple[str, str, str, str], dict[str, UserComparison]] = {}
    for other in frame.users:
        users.setdefault(_place(other), {})[other.line.row.method] = other
    return [_forest(compared, users.get(place, {})) for place, compared in seeds.items()]


def levels(compared: Sequence[SeedComparison], alpha: float = ALPHA) -> dict[str, float]:
    """Method → level at which its test is held to a column's Holm correction, within its family.

    Of m tests, the i-th smallest p is held to α / (m - i + 1); from the first that is not significant on, all
    are held to its level. So p < level exactly where p after the correction is below α.
    """
    found: dict[str, float] = {}
    for family in {each.line.row.family for each in compared}:
        ordered = sorted(
            (each for each in compared if each.line.row.family == family), key=lambda each: each.p_value
        )
        rejected = sum(each.p_holm < alpha for each in ordered)
        for place, each in enumerate(ordered):
            found[each.line.row.method] = alpha / (len(ordered) - min(place, rejected))
    return found


def _place(each: SeedComparison | UserComparison) -> tuple[str, str, str, str]:
    line = each.line
    return line.protocol, line.dataset.dataset, line.metric, each.against


def _forest(compared: Sequence[SeedComparison], users: Mapping[str, UserComparison]) -> Forest:
    protocol, dataset, metric, against = _place(compared[0])
    line = compared[0].line
    differences = {each.line.row.method: seed_differences(each) for each in compared}
    plain = {method: wilcoxon_interval(values, ALPHA) for method, values in differences.items()}
    # A control far away would press the rows of the paper together: it is cut off at the edge instead.
    wanted = [each for each in compared if not each.line.row.control] or compared
    ends = [abs(end) for each in wanted for end in plain[each.line.row.method] if np.isfinite(end)]
    reach = max([*ends, *(abs(each.median) for each in wanted)]) * 1.25 or 1e-3
    held = levels(compared)
    rows: list[ForestRow] = []
    for each in compared:
        method = each.line.row.method
        corrected = wilcoxon_interval(differences[method], held[method])
        rows.append(
            ForestRow(
                comparison=each,
                users=users.get(method),
                mean=float(differences[method].mean()),
                interval=plain[method],
                corrected=corrected,
                thick=_drawn(plain[method], reach),
                thin=_drawn(corrected, reach),
                median_at=_at(each.median, reach),
                beyond=0 if abs(each.median) <= reach else 1 if each.median > 0 else -1,
                significant=each.sign != 0,
                first_of_family=bool(rows) and each.line.row.family != rows[-1].comparison.line.row.family,
            )
        )
    return Forest(
        protocol=protocol,
        dataset=dataset,
        metric=metric,
        against=against,
        title=column_title(line.dataset, metric),
        base=compared[0].base.row.title,
        better="higher is better" if METRICS[metric].more_is_better else "lower is better",
        reach=reach,
        over_users=bool(line.no_positive),
        with_tuning=any(each.p_tuning is not None for each in compared),
        rows=rows,
    )


def _drawn(interval: _Interval, reach: float) -> _Interval:
    return _at(interval[0], reach), _at(interval[1], reach)


def _at(value: float, reach: float) -> float:
    """Where a difference is drawn; what lies outside of [-reach, reach] is drawn at the edge."""
    share = min(1.0, max(-1.0, value / reach))
    return round(_WIDTH / 2 + share * (_WIDTH / 2 - _EDGE), 1)
