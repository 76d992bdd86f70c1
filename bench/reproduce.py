"""Table 1: `python -m bench.reproduce [OVERRIDE ...]` trains what is missing of it and writes the table.

The cells are the paper's rows and the controls on all data sets on which MF is tuned, under protocol `table`,
and on the data sets of stars under protocol `text` too (elsewhere the two are the same; another reading of a
data set, such as Coat with side features, stands under the first protocol alone). `--datasets` takes any data
set. A cell takes its tuned configuration from `conf/tuned/PROTOCOL/DATASET/METHOD.yaml` where there is one,
else from the same place under the other protocol, else from a sweep of one's own (`bench.tuned`). Where there
is none at all it is swept over the default grid, or, on the large data sets, takes the default settings
(`dataset.untuned_sweep`), and has one point in the table. Overrides hold for every cell. Coat's cells have 20
seeds, the others the configuration's 10. `--methods further` stands for the further methods, `--methods all`
for every row.

What was trained here stands in `results/table1` beside what is published (`results/published`), each cell
with its origin. Nothing published is changed, and no baseline is trained that was not asked for: with
`--methods mine`, the published rows and `mine` are one table, tested over the same seeds and splits.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import joblib
from tqdm import tqdm

import methods
from bench import cell as cells
from bench import compose, data, tuned
from bench.command.app import machine_errors
from bench.command.crew import Teller, train_all
from bench.command.main import debugging
from bench.command.main import main as command
from bench.command.progress import died_out, duration
from bench.engine.device import device_of
from bench.errors import BenchError, MissingData, NotApplicable, nearest
from bench.files import write_all
from bench.records import store
from bench.records.metric import AUC
from bench.records.record import find_record
from bench.report import page_files
from bench.table import files, load_results
from bench.table.frame import Frame
from bench.table.lines import HERE, CellResult
from bench.table.manifest import (
    FILE,
    OWN_FOLDER,
    PUBLISHED_FOLDER,
    CellKey,
    Dataset,
    Listed,
    Row,
    TableManifest,
)
from bench.table.terminal import agreement, printable
from bench.table.terminal import text as in_terminal

DATASETS = ("coat", "yahoo_r3", "kuairec", "coat_features", "synthetic")  # in the table's order
PROTOCOLS = ("table", "text")
REFERENCE = methods.ROWS[0]  # the row that the others are tested against: plain MF
# Final runs where the configuration's number is too few: small test sets, cheap cells.
SEEDS = {"coat": 20, "coat_features": 20}

_EVERY, _FURTHER = "all", methods.FURTHER  # words of a command line that stand for several rows
_NAMED = 3  # cells of which it is said why they are trained again


@dataclass(frozen=True)
class TablePlan:
    """What to reproduce."""

    protocols: tuple[str, ...]
    datasets: tuple[str, ...]
    rows: tuple[str, ...]
    overrides: tuple[str, ...]
    deadline: float = math.inf  # no cell is begun after this time


@dataclass(frozen=True)
class Task:
    """One cell to look up or to train.

    overrides: of the configuration, its groups included. deadline: time after which it is not begun.
    """

    key: CellKey
    overrides: tuple[str, ...]
    deadline: float

    @property
    def name(self) -> str:
        """For people."""
        protocol, dataset, method = self.key
        return f"{method} on {dataset}, protocol {protocol}"


@dataclass(frozen=True)
class CellAnswer:
    """What came of a task: the record's digest, or why there is none. failed: the sentence about a fault."""

    digest: str | None
    missing: str | None = None
    failed: str = ""


@dataclass
class Listing:
    """The cells so far.

    absent: data set → why its files cannot be had. waiting: to be trained. trainings: of each of them, as
    far as they are known before. reasons: why some of them are trained although they have a record.
    elsewhere: rows of scores made elsewhere. failures: sentences.
    """

    cells: dict[CellKey, Listed] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    waiting: list[Task] = field(default_factory=list)
    trainings: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    elsewhere: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def enter(self, task: Task, answer: CellAnswer) -> None:
        """What came of a task."""
        self.cells[task.key] = Listed(answer.digest, answer.missing)
        if answer.failed:
            self.failures.append(f"{task.name}: {answer.missing}")


