"""How time and memory of training grow: `python -m bench.speed.scaling [--output FOLDER] [--metrics]`.

MF is trained for a few steps on generated data whose size is changed along one curve at a time: members,
users, ratings, batch, processes. Dense and row-wise Adam (`engine.adam`) are timed in turns, in one process
of its own for each point; peak memory is of a process of its own again. Seconds are of one CPU, so that
others on the machine slow a step only through the caches and the memory that they share with it. What
stands in scaling.csv is not measured a second time, so that a stopped study goes on; the exponents and the
plot are made from it.

With `--metrics`, cells are trained with both kinds of Adam and their test metrics compared.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import wilcoxon

import methods
from bench.engine.method import Method
from bench.engine.sampling import Epoch, Sampler, TrainingData
from bench.records import store

FOLDER = Path("results/scaling")
KINDS = ("dense", "rows")  # of Adam
TURNS = 5  # each time is the median over so many turns
TURN_SECONDS = 0.15  # a turn is as many steps as take about so long
MEMORY_STEPS = 3  # after which a process has held all that it will hold


@dataclass(frozen=True)
class Point:
    """What is trained. size: where on its curve it stands; processes: that train it at once."""

    curve: str
    size: int
    members: int = 1
    users: int = 10_000
    items: int = 1009  # a prime, see `generated`
    ratings: int = 100_000
    batch_size: int = 1024
    embedding_size: int = 16
    processes: int = 1


COAT = Point("", 0, users=290, items=307, ratings=290 * 24, batch_size=128, embedding_size=8)
PER_USER = 10  # ratings of each user along the curve of users
CURVES: dict[str, list[Point]] = {
    "members": [replace(COAT, curve="members", size=2**n, members=2**n) for n in range(9)],
    "users": [
        Point("users", n, users=n, ratings=n * PER_USER)
        for n in (300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
    ],
    "ratings": [Point("ratings", n, ratings=n) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)],
    "batch": [Point("batch", n, batch_size=n) for n in (64, 256, 1024, 4096, 16_384)],
    "processes": [replace(COAT, curve="processes", size=n, members=32, processes=n) for n in (1, 2)],
    "processes_large": [
        Point("processes_large", n, users=100_000, ratings=1_000_000, processes=n) for n in (1, 2)
    ],
}
FIELDS = (
    "curve",
    "size",
    "members",
    "users",
    "items",
    "ratings",
    "batch_size",
    "embedding_size",
    "processes",
)
MEASURED = ("adam", "seconds_per_member_step", "adam_share", "draw_share", "peak_mib", "load")

# --- One point --------------------------------------------------------------------------------------


def generated(point: Point) -> TrainingData:
    """Ratings of a point's counts, as many of each user, made without a table of users x items.

    A user's items are an arithmetic progression modulo the prime number of items, so that none comes twice.
    """
    generator = torch.Generator().manual_seed(0)
    per_user = -(-point.ratings // point.users)
    start = torch.randint(point.items, (point.users, 1), generator=generator)
    stride = torch.randint(1, point.items, (point.users, 1), generator=generator)
    items = ((start + stride * torch.arange(per_user)) % point.items).flatten()[: point.ratings]
    users = torch.arange(point.users).repeat_interleave(per_user)[: point.ratings]
    n_seeds = min(point.members, 10)
    a = (n_seeds, 500)
    return TrainingData(
        n_users=point.users,
        n_items=point.items,
        seeds=tuple(range(n_seeds)),
        seed_row=torch.arange(n_seeds),
        users=users,
        items=items,
        labels=(torch.rand(point.ratings, generator=generator) < 0.4).float(),
        unbiased_users=torch.randint(point.users, a, generator=generator),
        unbiased_items=torch.randint(point.items, a, generator=generator),
        unbiased_labels=(torch.rand(a, generator=generator) < 0.4).float(),
    )


def built(point: Point, data: TrainingData, adam: str) -> Method:
    """A stack of MF whose members differ in their rates."""
    kind = methods.get("mf")
    configs = [
        kind.Config(
            batch_size=point.batch_size,
            embedding_size=point.embedding_size,
            learning_rate=0.01 * (1 + member % 4),
            weight_decay=1e-5,
        )
        for member in range(point.members)
    ]
    rows = torch.arange(point.members) % len(data.seeds)
    method = kind(configs, rows.tolist(), data.take(rows))
    for part in method.parts.values():
        part.restart(by_rows=adam == "rows")
    return method


class Runner:
    """Steps of one stack, timed; `adam` is the part of the time that Adam took."""

    def __init__(self, method: Method, epoch: Epoch, steps_per_epoch: int) -> None:
        self._method, self._epoch, self._n = method, epoch, steps_per_epoch
        self._next = 0
        self.adam = 0.0
        adam = method.prediction.adam
        step: Callable[[], None] = adam.step

        def timed() -> None:
            start = time.thread_time()
            step()
            self.adam += time.thread_time() - start

        adam.step = timed
        self.steps = 1

    def turn(self) -> tuple[float, float]:
        """Seconds per step, and Adam's share."""
        self.adam = 0.0
        start = time.thread_time()
        for _ in range(self.steps):
            self._method.step(self._epoch.draw(self._method.data, self._next % self._n))
            self._next += 1
        seconds = time.thread_time() - start
        return seconds / self.steps, self.adam / seconds

    def warm_up(self) -> None:
        """Two turns, after which a turn takes about `TURN_SECONDS`."""
        self.turn()
        self.steps = 3
        seconds, _ = self.turn()
        self.steps = max(3, round(TURN_SECONDS / seconds))


