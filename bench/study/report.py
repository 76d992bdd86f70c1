"""What came of the paper's table: `python -m bench.study.report` writes `results/published/REPORT.md`.

The report's text is the template `bench/study/report.md`; every number in it comes from the published table
(`DIR/published`), the sweeps' and the studies' CSV files. Needs neither torch nor data, and the same files
give the same bytes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from tabulate import tabulate

from bench.command.main import main as run_command
from bench.config import ProtocolConfig
from bench.errors import BenchError
from bench.files import CONF, write_text
from bench.records.metric import AUC, METRICS
from bench.records.points import read_folder
from bench.report.plots import deltas, save_figure
from bench.study import world_table
from bench.study.answered import where_from
from bench.study.conclusions import concluded
from bench.study.files import StudyResult
from bench.study.first_edition import earlier_row, first_edition
from bench.study.further import further_methods
from bench.study.limits import limits
from bench.study.unlearning import unlearning
from bench.table import layout, load_frame
from bench.table.claims import (
    INTERVAL,
    TEST,
    Claim,
    Claims,
    Verdict,
    chosen_by,
    claims,
    in_words,
    once_more,
    row_verdict,
    verdict,
)
from bench.table.comparisons import SeedComparison, compare_seeds
from bench.table.frame import Frame
from bench.table.lines import ALPHA, TOLERANCE, Column, Line
from bench.table.manifest import PUBLISHED_FOLDER

TEMPLATE = Path(__file__).with_suffix(".md")
NAME = "REPORT.md"
FIGURE = "heatmap.svg"  # beside the report, and on the front page
NAIVE = "mf"  # the naive row, against which the claims are tested
TWO_PHASES, JOINT = "ultd_tp", "ultd_jl"  # the paper's own rows
KNOW_A = ("res_dr", "autodebias")  # the baselines that the paper praises for their use of A
PLAIN = ("eib", "mf_combine")  # controls: a whole-space term without A; A without debiasing
NAIVE_STUDY, NAIVE_DATASET = "naive", "coat"  # the study of the naive row, and its data set
GENERATED = "synthetic"  # its study is `bench.study.known_truth`
REPORTED_STUDIES = (NAIVE_STUDY, "ultd", "bounds", "oracle", "public")  # in the report's order

_EARLIER = (
    "*Made with the first edition's code: {rows} are here as that edition had them, and have "
    "[changed since](#what-is-new-against-the-first-edition).*"
)

_Floats = NDArray[np.float64]


def values(line: Line) -> _Floats:
    """(S,) a line's values in the order of the seeds."""
    return np.array([value for _, value in sorted(line.values.items())])


@dataclass(frozen=True)
class Findings:
    """What the report says of a frame. claims: of the table (`bench.table.claims`)."""

    frame: Frame

    @cached_property
    def claims(self) -> Claims:
        """The claims that the table tests itself."""
        return claims(self.frame)

    @cached_property
    def columns(self) -> list[Column]:
        """All columns of real ratings and the paper's metrics, in the table's order, each data set once."""
        return [
            column
            for column in self.frame.columns()
            if column.metric.in_paper
            and column.dataset.dataset != GENERATED
            and not column.dataset.repeats
            and paper_rows(column)
        ]

    @property
    def first(self) -> list[Column]:
        """The columns of the first protocol, which is the one of the paper's numbers."""
        return [each for each in self.columns if each.protocol == self.frame.manifest.protocols[0]]

    @property
    def titles(self) -> dict[str, str]:
        """Data sets of the columns, key → title."""
        return {column.dataset.dataset: column.dataset.title for column in self.columns}

    @cached_property
    def beside(self) -> dict[tuple[str, str, str], dict[str, SeedComparison]]:
        """(data set, metric, base) → method → its comparison with MF or a plain control.

        Under the first protocol, where all of these rows have values. It is the table's test, corrected
        over the same family: the paper's rows of the column.
        """
        tests = {}
        for column in self.first:
            bases = {method: column.line(method) for method in (NAIVE, *PLAIN)}
            if None not in bases.values():
                rows = list(paper_rows(column).values())
                for method, base in bases.items():
                    compared = compare_seeds(rows, base, method)
                    tests[column.dataset.dataset, column.metric.key, method] = {
                        each.line.row.method: each for each in compared if each.line.row.method != NAIVE
                    }
        return tests