# --- Cells --------------------------------------------------------------------------------------------


def look_up_all(plan: TablePlan, runs: Path) -> Listing:
    """Finds the plan's cells that have a record; the others are waiting, or have a reason.

    Raises:
        BenchError: an override is wrong.
    """
    listing = Listing()
    anything = any(True for _ in store.digests(runs))
    for protocol in plan.protocols:
        for dataset in plan.datasets:
            why, seeds = _absent(plan, protocol, dataset, listing)
            for method in plan.rows:
                task = _task(plan, (protocol, dataset, method))
                listing.cells[task.key] = Listed(None, why)
                if why is not None:
                    continue
                # Nothing can be found where nothing is, and a tuned cell's trainings are its seeds.
                answer = look_up(task) if anything or not _is_tuned(task) else None
                if isinstance(answer, CellAnswer):
                    listing.enter(task, answer)
                    continue
                listing.waiting.append(task)
                listing.trainings.append(seeds if answer is None else cells.trainings(answer))
                reason = "" if answer is None else cells.reason(answer, runs)
                listing.reasons += [reason] if reason else []
    return listing


def look_up(task: Task) -> CellAnswer | cells.Cell:
    """The answer to a task if it is there without training, else the cell that waits for it."""
    try:
        config = compose.composed(task.overrides)
        cell = cells.prepare(config, cells.load_ratings(config))
    except BenchError as error:
        return CellAnswer(None, str(error), failed=f"{task.name}: {error}")
    record = cells.find(cell, Path(config.results) / "runs")
    return cell if record is None else CellAnswer(cell.digest)


def train_cell(task: Task, tell: Teller) -> CellAnswer:
    """Trains a cell, perhaps in a process of its own; what goes wrong is told by the answer."""
    if time.time() > task.deadline:
        return CellAnswer(None, "Not trained yet: the time was up; `make table1` goes on.")
    try:
        with machine_errors():
            compose.register(task.overrides)
            config = compose.composed(task.overrides)
            cell = cells.prepare(config, cells.load_ratings(config), task.overrides)
            cells.train_and_store(cell, Path(config.results) / "runs", tell)
    except NotApplicable as error:
        return CellAnswer(None, str(error))
    except BenchError as error:
        return CellAnswer(None, str(error), failed=f"{task.name}: {error}")
    except Exception as error:  # of a method of one's own, most likely: the other cells go on
        if debugging():
            raise
        return CellAnswer(
            None, f"{type(error).__name__}: {error}", failed=f"{task.name}:\n{traceback.format_exc()}"
        )
    return CellAnswer(cell.digest)


def _absent(plan: TablePlan, protocol: str, dataset: str, listing: Listing) -> tuple[str | None, int]:
    """Why a protocol has no cells on a data set, if it has none; and the seeds of each."""
    config = compose.composed(_overrides(plan, protocol, dataset, REFERENCE))
    first = plan.protocols[0]
    if protocol != first and config.dataset.paper:
        why = (
            f"{config.dataset.title} stands under protocol `{first}` alone, as another reading of a data set."
        )
        return why, config.seeds
    try:
        cells.load_ratings(config)
    except MissingData as error:
        listing.absent[config.dataset.title] = str(error)
        return _anywhere(str(error), Path(config.data_dir)), config.seeds
    if protocol != first:
        other = compose.composed(_overrides(plan, first, dataset, REFERENCE))
        if config.dataset.threshold == other.dataset.threshold:
            why = f"On {config.dataset.title} this protocol is the same as protocol `{first}`."
            return why, config.seeds
    return None, config.seeds


def _anywhere(sentence: str, data_dir: Path) -> str:
    """A sentence without the place of the data on this machine: the table is for everybody."""
    return re.sub(rf"(?<![\w./-]){re.escape(str(data_dir))}(?=/)", "the data folder", sentence)


def _task(plan: TablePlan, key: CellKey) -> Task:
    return Task(key, _overrides(plan, *key), plan.deadline)


def _is_tuned(task: Task) -> bool:
    """Whether a cell starts from a tuned point, so that it has nothing to sweep."""
    return any(word.startswith("+tuned=") for word in task.overrides)


