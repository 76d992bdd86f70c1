"""Points along curves of size, measured: time and memory of a training step, and how they grow."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.engine.method import Method
from bench.engine.sampling import Epoch, Sampler
from bench.files import read_csv, write_csv
from bench.speed.workload import Workload, apart, peak_bytes, stack, training_data

ADAMS = ("dense", "rows")  # kinds of Adam

_TURNS = 5  # each time is the median over so many turns
_TURN_SECONDS = 0.15  # a turn is as many steps as take about so long


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Workload):
    """What is trained. size: where on its curve it stands; processes: that train it at once."""

    curve: str
    size: int
    users: int = 10_000
    items: int = 1009
    ratings: int = 100_000
    batch_size: int = 1024
    embedding_size: int = 16
    unbiased: int = 500
    processes: int = 1

    @property
    def line(self) -> dict[str, str]:
        """What a line of the result says of it."""
        return {name: str(getattr(self, name)) for name in _FIELDS}


_COAT = CurvePoint(curve="", size=0, users=290, items=307, ratings=290 * 24, batch_size=128, embedding_size=8)
PER_USER = 10  # ratings of each user along the curve of users
CURVES: dict[str, list[CurvePoint]] = {
    "members": [replace(_COAT, curve="members", size=2**n, members=2**n) for n in range(9)],
    "users": [
        CurvePoint(curve="users", size=n, users=n, ratings=n * PER_USER)
        for n in (300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
    ],
    "ratings": [
        CurvePoint(curve="ratings", size=n, ratings=n) for n in (10_000, 30_000, 100_000, 300_000, 1_000_000)
    ],
    "batch": [CurvePoint(curve="batch", size=n, batch_size=n) for n in (64, 256, 1024, 4096, 16_384)],
    "processes": [replace(_COAT, curve="processes", size=n, members=32, processes=n) for n in (1, 2)],
    "processes_large": [
        CurvePoint(curve="processes_large", size=n, users=100_000, ratings=1_000_000, processes=n)
        for n in (1, 2)
    ],
}
_FIELDS = (
    *("curve", "size", "members", "users", "items", "ratings", "batch_size", "embedding_size"),
    "processes",
)
_MEASURED = ("adam", "seconds_per_member_step", "adam_share", "draw_share", "peak_mib", "load")

# --- One point --------------------------------------------------------------------------------------


class _Runner:
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
        """Two turns, after which a turn takes about `_TURN_SECONDS`."""
        self.turn()
        self.steps = 3
        seconds, _ = self.turn()
        self.steps = max(3, round(_TURN_SECONDS / seconds))


def step_times(
    point: CurvePoint, ready: Callable[[], object] = lambda: None
) -> dict[str, tuple[float, float, float]]:
    """Of each kind of Adam: seconds per member-step, Adam's share and the draws' share of them.

    Args:
        ready: is called between warming up and measuring.
    """
    torch.set_num_threads(1)
    data = training_data(point, n_seeds=min(point.members, 10))
    method = stack("mf", point, data, ADAMS[0])
    sampler = Sampler(method.data, point.batch_size, 0, method.kernels)
    start = time.thread_time()
    epoch = sampler.epoch(method.data, "training", 0)
    draws = (time.thread_time() - start) / sampler.steps_per_epoch
    runners = []
    for kind in ADAMS:
        own = method if kind == ADAMS[0] else stack("mf", point, data, kind)
        runners.append(_Runner(own, epoch, sampler.steps_per_epoch))
    for runner in runners:
        runner.warm_up()
    ready()
    turns = [[runner.turn() for runner in runners] for _ in range(_TURNS)]
    found = {}
    for kind, mine in zip(ADAMS, zip(*turns, strict=True), strict=True):
        seconds, share = (statistics.median(values) for values in zip(*mine, strict=True))
        whole = seconds + draws
        found[kind] = (whole / point.members, share * seconds / whole, draws / whole)
    return found


def _times_together(barrier: Any, point: CurvePoint) -> dict[str, tuple[float, float, float]]:
    return step_times(point, barrier.wait)


def measured(point: CurvePoint) -> list[dict[str, str]]:
    """The lines of one point, one for each kind of Adam."""
    load = os.getloadavg()[0]
    what = _times_together if point.processes > 1 else step_times
    timed = apart(what, point, processes=point.processes)
    lines = []
    for kind in ADAMS:
        of_kind = zip(*(each[kind] for each in timed), strict=True)
        seconds, share, draws = (statistics.mean(values) for values in of_kind)
        (held,) = apart(peak_bytes, point, kind)
        numbers = (f"{seconds:.4g}", f"{share:.3f}", f"{draws:.3f}", f"{held / 2**20:.1f}", f"{load:.2f}")
        lines.append(point.line | dict(zip(_MEASURED, (kind, *numbers), strict=True)))
    return lines


def measure_curves(
    folder: Path, curves: Mapping[str, Sequence[CurvePoint]], say: Callable[[str], None]
) -> list[dict[str, str]]:
    """Measures what scaling.csv lacks, writes it after every point, and returns its lines."""
    file = folder / "scaling.csv"
    lines = read_lines(file)
    points = [point for curve in curves.values() for point in curve]
    for number, point in enumerate(points, 1):
        if any(point.line.items() <= line.items() for line in lines):
            continue
        lines += measured(point)
        write_lines(file, lines)
        say(f"{number} of {len(points)}: {point.curve} {point.size}")
    return lines


def read_lines(file: Path) -> list[dict[str, str]]:
    """The lines of a file of this room; none where it is absent.

    Raises:
        BenchError: it is no CSV file.
    """
    return read_csv(file) if file.exists() else []


def write_lines(file: Path, lines: Sequence[Mapping[str, str]]) -> None:
    """Puts lines into a CSV file, whole or not at all.

    Raises:
        BenchError: it cannot be written.
    """
    write_csv(file, list(lines[0]), (list(line.values()) for line in lines))


# --- What the curves say ----------------------------------------------------------------------------


def exponents(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Slopes of log(quantity) over log(size), of each whole curve and of its upper half.

    On the curve of members the seconds are those of the whole stack's step, as with the others.
    """
    found = []
    for curve in ("members", "users", "ratings", "batch"):
        for adam in ADAMS:
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
                            "points": str(kept.sum()),
                            "exponent": f"{slope:.2f}",
                            "largest_residual": f"{np.exp(np.abs(rest).max()):.2f}",
                        }
                    )
    return found


def crossings(lines: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The size of each curve from which dense Adam takes more than half the step, and rows are faster.

    Interpolated on the logarithm of the size; "always" or "never" where the curve does not cross.
    """
    found = []
    for curve in ("members", "users", "ratings", "batch"):
        of = {
            adam: [line for line in lines if (line["curve"], line["adam"]) == (curve, adam)] for adam in ADAMS
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