def paper_rows(column: Column) -> dict[str, Line]:
    """The paper's rows of a column, by method."""
    return column.of_family("paper")


# --- What was run -------------------------------------------------------------------------------------


def runs(findings: Findings, sweeps: Path) -> str:
    """A line for each protocol and data set: rows, seeds, points, hours."""
    table = []
    for column in findings.frame.columns():
        if column.metric is not AUC or not paper_rows(column):
            continue
        paper, controls = column.of_family("paper"), column.of_family("control")
        further = column.of_family("further")
        lines = [*paper.values(), *controls.values(), *further.values()]
        swept = read_folder(sweeps / column.protocol / column.dataset.dataset).values()
        trainings = sum(len(points.trainings) for points in swept)
        hours = sum(points.seconds for points in swept) / 3600
        final = sum(float(line.cell.provenance.get("training_seconds") or 0) for line in lines) / 3600
        commits = {line.cell.provenance.get("commit", "")[:7] for line in lines} - {""}
        table.append(
            [
                column.dataset.title,
                column.protocol,
                " + ".join(str(len(rows)) for rows in (paper, controls, further)),
                _range(len(line.values) for line in lines),
                _range(line.cell.points for line in (*paper.values(), *further.values())),
                findings.frame.tuning.get((column.protocol, column.dataset.dataset), ""),
                f"{trainings:,}" if trainings else "",
                f"{hours:.1f}" if trainings else "",
                f"{final:.1f}",
                ", ".join(sorted(commits)),
            ]
        )
    header = ["Data set", "Protocol", "Rows + controls + further", "Seeds", "Points a row"]
    header += [
        "Points × seeds by stage",
        "Trainings of the sweep",
        "Hours of the sweep",
        "Hours of the final runs",
        "Commits",
    ]
    return _table(table, header)


def _range(values: Iterable[int]) -> str:
    numbers = sorted(set(values))
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


# --- What holds ---------------------------------------------------------------------------------------


def _printed(column: Column) -> list[Line]:
    """The rows whose number can be compared with the paper's."""
    return [line for line in paper_rows(column).values() if line.paper]


def _inside(lines: Sequence[Line]) -> str:
    return f"{sum(bool(line.within) for line in lines)} of {len(lines)}"


def holds(findings: Findings) -> str:
    """A line for each column that can be compared: how near, and in what order."""
    table = []
    for column in findings.columns:
        lines = _printed(column)
        if not lines:
            continue
        deltas = np.array([line.delta for line in lines], float)
        printed = [float(line.paper) for line in lines]
        rho = float(spearmanr([line.mean for line in lines], printed).statistic)
        numbers = (layout.signed(float(np.median(deltas))), f"{np.abs(deltas).max():.3f}", f"{rho:+.2f}")
        table.append([column.title, _inside(lines), *numbers])
    header = ["Column", f"Inside ±{TOLERANCE:g}", "Median difference", "Largest"]
    return _table(table, [*header, "Rank correlation of the rows"])


def verdicts(findings: Findings) -> str:
    """A line for each row: the verdicts on its printed numbers (`bench.table.claims`), and on the row."""
    lines = [line for column in findings.columns for line in _printed(column)]
    datasets = {line.dataset.dataset: line.dataset.title for line in lines}
    titles = {line.row.method: line.row.title for column in findings.columns for line in column.lines}
    table = []
    for method in dict.fromkeys(m for column in findings.columns for m in paper_rows(column)):
        mine = [line for line in lines if line.row.method == method]
        found = [each for each in map(verdict, mine) if each is not None]
        cells = [_inside([line for line in mine if line.dataset.dataset == dataset]) for dataset in datasets]
        counts = [str(found.count(each)) for each in Verdict]
        table.append([titles[method], *cells, *counts, str(row_verdict(found)) if found else ""])
    means = [f"{title}: mean inside" for title in datasets.values()]
    return _table(table, ["Row", *means, *(each.capitalize() for each in Verdict), "The row"])


