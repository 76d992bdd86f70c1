"""What a sweep found, for others to start from: `python -m bench.tuned [--publish] [OVERRIDE ...]`.

Looks up the records of the cells of one sweep, by default the paper's over all rows on Coat, Yahoo! R3 and
KuaiRec (`make sweep` hands on what it swept), and writes for each

    conf/tuned/own/PROTOCOL/DATASET/METHOD.yaml    the winner, as `+tuned=own/PROTOCOL/DATASET/METHOD`
    results/sweep/own/PROTOCOL/DATASET/METHOD.csv  every training (bench/records/points.py)

`make table1` starts from there where nothing is published. What is published lies in the same places without
`own` and is part of the repository: `--publish` alone writes it. A point that is missing, because it
diverged, is named. A sweep of another data set or protocol than the files of `conf/` describe
(`dataset.positive_boost=2`) has no winner here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import methods
from bench import cell as cells
from bench import compose
from bench.command.main import main as command
from bench.data import Ratings
from bench.errors import BenchError
from bench.files import CONF, write_text
from bench.records.points import Points, value_text
from bench.records.record import Record, find_record

TUNED = CONF / "tuned"
OWN_POINTS = "own"  # folder of what was swept here, beside the published protocols

Key = tuple[str, str, str]  # protocol, data set, method


@dataclass(frozen=True)
class Swept:
    """What is there of a sweep. records: of its cells, those that chose among points. absent: the others'
    names. notes: why a cell counts for nothing."""

    records: dict[Key, Record] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look_up_sweep(words: Sequence[str], conf: Path = CONF) -> Swept:
    """The records of a sweep's cells.

    Args:
        words: of its command line, as `python -m bench -m` takes them.
        conf: the folder that describes data sets and protocols.

    Raises:
        BenchError: a word is wrong, or the store cannot be read.
    """
    compose.register(words)
    found = Swept()
    loaded: dict[str, Ratings | BenchError] = {}
    for job in compose.jobs(compose.hydra_words(["-m", *words])):
        config = compose.composed(job)
        key = (config.protocol.name, config.dataset.name, config.method.name)
        name = f"{key[2]} on {key[1]}, protocol {key[0]}"
        place = repr((config.data_dir, config.dataset))
        if place not in loaded:
            try:
                loaded[place] = cells.load_ratings(config)
            except BenchError as error:
                loaded[place] = error
                found.notes.append(str(error))
        ratings = loaded[place]
        if isinstance(ratings, BenchError):
            found.absent.append(name)
            continue
        digest = cells.prepare(config, ratings).digest
        runs = Path(config.results) / "runs"
        record = find_record(runs, digest, report=lambda sentence: print(sentence, file=sys.stderr))
        if record is None:
            found.absent.append(name)
        elif len(record.tried) < 2 or not record.plan or record.selection == "oracle_test":
            found.notes.append(f"{name}: nothing was chosen on validation, so there is no winner.")
        elif strange := next((each for each in ("dataset", "protocol") if _differs(record, each, conf)), ""):
            found.notes.append(f"{name}: its {strange} is not as conf/{strange} has it, so it is no winner.")
        else:
            found.records[key] = record
    return found


# How much is tried on a data set, not what it is.
_BUDGET = {"screening_seeds", "selection_seeds", "untuned_sweep"}


def _differs(record: Record, group: str, conf: Path) -> bool:
    """Whether a record's protocol or data set has other values than its file in `conf/` (lists aside)."""
    values: dict[str, Any] = getattr(record, group)
    file = conf / group / f"{values['name']}.yaml"
    if not file.is_file():
        return False
    given: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    numbers = {name: value for name, value in given.items() if isinstance(value, int | float | bool)}
    return any(values.get(name) != value for name, value in numbers.items() if name not in _BUDGET)


def configuration(record: Record) -> str:
    """The YAML of a winner; it holds for the whole configuration, so that it can set the sweep too."""
    stages = ", ".join(f"{stage.name} {stage.tried} × {stage.seeds} seeds" for stage in record.plan)
    mean = sum(record.validation.auc) / len(record.validation.auc)
    fields = fixed_fields(record) | record.selected
    lines = [
        "# @package _global_",
        f"# Mean validation AUC {mean:.4f} over {len(record.seeds)} seeds; the first of "
        f"{len(record.tried)} points",
        f"# by {record.selection} ({stages}). Found by:",
        f"#   {_command(record)}",
        *(f"# {sentence}" for sentence in gaps(record)),
        "# and written by `python -m bench.tuned`.",
        # The plan's name goes into the records of the final runs: it tells a table's editions apart.
        f"sweep: {{name: {record.sweep or 'none'}, stages: []}}",
        f"tuned_points: {len(record.tried)}",
        "method:",
        *(f"  {name}: {value_text(value)}" for name, value in fields.items()),
    ]
    return "\n".join(lines) + "\n"


