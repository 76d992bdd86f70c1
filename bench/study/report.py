"""What came of the paper's table: `python -m bench.study.report` writes `results/published/REPORT.md`.

The report's text is the template `bench/study/report.md`; every number in it comes from the table's frame,
the sweeps' and the studies' CSV files. Needs neither torch nor data, and the same files give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import string
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tabulate import tabulate

from bench.errors import BenchError
from bench.files import write_text
from bench.table import load
from bench.table.files import PUBLISHED_FOLDER
from bench.table.frame import Frame
from bench.table.lines import ALPHA, TOLERANCE, Line
from bench.table.statistics import holm, paired, wilcoxon

TEMPLATE = Path(__file__).with_suffix(".md")
NAME = "REPORT.md"
OWN = ("ultd_tp", "ultd_jl")  # the paper's own rows
PLAIN = ("eib", "mf_combine")  # controls: a whole-space term without A; A without debiasing
NAIVE = "coat"  # the data set of the study `naive`
NEAR = 0.015  # how near the naive row should come
GENERATED = "synthetic"  # its study is `bench.study.known_truth`
STUDIES = ("naive", "ultd", "bounds", "oracle", "public")  # in the report's order
_NAMES = {"auc": "AUC", "ndcg": "NDCG", "recall": "Recall"}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of the table: the lines of one protocol, data set and metric that have values.

    rows: the paper's rows only, by method. controls: the others.
    """

    protocol: str
    dataset: str  # key
    title: str
    rows: dict[str, Line]
    controls: dict[str, Line]

    @property
    def lines(self) -> dict[str, Line]:
        """Rows and controls."""
        return {**self.rows, **self.controls}

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers were measured alike."""
        return any(line.paper for line in self.rows.values())

    def values(self, method: str) -> Floats:
        """A row's values in the order of the seeds."""
        return np.array([value for _, value in sorted(self.lines[method].values.items())])


def columns(frame: Frame) -> list[Column]:
    """All columns, as the protocol counts users without a positive; those of generated data are left out."""
    found = []
    for protocol in frame.manifest.protocols:
        for dataset in frame.manifest.datasets:
            group = frame.column_group(protocol, dataset)
            for metric, name in _NAMES.items():
                mine = [line for (_, other), line in group.items() if other == metric and line.values]
                if not mine or dataset.dataset == GENERATED:
                    continue
                k = "" if metric == "auc" else f"@{dataset.k}"
                title = f"{dataset.title} {name}{k}"
                rows = {line.row.method: line for line in mine if not line.row.control}
                controls = {line.row.method: line for line in mine if line.row.control}
                found.append(Column(protocol, dataset.dataset, title, rows, controls))
    return found


def difference(ours: Line, base: Line) -> tuple[float, float]:
    """Median paired difference of two lines and the exact Wilcoxon test's p."""
    a, b = paired(ours.values, base.values)
    return float(np.median(a - b)), wilcoxon(a, b)[0]


def tested(lines: Sequence[Line], base: Line) -> list[tuple[float, float]]:
    """Median paired difference of each line from a base, and its p after Holm's correction over them."""
    pairs = [difference(line, base) for line in lines]
    corrected = holm([p for _, p in pairs])
    return [(median, p) for (median, _), p in zip(pairs, corrected, strict=True)]


# --- What was run -------------------------------------------------------------------------------------


def runs(frame: Frame, sweeps: Path) -> str:
    """A line for each protocol and data set: rows, seeds, points, hours."""
    table = []
    for protocol in frame.manifest.protocols:
        for dataset in frame.manifest.datasets:
            lines = [
                line
                for (_, metric), line in frame.column_group(protocol, dataset).items()
                if metric == "auc" and line.values
            ]
            if not lines or dataset.dataset == GENERATED:
                continue
            rows = [line for line in lines if not line.row.control]
            trainings, hours = _swept(sweeps / protocol / dataset.dataset)
            final = sum(float(line.cell.provenance.get("training_seconds") or 0) for line in lines) / 3600
            commits = {line.cell.provenance.get("commit", "")[:7] for line in lines} - {""}
            table.append(
                [
                    dataset.title,
                    protocol,
                    f"{len(rows)} + {len(lines) - len(rows)}",
                    _range(len(line.values) for line in lines),
                    _range(line.cell.points for line in rows),
                    frame.tuning.get((protocol, dataset.dataset), ""),
                    f"{trainings:,}" if trainings else "",
                    f"{hours:.1f}" if trainings else "",
                    f"{final:.1f}",
                    ", ".join(sorted(commits)),
                ]
            )
    header = ["Data set", "Protocol", "Rows + controls", "Seeds", "Points a row", "Points × seeds by stage"]
    header += ["Trainings of the sweep", "Hours of the sweep", "Hours of the final runs", "Commits"]
    return _table(table, header)