def times(point: Point, ready: Callable[[], object] = lambda: None) -> dict[str, tuple[float, float, float]]:
    """Of each kind of Adam: seconds per member-step, Adam's share and the draws' share of them.

    Args:
        ready: is called between warming up and measuring.
    """
    torch.set_num_threads(1)
    data = generated(point)
    method = built(point, data, KINDS[0])
    sampler = Sampler(method.data, point.batch_size, 0)
    start = time.thread_time()
    epoch = sampler.epoch(method.data, "training", 0)
    draws = (time.thread_time() - start) / sampler.steps_per_epoch
    runners = []
    for kind in KINDS:
        own = method if kind == KINDS[0] else built(point, data, kind)
        runners.append(Runner(own, epoch, sampler.steps_per_epoch))
    for runner in runners:
        runner.warm_up()
    ready()
    turns = [[runner.turn() for runner in runners] for _ in range(TURNS)]
    found = {}
    for kind, mine in zip(KINDS, zip(*turns, strict=True), strict=True):
        seconds, share = (statistics.median(values) for values in zip(*mine, strict=True))
        whole = seconds + draws
        found[kind] = (whole / point.members, share * seconds / whole, draws / whole)
    return found


def peak(point: Point, adam: str) -> float:
    """MiB that a few steps take beyond what the process holds before them, a best copy included."""
    torch.set_num_threads(1)
    with suppress(OSError):  # Linux: forget the peak so far
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    method = built(point, generated(point), adam)
    kept = {name: table.clone() for name, table in method.prediction.tables.items()}
    sampler = Sampler(method.data, point.batch_size, 0)
    epoch = sampler.epoch(method.data, "training", 0)
    for number in range(MEMORY_STEPS):
        method.step(epoch.draw(method.data, number % sampler.steps_per_epoch))
    assert kept
    return (_peak_bytes() - before) / 2**20


def _peak_bytes() -> int:
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- Processes of their own -------------------------------------------------------------------------


