"""The report's section on what is new against the first edition, and why.

The first edition's table, `results/first_edition/table1.csv`, is the one that stood at commit `FIRST`:

    git show c1f8c0b:results/table1/table1.csv > results/first_edition/table1.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench.errors import BenchError
from bench.files import read_csv
from bench.records.metric import AUC, METRICS
from bench.records.points import Points, PointValues
from bench.study.files import Chosen
from bench.table.claims import in_words, reproduced
from bench.table.comparisons import REFERENCE
from bench.table.frame import Frame
from bench.table.lines import TOLERANCE, Column, Line

FIRST = "c1f8c0b"
FOLDER = "first_edition"  # below results/
_GENERATED = "synthetic"  # another world now

# What became another in a row between the editions, beside the plan, which is another for all.
CHANGES = {
    "ips": "its propensity and its clip are chosen",
    "dr": "its propensity is chosen",
    "dr_jl": "its propensity is chosen",
    "escm2_dr": "shared or separate tables are chosen, and the conversion's weight is",
    "cause": "A's weight is chosen, by default as of so many ratings of O; before, of 30 to 115 times those",
    "kdcrec": "raw scores, squared error and r + αN, as its authors have it; its base phase is held out, too",
    "kdcrec_bridge": "raw scores, as KDCRec; its base phase is held out, too",
    "ltd": "the propensity's decay is chosen, and ten times as large by default",
    "ltd_ips": "the propensity's decay is chosen, and ten times as large by default",
    "autodebias": "an inner rate of .1 is tried",
    "res_ips": "the propensity's decay, ten times as large by default, and its later rate are chosen",
    "res_dr": "the propensity's decay, ten times as large by default, and its later rate are chosen",
    "ultd_tp": "rates by a table, as equation 2; smaller decays at small rates; its base is held out, too",
    "ultd_jl": "rates by a table, as equation 2; smaller decays at small rates",
}

# Commits of that edition's code by which studies were made.
_STUDIES = ("02a03dd", "2f8286c", "012625d", "2264fb1", "6e34adb", "7ca70b0", "b5f7f4a")

_TEXT = """## What is new against the first edition

The first edition is the table of commit `{first}`. {counts}
What is new for all rows: {points}; learning rate and weight decay are swept together, before anything else;
the first stages have three or five seeds instead of one or two; a point is compared by validation ratings
that none of its phases has seen; more of a row's own parameters are tried; and embeddings of 32 and 64 where
Yahoo! R3 and KuaiRec had 16 alone. A difference below is of all of that, and of what is named beside it. Mean
AUC, first → now, of rows and controls on real ratings; the generated ones are of another world now.
"""
_EXPECTED = "Three things that the changes were made for, beside what came:"


@dataclass(frozen=True, kw_only=True)
class Number:
    """A mean of the first edition.

    within: whether it reproduced the paper's, None where there is none. points: that its row was tuned over.
    """

    mean: float
    within: bool | None
    points: int


FirstPlace = tuple[str, str, str, str]  # protocol, data set, method, metric


def read_first_edition(results: Path) -> dict[FirstPlace, Number]:
    """The first edition's means, as its protocol counted users without a positive.

    Raises:
        BenchError: the file is absent or not as it was written.
    """
    file = results / FOLDER / "table1.csv"
    try:
        return {
            (row["protocol"], row["dataset"], row["method"], row["metric"]): Number(
                mean=float(row["mean"]),
                within={"True": True, "False": False, "": None}[row["within"]],
                points=int(row["points"]),
            )
            for row in read_csv(file)
            if row["no_positive"] in ("", "skip") and row["mean"]
        }
    except (KeyError, ValueError) as error:
        raise BenchError(f"{file} is not the first edition's table ({error!r}).") from error


def first_edition(frame: Frame, results: Path) -> str:
    """The section, from its heading on; "" where the first edition's table is not there.

    Raises:
        BenchError: a file is not as it was written.
    """
    if not (results / FOLDER / "table1.csv").is_file():
        return ""
    first = read_first_edition(results)
    protocol = frame.manifest.protocols[0]
    columns = [
        column
        for column in frame.columns(protocol)
        if column.metric is AUC
        and column.dataset.dataset != _GENERATED
        and any(place[:2] == (protocol, column.dataset.dataset) for place in first)
    ]
    table = []
    for row in frame.manifest.rows:
        cells = []
        for column in columns:
            line, before = (
                column.line(row.method),
                first.get(_place(protocol, column.dataset.dataset, row.method)),
            )
            cells.append(
                "" if line is None or line.mean is None or before is None else _moved(before.mean, line.mean)
            )
        if any(cells):
            table.append([row.title, *cells, CHANGES.get(row.method, "")])
    if not table:
        return ""
    header = ["Row", *(column.dataset.title for column in columns), "What became another in the row"]
    lines = tabulate(table, header, tablefmt="github", disable_numparse=True)
    expected = "\n".join(f"- {each}" for each in _expected(frame, results))
    said = f"\n\n{_EXPECTED}\n{expected}" if expected else ""
    text = _TEXT.format(first=FIRST, counts=_counts(frame, first), points=_points(columns, first))
    return f"{text}\n{lines}{said}"


def _place(protocol: str, dataset: str, method: str) -> FirstPlace:
    return protocol, dataset, method, AUC.key


def _moved(before: float, now: float) -> str:
    return f"{before:.3f} → {now:.3f} ({now - before:+.3f})"


def _points(columns: Sequence[Column], first: dict[FirstPlace, Number]) -> str:
    """Over how many points a row is tuned, then and now."""
    parts = []
    for column in columns:
        mine = [line for line in column.of_family("paper").values() if _place_of(line) in first]
        then = max(first[_place_of(line)].points for line in mine)
        parts.append(f"{column.dataset.title} {then} → {max(line.cell.points for line in mine)}")
    return f"points a row ({', '.join(parts)})"


def _place_of(line: Line) -> FirstPlace:
    return line.protocol, line.dataset.dataset, line.row.method, line.metric


def _counts(frame: Frame, first: dict[FirstPlace, Number]) -> str:
    """How many of the paper's numbers came out then, and now."""
    now = {
        (line.protocol, line.dataset.dataset, line.row.method, line.metric): bool(line.within)
        for line in reproduced(frame).lines
    }
    both = {place: (bool(first[place].within), now[place]) for place in now if place in first}
    then, here = (sum(pair[which] for pair in both.values()) for which in (0, 1))
    came = sum(pair == (False, True) for pair in both.values())
    if not both:
        return ""
    return (
        f"Of {len(both)} printed numbers, {then} came out within ±{TOLERANCE:g} there and {here} do here: "
        f"{came} came in, {then - here + came} went out."
    )