def meanings() -> str:
    """What the verdicts mean, as a list."""
    return "\n".join(f"- *{each}*: {each.meaning};" for each in Verdict)[:-1] + "."


def outside(findings: Findings) -> str:
    """A line for each number outside the tolerance."""
    table = []
    for column in findings.columns:
        best = max((line.mean or 0.0 for line in paper_rows(column).values()), default=0.0)
        for line in _printed(column):
            if line.within:
                continue
            paper, runs = float(line.paper), list(line.values.values())
            lowest, highest = min(runs), max(runs)
            if paper > highest:
                where = "above every run of ours" + ("" if paper > best else ", within reach of other rows")
            elif paper < lowest:
                where = "below every run of ours"
            else:
                where = f"within single runs: {sum(run >= paper for run in runs)} of {len(runs)} reach it"
            spread = f" ± {line.std:.3f}" if line.std is not None else ""
            ours = (
                f"{line.mean:.3f}{spread}",
                layout.signed(line.delta or 0.0),
                f"{lowest:.3f}–{highest:.3f}",
            )
            table.append([column.title, line.row.title, line.paper, *ours, where])
    header = ["Column", "Row", "Paper", "Ours", "Difference", "Single runs", "The paper's number is"]
    return _table(table, header)


def naive(findings: Findings, folder: Path) -> str:
    """A line for the table's MF and for every variant of the study `naive`: how near the paper's MF it is."""
    lines = {
        column.metric.key: line
        for column in findings.first
        if column.dataset.dataset == NAIVE_DATASET
        for line in _printed(column)
        if line.row.method == NAIVE
    }
    if not lines or not (folder / f"{NAIVE_STUDY}.csv").is_file():
        return _not_run(NAIVE_STUDY)
    study = StudyResult.read(folder, NAIVE_STUDY)
    tested: dict[str, dict[str, list[float]]] = {}
    for score in study.scores:
        tested.setdefault(score.variant, {}).setdefault(score.metric, []).append(score.value)
    ours = {metric: list(line.values.values()) for metric, line in lines.items()}
    entries = [("The table's row", next(iter(lines.values())).cell.points, ours)]
    entries += [(variant.title, variant.points, tested[variant.variant]) for variant in study.variants]
    table = []
    for title, points, runs in entries:
        off = {metric: float(np.mean(runs[metric])) - float(line.paper) for metric, line in lines.items()}
        cells = [
            f"{np.mean(runs[m]):.3f} ± {np.std(runs[m], ddof=1):.3f} ({layout.signed(off[m])})" for m in lines
        ]
        near = sum(round(abs(delta), 6) <= TOLERANCE for delta in off.values())
        table.append([title, str(points), *cells, f"{near} of {len(lines)}"])
    names = [f"{METRICS[metric].title} ({line.paper})" for metric, line in lines.items()]
    return _table(table, ["MF", "Points", *names, f"Within ±{TOLERANCE:g}"])


def repeated(findings: Findings) -> str:
    """A section for each other reading of a data set of the paper's: its note and rows; "" without one."""
    frame = findings.frame
    columns = [
        each
        for each in frame.columns(frame.manifest.protocols[0])
        if each.metric.in_paper and each.dataset.repeats and paper_rows(each)
    ]
    parts = []
    for dataset in dict.fromkeys(each.dataset for each in columns):
        mine = [each for each in columns if each.dataset == dataset]
        table = []
        for method, line in {**paper_rows(mine[0]), **mine[0].of_family("control")}.items():
            cells = []
            for column in mine:
                other = column.line(method)
                if other is None or other.mean is None:
                    cells.append("")
                    continue
                paper = f", {other.delta:+.3f}" if other.delta is not None else ""
                spread = f" ± {other.std:.3f}" if other.std is not None else ""
                cells.append(f"{other.mean:.3f}{spread}{paper}")
            table.append([line.row.title, *cells])
        header = ["Row", *(f"{each.title}, minus the paper's" for each in mine)]
        parts.append(f"### {dataset.title}\n\n{dataset.note}\n\n{_table(table, header)}")
    return "\n\n".join(parts)


