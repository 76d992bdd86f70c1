"""The lines of the table and what a column makes of them: its best baseline, its best two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.records.metric import METRICS, Metric
from bench.records.trials import sweeper_of
from bench.table.manifest import Dataset, Row
from bench.table.retuning import Retuned

TOLERANCE = 0.01  # a mean this close to the paper's number reproduces it
ALPHA = 0.05  # family-wise error rate behind the table's marks

HERE, PUBLISHED = "here", "published"  # where a cell was trained: in this checkout, or by its authors

ValuesBySeed = dict[int, float]  # seed → value
MetricKey = tuple[str, str]  # metric, convention for users without a positive


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What the table needs of one record, or why there is none.

    comparable: the paper's numbers were made alike. values: (metric, convention) → seed → value.
    provenance: what `provenance.csv` says of it, by column. origin: HERE, PUBLISHED, or "" where there is
    no record. held_out: mean held-out validation AUC of the final runs, if it is known. retuned: the spread
    over re-tunings, if the sweep's finalists are known.
    """

    digest: str = ""
    missing: str = ""
    origin: str = ""
    source: str = ""
    threshold: float = 0.0
    no_positive: str = ""
    k: int = 0
    comparable: bool = False
    points: int = 0
    values: dict[MetricKey, ValuesBySeed] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    held_out: float | None = None
    retuned: Retuned | None = None


@dataclass(kw_only=True)
class Line:
    """One line of table1.csv; the p-values come in once their whole column is known.

    paper: the paper's number, as text; "" where a comparison would be dishonest. printed: the same, but also
    there, to be shown as what it is.
    """

    protocol: str
    dataset: Dataset
    row: Row
    cell: CellResult
    metric: str
    no_positive: str
    paper: str
    printed: str = ""
    reference: str = ""
    p_value: float | None = None
    p_holm: float | None = None

    @property
    def sweeper(self) -> str:
        """The sweeper among whose trials its point was chosen; "" where a plan of the suite's chose it."""
        return sweeper_of(self.cell.provenance.get("sweep", ""))

    @property
    def values(self) -> ValuesBySeed:
        """Seed → value; empty for a missing cell."""
        return self.cell.values.get((self.metric, self.no_positive), {})

    @property
    def missing(self) -> str:
        """Why there are no values; "" where there are."""
        if self.values:
            return ""
        return self.cell.missing or f"The record holds no {self.metric.replace('_', ' ')}."

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return mean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (ddof 1)."""
        return std(self.values)

    @property
    def tuning_std(self) -> float | None:
        """Standard deviation of the mean over re-tunings (`bench.table.retuning`), if it is known."""
        retuned = self.cell.retuned
        if retuned is None or not self.values or self.no_positive not in ("", self.cell.no_positive):
            return None
        return retuned.std.get(self.metric)

    @property
    def tuning_variance(self) -> float | None:
        """Of the mean, over re-tunings: 0 of a row that is not tuned, None where it is not known."""
        if self.tuning_std is not None:
            return self.tuning_std**2
        return 0.0 if self.cell.points <= 1 else None

    @property
    def delta(self) -> float | None:
        """Our mean minus the paper's number, to six decimals as the CSV prints it."""
        return None if self.mean is None or not self.paper else round(self.mean - float(self.paper), 6)

    @property
    def within(self) -> bool | None:
        """Whether our mean reproduces the paper's number."""
        return None if self.delta is None else abs(self.delta) <= TOLERANCE


def mean(values: ValuesBySeed) -> float | None:
    """Mean over seeds; None without any."""
    return float(np.mean(list(values.values()))) if values else None


def std(values: ValuesBySeed) -> float | None:
    """Sample standard deviation over seeds (ddof 1); None of fewer than two."""
    return float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Column:
    """The lines of one protocol, data set and metric, as the protocol counts users without a positive.

    lines: those that have values, in the table's order.
    """

    protocol: str
    dataset: Dataset
    metric: Metric
    lines: list[Line]

    @property
    def title(self) -> str:
        """ "Coat NDCG@5"."""
        return f"{self.dataset.title} {self.metric.heading(self.dataset.k)}"

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers were measured alike."""
        return any(line.paper for line in self.lines)

    def of_family(self, *families: str) -> dict[str, Line]:
        """Method → line, of the rows of some families."""
        return {line.row.method: line for line in self.lines if line.row.family in families}

    def line(self, method: str) -> Line | None:
        """A method's line, if it has one."""
        return find_line(self.lines, method)

    @property
    def best_baseline(self) -> Line | None:
        """See `best_baseline`."""
        return best_baseline(self.lines)

    @property
    def best_row(self) -> Line | None:
        """The best of all rows of the paper, its own method among them; chosen as `best_baseline` is."""
        return _best([line for line in self.lines if line.row.family == "paper"])

    @property
    def chosen_by_validation(self) -> bool:
        """See `chosen_by_validation`."""
        return chosen_by_validation(self.lines)


def find_line(lines: Sequence[Line], method: str) -> Line | None:
    """A method's line among those of a column, or None."""
    return next((line for line in lines if line.row.method == method), None)


def best_baseline(lines: Sequence[Line]) -> Line | None:
    """Of a column's lines the best baseline: that with the best held-out validation AUC.

    It is the same one in all columns of a data set, and chosen without its test ratings: the best of many
    test means is somewhat too good, and what is compared with it somewhat too bad. Where a baseline's
    validation is not known (cells that were published before it was kept), it is the one with the best test
    mean, as in the paper's table (`chosen_by_validation`).
    """
    return _best(_baselines(lines))


def _best(candidates: Sequence[Line]) -> Line | None:
    if not candidates:
        return None
    if _validated(candidates):
        return max(candidates, key=lambda line: line.cell.held_out or 0.0)
    pick = max if METRICS[candidates[0].metric].more_is_better else min
    return pick(candidates, key=lambda line: line.mean or 0.0)


def chosen_by_validation(lines: Sequence[Line]) -> bool:
    """Whether the best baseline of a column is chosen by validation rather than by its test mean."""
    return _validated(_baselines(lines))


def _validated(candidates: Sequence[Line]) -> bool:
    return all(line.cell.held_out is not None for line in candidates)


def _baselines(lines: Sequence[Line]) -> list[Line]:
    """The lines that have values and may be the best baseline."""
    return [
        line for line in lines if line.mean is not None and line.row.baseline and line.row.family == "paper"
    ]


def best_two(lines: Sequence[Line]) -> list[float]:
    """The two best means of a column's lines, controls and guests aside."""
    means = sorted(line.mean for line in lines if line.mean is not None and line.row.family == "paper")
    return means[-2:] if lines and METRICS[lines[0].metric].more_is_better else means[:2]