def earlier_row(variant: Chosen) -> bool:
    """Whether a study's variant is a row of the first edition that is another now."""
    return variant.method in CHANGES and variant.commit.startswith(_STUDIES)


# --- What was expected --------------------------------------------------------------------------------


def _expected(frame: Frame, results: Path) -> list[str]:
    """What `CHANGES` were to bring to single rows, as sentences that end in what came."""
    protocol = frame.manifest.protocols[0]
    lines = {
        (line.dataset.dataset, line.row.method, line.metric): line
        for line in reproduced(frame).lines
        if line.protocol == protocol
    }
    found = []
    for method in ("cause", "kdcrec"):
        mine = [line for place, line in lines.items() if place[:2] == ("yahoo_r3", method)]
        if mine:
            off = ", ".join(f"{METRICS[line.metric].title} {line.delta:+.3f}" for line in mine)
            found.append(
                f"{mine[0].row.title} near its printed numbers on {mine[0].dataset.title}: "
                f"{sum(bool(line.within) for line in mine)} of {len(mine)} are within ±{TOLERANCE:g} ({off})."
                + (_by_alpha(results, protocol) if method == "kdcrec" else "")
            )
    tested = {
        each.line.row.method: each
        for each in frame.comparisons
        if each.against == REFERENCE
        and (each.line.protocol, each.line.dataset.dataset, each.line.metric) == (protocol, "coat", AUC.key)
    }
    rows = [method for method in ("ltd", "res_ips", "res_dr", "ultd_tp", "ultd_jl") if method in tested]
    if rows:
        said = []
        for method in rows:
            each = tested[method]
            word = {1: "above", -1: "below", 0: "undecided"}[each.sign]
            said.append(f"{each.line.row.title} {each.median:+.3f} ({word})")
        found.append(
            f"LTD, Res-* and ULTD on Coat level with {frame.title(frame.manifest.reference)} or better, in "
            f"AUC: {in_words(said)}.{_promised(frame, results, rows)}"
        )
    return found


def _by_alpha(results: Path, protocol: str) -> str:
    """What KDCRec's own sweep says of its distillation weight, by the seeds that all points have."""
    file = results / "sweep" / protocol / "yahoo_r3" / "kdcrec.csv"
    if not file.is_file():
        return ""
    points = Points.read(file)
    place = points.names.index("alpha")
    found: dict[PointValues, dict[int, float]] = {}
    for each in points.trainings:
        found.setdefault(each.point, {})[each.seed] = each.held_out_auc
    seeds = set.intersection(*map(set, found.values()))
    best: dict[float, float] = {}
    for point, values in found.items():
        mean = sum(values[seed] for seed in seeds) / len(seeds)
        if mean == mean:  # a point that diverged has none
            best[point[place]] = max(mean, best.get(point[place], 0.0))
    said = ", ".join(f"{best[value]:.3f} ({value:g})" for value in sorted(best))
    return (
        " By α, its teacher's weight, the best held-out validation AUC of its sweep is "
        f"{said}, over {len(seeds)} seeds."
    )


def _promised(frame: Frame, results: Path, rows: Sequence[str]) -> str:
    """What the winners' own validation says of it."""
    folder = results / "sweep" / frame.manifest.protocols[0] / "coat"
    best = {}
    for method in (frame.manifest.reference, *rows):
        file = folder / f"{method}.csv"
        ranked = Points.read(file).ranked() if file.is_file() else []
        if ranked:
            best[method] = ranked[0].auc
    naive = best.pop(frame.manifest.reference, None)
    if naive is None or not best:
        return ""
    said = in_words(f"{frame.title(method)} {auc - naive:+.3f}" for method, auc in best.items())
    return (
        " By the measure that chose their points, held-out validation AUC, their winners differ from "
        f"{frame.title(frame.manifest.reference)}'s by {said}."
    )
