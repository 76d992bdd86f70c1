"""What is measured: the one table of metrics that every room reads. Needs neither torch nor data."""

from __future__ import annotations

from dataclasses import dataclass

from bench.conventions import NO_POSITIVE

CONVENTIONS = tuple(NO_POSITIVE)  # for test users without a positive rating


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    key: in records and CSV files. title: for people. at_k: has a cut-off K, and conventions for users
    without a positive. more_is_better: which way is up. in_paper: the paper prints it.
    gate_floor: change of a mean that is never a regression: what a seed that stops at another epoch moves
    it. seed_floor: change of one seed's value that is no more than rounding.
    """

    key: str
    title: str
    at_k: bool
    more_is_better: bool
    in_paper: bool
    gate_floor: float
    seed_floor: float

    @property
    def conventions(self) -> tuple[str, ...]:
        """The conventions it is kept under; ("",) where no user is without a value."""
        return CONVENTIONS if self.at_k else ("",)

    def heading(self, k: int) -> str:
        """Title of a column: "NDCG@5", "AUC"."""
        return f"{self.title}@{k}" if self.at_k else self.title

    def better(self, one: float, other: float) -> bool:
        """Whether one value is the better of two."""
        return one > other if self.more_is_better else one < other


AUC = Metric(
    key="auc",
    title="AUC",
    at_k=False,
    more_is_better=True,
    in_paper=True,
    gate_floor=0.004,
    seed_floor=0.001,
)
NDCG = Metric(
    key="ndcg",
    title="NDCG",
    at_k=True,
    more_is_better=True,
    in_paper=True,
    gate_floor=0.006,
    seed_floor=0.002,
)
RECALL = Metric(
    key="recall",
    title="Recall",
    at_k=True,
    more_is_better=True,
    in_paper=True,
    gate_floor=0.006,
    seed_floor=0.002,
)
# L_ideal of the paper's "Problem Setup"; of generated data only, whose every label is known.
IDEAL_LOSS = Metric(
    key="ideal_loss",
    title="Ideal loss",
    at_k=False,
    more_is_better=False,
    in_paper=False,
    gate_floor=0.005,
    seed_floor=0.001,
)

METRICS = {metric.key: metric for metric in (AUC, NDCG, RECALL, IDEAL_LOSS)}  # in the table's order
PAPER_METRICS = {key: metric for key, metric in METRICS.items() if metric.in_paper}