def fixed_fields(record: Record) -> dict[str, Any]:
    """The method's fields that a sweep left alone at another value than the files of `conf/` give them.

    They came with its command line (`method.loss=mse`, `+tuned=...`), and the winner is none without them.
    """
    protocol, dataset, method = record.cell
    if method not in methods.names():
        return {}  # a method from a file of its own, whose defaults are not in `conf/`
    compose.register()
    names = (f"protocol={protocol}", f"dataset={dataset}", f"method={method}")
    default = vars(compose.composed(names).method)
    return {
        name: value
        for name, value in record.method.items()
        if name in default and name != "name" and name not in record.selected and value != default[name]
    }


def _command(record: Record) -> str:
    protocol, dataset, method = record.cell
    default = f"python -m bench protocol={protocol} dataset={dataset} method={method} sweep={record.sweep}"
    return record.provenance.command or default


def gaps(record: Record) -> list[str]:
    """Sentences about what is missing from a sweep."""
    found = []
    lost = {tuple(each.point.values()) for each in record.tried if each.validation_auc is None}
    if lost:
        found.append(f"{len(lost)} of {len(record.tried)} points have no mean: a training diverged.")
    for stage in record.plan:
        if stage.points and stage.tried < stage.points:
            found.append(
                f"Stage {stage.name} tried {stage.tried} of {stage.points} points: the lists have no more."
            )
    return found


def tuned_names(method: str, dataset: str, protocols: Sequence[str], conf: Path = TUNED) -> list[str]:
    """The tuned points of a cell that are there, as `+tuned=` takes them; the first counts.

    A published point comes before one of one's own, and for each the protocols in their order.
    """
    names = [
        f"{folder}{protocol}/{dataset}/{method}"
        for folder in ("", f"{OWN_POINTS}/")
        for protocol in protocols
    ]
    return [name for name in names if (conf / f"{name}.yaml").is_file()]


def _write(found: Swept, conf: Path, sweeps: Path, publish: bool) -> int:
    """Writes winners and points, says so, and returns the exit status."""
    folder = "" if publish else OWN_POINTS
    for (protocol, dataset, method), record in sorted(found.records.items()):
        name = f"{protocol}/{dataset}/{method}"
        write_text(conf / folder / f"{name}.yaml", configuration(record))
        Points.of_record(record).write(sweeps / folder / f"{name}.csv")
        for sentence in gaps(record):
            print(f"{method} on {dataset}, protocol {protocol}: {sentence}")
    for sentence in found.notes:
        print(sentence)
    if found.absent:
        shown = ", ".join(found.absent[:3]) + (", …" if len(found.absent) > 3 else "")
        n = len(found.absent)
        have = "1 cell of this sweep has" if n == 1 else f"{n} cells of this sweep have"
        print(f"{have} no record here ({shown}).")
    n = len(found.records)
    print(f"{n} winner{'' if n == 1 else 's'} written to {conf / folder}, their sweeps to {sweeps / folder}.")
    if n and not publish:
        protocol, dataset, method = min(found.records)
        print(
            f"Start from one by +tuned={OWN_POINTS}/{protocol}/{dataset}/{method}; what is published stays."
        )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.tuned", description="Writes the winners and the points of a sweep."
    )
    parser.add_argument("--methods", default="glob(*)", help="as the sweep's method=")
    parser.add_argument("--datasets", default="coat,yahoo_r3,kuairec", help="as its dataset=")
    parser.add_argument("--protocols", default="table", help="as its protocol=")
    parser.add_argument("--sweep", default="paper", help="its name in conf/sweep")
    parser.add_argument("--publish", action="store_true", help="write the repository's own points")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where the records lie")
    parser.add_argument("--sweeps", type=Path, metavar="DIR", help="by default RESULTS/sweep")
    parser.add_argument("--conf", type=Path, default=TUNED, metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="others of the sweep's command line")

    def work(given: argparse.Namespace) -> int:
        words = [
            *(f"method={given.methods}", f"dataset={given.datasets}", f"protocol={given.protocols}"),
            *(f"sweep={given.sweep}", *given.overrides),
            *([] if given.results is None else [f"results={given.results}"]),
        ]
        found = look_up_sweep(words, given.conf.parent)
        results = given.results or Path(_value(given.overrides, "results") or "results")
        return _write(found, given.conf, given.sweeps or results / "sweep", given.publish)

    return command(parser, work, arguments)


def _value(words: Sequence[str], name: str) -> str:
    """The last value that a command line gives a field; "" for none."""
    return next((word.partition("=")[2] for word in reversed(words) if word.startswith(f"{name}=")), "")


if __name__ == "__main__":
    raise SystemExit(main())