def _swept(folder: Path) -> tuple[int, float]:
    """Trainings of the sweeps in a folder, and the hours of one core that they took."""
    seconds = [float(row["seconds"]) for file in sorted(folder.glob("*.csv")) for row in _read(file)]
    return len(seconds), sum(seconds) / 3600


def _range(values: Iterator[int] | Any) -> str:
    numbers = sorted(set(values))
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


# --- What holds ---------------------------------------------------------------------------------------


def holds(found: Sequence[Column]) -> str:
    """A line for each column that can be compared: how near, and in what order."""
    table = []
    for column in found:
        lines = [line for line in column.rows.values() if line.paper]
        if not lines:
            continue
        deltas = np.array([line.delta for line in lines], float)
        printed = [float(line.paper) for line in lines]
        rho = float(spearmanr([line.mean for line in lines], printed).statistic)
        table.append(
            [
                column.title,
                f"{sum(bool(line.within) for line in lines)} of {len(lines)}",
                f"{np.median(deltas):+.3f}",
                f"{np.abs(deltas).max():.3f}",
                f"{rho:+.2f}",
            ]
        )
    header = [
        "Column",
        f"Inside ±{TOLERANCE:g}",
        "Median difference",
        "Largest",
        "Rank correlation of the rows",
    ]
    return _table(table, header)


def counted(found: Sequence[Column]) -> tuple[int, int]:
    """Numbers inside the tolerance, and numbers that can be compared."""
    lines = [line for column in found for line in column.rows.values() if line.paper]
    return sum(bool(line.within) for line in lines), len(lines)


def by_row(found: Sequence[Column]) -> str:
    """A line for each row: how many of its numbers are inside, by data set."""
    datasets = list(dict.fromkeys(column.dataset for column in found if column.comparable))
    titles = {line.row.method: line.row.title for column in found for line in column.rows.values()}
    table = []
    for method, title in titles.items():
        row = [title]
        for dataset in datasets:
            lines = [c.rows[method] for c in found if c.dataset == dataset and method in c.rows]
            lines = [line for line in lines if line.paper]
            row.append(f"{sum(bool(line.within) for line in lines)} of {len(lines)}")
        table.append(row)
    names = {line.dataset.dataset: line.dataset.title for c in found for line in c.rows.values()}
    return _table(table, ["Row", *(names[dataset] for dataset in datasets)])


def outside(found: Sequence[Column]) -> str:
    """A line for each number outside the tolerance."""
    table = []
    for column in found:
        best = max((line.mean or 0.0 for line in column.rows.values()), default=0.0)
        for line in column.rows.values():
            if not line.paper or line.within:
                continue
            paper, values = float(line.paper), list(line.values.values())
            lowest, highest = min(values), max(values)
            if paper > highest:
                where = "above every run of ours" + ("" if paper > best else ", within reach of other rows")
            elif paper < lowest:
                where = "below every run of ours"
            else:
                beyond = sum(value >= paper for value in values)
                where = f"within single runs: {beyond} of {len(values)} reach it"
            spread = f" ± {line.std:.3f}" if line.std is not None else ""
            table.append(
                [
                    column.title,
                    line.row.title,
                    line.paper,
                    f"{line.mean:.3f}{spread}",
                    f"{line.delta:+.3f}",
                    f"{lowest:.3f}–{highest:.3f}",
                    where,
                ]
            )
    header = ["Column", "Row", "Paper", "Ours", "Difference", "Single runs", "The paper's number is"]
    return _table(table, header)


