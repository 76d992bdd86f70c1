"""What the table cannot tell, item by item, with its measure: the report's section on limits.

Every number comes from the published table, the published sweeps and the studies; an item whose files are not
there is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.config import ProtocolConfig
from bench.files import read_csv
from bench.records.metric import AUC, METRICS
from bench.records.points import Points
from bench.study.conclusions import NAIVE, STUDIED, means, unchanged
from bench.study.files import StudyResult
from bench.study.first_edition import earlier_row
from bench.table.claims import in_words
from bench.table.comparisons import BEST_BASELINE, UserComparison
from bench.table.frame import Frame
from bench.table.lines import ALPHA, Column, Line
from bench.table.statistics import holm, smallest_p

_UNSTABLE = 3.0  # standard deviations over seeds, in medians of the column, from which a row is named
_POPULARITY = "item_mean"  # the control that scores an item alike for all users
_SHARED = {  # hyper-parameters that all rows have
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "batch_size": "batch size",
    "embedding_size": "embedding size",
}
_SCREEN = 24  # points up to which a sweep is called short


def limits(frame: Frame, results: Path, studies: tuple[str, ...]) -> list[str]:
    """The items, in Markdown.

    Raises:
        BenchError: a file of a sweep or study is not as it was written.
    """
    return [
        *_unequal_points(frame),
        *_ends_of_lists(frame, results),
        *_embedding_sizes(frame, results),
        *_choice_of_point(frame, results, studies),
        *_retuned(frame),
        *_small_validation(results),
        *_shared_test_file(frame),
        *_untrained_control(frame),
        *_unstable(frame),
        *_families(frame),
        "**A reading.** What the paper leaves open of ULTD and of its protocol is read as "
        "`methods/ultd_tp.py` and `methods/ultd_jl.py` number it, and the study `ultd` tries other readings. "
        "Whether the authors were asked about it is not known here; nothing rests on an answer of theirs.",
        _backbone(frame),
    ]


def _backbone(frame: Frame) -> str:
    """Which models the rows score by."""
    titles = [each.title for each in frame.manifest.datasets if each.repeats]
    beside = f" (reading side features, too, on {in_words(titles)})" if titles else ""
    return (
        f"**The backbone.** All rows score by the same matrix factorisation with biases{beside}; nothing "
        "here tells how they compare on another one."
    )


# --- The choice of a point ----------------------------------------------------------------------------


def _columns(frame: Frame) -> list[Column]:
    """Of the first protocol and the paper's metrics, those of rows of the paper; one's own aside."""
    return [
        column
        for column in frame.columns(frame.manifest.protocols[0])
        if column.metric.in_paper and column.of_family("paper")
    ]


def _unequal_points(frame: Frame) -> Iterator[str]:
    points: dict[str, set[int]] = {}
    for column in _columns(frame):
        if column.metric is AUC:
            lines = column.of_family("paper").values()
            points[column.dataset.title] = {line.cell.points for line in lines}
    if len({frozenset(each) for each in points.values()}) > 1:
        said = in_words(f"{title} {_from_to(found)}" for title, found in points.items())
        short = [title for title, found in points.items() if max(found) <= _SCREEN]
        yield (
            f"**Points.** Rows of a data set are tuned alike, data sets are not: points a row are {said}. "
            + (f"A row of {in_words(short)} may have a better point that was not tried." if short else "")
        ).strip()


def _ends_of_lists(frame: Frame, results: Path) -> Iterator[str]:
    """How many winners have a value beyond which their sweep did not look."""
    parts = []
    for column in _columns(frame):
        if column.metric is not AUC:
            continue
        folder = results / "sweep" / frame.manifest.protocols[0] / column.dataset.dataset
        files = {
            line.row.title: folder / f"{line.row.method}.csv" for line in column.of_family("paper").values()
        }
        winners = {
            title: _ends_of_winner(Points.read(file)) for title, file in files.items() if file.is_file()
        }
        found = []
        for name, title in _SHARED.items():
            counts = Counter(ends[name].which for ends in winners.values() if name in ends)
            if counts:
                found.append(f"{title} {in_words(f'{n} the {end}' for end, n in sorted(counts.items()))}")
        own = [
            f"{title}'s `{name}` ({end.value:g}, the {end.which})"
            for title, ends in winners.items()
            for name, end in ends.items()
            if name not in _SHARED
        ]
        said = [", ".join(found), f"of their own, {', '.join(own)}" if own else ""]
        if found or own:
            parts.append(f"{column.dataset.title} ({len(winners)} rows): {'; '.join(filter(None, said))}")
    if parts:
        yield (
            "**Ends of lists.** A better point may lie beyond the smallest or the largest value that a row's "
            f"sweep tried. So many winners have such a value: {'. '.join(parts)}."
        )


@dataclass(frozen=True)
class _End:
    """A winner's value. which: "smallest" or "largest" of those that were tried."""

    value: float
    which: str


