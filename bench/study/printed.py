"""An answer for every printed number: `python -m bench.study.printed [--results DIR] [--output DIR]`.

From the published table and the study `printed` (`python -m bench.study printed`) it makes, in the study's
folder:

printed_numbers.csv   a line for each number of the paper's that can be compared: as tuned, under which change
                      it comes out, the plain model under the same change, and what was tried
printed_numbers.md    the same to read
printed_numbers.svg   the printed values against ours under each change

It reads results only: what is not trained yet counts as not tried.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.files import CONF, write_text
from bench.records.metric import METRICS
from bench.report.plots import BLUE, GREY, ORANGE, blank_figure, save_figure
from bench.study.answered import ANSWERS, NONE, TUNED, WRITER, Answered, counted, write_answered
from bench.study.files import StudyResult
from bench.study.variants import PlainControl, Study, read_study
from bench.table import load_frame
from bench.table.claims import in_words
from bench.table.frame import Frame
from bench.table.lines import TOLERANCE, Line
from bench.table.manifest import PUBLISHED_FOLDER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDY = "printed"
# How else users without a positive test rating may count: changes that need no training.
COUNTED = {
    "one": "users without a positive count NDCG 1 and Recall 0",
    "zero": "users without a positive count 0",
}
_COUNTED = "no_positive_"  # before a convention, as a change's name
_NAIVE = "mf"  # under a change's own name its control, where the study declares no other
_FEATURES = "features"  # before this change of the study stands the whole table that was made under it


@dataclass(frozen=True)
class Measurement:
    """A mean over n seeds and their standard deviation; NaN of one seed."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Mapping[int, float]) -> Measurement:
        """Of values by seed."""
        column = np.array(list(values.values()))
        return cls(
            float(column.mean()), float(column.std(ddof=1)) if len(column) > 1 else np.nan, len(column)
        )

    @property
    def text(self) -> str:
        """For a table to read."""
        spread = "" if np.isnan(self.std) else f" ± {self.std:.3f}"
        return f"{self.mean:.3f}{spread} (n {self.n})"


NumberPlace = tuple[str, str, str]  # data set, method, metric


@dataclass(frozen=True)
class DeclaredChange:
    """A declared change, and what came of it.

    found: place → measurement. control: the plain model that stands beside it.
    """

    name: str
    title: str
    found: dict[NumberPlace, Measurement]
    control: PlainControl


@dataclass(frozen=True)
class ControlAnswer:
    """What a change gives by itself: the plain model beside it. measured: None where it is not trained."""

    control: PlainControl
    title: str
    measured: Measurement | None


@dataclass(frozen=True)
class NumberAnswer:
    """What explains a printed number.

    tuned: of the published table. change: the first change under which it comes out; None where it comes out
    as tuned (`reproduced`) or under none that was tried. control: beside the change. tried: the changes with
    a number for it, in their order.
    """

    line: Line
    printed: float
    tuned: Measurement | None
    change: DeclaredChange | None
    control: ControlAnswer | None
    tried: list[DeclaredChange]

    @property
    def place(self) -> NumberPlace:
        """Where the number stands."""
        return self.line.dataset.dataset, self.line.row.method, self.line.metric

    @property
    def reproduced(self) -> bool:
        """Whether it comes out as tuned."""
        return self.tuned is not None and _near(self.tuned.mean, self.printed)

    @property
    def verdict(self) -> str:
        """The change's name, or that there is none or none needed."""
        return TUNED if self.reproduced else NONE if self.change is None else self.change.name

    @property
    def measured(self) -> Measurement | None:
        """Of the change under which it comes out."""
        return None if self.change is None else self.change.found[self.place]

    @property
    def nearest(self) -> DeclaredChange | None:
        """Of what was tried, what comes nearest."""
        return min(self.tried, key=lambda each: abs(each.found[self.place].mean - self.printed), default=None)


def _near(mean: float, printed: float) -> bool:
    """As `Line.within` has it: of the difference to six decimals."""
    return abs(round(mean - printed, 6)) <= TOLERANCE


# --- What was tried -----------------------------------------------------------------------------------


def answers(frame: Frame, study: Study, result: StudyResult) -> list[NumberAnswer]:
    """An answer for each printed number that can be compared, in the table's order."""
    tried = changes(frame, study, result)
    found = []
    for line in frame.lines:
        if not line.paper or line.dataset.repeats:
            continue
        place = (line.dataset.dataset, line.row.method, line.metric)
        printed = float(line.paper)
        tuned = Measurement.of(line.values) if line.values else None
        mine = [each for each in tried if place in each.found]
        fits = [each for each in mine if _near(each.found[place].mean, printed)]
        needed = tuned is None or not _near(tuned.mean, printed)
        change = fits[0] if fits and needed else None
        control = None if change is None else _control(frame, change, tried, line)
        found.append(NumberAnswer(line, printed, tuned, change, control, mine))
    return found