def naive(found: Sequence[Column], folder: Path) -> str:
    """A line for the table's MF and for every variant of the study `naive`: how near the paper's MF it is."""
    rows = {
        column.rows["mf"].metric: column.rows["mf"]
        for column in found
        if column.protocol == found[0].protocol and column.dataset == NAIVE and "mf" in column.rows
    }
    rows = {metric: line for metric, line in rows.items() if line.paper}
    if not rows or not (folder / "naive.csv").is_file():
        return "*Study `naive` has not been run: `make study STUDY=naive`.*"
    values: dict[tuple[str, str], list[float]] = {}
    for each in _read(folder / "naive.csv"):
        values.setdefault((each["variant"], each["metric"]), []).append(float(each["value"]))
    ours = {metric: list(line.values.values()) for metric, line in rows.items()}
    entries = [("The table's row", rows["auc"].cell.points, ours)]
    for each in _read(folder / "naive_variants.csv"):
        own = {metric: values[each["variant"], metric] for metric in rows}
        entries.append((each["title"], int(each["points"]), own))
    table = []
    for title, points, own in entries:
        deltas = {metric: float(np.mean(own[metric])) - float(line.paper) for metric, line in rows.items()}
        cells = [f"{np.mean(own[m]):.3f} ± {np.std(own[m], ddof=1):.3f} ({deltas[m]:+.3f})" for m in rows]
        inside = sum(abs(delta) <= NEAR for delta in deltas.values())
        table.append([title, str(points), *cells, f"{inside} of {len(rows)}"])
    names = [f"{_NAMES[metric]} ({line.paper})" for metric, line in rows.items()]
    return _table(table, ["MF", "Points", *names, f"Within ±{NEAR:g}"])


# --- What the paper claims ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """Tests of one claim: for each, the column, the median difference and the corrected p."""

    text: str
    tests: list[tuple[Column, float, float]]

    def count(self, dataset: str, sign: int) -> int:
        """Tests on a data set that differ in that direction, significantly."""
        return sum(
            column.dataset == dataset and sign * median > 0 and p < ALPHA for column, median, p in self.tests
        )

    def of(self, dataset: str) -> int:
        """Tests on a data set."""
        return sum(column.dataset == dataset for column, _, _ in self.tests)

    def verdict(self, datasets: Sequence[str]) -> str:
        """In one word, over the data sets whose ratings are the paper's."""
        n, yes, no = (
            sum(map(count, datasets))
            for count in (self.of, lambda d: self.count(d, 1), lambda d: self.count(d, -1))
        )
        if not n:
            return "not testable"
        return "supported" if yes == n else "not supported" if no >= yes else "supported in part"


def claims(found: Sequence[Column]) -> list[Claim]:
    """The paper's claims about its table, tested in ours under its protocol."""
    naive, unbiased, own, joint = [], [], [], []
    for column in found:
        if column.protocol != found[0].protocol or "mf" not in column.rows:
            continue
        baselines = {m: line for m, line in column.rows.items() if m not in OWN}
        others = {m: line for m, line in baselines.items() if m != "mf"}
        answers = tested(list(others.values()), baselines["mf"])
        for method, (median, p) in zip(others, answers, strict=True):
            naive.append((column, median, p))
            if method in ("res_dr", "autodebias"):
                unbiased.append((column, median, p))
        best = max(baselines.values(), key=lambda line: line.mean or 0.0)
        ours = [column.rows[m] for m in OWN if m in column.rows]
        own += [(column, median, p) for median, p in tested(ours, best)]
        if all(m in column.rows for m in OWN):
            joint.append((column, *difference(column.rows["ultd_jl"], column.rows["ultd_tp"])))
    return [
        Claim("“The baseline methods outperform the naive method.”", naive),
        Claim("“Methods like Res-DR and AutoDebias show strong performance” (tested against MF).", unbiased),
        Claim("“The proposed methods consistently outperform the baseline methods.”", own),
        Claim("“Joint learning of all models works better than two-phase learning.”", joint),
    ]


def claim_table(found: Sequence[Column]) -> str:
    """A line for each claim and data set."""
    datasets = list(dict.fromkeys(column.dataset for column in found))
    honest = [d for d in datasets if any(c.dataset == d and c.comparable for c in found)]
    names = {line.dataset.dataset: line.dataset.title for c in found for line in c.rows.values()}
    table = []
    for claim in claims(found):
        cells = []
        for dataset in datasets:
            n = claim.of(dataset)
            cells.append(f"{claim.count(dataset, 1)} / {claim.count(dataset, -1)} of {n}" if n else "")
        table.append([claim.text, *cells, claim.verdict(honest)])
    return _table(table, ["Claim", *(names[d] for d in datasets), "Verdict"])