def _ends_of_winner(points: Points) -> dict[str, _End]:
    """Hyper-parameters of a sweep's winner that have the smallest or the largest number tried."""
    ends = {}
    for best in points.ranked()[:1]:
        winner = dict(zip(points.names, best.values, strict=True))
        for name, value in winner.items():
            values = points.values(name)
            if any(isinstance(each, bool) or not isinstance(each, int | float) for each in values):
                continue
            if name not in _SHARED:
                # Of two own values either is an end; at 0 a term is switched off, and nothing lies beyond.
                if len(values) < 3 or value == 0:
                    continue
                # Of towers with one table, which have no decay of their own.
                if winner.get("shared") is True and name.endswith("_weight_decay"):
                    continue
            if len(values) > 1 and value in (min(values), max(values)):
                ends[name] = _End(value, "smallest" if value == min(values) else "largest")
    return ends


def _embedding_sizes(frame: Frame, results: Path) -> Iterator[str]:
    """What the paper's larger embeddings would have taken, as `make plan-wide` has reckoned it."""
    file = results / "speed" / "wide.csv"
    if not file.is_file():
        return
    titles = {column.dataset.dataset: column.dataset.title for column in _columns(frame)}
    lines = [line for line in read_csv(file) if line["data"] in titles]
    parts = []
    for name, title in titles.items():
        own = [line for line in lines if line["data"] == name]
        if own:
            hours, wide = (sum(float(line[key]) for line in own) for key in ("hours", "wide_hours"))
            sizes = in_words(own[0]["wide_sizes"].split())
            parts.append(f"{title} with {sizes}: {wide:.1f} hours of one core instead of {hours:.1f}")
    if parts:
        n = len({line["row"] for line in lines})
        yield (
            "**Embedding sizes.** The sweeps of the larger data sets leave out the largest of the paper's. "
            f"What the same plan of {n} rows would take, by steps of a stack of each row that were timed: "
            f"{'; '.join(parts)}."
        )


def _from_to(numbers: set[int]) -> str:
    return str(min(numbers)) if len(numbers) == 1 else f"{min(numbers)}–{max(numbers)}"


