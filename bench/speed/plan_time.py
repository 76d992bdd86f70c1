"""How long sweeps will take on this machine: `python -m bench.speed.plan_time [OVERRIDE ...]`.

Overrides are those of the sweep, `'method=glob(*)' dataset=coat sweep=paper`; without any, all rows and the
data sets that are here. A line for each row: its trainings, epochs of one, and hours of one core
(`bench.cell.forecast`). Beside them, of the sweep that is published: its trainings, the hours that it took
when it was made, and those that the same trainings would take now; and, where further embedding sizes are
given, the trainings and hours of the sweep with those as well.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench import cell as cells
from bench import compose
from bench.cell.forecast import SWEEPS, Epochs, forecast, training_costs
from bench.cell.spec import Cell
from bench.command.main import main as command
from bench.errors import BenchError, MissingData
from bench.files import write_csv
from bench.records.points import Points

COLUMNS = ("data", "row", "trainings", "epochs", "hours", "swept", "took_hours", "now_hours")
WIDE = ("wide_sizes", "wide_trainings", "wide_hours")
_STACK = 8  # trainings of one shape that a published sweep had together, about
_EVERYTHING = (
    "method=glob(*,exclude=[item_mean,ips_oracle])",
    "dataset=coat,yahoo_r3,kuairec",
    *("sweep=paper", "seeds=20"),  # as `make sweep` has them
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.plan_time", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of the sweep")
    parser.add_argument("--wide", default="", help="embedding sizes beside the sweep's, such as 128,256")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    words = given.overrides or list(_EVERYTHING)
    further = _sizes(given.wide)
    columns = [*COLUMNS, *(WIDE if further else ())]
    compose.register(words)
    lines = []
    for job in compose.jobs(compose.hydra_words(["-m", *words])):
        config = compose.composed(job)
        try:
            ratings = cells.load_ratings(config)
        except MissingData as error:
            if given.overrides:
                raise
            print(error, file=sys.stderr)
            continue
        lines.append(_line(cells.prepare(config, ratings)))
        if further:
            sizes = sorted({*config.dataset.sizes_grid["embedding_size"], *further})
            wide = compose.composed([*job, f"dataset.sizes_grid.embedding_size={sizes}"])
            expected = forecast(cells.prepare(wide, ratings))
            lines[-1] += [
                " ".join(map(str, sizes)),
                str(expected.trainings),
                f"{expected.seconds / 3600:.3f}",
            ]
        print(*lines[-1], file=sys.stderr, flush=True)
    if not lines:
        raise BenchError("None of the data sets is here: run `make data`.")
    whole = {
        name: f"{sum(float(line[place] or 0) for line in lines):.{2 if 'hours' in name else 0}f}"
        for place, name in enumerate(columns)
        if "hours" in name or "trainings" in name or name == "swept"
    }
    lines.append(["all", *(whole.get(name, "") for name in columns[1:])])
    print(tabulate(lines, columns, disable_numparse=True))
    if given.output:
        write_csv(given.output, columns, lines)


def _sizes(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if not word.isdecimal() or int(word) < 1]
    if wrong:
        raise BenchError(f"--wide {wrong[0]}: embedding sizes are whole numbers above 0, such as 128,256.")
    return [int(word) for word in words]


def _line(cell: Cell) -> list[str]:
    costs = training_costs(cell)
    expected = forecast(cell, costs=costs)
    line = [cell.dataset.name, cell.method, str(expected.trainings), f"{expected.epochs:.1f}"]
    line.append(f"{expected.seconds / 3600:.3f}")
    file = SWEEPS / cell.protocol.name / cell.dataset.name / f"{cell.method}.csv"
    if not file.is_file():
        return [*line, "", "", ""]
    points, epochs = Points.read(file), Epochs.of(cell, SWEEPS)
    by_shape: dict[tuple[int, int], list[float]] = defaultdict(list)
    for training in points.trainings:
        values = {**cell.base, **dict(zip(points.names, training.point, strict=True))}
        by_shape[values["batch_size"], values["embedding_size"]].append(epochs.until(training.epoch))
    now = sum(
        costs.of(shape, each[start : start + _STACK])
        for shape, each in by_shape.items()
        for start in range(0, len(each), _STACK)
    )
    took = f"{points.seconds / 3600:.3f}"
    return [*line, str(len(points.trainings)), took, f"{now / 3600:.3f}"]


if __name__ == "__main__":
    raise SystemExit(main())