def _overrides(plan: TablePlan, protocol: str, dataset: str, method: str) -> tuple[str, ...]:
    groups = [f"protocol={protocol}", f"dataset={dataset}", f"method={method}"]
    points = tuned.tuned_names(method, dataset, (protocol, *PROTOCOLS))
    choice = [f"+tuned={points[0]}"] if points else [f"sweep={_untuned_sweep(dataset)}"]
    if not points and any(word.startswith("sweep=") for word in plan.overrides):
        choice = []  # as the overrides say
    told = any(word.lstrip("+").startswith(("seeds=", "profile=")) for word in plan.overrides)
    seeds = [f"seeds={SEEDS[dataset]}"] if dataset in SEEDS and not told else []
    return (*groups, *choice, *seeds, *plan.overrides)


@cache
def _untuned_sweep(dataset: str) -> str:
    return compose.composed([f"dataset={dataset}"]).dataset.untuned_sweep


def remember(plan: TablePlan, folder: Path, listing: Listing) -> None:
    """Enters cells that an earlier command has listed, if their records still are what this one would train.

    So that a table of one row of one's own does not forget what else was trained here.
    """
    if not (folder / FILE).is_file():
        return
    before = TableManifest.read(folder)
    for key, listed in before.cells.items():
        protocol, dataset, method = key
        if listed.digest is not None and method not in methods.names() and dataset in data.names():
            # Made elsewhere, by `bench.score`: there is nothing to train.
            if find_record(folder.parent / "runs", listed.digest, _tell) is not None:
                listing.cells[key] = listed
                listing.elsewhere[method] = next(row for row in before.rows if row.method == method)
            continue
        known = protocol in PROTOCOLS and dataset in data.names() and method in methods.names()
        if key in listing.cells or listed.digest is None or not known:
            continue
        answer = look_up(_task(plan, key))
        if isinstance(answer, CellAnswer) and answer.digest is not None:
            listing.cells[key] = Listed(answer.digest)


# --- The list of cells --------------------------------------------------------------------------------


def manifest(plan: TablePlan, listing: Listing) -> TableManifest:
    """The list of what is there, as `bench.table` takes it."""
    keys = listing.cells
    described = []
    for name in _ordered(DATASETS, (key[1] for key in keys)):
        config = compose.composed(_overrides(plan, plan.protocols[0], name, REFERENCE)).dataset
        described.append(
            Dataset(dataset=name, title=config.title, k=config.k, paper=config.paper, note=config.note)
        )
    return TableManifest(
        protocols=_ordered(PROTOCOLS, (key[0] for key in keys)),
        datasets=described,
        rows=[
            listing.elsewhere.get(key) or _row(key)
            for key in _ordered(methods.names(), (key[2] for key in keys))
        ],
        reference=REFERENCE,
        cells=listing.cells,
    )


def _row(key: str) -> Row:
    """What the table prints about a row."""
    kind = methods.get(key)
    return Row(
        method=key,
        title=kind.title,
        uses_unbiased=kind.uses_unbiased,
        control=methods.is_control(key),
        # What the table calls the best baseline is one of the paper's, not its own method.
        baseline=key in methods.ROWS and key not in methods.OWN,
        guest=not of_suite(key),
        further=methods.is_further(key),
    )


def of_suite(key: str) -> bool:
    """Whether a method is a row of the suite; others are their users' own."""
    return key in methods.ROWS or methods.is_control(key) or methods.is_further(key)


def _ordered(order: Sequence[str], found: Iterable[str]) -> list[str]:
    """The names that were found, each once, in an order that others come after."""
    names = set(found)
    return [name for name in order if name in names] + sorted(names - set(order))


# --- In the terminal ----------------------------------------------------------------------------------


def expected_seconds(listing: Listing, published: Frame | None) -> list[float]:
    """What each waiting cell took where it was published, for as many seeds as here; 0 of other rows."""
    known: dict[CellKey, float] = {}
    for line in published.lines if published else ():
        seconds = line.cell.provenance.get("training_seconds", "")
        if line.values and seconds:
            known[line.protocol, line.dataset.dataset, line.row.method] = float(seconds) / len(line.values)
    return [known.get(task.key, 0.0) * n for task, n in zip(listing.waiting, listing.trainings, strict=True)]