def remains(found: Sequence[Column]) -> str:
    """What is left of every row's gain over MF beside the plain controls."""
    bases = ("mf", *PLAIN)
    table = []
    for column in found:
        if column.protocol != found[0].protocol or any(base not in column.lines for base in bases):
            continue
        rows = [line for method, line in column.rows.items() if method != "mf"]
        cells: dict[str, list[str]] = {line.row.method: [] for line in rows}
        for base in bases:
            for line, (median, p) in zip(rows, tested(rows, column.lines[base]), strict=True):
                cells[line.row.method].append(f"{median:+.3f}" + ("†" if p < ALPHA else ""))
        table += [[column.title, line.row.title, *cells[line.row.method]] for line in rows]
    some = next((c for c in found if all(base in c.lines for base in bases)), None)
    titles = [some.lines[base].row.title if some else base for base in bases]
    return _table(table, ["Column", "Row", *(f"beside {title}" for title in titles)])


def kept(found: Sequence[Column]) -> tuple[int, int]:
    """AUC gains over MF that are significant, and those of them that are so beside both controls too."""
    gains = left = 0
    for column in found:
        if column.protocol != found[0].protocol or not column.title.endswith(_NAMES["auc"]):
            continue
        if any(base not in column.lines for base in ("mf", *PLAIN)):
            continue
        rows = [line for method, line in column.rows.items() if method != "mf"]
        above = [
            [median > 0 and p < ALPHA for median, p in tested(rows, column.lines[base])]
            for base in ("mf", *PLAIN)
        ]
        gains += sum(above[0])
        left += sum(map(all, zip(*above, strict=True)))
    return gains, left


# --- How sure a single run is -------------------------------------------------------------------------


def noise(found: Sequence[Column]) -> str:
    """A line for each comparable column: what one run's luck is worth beside the paper's margins."""
    table = []
    for column in found:
        if not column.comparable or not all(method in column.rows for method in OWN):
            continue
        values = np.array([column.values(method) for method in column.rows])
        single = float(np.median(values.std(1, ddof=1)))
        pairs = [
            float((values[a] - values[b]).std(ddof=1))
            for a, b in itertools.combinations(range(len(values)), 2)
        ]
        apart = float(np.median(pairs))
        papers = {method: float(line.paper) for method, line in column.rows.items()}
        baseline = max(value for method, value in papers.items() if method not in OWN)
        margin = max(papers[method] for method in OWN) - baseline
        chance = math.erfc(abs(margin) / (apart * math.sqrt(2))) if apart else float("nan")
        covariance = np.cov(values)
        off = covariance[~np.eye(len(values), dtype=bool)].mean()
        best = float(np.median(values.max(1) - values.mean(1)))
        reached = sum(values[place].max() >= papers[m] for place, m in enumerate(column.rows))
        table.append(
            [
                column.title,
                f"{single:.4f}",
                f"{apart:.4f}",
                f"{margin:+.3f}",
                f"{chance:.2g}",
                f"{off / np.diag(covariance).mean():.2f}",
                f"{best:+.4f}",
                f"{reached} of {len(values)}",
            ]
        )
    header = [
        *("Column", "sd of a run", "sd of two rows' difference", "Paper: ULTD − best baseline"),
        *("Chance of that by luck", "Share of a seed common to all rows", "Best of n runs − mean"),
        "Paper's numbers that the best run reaches",
    ]
    return _table(table, header)


def conventions(frame: Frame) -> str:
    """How counting users without a positive moves the means of the paper's rows."""
    table = []
    for protocol in frame.manifest.protocols:
        for dataset in frame.manifest.datasets:
            for metric in ("ndcg", "recall"):
                means: dict[str, list[float]] = {}
                for line in frame.lines:
                    here = (line.protocol, line.dataset, line.metric) == (protocol, dataset, metric)
                    if here and line.mean is not None and not line.row.control:
                        means.setdefault(line.no_positive, []).append(line.mean)
                if {"skip", "one", "zero"} <= means.keys():
                    skip, one, zero = (float(np.mean(means[rule])) for rule in ("skip", "one", "zero"))
                    name = f"{dataset.title} {_NAMES[metric]}@{dataset.k}"
                    numbers = (f"{skip:.3f}", f"{one - skip:+.3f}", f"{zero - skip:+.3f}")
                    table.append([name, protocol, *numbers])
    return _table(table, ["Column", "Protocol", "Skipped (mean of the rows)", "Counted as 1", "Counted as 0"])