# --- What the paper claims ----------------------------------------------------------------------------


def paper_claims(findings: Findings) -> list[Claim]:
    """The paper's claims about its table, tested in ours under its protocol."""
    baselines, proposed = findings.claims.baselines, findings.claims.proposed
    joint = []
    for column in findings.first:
        pair = [line for line in column.lines if line.row.method in (TWO_PHASES, JOINT)]
        if len(pair) == 2:
            joint += compare_seeds(pair, column.line(TWO_PHASES), TWO_PHASES)
    return [
        baselines,
        *(
            Claim(
                "“Methods like Res-DR and AutoDebias show strong performance” "
                f"({findings.frame.title(method)} "
                f"tested against {findings.frame.title(NAIVE)}).",
                baselines.base,
                [each for each in baselines.comparisons if each.line.row.method == method],
            )
            for method in KNOW_A
        ),
        proposed,
        Claim(
            "“Joint learning of all models works better than two-phase learning.”",
            "two-phase learning",
            joint,
            correction="",
        ),
    ]


def claim_table(findings: Findings) -> str:
    """A line for each claim and data set."""
    datasets = findings.titles
    table = []
    for claim in paper_claims(findings):
        parts = [claim.on(dataset) for dataset in datasets]
        counts = [f"{part.above} / {part.below} of {part.n}" if part.n else "" for part in parts]
        table.append([claim.text, *counts, _by_dataset(claim, datasets)])
    return _table(table, ["Claim", *datasets.values(), "Verdict"])


def _by_dataset(claim: Claim, datasets: Mapping[str, str]) -> str:
    """One word where the data sets agree, else one for each: opposite results are no "in part"."""
    parts = {title: claim.comparable.on(dataset) for dataset, title in datasets.items()}
    words = {title: part.verdict for title, part in parts.items() if part.n}
    if len(set(words.values())) < 2:
        return claim.comparable.verdict
    return "; ".join(f"{title}: {word}" for title, word in words.items())


def remains(findings: Findings) -> str:
    """What is left of every row's gain over MF beside the plain controls."""
    table = []
    for column in findings.first:
        key = column.dataset.dataset, column.metric.key
        if (*key, NAIVE) not in findings.beside:
            continue
        for method, line in paper_rows(column).items():
            if method != NAIVE:
                tests = [findings.beside[*key, base][method] for base in (NAIVE, *PLAIN)]
                cells = [layout.signed(each.median) + ("†" if each.sign else "") for each in tests]
                table.append([column.title, line.row.title, *cells])
    titles = [findings.frame.title(base) for base in (NAIVE, *PLAIN)]
    return _table(table, ["Column", "Row", *(f"beside {title}" for title in titles)])


def lasting_gains(findings: Findings) -> tuple[int, int]:
    """AUC gains over MF that are significant, and those of them that are so beside both controls too."""
    gains = lasting = 0
    for (dataset, metric, base), tests in findings.beside.items():
        if metric != AUC.key or base != NAIVE:
            continue
        for method, test in tests.items():
            if test.sign > 0:
                others = (findings.beside[dataset, metric, control][method] for control in PLAIN)
                gains += 1
                lasting += all(other.sign > 0 for other in others)
    return gains, lasting


# --- How sure a single run is -------------------------------------------------------------------------


