"""What a reader of the page can choose, and the part of a table that a choice leaves.

A choice is a protocol, a scope (the paper's data sets, all of them, or one) and a metric or all of them.
Cards, ranks and wins are made for every choice beforehand, so that what they count is defined in Python alone
and the page's script only puts them in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.records.metric import METRICS
from bench.table import layout
from bench.table.comparisons import SeedComparison
from bench.table.frame import Frame
from bench.table.lines import Line
from bench.table.manifest import Dataset

PAPERS, ALL = "", "all"  # scopes beside the single data sets
EVERY = ""  # all metrics

# How the paper's two readings of a positive rating are called; another protocol goes by its own name.
_PROTOCOLS = {"table": "as printed", "text": "as written"}

# Every metric in words; {k} is the cut-off.
_METRICS = {
    "auc": "area under the ROC curve over all test ratings: how often a positive stands above a negative",
    "ndcg": "normalised discounted cumulative gain of a user's first {k} test items, mean over users",
    "recall": "share of a user's positives among the first {k} test items, mean over users",
    "ideal_loss": "mean cross-entropy over all pairs of users and items, whose labels generated data know",
}


@dataclass(frozen=True)
class Choice:
    """One choice. scope: PAPERS, ALL or a data set. metric: EVERY or one."""

    protocol: str
    scope: str
    metric: str

    @property
    def key(self) -> str:
        """Names the choice in the page's data."""
        return "|".join((self.protocol, self.scope, self.metric))


def scopes(frame: Frame) -> dict[str, tuple[str, ...]]:
    """Scope → its data sets; PAPERS only where the paper prints numbers of some and not of others."""
    names = tuple(each.dataset for each in frame.manifest.datasets)
    printed = {line.dataset.dataset for line in frame.lines if line.printed and not line.dataset.repeats}
    papers = tuple(name for name in names if name in printed)
    found = {PAPERS: papers or names}
    if found[PAPERS] != names:
        found[ALL] = names
    return found | {name: (name,) for name in names}


def scope_titles(frame: Frame) -> dict[str, str]:
    """Scope → what the page calls it."""
    known = scopes(frame)
    first = {PAPERS: "the paper's" if ALL in known else "all", ALL: "all"}
    titles = {each.dataset: each.title for each in frame.manifest.datasets}
    return {scope: first.get(scope) or titles[scope] for scope in known}


def metric_titles(frame: Frame) -> dict[str, str]:
    """Metric → its title without a cut-off, EVERY first."""
    found = {EVERY: "all"}
    for name in dict.fromkeys(line.metric for line in frame.lines):
        found[name] = METRICS[name].title + "@K" * METRICS[name].at_k
    return found


def protocol_titles(frame: Frame) -> dict[str, str]:
    """Protocol → what the page calls it, with the star from which on a rating is positive."""
    return {name: _protocol_title(frame, name) for name in frame.manifest.protocols}


def protocol_called(protocol: str) -> str:
    """What the page calls a protocol: the table's first is the paper's numbers as printed."""
    return _PROTOCOLS.get(protocol, protocol)


def _protocol_title(frame: Frame, protocol: str) -> str:
    # Where a data set has the same threshold under every protocol, it is no threshold of the protocol's.
    per_dataset: dict[str, dict[str, float]] = {}
    for line in frame.lines:
        if line.values:
            per_dataset.setdefault(line.dataset.dataset, {})[line.protocol] = line.cell.threshold
    stars = {found[protocol] for found in per_dataset.values() if protocol in found and len(found) > 1}
    title = protocol_called(protocol)
    return f"{title} (≥ {stars.pop():g})" if len(stars) == 1 else title


def metric_words(metric: str, k: int) -> str:
    """What a metric is."""
    return _METRICS[metric].format(k=k)


def every_choice(frame: Frame) -> Iterator[Choice]:
    """Every choice of a table."""
    for protocol in frame.manifest.protocols:
        for scope in scopes(frame):
            for metric in metric_titles(frame):
                yield Choice(protocol, scope, metric)


def part(frame: Frame, choice: Choice) -> Frame:
    """The part of a table that a choice leaves.

    A data set that repeats one of the paper's counts nowhere beside it, and for itself where it is alone.
    """
    wanted = scopes(frame)[choice.scope]
    alone = len(wanted) == 1
    datasets = {each: _own(each, alone) for each in frame.manifest.datasets if each.dataset in wanted}
    metrics = set(metric_titles(frame)) if choice.metric == EVERY else {choice.metric}
    made: dict[int, Line] = {}
    for line in frame.lines:
        if line.protocol == choice.protocol and line.dataset in datasets and line.metric in metrics:
            own = datasets[line.dataset]
            made[id(line)] = line if own is line.dataset else replace(line, dataset=own)
    manifest = replace(frame.manifest, protocols=[choice.protocol], datasets=list(datasets.values()))
    return replace(
        frame,
        manifest=manifest,
        lines=list(made.values()),
        comparisons=[_within(each, made) for each in frame.comparisons if id(each.line) in made],
        users=[],
    )


def _own(dataset: Dataset, alone: bool) -> Dataset:
    return replace(dataset, paper="") if alone and dataset.repeats else dataset


def _within(each: SeedComparison, made: dict[int, Line]) -> SeedComparison:
    line, base = made[id(each.line)], made[id(each.base)]
    return each if line is each.line and base is each.base else replace(each, line=line, base=base)


def column_title(dataset: Dataset, metric: str) -> str:
    """ "Coat N@5"."""
    return f"{dataset.title} {layout.heading(metric, dataset.k)}"
