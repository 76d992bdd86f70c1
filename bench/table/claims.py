"""What the paper claims of its table, counted once: README, REPORT and page take their numbers from here.

A claim is a set of the table's own comparisons (`bench.table.comparisons`), so that its p-values are those
behind the table's marks. They are of the first protocol, which is the one of the paper's printed numbers.
Whether a printed number comes out, and how sure that is, is said once, too (`Verdict`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.records.metric import METRICS
from bench.table.comparisons import BEST_BASELINE, REFERENCE, SeedComparison
from bench.table.frame import Frame
from bench.table.lines import ALPHA, TOLERANCE, Column, Line
from bench.table.statistics import t_interval

TEST = "exact two-sided Wilcoxon signed-rank test over paired seeds"
FAMILY = "Holm's correction over the paper's rows of a column"  # what `corrected` does with them


# --- The printed numbers ------------------------------------------------------------------------------


class Verdict(StrEnum):
    """Whether a number of the paper's comes out, judged by the interval of our difference from it.

    The interval (`difference_interval`) tells apart what a mean alone cannot: a mean within the tolerance may
    be there by luck, and one outside of it as well.
    """

    REPRODUCED = "reproduced"  # the interval holds zero and lies within the tolerance
    WITHIN = f"surely within ±{TOLERANCE:g}"  # it lies within the tolerance, without zero
    DIFFERS = "differs surely"  # it lies outside of the tolerance
    UNDECIDED = "undecided"  # it crosses the tolerance, or there is none

    @property
    def meaning(self) -> str:
        """In a sentence's words."""
        return _MEANINGS[self]


WORST_FIRST = (Verdict.DIFFERS, Verdict.UNDECIDED, Verdict.WITHIN, Verdict.REPRODUCED)
_MEANINGS = {
    Verdict.REPRODUCED: f"the interval holds the printed number and lies within ±{TOLERANCE:g} of it",
    Verdict.WITHIN: f"another number, but the whole interval lies within ±{TOLERANCE:g} of the printed one",
    Verdict.DIFFERS: f"the whole interval is more than {TOLERANCE:g} away from the printed number",
    Verdict.UNDECIDED: f"the interval reaches to both sides of ±{TOLERANCE:g}: more seeds could tell",
}
INTERVAL = (
    "95 % interval of our mean (Student's t over the seeds, with the spread over re-tunings where it is "
    "known) and half a unit of the printed number's last digit; not corrected for the number of intervals"
)


def difference_interval(line: Line) -> tuple[float, float] | None:
    """The 95 % interval of our mean minus the paper's number; None where there is none.

    It is Student's over the seeds, with the variance over re-tunings where that is known, and half a unit
    of the printed number's last digit on either side. The paper tells no spread of its own numbers.
    """
    if line.delta is None or len(line.values) < 2:
        return None
    _, low, high = t_interval(list(line.values.values()), line.tuning_variance or 0.0)
    printed, rounding = float(line.paper), 0.5 * 10.0 ** -len(line.paper.partition(".")[2])
    return low - printed - rounding, high - printed + rounding


def verdict(line: Line) -> Verdict | None:
    """The verdict on a line's printed number; None where it has none that can be compared."""
    if line.delta is None:
        return None
    found = difference_interval(line)
    if found is None:
        return Verdict.UNDECIDED
    low, high = found
    if low >= -TOLERANCE and high <= TOLERANCE:
        return Verdict.REPRODUCED if low <= 0 <= high else Verdict.WITHIN
    return Verdict.DIFFERS if low > TOLERANCE or high < -TOLERANCE else Verdict.UNDECIDED


def row_verdict(verdicts: Collection[Verdict]) -> Verdict:
    """The verdict on a row: that all of its numbers come out.

    One number that surely differs refutes it; one that is undecided leaves it open.
    """
    return next((each for each in WORST_FIRST if each in verdicts), Verdict.REPRODUCED)