def noise(findings: Findings) -> str:
    """A line for each comparable column: what one run's luck is worth beside the paper's margins."""
    table = []
    for column in findings.columns:
        rows = paper_rows(column)
        if not column.comparable or not {TWO_PHASES, JOINT} <= rows.keys():
            continue
        runs = np.array([values(line) for line in rows.values()])
        single = float(np.median(runs.std(1, ddof=1)))
        pairs = itertools.combinations(range(len(runs)), 2)
        apart = float(np.median([float((runs[a] - runs[b]).std(ddof=1)) for a, b in pairs]))
        printed = {method: float(line.paper) for method, line in rows.items()}
        own, others = (
            [value for method, value in printed.items() if rows[method].row.proposed is proposed]
            for proposed in (True, False)
        )
        margin = max(own) - max(others)
        chance = math.erfc(abs(margin) / (apart * math.sqrt(2))) if apart else float("nan")
        covariance = np.cov(runs)
        common = covariance[~np.eye(len(runs), dtype=bool)].mean() / np.diag(covariance).mean()
        best = float(np.median(runs.max(1) - runs.mean(1)))
        reached = sum(runs[place].max() >= value for place, value in enumerate(printed.values()))
        numbers = (f"{single:.4f}", f"{apart:.4f}", f"{margin:+.3f}", f"{chance:.2g}", f"{common:.2f}")
        validated = f"{validated_share(column.protocol, runs.shape[1]):.0%}"
        table.append([column.title, *numbers, f"{best:+.4f}", f"{reached} of {len(runs)}", validated])
    header = [
        *("Column", "sd of a run", "sd of two rows' difference", "Paper: its better row − its best baseline"),
        *("Chance of that for two equal rows", "Share of a seed common to all rows", "Best of n runs − mean"),
        *("Paper's numbers that the best run reaches", "Unbiased ratings in some seed's validation set"),
    ]
    return _table(table, header)


def validated_share(protocol: str, n_seeds: int) -> float:
    """The share of the unbiased ratings that is expected to be in the validation set of one of the seeds.

    Each seed draws its own, independently of the others.
    """
    file = CONF / "protocol" / f"{protocol}.yaml"
    given: Any = OmegaConf.load(file) if file.is_file() else {}
    share = float(given.get("unbiased_validation", ProtocolConfig().unbiased_validation))
    return 1 - (1 - share) ** n_seeds


def conventions(frame: Frame) -> str:
    """How counting users without a positive moves the means of the paper's rows."""
    means: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    names = {}
    for line in frame.lines:
        if line.no_positive and line.mean is not None and line.row.family == "paper":
            key = line.protocol, line.dataset.dataset, line.metric
            means.setdefault(key, {}).setdefault(line.no_positive, []).append(line.mean)
            heading = METRICS[line.metric].heading(line.dataset.k)
            names[key] = [f"{line.dataset.title} {heading}", line.protocol]
    places = [
        (protocol, dataset.dataset, metric)
        for protocol in frame.manifest.protocols
        for dataset in frame.manifest.datasets
        for metric in METRICS
    ]
    table = []
    for key in places:
        if key in means and {"skip", "one", "zero"} <= means[key].keys():
            skip, one, zero = (float(np.mean(means[key][rule])) for rule in ("skip", "one", "zero"))
            table.append([*names[key], f"{skip:.3f}", layout.signed(one - skip), layout.signed(zero - skip)])
    return _table(table, ["Column", "Protocol", "Skipped (mean of the rows)", "Counted as 1", "Counted as 0"])


def thresholds(findings: Findings) -> str:
    """MF under each protocol beside the paper's: what the threshold of a positive label moves."""
    means, printed = _under_protocols(findings)
    protocols = list(dict.fromkeys(column.protocol for column in findings.columns))
    table = [
        [title, *(f"{row[protocol]:.3f}" for protocol in protocols), printed.get((title, method), "")]
        for (title, method), row in means.items()
        if method == NAIVE and len(row) == len(protocols)
    ]
    return _table(table, ["MF", *(f"Protocol {protocol}" for protocol in protocols), "Paper"])


def nearer_threshold(findings: Findings) -> str:
    """Of the printed numbers that both protocols have a mean for, how many lie nearer to the first's."""
    means, printed = _under_protocols(findings)
    first, *others = dict.fromkeys(column.protocol for column in findings.columns)
    counts = []
    for other in others:
        pairs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for (title, method), row in means.items():
            if {first, other} <= row.keys() and (title, method) in printed:
                number = float(printed[title, method])
                distances = abs(row[first] - number), abs(row[other] - number)
                pairs[method == NAIVE].append(distances)
        every = [*pairs[True], *pairs[False]]
        if every:
            nearer = [sum(a < b for a, b in some) for some in (every, pairs[True])]
            counts.append(
                f"Of {len(every)} printed numbers, {nearer[0]} lie nearer to our mean under `{first}` than "
                "to "
                f"that under `{other}`; of MF's {len(pairs[True])}, {nearer[1]}."
            )
    return " ".join(counts)


