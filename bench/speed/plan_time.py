"""How long sweeps will take on this machine: `python -m bench.speed.plan_time [OVERRIDE ...]`.

Overrides are those of the sweep, `'method=glob(*)' dataset=coat sweep=paper`; without any, all rows and the
data sets that are here. A line for each row: its trainings, epochs of one, and hours of one core
(`bench.cell.forecast`). Beside them, of the sweep that is published: its trainings, the hours that it took
when it was made, and those that the same trainings would take now.
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

_COLUMNS = ("data", "row", "trainings", "epochs", "hours", "swept", "took_hours", "now_hours")
_STACK = 8  # trainings of one shape that a published sweep had together, about
_EVERYTHING = (
    "method=glob(*,exclude=[item_mean,ips_oracle])",
    "dataset=coat,yahoo_r3,kuairec",
    "sweep=paper",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.plan_time", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of the sweep")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    words = given.overrides or list(_EVERYTHING)
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
        print(*lines[-1], file=sys.stderr, flush=True)
    if not lines:
        raise BenchError("None of the data sets is here: run `make data`.")
    totals = [sum(float(line[place] or 0) for line in lines) for place in (2, 4, 5, 6, 7)]
    n, hours, swept, took, now = totals
    lines.append(["all", "", f"{n:.0f}", "", f"{hours:.2f}", f"{swept:.0f}", f"{took:.2f}", f"{now:.2f}"])
    print(tabulate(lines, _COLUMNS, disable_numparse=True))
    if given.output:
        write_csv(given.output, _COLUMNS, lines)


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