def _control(
    frame: Frame, change: DeclaredChange, changes: Sequence[DeclaredChange], line: Line
) -> ControlAnswer:
    """Beside a change of a line's number."""
    control = change.control
    title, place = frame.title(control.method), (line.dataset.dataset, control.method, line.metric)
    as_it = next((each for each in changes if each.name == control.variant), None)
    if control.variant != change.name:
        title += f", {control.variant if as_it is None else as_it.title}"
    return ControlAnswer(control, title, None if as_it is None else as_it.found.get(place))


def changes(frame: Frame, study: Study, result: StudyResult) -> list[DeclaredChange]:
    """The changes in their order, the smaller ones first: another count of users, then those of the study.

    Other readings of a data set in the table stand before the study's side features, or else last.
    """
    protocol = frame.manifest.protocols[0]
    lines = [line for line in frame.lines if line.protocol == protocol and line.values]
    made = []
    for convention, title in COUNTED.items():
        rows = [line for line in lines if line.no_positive == convention and not line.dataset.repeats]
        counted = [line for line in rows if convention != line.cell.no_positive]
        made.append(_own_change(f"{_COUNTED}{convention}", title, _of_lines(counted)))
    readings = []
    for dataset in frame.manifest.datasets:
        if dataset.repeats:
            rows = [line for line in lines if line.dataset == dataset]
            rows = [line for line in rows if line.no_positive in ("", line.cell.no_positive)]
            readings.append(_own_change(dataset.dataset, f"{dataset.title}, as tuned", _of_lines(rows)))
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for score in result.scores:
        values.setdefault((score.group, score.variant, score.metric), {})[score.seed] = score.value
    for name, title in study.titles.items():
        if name == _FEATURES:
            made, readings = made + readings, []
        found = {}
        mine = [variant for variant in study.variants if variant.name == name]
        for variant in mine:
            dataset_name, method = variant.place
            for metric in METRICS:
                column = values.get((variant.group, name, metric))
                if column:
                    found[dataset_name, method, metric] = Measurement.of(column)
        made.append(DeclaredChange(name, title, found, mine[0].control or PlainControl(_NAIVE, name)))
    return [each for each in made + readings if each.found]


def _own_change(name: str, title: str, found: dict[NumberPlace, Measurement]) -> DeclaredChange:
    """Of the table itself: MF's number stands there, too."""
    return DeclaredChange(name, title, found, PlainControl(_NAIVE, name))


def _of_lines(lines: Sequence[Line]) -> dict[NumberPlace, Measurement]:
    return {
        (line.dataset.printed, line.row.method, line.metric): Measurement.of(line.values) for line in lines
    }


# --- What is written ----------------------------------------------------------------------------------


def answered(found: Sequence[NumberAnswer]) -> list[Answered]:
    """The lines of `printed_numbers.csv`."""
    rows = []
    for each in found:
        dataset, method, metric = each.place
        nearest, control = each.nearest, each.control
        tuned, under = _numbers(each.tuned), _numbers(each.measured)
        beside = _numbers(None if control is None else control.measured)
        rows.append(
            Answered(
                dataset=dataset,
                method=method,
                metric=metric,
                printed=each.line.paper,
                tuned_mean=tuned[0],
                tuned_std=tuned[1],
                tuned_n=tuned[2],
                answer=each.verdict,
                title="" if each.change is None else each.change.title,
                mean=under[0],
                std=under[1],
                n=under[2],
                control_method="" if control is None else control.control.method,
                control_change="" if control is None else control.control.variant,
                control_mean=beside[0],
                control_std=beside[1],
                control_n=beside[2],
                tried=" ".join(change.name for change in each.tried),
                nearest="" if nearest is None else nearest.name,
                nearest_mean=None if nearest is None else nearest.found[each.place].mean,
            )
        )
    return rows


def _numbers(measured: Measurement | None) -> tuple[float | None, float | None, int | None]:
    """Mean, standard deviation and n; None where there is none."""
    if measured is None:
        return None, None, None
    return measured.mean, None if np.isnan(measured.std) else measured.std, measured.n


def answers_page(found: Sequence[NumberAnswer], study: Study) -> str:
    """The text of `printed_numbers.md`."""
    parts = [
        "# Where the printed numbers may come from",
        counted(answered(found)),
        "A change is no part of the table, and that a number comes out under it does not say that it was "
        "made so: with many changes some come near by chance. The plain model under the same change stands "
        "beside it: MF, with the paper's MF in brackets, or what has the change where MF has none.",
        study.text.strip(),
    ]
    for dataset in dict.fromkeys(each.line.dataset for each in found):
        mine = [each for each in found if each.line.dataset == dataset]
        printed = {each.line.metric: each.line.paper for each in mine if each.place[1] == _NAIVE}
        header = ["Row", "Metric", "Printed", "As tuned", "Comes out", "With", "Plain model under it"]
        rows = []
        for each in mine:
            metric = METRICS[each.line.metric].heading(dataset.k)
            rows.append(
                [
                    *(each.line.row.title, metric, each.line.paper),
                    "X" if each.tuned is None else each.tuned.text,
                    _in_words(each),
                    "" if each.measured is None else each.measured.text,
                    _beside(each.control, printed.get(each.line.metric)),
                ]
            )
        parts += [f"## {dataset.title}", tabulate(rows, header, tablefmt="github", disable_numparse=True)]
    parts.append(f"Written by `{WRITER}` from the published table and the study `{study.name}`.")
    return "\n\n".join(parts) + "\n"


