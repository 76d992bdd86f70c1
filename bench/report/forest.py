"""Forest plots: every row's paired difference from the reference and from the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records.metric import METRICS
from bench.table import layout
from bench.table.comparisons import SeedComparison, UserComparison
from bench.table.frame import Frame

_WIDTH = 200  # of a strip, in its own units
_EDGE = 6  # room at its ends


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """A row of one forest plot; low, high, median_at: where they are drawn, in units of the strip.

    beyond: -1 or 1 where the median lies outside of the strip. first_of_family: stands below a rule.
    """

    comparison: SeedComparison
    users: UserComparison | None
    low: float
    high: float
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


def _place(each: SeedComparison | UserComparison) -> tuple[str, str, str, str]:
    line = each.line
    return line.protocol, line.dataset.dataset, line.metric, each.against


def _forest(compared: Sequence[SeedComparison], users: Mapping[str, UserComparison]) -> Forest:
    protocol, dataset, metric, against = _place(compared[0])
    line = compared[0].line
    # A control far away would press the rows of the paper together: it is cut off at the edge instead.
    wanted = [each for each in compared if not each.line.row.control] or compared
    reach = max(max(abs(each.low), abs(each.high)) for each in wanted) * 1.05 or 1e-3
    rows: list[ForestRow] = []
    for each in compared:
        rows.append(
            ForestRow(
                comparison=each,
                users=users.get(each.line.row.method),
                low=_at(each.low, reach),
                high=_at(each.high, reach),
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
        title=f"{line.dataset.title}, {layout.heading(metric, line.dataset.k)}",
        base=compared[0].base.row.title,
        better="higher is better" if METRICS[metric].more_is_better else "lower is better",
        reach=reach,
        over_users=bool(line.no_positive),
        with_tuning=any(each.p_tuning is not None for each in compared),
        rows=rows,
    )


def _at(value: float, reach: float) -> float:
    """Where a difference is drawn; what lies outside of [-reach, reach] is drawn at the edge."""
    share = min(1.0, max(-1.0, value / reach))
    return round(_WIDTH / 2 + share * (_WIDTH / 2 - _EDGE), 1)