def announce(listing: Listing, seconds: Sequence[float], jobs: int) -> None:
    """Says what is going to be trained, and for how long."""
    for reason in listing.reasons[:_NAMED]:
        _tell(reason)
    if len(listing.reasons) > _NAMED:
        _tell(f"So are {len(listing.reasons) - _NAMED} more.")
    n, known = len(listing.waiting), [each for each in seconds if each]
    text = f"{_cells(n)} to be trained, {min(jobs, n)} at a time"
    if known:
        mean = sum(known) / len(known)
        whole = (sum(known) + mean * (n - len(known))) / min(jobs, n)
        text += f"; about {duration(max(whole, max(known)))}, as fast as the published cells were trained"
    _tell(f"{text}.")


def conclusion(frame: Frame, listing: Listing) -> list[str]:
    """What was trained here, how far it agrees with what is published, and what is missing."""
    cells_ = {(line.protocol, line.dataset, line.row.method): line.cell for line in frame.lines}
    here = Counter(key[1].title for key, cell in cells_.items() if cell.origin == HERE)
    n, whole = sum(here.values()), sum(1 for cell in cells_.values() if not cell.missing)
    where = ", ".join(f"{count} on {title}" for title, count in here.items())
    others = "; the others are as published" if n < whole else ""
    sentences = [f"{n} of {whole} cells were trained here{f' ({where})' if where else ''}{others}."]
    if n:
        sentences.append(agreement(frame))
    sentences += mixed_versions(cells_.values())
    sentences += [f"{title} is not here: {why}" for title, why in listing.absent.items()]
    if listing.failures:
        sentences.append(f"{_cells(len(listing.failures))} failed; their sentences stand above.")
    return sentences


def mixed_versions(cells_: Iterable[CellResult]) -> list[str]:
    """Sentences about libraries of which the table's cells were trained with several versions."""
    found = []
    for name, title in (("torch", "PyTorch"), ("numpy", "NumPy"), ("kernels", "kernels")):
        counts = Counter(version for cell in cells_ if (version := cell.provenance.get(name, "")))
        if len(counts) > 1:
            told = ", ".join(f"{version} ({_cells(n)})" for version, n in sorted(counts.items()))
            found.append(f"The table mixes versions of {title}: {told}; again=true trains cells anew.")
    return found


def warnings(frame: Frame, runs: Path) -> list[str]:
    """What is strange about cells that were trained here (`bench.command.progress.died_out`)."""
    found = []
    for line in frame.lines:
        if line.cell.origin == HERE and line.metric == AUC.key and line.values:
            record = find_record(runs, line.cell.digest)
            for sentence in [] if record is None else died_out(record):
                found.append(
                    f"{line.row.title} on {line.dataset.title}, protocol {line.protocol}: {sentence}."
                )
    return found


def _cells(n: int) -> str:
    return f"{n} cell{'' if n == 1 else 's'}"


def _show(frame: Frame) -> None:
    _tell(in_terminal(frame, shutil.get_terminal_size((100, 24)).columns) + "\n")


def _tell(text: str) -> None:
    print(printable(text, sys.stdout), flush=True)


# --- Command line -------------------------------------------------------------------------------------


def datasets_of_table() -> tuple[str, ...]:
    """The data sets of a command that names none: those on which the reference row is tuned.

    Elsewhere every row would begin with a sweep, which is asked for.
    """
    return tuple(name for name in DATASETS if tuned.tuned_names(REFERENCE, name, PROTOCOLS))


def left_out(datasets: Iterable[str]) -> list[str]:
    """Sentences about the table's data sets that are not among some."""
    absent = [name for name in DATASETS if name not in datasets]
    return [
        f"{compose.composed([f'dataset={name}']).dataset.title} is left out, since its rows are not tuned: "
        f"`make sweep DATASETS={name}` tunes them, and `--datasets {name}` takes it as it is."
        for name in absent
    ]