def _answer(sender: Any, what: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(what(*arguments))


def _times_together(barrier: Any, point: Point) -> dict[str, tuple[float, float, float]]:
    return times(point, barrier.wait)


def apart(what: Callable[..., Any], *arguments: Any, processes: int = 1) -> list[Any]:
    """What a function returns in each of some new processes that run it at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scipy.stats", "bench.engine.training"])
    if processes > 1:
        arguments = (context.Barrier(processes), *arguments)
    started = []
    for _ in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_answer, args=(sender, what, arguments))
        process.start()
        sender.close()
        started.append((process, receiver))
    found = [receiver.recv() for _, receiver in started]
    for process, _ in started:
        process.join()
    return found


def measure(point: Point) -> list[dict[str, Any]]:
    """The lines of one point, one for each kind of Adam."""
    load = os.getloadavg()[0]
    timed = apart(
        *((_times_together, point) if point.processes > 1 else (times, point)), processes=point.processes
    )
    lines = []
    for kind in KINDS:
        seconds, share, draws = (statistics.mean(values) for values in zip(*(each[kind] for each in timed)))  # noqa: B905
        (held,) = apart(peak, point, kind)
        measured = (kind, f"{seconds:.4g}", f"{share:.3f}", f"{draws:.3f}", f"{held:.1f}", f"{load:.2f}")
        lines.append(
            dict(zip(FIELDS, map(str, astuple(point)), strict=True))
            | dict(zip(MEASURED, measured, strict=True))
        )
    return lines


def study(folder: Path, curves: Mapping[str, Sequence[Point]], say: Callable[[str], None]) -> None:
    """Measures what scaling.csv lacks, and writes it after every point."""
    file = folder / "scaling.csv"
    lines = read(file)
    points = [point for curve in curves.values() for point in curve]
    for number, point in enumerate(points, 1):
        mine = tuple(map(str, astuple(point)))
        if any(tuple(line[name] for name in FIELDS) == mine for line in lines):
            continue
        lines += measure(point)
        write(file, lines)
        say(f"{number} of {len(points)}: {point.curve} {point.size}")


def read(file: Path) -> list[dict[str, str]]:
    """The lines of a CSV file; none where it is absent."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Puts lines into a CSV file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    new.replace(file)


# --- What the curves say ----------------------------------------------------------------------------


def exponents(lines: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Slopes of log(quantity) over log(size), of each whole curve and of its upper half.

    On the curve of members the seconds are those of the whole stack's step, as with the others.
    """
    found = []
    for curve in ("members", "users", "ratings", "batch"):
        for adam in KINDS:
            mine = [line for line in lines if (line["curve"], line["adam"]) == (curve, adam)]
            size = np.array([float(line["size"]) for line in mine])
            seconds = np.array(
                [float(line["seconds_per_member_step"]) * int(line["members"]) for line in mine]
            )
            memory = np.array([float(line["peak_mib"]) for line in mine])
            for name, values in (("seconds_per_step", seconds), ("peak_mib", memory)):
                for part, first in (("whole", 0), ("upper half", len(mine) // 2)):
                    x, y = size[first:], values[first:]
                    kept = (x > 0) & (y > 0)
                    if kept.sum() < 2:
                        continue
                    slope, level = np.polyfit(np.log(x[kept]), np.log(y[kept]), 1)
                    rest = np.log(y[kept]) - slope * np.log(x[kept]) - level
                    found.append(
                        {
                            "curve": curve,
                            "quantity": name,
                            "adam": adam,
                            "range": part,
                            "from": f"{x[kept][0]:.0f}",
                            "to": f"{x[kept][-1]:.0f}",
                            "points": int(kept.sum()),
                            "exponent": f"{slope:.2f}",
                            "largest_residual": f"{np.exp(np.abs(rest).max()):.2f}",
                        }
                    )
    return found


def crossings(lines: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """The size of each curve from which dense Adam takes more than half the step, and rows are faster.

    Interpolated on the logarithm of the size; "always" or "never" where the curve does not cross.
    """
    found = []
    for curve in ("members", "users", "ratings", "batch"):
        of = {
            adam: [line for line in lines if (line["curve"], line["adam"]) == (curve, adam)] for adam in KINDS
        }
        if not of["dense"]:
            continue
        size = np.log([float(line["size"]) for line in of["dense"]])
        share = np.array([float(line["adam_share"]) for line in of["dense"]]) - 0.5
        ratio = np.log(
            [
                float(dense["seconds_per_member_step"]) / float(rows["seconds_per_member_step"])
                for dense, rows in zip(of["dense"], of["rows"], strict=True)
            ]
        )
        found.append(
            {
                "curve": curve,
                "dense_adam_above_half": _crossing(size, share),
                "rows_faster": _crossing(size, ratio),
                "dense_over_rows_at_largest": f"{np.exp(ratio[-1]):.3g}",
            }
        )
    return found


def _crossing(x: np.ndarray, y: np.ndarray) -> str:
    """Where y rises above 0 for good, in e^x."""
    below = np.flatnonzero(y <= 0)
    if not len(below):
        return "always"
    last = below[-1]
    if last == len(x) - 1:
        return "never"
    at = x[last] + (x[last + 1] - x[last]) * -y[last] / (y[last + 1] - y[last])
    return f"{np.exp(at):.3g}"


COLOURS = {"dense": "#0072B2", "rows": "#D55E00"}  # of Okabe and Ito's palette, apart for all kinds of eyes
NAMES = {"dense": "dense Adam", "rows": "row-wise Adam"}
MARKS = {"dense": ("o", "-"), "rows": ("s", "--")}
AXES = {
    "members": "members",
    "users": f"users, {PER_USER} ratings each",
    "ratings": "ratings",
    "batch": "batch size",
}


def plot(lines: Sequence[Mapping[str, str]], file: Path) -> None:
    """Time and memory along the four curves, as an SVG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("svg")
    # The same file from the same numbers, with its text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "scaling", "svg.fonttype": "none"})
    from matplotlib import pyplot

    shown = {curve: label for curve, label in AXES.items() if any(line["curve"] == curve for line in lines)}
    if not shown:
        return
    figure, axes = pyplot.subplots(
        2, len(shown), figsize=(13, 6), sharey="row", layout="constrained", squeeze=False
    )
    for column, (curve, label) in enumerate(shown.items()):
        for adam in KINDS:
            mine = [line for line in lines if (line["curve"], line["adam"]) == (curve, adam)]
            size = [float(line["size"]) for line in mine]
            mark, style = MARKS[adam]
            for row, name in enumerate(("seconds_per_member_step", "peak_mib")):
                values = [float(line[name]) * (1e3 if row == 0 else 1) for line in mine]
                axes[row, column].plot(
                    size, values, marker=mark, linestyle=style, color=COLOURS[adam], label=NAMES[adam]
                )
        for row in range(2):
            axes[row, column].set(xscale="log", yscale="log")
            axes[row, column].grid(True, alpha=0.3)
        axes[1, column].set_xlabel(label)
    axes[0, 0].set_ylabel("CPU ms per member-step")
    axes[1, 0].set_ylabel("MiB beyond the process's own")
    axes[0, 0].legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


# --- What row-wise Adam does to the metrics ---------------------------------------------------------

CELLS = [
    *(("coat", method, 10, f"+tuned=table/coat/{method}") for method in ("mf", "ips", "dr_jl")),
    ("yahoo_r3", "mf", 5, "sweep=none"),
    # Each kind with a decay of its own.
    ("coat", "mf", 10, "sweep=none grid.learning_rate=[0.01,0.05] grid.weight_decay=[0.0003,0.001,0.003]"),
]


def metrics(folder: Path, say: Callable[[str], None]) -> None:
    """Trains cells with both kinds of Adam and writes their test metrics side by side.

    Hyper-parameters were chosen for dense Adam, but for a cell with a grid, where each kind chooses its own.
    """
    file = folder / "rows_vs_dense.csv"
    lines: list[dict[str, Any]] = list(read(file))
    for dataset, method, seeds, where in CELLS:
        cell = (dataset, method, str(seeds), where)
        if any(
            tuple(line[name] for name in ("dataset", "method", "seeds", "settings")) == cell for line in lines
        ):
            continue
        records = _both(dataset, method, seeds, where)
        for metric in ("auc", "ndcg", "recall"):
            dense, rows = (
                np.array(
                    records[kind]["test"][metric]["skip"] if metric != "auc" else records[kind]["test"]["auc"]
                )
                for kind in KINDS
            )
            change = rows - dense
            lines.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "metric": metric,
                    "seeds": str(seeds),
                    "dense": f"{dense.mean():.4f}",
                    "rows": f"{rows.mean():.4f}",
                    "change": f"{change.mean():+.4f}",
                    "change_std": f"{change.std(ddof=1):.4f}",
                    "dense_std": f"{dense.std(ddof=1):.4f}",
                    "p_value": f"{wilcoxon(dense, rows).pvalue:.3g}" if change.any() else "1",
                    **{
                        f"{kind}_steps": f"{np.mean(records[kind]['validation']['step']):.0f}"
                        for kind in KINDS
                    },
                    "settings": where,
                }
            )
        write(file, lines)
        say(f"{method} on {dataset}: done")