def _choice_of_point(frame: Frame, results: Path, studies: tuple[str, ...]) -> Iterator[str]:
    """How far the same row's mean moves with the points that it was chosen from."""
    table = {
        line.row.method: line
        for column in _columns(frame)
        if column.metric is AUC and column.dataset.dataset == STUDIED
        for line in column.lines
    }
    tuned: dict[str, dict[tuple[int, float], None]] = {}
    better: dict[str, tuple[float, str]] = {}
    for name in studies:
        if not (results / "study" / f"{name}.csv").is_file():
            continue
        study = StudyResult.read(results / "study", name)
        auc = means(study.scores)
        # Where two variants of a method have its own settings, they were made by different code.
        plain = [each for each in study.variants if unchanged(each) and not earlier_row(each)]
        number = Counter((each.group, each.method) for each in plain)
        for each in plain:
            line = table.get(each.method)
            if line is None or line.mean is None or number[each.group, each.method] > 1:
                continue
            mean = auc[each.group, each.variant]
            tuned.setdefault(each.method, {(line.cell.points, round(line.mean, 6)): None})
            tuned[each.method][each.points, mean] = None
            chosen = _held_out(line, results)
            found = each.held_out_auc
            if chosen is None or found is None or round(found, 4) <= round(chosen, 4):
                continue
            text = (
                f"{line.row.title} ({each.points} points, study `{name}`): {found:.4f} against "
                f"{chosen:.4f}, test AUC {mean:.4f} against {line.mean:.4f}"
            )
            better[each.method] = max(better.get(each.method, (0.0, "")), (found, text))
    spread = {
        method: max(mean for _, mean in found) - min(mean for _, mean in found)
        for method, found in tuned.items()
        if len(found) > 1
    }
    if spread:
        most = max(spread, key=lambda method: spread[method])
        deviation = np.median([table[method].std or 0.0 for method in spread])
        said = in_words(f"{mean:.3f} ({points} points)" for points, mean in tuned[most])
        yield (
            f"**The choice of a point** moves a cell, too, and ± is over seeds alone. {len(spread)} rows on "
            f"{table[most].dataset.title} were tuned more than once, over other points: their mean AUC "
            "moves by "
            f"{np.median(list(spread.values())):.3f} in the median and {max(spread.values()):.3f} at most "
            f"({table[most].row.title}: {said}); the median standard deviation over seeds is "
            f"{deviation:.3f}. No "
            "† or ‡ contains that."
        )
    if better:
        yield (
            "**A better point that the table does not have.** By the measure that points are chosen by "
            "(held-out "
            "validation AUC), a study found better ones than the table's sweep: "
            + "; ".join(text for _, text in better.values())
            + ". Over few "
            "seeds that measure is noisy itself, and the table keeps what its own plan chose."
        )


def _held_out(line: Line, results: Path) -> float | None:
    """The measure by which a cell's point was chosen."""
    file = results / "sweep" / line.protocol / line.dataset.dataset / f"{line.row.method}.csv"
    ranked = Points.read(file).ranked() if file.is_file() else []
    return ranked[0].auc if ranked else None


def _retuned(frame: Frame) -> Iterator[str]:
    lines = [line for column in _columns(frame) for line in column.lines if line.cell.points > 1]
    known = [line for line in lines if line.tuning_std is not None]
    if known and lines:
        median = np.median([line.tuning_std or 0.0 for line in known])
        more = sum((line.tuning_std or 0.0) > (line.std or 0.0) / np.sqrt(len(line.values)) for line in known)
        yield (
            f"**Re-tuning.** For {len(known)} of {len(lines)} numbers the sweep's finalists tell how far "
            "the mean moves "
            f"where the choice among them falls otherwise: {median:.4f} in the median, and more than the "
            "standard error "
            f"over seeds for {more}. Doubled signs in the table contain it, single ones do not."
        )
    elif lines:
        yield (
            "**Re-tuning.** How far a mean moves where the choice among a sweep's finalists falls otherwise "
            "is not known of "
            f"any of the {len(lines)} numbers: their sweeps kept no test metrics of the finalists."
        )


# --- The data -----------------------------------------------------------------------------------------


def _small_validation(results: Path) -> Iterator[str]:
    # Only this item waits for the data sets' code.
    from bench.data.coat import MANIFEST

    share = ProtocolConfig().unbiased_validation
    number = round(share * MANIFEST.test.rated)
    said = (
        f"**Validation.** {share:.0%} of Coat's {MANIFEST.test.rated:,} unbiased ratings are {number} "
        "ratings, by which "
        "epochs and points are chosen."
    )
    file = results / "sweep" / "table" / STUDIED / f"{NAIVE}.csv"
    if file.is_file():
        points = Points.read(file)
        best = points.ranked()[0].values
        seeds = [each.validation_auc for each in points.trainings if each.point == best]
        said += (
            f" The validation AUC of MF's winner runs from {min(seeds):.2f} to {max(seeds):.2f} over its "
            f"{len(seeds)} "
            "trainings of the sweep; points are compared over the same seeds, and so over the same splits."
        )
    yield said