def chosen_names(given: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """Names of a command line, separated by commas, in the order of those that are known; all for "".

    Raises:
        BenchError: one is not known.
    """
    if not given:
        return tuple(known)
    names = given.split(",")
    for name in names:
        if name not in known:
            raise BenchError(f"There is no {what} '{name}': {nearest(name, known)}")
    return tuple(name for name in known if name in names)


def chosen_rows(given: str) -> tuple[str, ...]:
    """Rows of a command line, in the table's order: all but the further methods for "".

    Args:
        given: keys, separated by commas; "all" stands for every row, "further" for the further methods.

    Raises:
        BenchError: a row is not known.
    """
    known = methods.names()
    further = [key for key in known if methods.is_further(key)]
    words = given.split(",") if given else [key for key in known if key not in further]
    groups = {_EVERY: known, _FURTHER: further}
    names = [key for word in words for key in groups.get(word, [word])]
    return chosen_names(",".join(names), known, "method") if names else ()


def reproduce(plan: TablePlan, jobs: int, brief: bool = False) -> int:
    """Trains what is missing of a plan and writes the table; returns the exit status.

    Args:
        jobs: processes; 0: one for each CPU that this process may use.
        brief: without the table in the terminal.

    Raises:
        BenchError: an override is wrong, or a folder cannot be used.
    """
    some = compose.composed(_overrides(plan, plan.protocols[0], plan.datasets[0], REFERENCE))
    results = Path(some.results)
    runs, folder = results / "runs", results / OWN_FOLDER
    cells.clean_runs(runs)
    known = (results / PUBLISHED_FOLDER / FILE).is_file()
    published = load_results(results, published=True) if known else None
    listing = look_up_all(plan, runs)
    remember(plan, folder, listing)
    if listing.waiting:
        jobs = jobs or (1 if device_of(some.engine).type == "cuda" else joblib.cpu_count())
        seconds = expected_seconds(listing, published)
        if published is not None and not brief:
            _show(published)
        announce(listing, seconds, jobs)
        if some.dry_run:
            for task, trainings in zip(listing.waiting, listing.trainings, strict=True):
                _tell(f"  {task.name}: {trainings} training{'' if trainings == 1 else 's'}")
            return 0
        tasks = listing.waiting
        for place, answer in train_all(train_cell, tasks, listing.trainings, seconds, min(jobs, len(tasks))):
            listing.enter(tasks[place], answer)
            if answer.failed:
                tqdm.write(answer.failed, file=sys.stderr)
    manifest(plan, listing).write(folder)
    frame = load_results(results)
    write_all(folder, {**files(frame), **page_files(frame, results)})
    if not brief:
        _show(frame)
    for sentence in [*conclusion(frame, listing), *warnings(frame, runs)]:
        _tell(sentence)
    _tell(f"The table, its page and every number: {folder / 'index.html'} and the files beside it.")
    return 1 if listing.failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.reproduce", description="Trains what is missing of Table 1, and writes it."
    )
    parser.add_argument("--protocols", default="", help=f"some of {','.join(PROTOCOLS)}")
    parser.add_argument("--datasets", default="", help=f"some of {','.join(DATASETS)}")
    parser.add_argument("--methods", default="", help=f"some of the rows' keys, {_EVERY} or {_FURTHER}")
    parser.add_argument("--jobs", type=int, default=0, help="cells trained at once; 0: one for each core")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    parser.add_argument("--brief", action="store_true", help="do not print the table")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every cell: seeds=20")

    def work(given: argparse.Namespace) -> int:
        for word in given.overrides:
            name, _, value = word.partition("=")
            if name in ("protocol", "dataset", "method"):
                raise BenchError(f"{word} is an override of every cell: write --{name}s {value} instead.")
        compose.register(given.overrides)
        datasets = [*DATASETS, *sorted(set(data.names()) - set(DATASETS))]
        if given.datasets:
            chosen = chosen_names(given.datasets, datasets, "data set")
        else:
            chosen = datasets_of_table()
            for sentence in left_out(chosen):
                _tell(sentence)
        plan = TablePlan(
            protocols=chosen_names(given.protocols, PROTOCOLS, "protocol"),
            datasets=chosen,
            rows=chosen_rows(given.methods),
            overrides=tuple(given.overrides),
            deadline=math.inf if given.minutes is None else time.time() + 60 * given.minutes,
        )
        return reproduce(plan, given.jobs, given.brief)

    stopped = "Stopped; finished cells are kept, and the same command goes on from them."
    return command(parser, work, arguments, stopped)


if __name__ == "__main__":
    raise SystemExit(main())