def _under_protocols(
    findings: Findings,
) -> tuple[dict[tuple[str, str], dict[str, float]], dict[tuple[str, str], str]]:
    """(column, method) → protocol → mean, and → the printed number, of the paper's rows."""
    means: dict[tuple[str, str], dict[str, float]] = {}
    printed = {}
    for column in findings.columns:
        for method, line in paper_rows(column).items():
            means.setdefault((column.title, method), {})[column.protocol] = float(values(line).mean())
            if line.paper:
                printed[column.title, method] = line.paper
    return means, printed


# --- Studies ------------------------------------------------------------------------------------------


def studies(frame: Frame, folder: Path) -> str:
    """All studies that were made, each a section: its conclusion, then its tables, folded."""
    return "\n\n".join(_sections(frame, folder))


def _sections(frame: Frame, folder: Path) -> Iterator[str]:
    for name in REPORTED_STUDIES:
        file = folder / f"{name}.md"
        if not file.is_file():
            yield _not_run(name)
            continue
        title, _, text = file.read_text(encoding="utf-8").strip().partition("\n")
        introduction, _, tables = text.strip().partition("\n\n")
        body = "\n".join(f"##{line}" if line.startswith("#") else line for line in tables.splitlines())
        drawn = concluded(frame, folder, name)
        there = (folder / f"{name}.csv").is_file()
        made = StudyResult.read(folder, name).variants if there else ()
        earlier = [frame.title(each.method) for each in made if earlier_row(each)]
        yield "\n\n".join(
            [
                f"##{title}",
                _introduction(name) or introduction if earlier else introduction,
                *([_EARLIER.format(rows=in_words(earlier))] if earlier else []),
                *([f"**Conclusion.** {drawn}"] if drawn else []),
                folded(body, "Tables"),
            ]
        )


def _introduction(study: str) -> str:
    """What a study asks, as its file says it today; "" where there is none."""
    file = CONF / "study" / f"{study}.yaml"
    given: Any = OmegaConf.load(file) if file.is_file() else {}
    return str(given.get("text", "")).strip()


def folded(text: str, summary: str) -> str:
    """Text that GitHub shows when it is asked for."""
    return f"<details><summary>{summary}</summary>\n\n{text.strip()}\n\n</details>"


def bulleted(items: Sequence[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {item}" for item in items)


def worlds(folder: Path) -> str:
    """What generated and simulated ratings can tell, measured.

    Raises:
        BenchError: the file is not as it was written.
    """
    file = folder / world_table.WORLDS_FILE
    if not file.is_file():
        return "*Not measured yet: `make worlds PUBLISH=1`.*"
    return world_table.described(world_table.read_worlds(file))


def _not_run(study: str) -> str:
    return f"*Study `{study}` has not been run: `make study STUDY={study} PUBLISH=1`.*"


# --- The report ---------------------------------------------------------------------------------------


def sentences(findings: Findings) -> list[str]:
    """What a reader should remember, in three sentences."""
    gains, lasting = lasting_gains(findings)
    constant, merged = (findings.frame.title(method) for method in PLAIN)
    datasets = in_words(column.dataset.title for column in findings.first)
    return [
        " ".join(
            filter(
                None,
                (
                    findings.claims.reproduced.sentence,
                    findings.claims.reproduced.certainty,
                    once_more(findings.frame.lines),
                    "Every row is tuned on validation alone.",
                    "KuaiRec's ratings are not the paper's, and its numbers not comparable.",
                ),
            )
        ),
        findings.claims.proposed.comparable.sentence,
        f"Of {gains} significant gains in AUC over MF on {datasets}, {lasting} "
        f"{'is' if lasting == 1 else 'are'} also one over the two plain controls (same test and correction): "
        f"“{merged}”, which is MF on the same ratings, and “{constant}”, which imputes a constant and sees "
        "no unbiased rating.",
    ]


def numbered(sentences: Sequence[str]) -> str:
    """Sentences as a numbered list."""
    return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1))


