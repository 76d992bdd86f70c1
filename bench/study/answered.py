"""`printed_numbers.csv`: an answer for every printed number, and what the report says of it.

`bench.study.printed` makes the answers; the file is written and read here alone. Needs neither torch nor
data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench.study.files import read_rows, write_rows
from bench.table.lines import TOLERANCE

ANSWERS = "printed_numbers"  # of the files in the study's folder
WRITER = "python -m bench.study.printed"
TUNED, NONE = "as tuned", "none"  # answers that are no change


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A printed number and its answer; means, their standard deviations and n are None where nothing is.

    printed: as the paper has it. tuned_*: of the table. answer: TUNED, NONE, or the name of the first change
    under which the number comes out; title: that change in words, else "". mean, std, n: under it. control_*:
    the plain model beside the change, and under which. tried: names of changes, spaces between them. nearest:
    of what was tried, what comes nearest.
    """

    dataset: str
    method: str
    metric: str
    printed: str
    tuned_mean: float | None
    tuned_std: float | None
    tuned_n: int | None
    answer: str
    title: str
    mean: float | None
    std: float | None
    n: int | None
    control_method: str
    control_change: str
    control_mean: float | None
    control_std: float | None
    control_n: int | None
    tried: str
    nearest: str
    nearest_mean: float | None


def write_answered(folder: Path, rows: Sequence[Answered]) -> Path:
    """Writes the file, whole or not at all, and returns its path.

    Raises:
        BenchError: it cannot be written.
    """
    return write_rows(folder / f"{ANSWERS}.csv", Answered, rows)


def read_answered(folder: Path) -> tuple[Answered, ...]:
    """Reads the file.

    Raises:
        BenchError: it is absent or not as it was written.
    """
    return read_rows(folder / f"{ANSWERS}.csv", Answered, WRITER)


def counted(rows: Sequence[Answered]) -> str:
    """How many numbers come out, in a sentence."""
    answers = Counter(each.answer for each in rows)
    untried = sum(each.answer == NONE and not each.tried for each in rows)
    untold = f" ({untried} of them with no change tried yet)" if untried else ""
    return (
        f"Of {len(rows)} printed numbers that can be compared, {answers[TUNED]} come out within "
        f"±{TOLERANCE:g} as tuned, {len(rows) - answers[TUNED] - answers[NONE]} under a declared change, "
        f"{answers[NONE]} under none that was tried{untold}."
    )


_TEXT = """### Where the printed numbers come from

{counted} The changes are the other two ways to count users without a positive test rating, Coat's table
with side features, and those of the study `printed`, which are no part of the table. A number counts for the
first one under which it comes out, the smaller ones before the others. That it does so does not say that it
was made so: with many changes some numbers come near by chance. [Each of them]({folder}/{name}.md) stands
beside a plain model under its change, and [a figure]({folder}/{name}.svg) has all that was tried.

{table}
"""


def where_from(folder: Path, titles: Mapping[str, str], link: str) -> str:
    """The report's section, from its heading on; "" where the file is not there.

    Args:
        folder: the study's.
        titles: of data sets, in their order.
        link: the way from the report to the folder.

    Raises:
        BenchError: the file is not as it was written.
    """
    if not (folder / f"{ANSWERS}.csv").is_file():
        return ""
    rows = read_answered(folder)
    datasets = [each for each in titles if any(row.dataset == each for row in rows)]
    changes = Counter(each.title for each in rows if each.title)
    lines = {
        TUNED: TUNED,
        **{title: title for title, _ in changes.most_common()},
        NONE: "under none that was tried",
    }
    counts = Counter((each.title or each.answer, each.dataset) for each in rows)
    table = [[text, *(str(counts[name, each]) for each in datasets)] for name, text in lines.items()]
    header = ["Comes out", *(titles[each] for each in datasets)]
    drawn = tabulate(table, header, tablefmt="github", disable_numparse=True)
    return _TEXT.format(counted=counted(rows), folder=link, name=ANSWERS, table=drawn).strip()