def _beside(control: ControlAnswer | None, printed: str | None) -> str:
    """The plain model's cell. printed: the paper's number of MF."""
    if control is None:
        return ""
    text = f"{control.title}: {'X' if control.measured is None else control.measured.text}"
    return f"{text} [{printed}]" if printed and control.control.method == _NAIVE else text


def _in_words(each: NumberAnswer) -> str:
    if each.reproduced:
        return "as tuned"
    if each.change is not None:
        return each.change.title
    if not each.tried:
        return "not as tuned; no change is tried yet"
    assert each.nearest is not None
    mean = each.nearest.found[each.place].mean
    tried = in_words(change.name for change in each.tried)
    return f"under none; tried: {tried}; nearest {each.nearest.name}, {mean:.3f}"


# Shapes and colours of the changes; with more of them they begin anew, hollow.
_MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">")
_COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")


def figure(found: Sequence[NumberAnswer]) -> Figure:
    """Printed values and ours under each change: panels of data sets and metrics, a line for each row."""
    datasets = list(dict.fromkeys(each.line.dataset for each in found))
    metrics = list(dict.fromkeys(each.line.metric for each in found))
    rows = list(dict.fromkeys(each.line.row.title for each in found))
    tried = {change.name: change for each in found for change in each.tried}
    drawn, axes = blank_figure(
        3.1 * len(metrics) + 2.2, (0.24 * len(rows) + 0.9) * len(datasets) + 0.3, len(datasets), len(metrics)
    )
    known: dict[str, Any] = {}
    for axis, (dataset, metric) in zip(axes, ((d, m) for d in datasets for m in metrics), strict=True):
        mine = [each for each in found if (each.line.dataset, each.line.metric) == (dataset, metric)]
        low, high = _limits(mine)
        for each in mine:
            y = rows.index(each.line.row.title)
            axis.barh(y, 2 * TOLERANCE, left=each.printed - TOLERANCE, height=0.7, color="#dddddd", zorder=0)
            known[f"printed, ±{TOLERANCE:g}"] = axis.plot(each.printed, y, "k|", markersize=9)[0]
            if each.tuned is not None:
                known["as tuned"] = axis.plot(each.tuned.mean, y, "k.", markersize=7, zorder=3)[0]
            for place, change in enumerate(tried.values()):
                value = change.found[each.place].mean if each.place in change.found else np.nan
                if low <= value <= high:
                    colour = _COLOURS[place % len(_COLOURS)]
                    known[change.title] = axis.plot(
                        value,
                        y,
                        _MARKERS[place % len(_MARKERS)],
                        color=colour,
                        markerfacecolor=colour if place < len(_COLOURS) else "none",
                        markersize=4,
                        alpha=0.8,
                        linestyle="none",
                    )[0]
        axis.set_xlim(low, high)
        axis.set_yticks(range(len(rows)), rows if axis in axes[:: len(metrics)] else [""] * len(rows))
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.tick_params(labelsize=7, length=0)
        axis.grid(axis="x", color=GREY, alpha=0.2)
        axis.set_title(f"{dataset.title}, {METRICS[metric].heading(dataset.k)}", fontsize=8)
    drawn.legend(
        list(known.values()), list(known), loc="outside right upper", fontsize=6, frameon=False, numpoints=1
    )
    return drawn


def _limits(found: Sequence[NumberAnswer]) -> tuple[float, float]:
    """Of a panel. Another count of users moves all rows far away: where it lies is no reason to see less."""
    values = [each.printed for each in found]
    for each in found:
        values += [] if each.tuned is None else [each.tuned.mean]
        trained = (change for change in each.tried if not change.name.startswith(_COUNTED))
        values += [change.found[each.place].mean for change in trained]
    return min(values, default=0) - 1.5 * TOLERANCE, max(values, default=1) + 1.5 * TOLERANCE


def write_answers(results: Path, output: Path) -> list[Path]:
    """Writes the three files and returns their paths.

    Raises:
        BenchError: the published table is absent, a file of the study is not as it was written, or one cannot
            be written.
    """
    study = read_study(CONF / "study" / f"{STUDY}.yaml")
    frame = load_frame(results / PUBLISHED_FOLDER, None)
    nothing = StudyResult(scores=(), variants=(), differences=())
    there = (output / f"{STUDY}.csv").is_file()
    found = answers(frame, study, StudyResult.read(output, STUDY) if there else nothing)
    if not found:
        raise BenchError("The published table holds no number that can be compared with a printed one.")
    return [
        write_answered(output, answered(found)),
        write_text(output / f"{ANSWERS}.md", answers_page(found, study)),
        save_figure(partial(figure, found), output / f"{ANSWERS}.svg", WRITER),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog=WRITER, description="An answer for every printed number.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the study's folder, RESULTS/study/own")

    def work(given: argparse.Namespace) -> None:
        for file in write_answers(given.results, given.output or given.results / "study" / "own"):
            print(file)

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