def published_findings(results: Path) -> Findings:
    """The findings in a folder of results: of its published table alone, whatever was trained here.

    Raises:
        BenchError: the table is absent, or a file is not as it was written.
    """
    folder = results / PUBLISHED_FOLDER
    return Findings(load_frame(folder, None, sweeps=results / "sweep"))


def report(results: Path, findings: Findings) -> str:
    """The text of `REPORT.md`, of the `published_findings` and studies in a folder of results.

    Raises:
        BenchError: a file is absent or not as it was written.
    """
    if not findings.columns:
        raise BenchError(
            "The published table holds no numbers of real ratings to report on; `make publish` writes it."
        )
    try:
        return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(_parts(findings, results))
    except (OSError, KeyError, ValueError) as error:
        raise BenchError(f"The report cannot be made ({error!r}).") from error


def draw_figure(findings: Findings, file: Path) -> Path:
    """Draws the report's figure, our means minus the paper's numbers as a heat map.

    Raises:
        BenchError: no number can be compared, the file cannot be written, or Matplotlib is not there.
    """
    frame = findings.frame
    groups = [group for group in layout.column_groups(frame, frame.manifest.protocols[0]) if group.compared]
    if not groups:
        raise BenchError(
            "The published table has no number that can be compared with the paper's: no figure."
        )
    return save_figure(partial(deltas, frame, groups), file, "python -m bench.study.report")


def _parts(findings: Findings, results: Path) -> Mapping[str, str]:
    """What the template names."""
    told = {
        "unlearning": unlearning(findings.frame, results / PUBLISHED_FOLDER),
        "further": further_methods(findings.frame, results / "synthetic" / "known_truth.csv"),
        "first_edition": first_edition(findings.frame, results),
    }
    headings = {
        "unlearning": "[Whom ULTD unlearns](#whom-ultd-unlearns) · ",
        "further": "[Further methods](#further-methods) · ",
        "first_edition": "[What is new](#what-is-new-against-the-first-edition) ·\n",
    }
    return {
        **{name: _section(text) for name, text in told.items()},
        "links": "".join(headings[name] for name, text in told.items() if text),
        "sentences": numbered(sentences(findings)),
        "tolerance": f"{TOLERANCE:g}",
        "alpha": f"{ALPHA:g}",
        "test": TEST,
        "runs": runs(findings, results / "sweep"),
        "holds": holds(findings),
        "verdicts": verdicts(findings),
        "meanings": meanings(),
        "interval": INTERVAL,
        "figure": f"![Our means minus the paper's numbers]({FIGURE})",
        "limits": bulleted(limits(findings.frame, results, REPORTED_STUDIES)),
        "nearer": nearer_threshold(findings),
        "outside": folded(outside(findings), "List"),
        "naive": naive(findings, results / "study"),
        "repeated": _section(repeated(findings)),
        "printed": _section(where_from(results / "study", findings.titles, "../study")),
        "claims": claim_table(findings),
        "chosen_by": chosen_by(findings.frame, findings.frame.manifest.protocols[0]),
        "remains": folded(remains(findings), "List"),
        "noise": noise(findings),
        "conventions": conventions(findings.frame),
        "thresholds": thresholds(findings),
        "worlds": worlds(results / "worlds"),
        "studies": studies(findings.frame, results / "study"),
    }


def _section(text: str) -> str:
    """A section that may be missing, behind what stands before it."""
    return f"\n\n{text}" if text else ""


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.study.report", description="Writes REPORT.md.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")

    def work(options: argparse.Namespace) -> None:
        folder = options.results / PUBLISHED_FOLDER
        findings = published_findings(options.results)
        print(write_text(folder / NAME, report(options.results, findings)))
        print(draw_figure(findings, folder / FIGURE))

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