@dataclass(frozen=True)
class Reproduced:
    """How many of the paper's numbers come out. lines: those that can be compared with one."""

    lines: list[Line]

    @property
    def n(self) -> int:
        """Numbers that can be compared."""
        return len(self.lines)

    @property
    def inside(self) -> int:
        """Numbers within the tolerance."""
        return sum(bool(line.within) for line in self.lines)

    @property
    def lower(self) -> int:
        """Numbers that are lower here by more than the tolerance."""
        return sum((line.delta or 0.0) < -TOLERANCE for line in self.lines)

    @property
    def higher(self) -> int:
        """Numbers that are higher here by more than the tolerance."""
        return self.n - self.inside - self.lower

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many numbers have each verdict, those that none has included."""
        found = [verdict(line) for line in self.lines]
        return {each: found.count(each) for each in Verdict}

    @property
    def certainty(self) -> str:
        """How sure that is, in a sentence; "" where nothing can be compared."""
        if not self.lines:
            return ""
        found = self.verdicts
        return (
            f"By 95 % intervals, {found[Verdict.REPRODUCED]} of them are reproduced, {found[Verdict.WITHIN]} "
            f"are others but surely within ±{TOLERANCE:g}, {found[Verdict.DIFFERS]} differ surely by more, "
            f"and {found[Verdict.UNDECIDED]} are undecided."
        )

    @property
    def sentence(self) -> str:
        """The counts, with their conditions."""
        if not self.lines:
            return "No number here can be compared with the paper's."
        protocols = in_words(f"`{line.protocol}`" for line in self.lines)
        return (
            f"On {_datasets(self.lines)} (protocol {protocols}), {self.inside} of the paper's {self.n} "
            f"numbers come out within ±{TOLERANCE:g}; {self.lower} are lower here, {self.higher} are higher."
        )


def reproduced(frame: Frame) -> Reproduced:
    """The paper's numbers that can be compared, each once: with its own data set's."""
    lines = [line for line in frame.lines if not line.dataset.repeats]
    return Reproduced([line for line in lines if line.within is not None])


def once_more(lines: Sequence[Line]) -> str:
    """How many numbers come out on other readings of the paper's data sets, as a sentence; "" for none."""
    readings: dict[str, list[Line]] = {}
    for line in lines:
        if line.dataset.repeats and line.within is not None:
            readings.setdefault(line.dataset.title, []).append(line)
    found = ((title, Reproduced(compared)) for title, compared in readings.items())
    return " ".join(
        f"On {title}, beside the same printed numbers, {each.inside} of {each.n} do." for title, each in found
    )


def chosen_by(frame: Frame, protocol: str | None = None) -> str:
    """How the best baselines of a frame, or of a protocol, are chosen (`bench.table.lines.best_baseline`)."""
    by: dict[bool, dict[str, set[str]]] = {True: {}, False: {}}  # title → protocols
    for column in frame.columns(protocol):
        if column.best_baseline is not None:
            by[column.chosen_by_validation].setdefault(column.dataset.title, set()).add(column.protocol)
    validation = "chosen by its held-out validation AUC"
    test = "chosen by its mean on the test ratings, which favours it"
    if not by[False]:
        return f"{validation}, the same row for every metric"
    if not by[True]:
        return test
    # As many editions, as many rules: said of the data sets, and of the protocol where one has both.
    titles = [
        title
        + (f" (protocol {in_words(f'`{each}`' for each in sorted(protocols))})" if title in by[True] else "")
        for title, protocols in by[False].items()
    ]
    return f"on {in_words(titles)} {test}; elsewhere {validation}"


def controls_above(frame: Frame) -> tuple[list[tuple[Column, Line]], int]:
    """The columns in which a control's mean is better than that of every row of the paper, and its line.

    And how many columns there are: of the first protocol and the paper's metrics, with rows of both kinds.
    """
    found, n = [], 0
    for column in frame.columns(frame.manifest.protocols[0]):
        controls, papers = (column.of_family(family).values() for family in ("control", "paper"))
        if not column.metric.in_paper or column.dataset.repeats or not controls or not papers:
            continue
        n += 1
        pick = max if column.metric.more_is_better else min
        best = pick(controls, key=lambda line: line.mean or 0.0)
        if all(column.metric.better(best.mean or 0.0, line.mean or 0.0) for line in papers):
            found.append((column, best))
    return found, n