def _shared_test_file(frame: Frame) -> Iterator[str]:
    own = [
        each
        for each in frame.comparisons
        if each.against == BEST_BASELINE and each.line.row.proposed and each.line.paper and each.sign
    ]
    users: dict[int, UserComparison] = {
        id(each.line): each for each in frame.users if each.against == BEST_BASELINE
    }
    both = [(each, users[id(each.line)]) for each in own if id(each.line) in users]
    said = (
        "**One test file.** All seeds draw their splits from one file of unbiased ratings: p is over splits "
        "and "
        "initialisations, not over new users or data."
    )
    if both:
        lost = [
            f"{each.line.row.title}, {each.line.dataset.title} "
            f"{METRICS[each.line.metric].heading(each.line.dataset.k)} (p = {user.p_holm:.2g})"
            for each, user in both
            if user.p_holm >= ALPHA or np.sign(user.mean) != each.sign
        ]
        said += (
            f" Of {len(both)} significant differences between the paper's own rows and the best baseline "
            "that can be "
            f"tested over users, too, {len(both) - len(lost)} hold there"
            + (f"; not {'; '.join(lost)}." if lost else ".")
        )
    yield said


def _untrained_control(frame: Frame) -> Iterator[str]:
    """Columns in which a control that is not tuned lies above every row of the paper."""
    found: dict[str, dict[str, list[str]]] = {}
    columns = [column for column in frame.columns(frame.manifest.protocols[0]) if column.of_family("paper")]
    for column in columns:
        rows = [line.mean or 0.0 for line in column.of_family("paper").values()]
        best = max(rows) if column.metric.more_is_better else min(rows)
        for line in column.of_family("control").values():
            mean = line.mean or 0.0
            ahead = mean > best if column.metric.more_is_better else mean < best
            if line.row.method == _POPULARITY and ahead:
                heading = column.metric.heading(column.dataset.k)
                found.setdefault(line.row.title, {}).setdefault(column.dataset.title, []).append(
                    f"{heading} {mean:.3f} against {best:.3f}"
                )
    for title, datasets in found.items():
        places = sum(map(len, datasets.values()))
        where = "; ".join(f"{dataset}: {', '.join(cells)}" for dataset, cells in datasets.items())
        yield (
            f"**{title} above every row.** In {places} of {len(columns)} columns the best of the paper's "
            "rows is worse than "
            f"“{title}”, which scores every item alike for all users ({where}). There, rows are told apart "
            "below what "
            "an item's popularity alone gives, and an order among them says little about debiasing."
        )


# --- The tests ----------------------------------------------------------------------------------------


def _unstable(frame: Frame) -> Iterator[str]:
    rows = []
    for column in _columns(frame):
        if column.metric is not AUC:
            continue
        lines = [line for line in column.of_family("paper").values() if line.std is not None]
        usual = float(np.median([line.std or 0.0 for line in lines])) if lines else 0.0
        rows += [
            f"{line.row.title} on {column.dataset.title} (AUC ± {line.std:.3f}, usual {usual:.3f})"
            for line in lines
            if (line.std or 0.0) > _UNSTABLE * usual
        ]
    if rows:
        yield (
            f"**Unstable rows.** A standard deviation of more than {_UNSTABLE:g} times the usual one of its "
            "column has "
            f"{in_words(rows)}: a few seeds move their means."
        )


def _families(frame: Frame) -> Iterator[str]:
    parts = []
    for column in _columns(frame):
        if column.metric is AUC:
            rows = column.of_family("paper")
            n = min((len(line.values) for line in rows.values()), default=0)
            if n and len(rows) > 1:
                least = holm([smallest_p(n)] + [1.0] * (len(rows) - 2))[0]
                parts.append(f"{column.dataset.title} {least:.2g} ({n} seeds)")
    if parts:
        yield (
            "**Families.** p is corrected over the rows of a column, so that the same pair has another p in "
            "another table "
            "or study, whose family is another. The smallest p that a column's correction leaves: "
            f"{', '.join(parts)}; intervals are of single differences, uncorrected."
        )