def _both(dataset: str, method: str, seeds: int, where: str) -> dict[str, dict[str, Any]]:
    """The records of a cell with each kind of Adam."""
    with tempfile.TemporaryDirectory() as scratch:
        words = ["-m", f"dataset={dataset}", f"method={method}", f"seeds={seeds}", *where.split()]
        words += [f"engine.adam={','.join(KINDS)}", f"results={scratch}"]
        subprocess.run(
            [sys.executable, "-m", "bench", *words],
            check=True,
            cwd=Path(__file__).parents[2],
            stdout=sys.stderr,
        )
        found = {}
        runs = Path(scratch) / "runs"
        for digest in store.digests(runs):
            record = store.read(runs, digest)
            found[record["engine"]["adam"]] = record
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.scaling", description="How training scales.")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the results")
    parser.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--metrics", action="store_true", help="compare test metrics instead")
    given = parser.parse_args(arguments)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    if given.metrics:
        metrics(given.output, say)
        return 0
    study(given.output, {name: CURVES[name] for name in given.curves}, say)
    lines = read(given.output / "scaling.csv")
    for name, found in (("exponents", exponents(lines)), ("crossings", crossings(lines))):
        if found:
            write(given.output / f"{name}.csv", found)
    try:
        plot(lines, given.output / "scaling.svg")
    except ImportError:
        say("No plot was made: matplotlib is absent; install it with pip install -e '.[plots]'.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