# --- Row against row ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim that some rows are above others, and the comparisons that test it.

    text: the claim, quoted. base: what the rows are compared with, in words. remark: what else must be said
    with the counts. correction: what the p-values are corrected for.
    """

    text: str
    base: str
    comparisons: list[SeedComparison]
    remark: str = ""
    correction: str = FAMILY

    # --- Counts ---

    @property
    def n(self) -> int:
        """Comparisons."""
        return len(self.comparisons)

    @property
    def above(self) -> int:
        """Comparisons in which the row is significantly better."""
        return sum(_better(comparison) > 0 for comparison in self.comparisons)

    @property
    def below(self) -> int:
        """Comparisons in which the row is significantly worse."""
        return sum(_better(comparison) < 0 for comparison in self.comparisons)

    @property
    def surviving(self) -> int | None:
        """Significant comparisons, of either direction, that survive the spread of the tuning.

        None where that spread is not known of one of them.
        """
        found = [comparison.survives for comparison in self.comparisons if comparison.sign]
        return None if None in found else sum(map(bool, found))

    @property
    def undecided(self) -> int:
        """Comparisons without a significant difference, which does not mean equal."""
        return self.n - self.above - self.below

    @property
    def verdict(self) -> str:
        """Supported where all comparisons are above; not, where as many are below as above, or none is."""
        if not self.n:
            return "not testable"
        if self.above == self.n:
            return "supported"
        return "not supported" if self.below >= self.above else "supported in part"

    # --- Parts ---

    @property
    def comparable(self) -> Claim:
        """On the data sets whose ratings are the paper's."""
        return self._of(each for each in self.comparisons if each.line.paper and each.base.paper)

    def on(self, dataset: str) -> Claim:
        """On one data set."""
        return self._of(each for each in self.comparisons if each.line.dataset.dataset == dataset)

    def _of(self, comparisons: Iterable[SeedComparison]) -> Claim:
        return Claim(self.text, self.base, list(comparisons), self.remark, self.correction)

    # --- Words ---

    @property
    def conditions(self) -> str:
        """Which comparisons these are: rows, metrics, data sets, protocol, test, correction."""
        lines = [comparison.line for comparison in self.comparisons]
        rows = {line.row.method for line in lines}
        columns = {(line.dataset.dataset, line.metric) for line in lines}
        metrics = in_words(METRICS[line.metric].title for line in lines)
        protocols = in_words(f"`{line.protocol}`" for line in lines)
        parts = [
            f"{len(rows)} {_plural('row', rows)} in {len(columns)} {_plural('column', columns)}: {metrics} "
            f"on {_datasets(lines)}, protocol {protocols}",
            ", ".join(part for part in (TEST, self.correction, f"p < {ALPHA:g}") if part),
            self.remark,
        ]
        return "; ".join(part for part in parts if part)

    @property
    def sentence(self) -> str:
        """The counts, with their conditions."""
        if not self.n:
            return f"Nothing here can be compared with {self.base}."
        rows = list(dict.fromkeys(comparison.line.row.title for comparison in self.comparisons))
        who = in_words(rows) if len(rows) <= _NAMED else "The rows"
        who += " is" if len(rows) == 1 else " are"
        return (
            f"{who} significantly better than {self.base} in {self.above} of {self.n} comparisons, "
            f"significantly worse in {self.below}, undecided in {self.undecided} "
            f"({self.conditions}).{self.beyond_tuning}"
        )

    @property
    def beyond_tuning(self) -> str:
        """How many of the differences survive the spread of the tuning, as a sentence behind others."""
        significant = self.above + self.below
        if self.surviving is None or not significant:
            return ""
        return f" With the tuning's spread in the test, {self.surviving} of these {significant} remain."


_NAMED = 3  # rows that a sentence names; of more it says how many


def _better(comparison: SeedComparison) -> int:
    """1 where the line is significantly better than its base, -1 where it is worse, else 0."""
    return comparison.sign if METRICS[comparison.line.metric].more_is_better else -comparison.sign


@dataclass(frozen=True)
class Claims:
    """The paper's claims about its table that a frame can test without knowing a row by its name."""

    reproduced: Reproduced
    baselines: Claim
    proposed: Claim


def claims(frame: Frame) -> Claims:
    """Counts the claims in a frame."""
    return Claims(
        reproduced=reproduced(frame),
        baselines=Claim(
            "“The baseline methods outperform the naive method.”",
            f"the naive {frame.title(frame.manifest.reference)}",
            _of_paper(frame, REFERENCE, proposed=False),
        ),
        proposed=Claim(
            "“The proposed methods consistently outperform the baseline methods.”",
            "the best baseline",
            _of_paper(frame, BEST_BASELINE, proposed=True),
            f"a column's best baseline is {chosen_by(frame, frame.manifest.protocols[0])}",
        ),
    )


def _of_paper(frame: Frame, against: str, *, proposed: bool) -> list[SeedComparison]:
    """The comparisons of the paper's rows on the paper's metrics, under the first protocol."""
    return [
        each
        for each in frame.comparisons
        if each.against == against
        and each.line.protocol == frame.manifest.protocols[0]
        and METRICS[each.line.metric].in_paper
        and each.line.row.family == "paper"
        and not each.line.dataset.repeats
        and each.line.row.proposed is proposed
    ]


# --- Words --------------------------------------------------------------------------------------------


def in_words(names: Iterable[str]) -> str:
    """Each name once, as a list in a sentence.

    >>> in_words(["AUC", "NDCG", "AUC", "Recall"])
    'AUC, NDCG and Recall'
    """
    *others, last = dict.fromkeys(names) or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _plural(noun: str, things: Collection[object]) -> str:
    return noun if len(things) == 1 else f"{noun}s"


def _datasets(lines: Sequence[Line]) -> str:
    return in_words(line.dataset.title for line in lines)