def thresholds(found: Sequence[Column]) -> str:
    """MF under each protocol: what the threshold of a positive label moves."""
    means: dict[str, dict[str, float]] = {}
    for column in found:
        if "mf" in column.rows:
            means.setdefault(column.title, {})[column.protocol] = float(column.values("mf").mean())
    protocols = list(dict.fromkeys(column.protocol for column in found))
    table = [
        [title, *(f"{row[protocol]:.3f}" for protocol in protocols)]
        for title, row in means.items()
        if len(row) == len(protocols)
    ]
    return _table(table, ["MF", *(f"Protocol {protocol}" for protocol in protocols)])


# --- Studies ------------------------------------------------------------------------------------------


def studies(folder: Path) -> str:
    """The pages of all studies that were made, each a section."""
    parts = []
    for name in STUDIES:
        file = folder / f"{name}.md"
        if not file.is_file():
            parts.append(f"*Study `{name}` has not been run: `make study STUDY={name}`.*")
            continue
        text = file.read_text(encoding="utf-8").strip()
        parts.append("\n".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines()))
    return "\n\n".join(parts)


# --- The report ---------------------------------------------------------------------------------------


def sentences(found: Sequence[Column]) -> list[str]:
    """What a reader should remember: three sentences, of the columns that can be compared."""
    inside, n = counted(found)
    honest = [column for column in found if column.comparable]
    datasets = dict.fromkeys(line.dataset.title for c in honest for line in c.rows.values())
    names = " and ".join(datasets)
    keys = list(dict.fromkeys(column.dataset for column in honest))
    own = claims(found)[2]
    above, below, tests = (
        sum(count(key) for key in keys)
        for count in (lambda d: own.count(d, 1), lambda d: own.count(d, -1), own.of)
    )
    gains, left = kept(found)
    return [
        f"On {names}, {inside} of the paper's {n} numbers come out within ±{TOLERANCE:g} when every row is "
        "tuned on validation alone; KuaiRec's ratings are not the paper's, and its numbers not comparable.",
        f"ULTD, printed above every baseline, is significantly above the best baseline in {above} of {tests} "
        f"comparisons here and significantly below it in {below}.",
        f"Of the {gains} significant gains in AUC over MF on all data sets, {left} "
        f"{'is' if left == 1 else 'are'} also one over the two plain controls: MF on the same ratings, and a "
        "constant imputation that sees no unbiased rating.",
    ]


def published(results: Path) -> Frame:
    """The published table, from its files alone: what lies in the store of this checkout changes nothing.

    Raises:
        BenchError: see `bench.table.frame.load`.
    """
    folder = results / PUBLISHED_FOLDER
    return load(folder, None, folder, sweeps=results / "sweep")


def report(results: Path) -> str:
    """The text of `REPORT.md`.

    Raises:
        BenchError: a file is absent or not as it was written.
    """
    frame = published(results)
    found = columns(frame)
    if not found:
        raise BenchError("The published table holds no numbers of real ratings to report on.")
    try:
        return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            sentences="\n".join(f"{n}. {each}" for n, each in enumerate(sentences(found), 1)),
            tolerance=f"{TOLERANCE:g}",
            alpha=f"{ALPHA:g}",
            runs=runs(frame, results / "sweep"),
            holds=holds(found),
            by_row=by_row(found),
            outside=outside(found),
            naive=naive(found, results / "study"),
            near=f"{NEAR:g}",
            claims=claim_table(found),
            remains=remains(found),
            noise=noise(found),
            conventions=conventions(frame),
            thresholds=thresholds(found),
            studies=studies(results / "study"),
        )
    except (OSError, KeyError, ValueError) as error:
        raise BenchError(f"The report cannot be made ({error!r}).") from error


def _read(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.study.report", description="Writes REPORT.md.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    given = parser.parse_args(arguments)
    try:
        file = write_text(given.results / PUBLISHED_FOLDER / NAME, report(given.results))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(file)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
