"""The report's section on further methods: the suite's rows that are not the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from bench.errors import BenchError
from bench.files import read_csv
from bench.records.metric import METRICS
from bench.table.claims import in_words
from bench.table.comparisons import BEST_BASELINE, BEST_ROW, REFERENCE, SeedComparison
from bench.table.frame import Frame
from bench.table.lines import ALPHA

_TEXT = """## Further methods

Methods of the field that are not the paper's; over how many points each was tuned stands in the table. Each
cell: comparisons with a significant difference for the better / for the worse, of all comparisons (data sets
by metrics, first protocol); the table's test, Holm's correction over the further methods of a column. The
best row is the best of all rows of the paper, its own method among them, chosen as the best baseline is.

A row's own parameters are searched over lists that hold its published settings, or values on both sides of
them. Sizes, batches, learning rates and the prediction model's weight decay are searched over the data set's
lists, which are the same for every row, whatever was published with it (embeddings of 4 to 256).
"""


def further_methods(frame: Frame, known_truth: Path | None = None) -> str:
    """The section, from its heading on; "" of a table without a number of a further method.

    Args:
        known_truth: the file of `bench.study.known_truth`, which is told of where it is there.

    Raises:
        BenchError: that file is not as it was written.
    """
    rows = [row for row in frame.manifest.rows if row.family == "further"]
    bases = {
        REFERENCE: frame.title(frame.manifest.reference),
        BEST_BASELINE: "the best baseline",
        BEST_ROW: "the best row",
    }
    found = {
        (row.method, against): _comparisons(frame, row.method, against) for row in rows for against in bases
    }
    table = [
        [row.title, *(_counts(found[row.method, against]) for against in bases)]
        for row in rows
        if any(found[row.method, against] for against in bases)
    ]
    if not table:
        return ""
    header = ["Method", *(f"against {title}" for title in bases.values())]
    lines = tabulate(table, header, tablefmt="github", disable_numparse=True)
    above = {
        title: [row.title for row in rows if _always_better(found[row.method, against])]
        for against, title in bases.items()
    }
    sentences = [
        f"Better than {title} in every comparison: {', '.join(names) or 'none'}."
        for title, names in above.items()
    ]
    told = "" if known_truth is None or not known_truth.is_file() else _known(frame, known_truth)
    return f"{_TEXT}\n{lines}\n\n{' '.join(sentences)}{told}"


def _known(frame: Frame, file: Path) -> str:
    """How many are better and worse where every label is known, by metric."""
    titles = {row.method: row.title for row in frame.manifest.rows if row.family == "further"}
    parts = []
    try:
        signs: dict[str, dict[str, dict[str, int]]] = {}  # metric → base → title → sign
        for line in read_csv(file):
            if line["method"] in titles:
                bases = signs.setdefault(line["metric"], {"": {}, "_best": {}})
                for suffix, found in bases.items():
                    median, p = (float(line[f"{name}{suffix}"]) for name in ("median_difference", "p_holm"))
                    better = METRICS[line["metric"]].better(median, 0.0)
                    found[titles[line["method"]]] = (1 if better else -1) if p < ALPHA else 0
        for metric, bases in signs.items():
            title = METRICS[metric].title
            parts.append(
                f"in {title if title.isupper() else title.lower()} {_above(bases[''])} than "
                f"{frame.title(frame.manifest.reference)}, {_above(bases['_best'])} than the paper's row "
                "with the best mean there"
            )
    except (KeyError, ValueError) as error:
        raise BenchError(f"{file} is not as it was written ({error!r}).") from error
    if not parts:
        return ""
    return (
        "\n\nWhere every label is known ([known truth](../synthetic/known_truth.md)), at default points: "
        f"{'; '.join(parts)}."
    )


def _above(signs: Mapping[str, int]) -> str:
    better = [title for title, sign in signs.items() if sign > 0]
    named = f" ({in_words(better)})" if better else ""
    return f"{len(better)} of {len(signs)} better{named} and {list(signs.values()).count(-1)} worse"


def _comparisons(frame: Frame, method: str, against: str) -> list[SeedComparison]:
    return [
        each
        for each in frame.comparisons
        if (each.line.row.method, each.against) == (method, against)
        and each.line.protocol == frame.manifest.protocols[0]
        and METRICS[each.line.metric].in_paper
        and not each.line.dataset.repeats
    ]


def _counts(compared: Sequence[SeedComparison]) -> str:
    signs = [_for_the_better(each) for each in compared]
    return f"{signs.count(1)} / {signs.count(-1)} of {len(signs)}"


def _always_better(compared: Sequence[SeedComparison]) -> bool:
    return bool(compared) and all(_for_the_better(each) == 1 for each in compared)


def _for_the_better(each: SeedComparison) -> int:
    """1 where the line is significantly better than its base, -1 where it is worse, else 0."""
    return each.sign if METRICS[each.line.metric].more_is_better else -each.sign
