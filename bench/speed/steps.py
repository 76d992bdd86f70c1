"""How fast the suite is: `python -m bench.speed [--device cuda] [--output FILE.csv]`.

Every ratio is measured in one run, on one thread, in turns: the stacked engine against a plain loop
over single models with `torch.optim.Adam` (`bench/speed/reference.py`), and groups of members
against one pass of Adam over their tables (`bench.speed.bandwidth`). Data are generated, in the sizes of Coat
and of Yahoo! R3. The exit status is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

from bench.command.main import main as command
from bench.data import yahoo_r3
from bench.engine.memory import bytes_per_member
from bench.engine.method import Method
from bench.engine.sampling import Sampler
from bench.errors import BenchError, MissingData
from bench.files import write_csv
from bench.metrics import Ranking, auc, summarise
from bench.speed import workload
from bench.speed.bandwidth import copy_bandwidth, least_traffic, traffic, wait
from bench.speed.reference import eager_steps
from bench.speed.rows import one_pass
from bench.speed.workload import Workload, apart, peak_bytes, stack, trained_rows, training_data

_TURNS = 5  # each figure is the median over so many turns


@dataclass(frozen=True, kw_only=True)
class Size(Workload):
    """A workload of a data set's size.

    steps: of one turn, an epoch. target: least ratio to the eager loop; of a group, largest ratio to one
    pass.
    """

    name: str
    steps: int
    target: float


_COAT = Size(**vars(replace(workload.COAT, members=40)), name="Coat", steps=54, target=8.0)
_YAHOO = Size(**vars(replace(workload.YAHOO_R3, embedding_size=32)), name="Yahoo! R3", steps=76, target=2.5)
# What a grid trains at once there, learning rates apart: two of the paper's embedding sizes.
_GROUPS = [replace(_YAHOO, embedding_size=size, members=8, steps=10, target=2.0) for size in (32, 128)]


@dataclass(frozen=True)
class Figure:
    """One line of the result. target: what `value` must not fall short of (or exceed)."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool = True


def stacked_steps(method: Method, size: Size) -> Callable[[], float]:
    """One turn of the engine: seconds per member and step."""
    config = method.config
    sampler = Sampler(method.data, config.batch_size, config.everywhere_ratio, method.kernels)
    step = method.phases()[-1].step
    done = [0]

    def turn() -> float:
        wait(method.device)
        start = time.perf_counter()
        for _ in range(-(-size.steps // sampler.steps_per_epoch)):
            epoch = sampler.epoch(method.data, "training", done[0])
            done[0] += 1
            for number in range(min(size.steps, sampler.steps_per_epoch)):
                step(epoch.draw(method.data, number))
        wait(method.device)
        steps = min(size.steps, sampler.steps_per_epoch) * -(-size.steps // sampler.steps_per_epoch)
        return (time.perf_counter() - start) / (steps * method.n_members)

    return turn


def in_turns(*contestants: Callable[[], float]) -> list[float]:
    """Medians of the contestants' figures, measured in turns after one turn of warming up."""
    for contestant in contestants:
        contestant()
    table = np.array([[contestant() for contestant in contestants] for _ in range(_TURNS)])
    return [float(median) for median in np.median(table, axis=0)]


def training(size: Size, device: torch.device) -> list[Figure]:
    """The engine's MF against the reference."""
    data = training_data(size, device)
    ours, theirs = in_turns(stacked_steps(stack("mf", size, data), size), eager_steps(size, data, size.steps))
    ratio = theirs / ours
    what = f"MF, {size.name}'s size, batch {size.batch_size}, d {size.embedding_size}"
    return [
        Figure(f"{what}: single eager model", theirs * 1e3, "ms/step"),
        Figure(f"{what}: {size.members} stacked", ours * 1e3, "ms/member-step"),
        Figure(f"{what}: ratio", ratio, "x", f">= {size.target:g}", ratio >= size.target),
    ]


def bandwidth(size: Size, device: torch.device, profile: bool = False) -> list[Figure]:
    """A stack's dense-Adam step of MF beside one pass over its tables; see `bench.speed.bandwidth`.

    Args:
        profile: print where the time goes, by torch.profiler.
    """
    method = stack("mf", size, training_data(size, device))
    turn = stacked_steps(method, size)
    # Once over the tables, measured where there is a kernel of one pass; else as the device copies.
    passes = method.kernels.name == "numba"
    seconds, once = in_turns(
        turn,
        (lambda: one_pass(method) / size.members)
        if passes
        else (lambda: least_traffic(method) / copy_bandwidth(device)),
    )
    reference = stack("mf", size, training_data(size, device), kernel="torch")
    epoch = Sampler(method.data, size.batch_size, 0, method.kernels).epoch(method.data, "training", 0)
    counted = traffic(lambda: reference.step(epoch.draw(method.data, 0)), reference) / least_traffic(method)
    if profile:
        with torch.profiler.profile() as profiled:
            turn()
        order = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
        print(profiled.key_averages().table(sort_by=order, row_limit=15), file=sys.stderr)
    ratio = seconds / once
    what = (
        f"MF, {size.members} members of {size.name}'s size, batch {size.batch_size}, d {size.embedding_size}"
    )
    return [
        Figure(f"{what}: one pass of Adam", once * 1e3, "ms/member"),
        Figure(f"{what}: speed", 1 / seconds, "member-steps/s"),
        Figure(f"{what}: step beside one pass", ratio, "x", f"<= {size.target:g}", ratio <= size.target),
        Figure(f"{what}: counted bytes of a GPU's operations beside the bound", counted, "x"),
    ]


def relative_cost(size: Size, device: torch.device) -> list[Figure]:
    """A member-step of the main phase of every method, beside MF's."""
    data = training_data(size, device)
    names = trained_rows()
    turns = [stacked_steps(stack(name, size, data), size) for name in names]
    seconds = in_turns(*turns)
    reference = seconds[names.index("mf")]
    return [
        Figure(f"{name}, {size.name}'s size: cost of a member-step", each / reference, "x MF")
        for name, each in zip(names, seconds, strict=True)
    ]


def metric_time() -> list[Figure]:
    """All metrics of 100 members on a test set of Yahoo! R3's size."""
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(5400), 9)
    labels = (random.random(len(users)) < 0.09).astype(int)
    scores = torch.from_numpy(random.random((100, len(users)), dtype=np.float32))
    start = time.perf_counter()
    ranking = Ranking(users, labels, 5)
    auc(scores, ranking.labels)
    summarise(*ranking.per_user(scores), "skip")
    seconds = time.perf_counter() - start
    return [
        Figure(f"AUC, NDCG and Recall, 100 members x {len(users)} rows", seconds, "s", "<= 3", seconds <= 3)
    ]


def loading_time() -> list[Figure]:
    """Reading Yahoo! R3, or generated files of its format where it is absent."""
    config = yahoo_r3.Config(name="yahoo_r3")
    folder, what = Path(os.environ.get("BENCH_DATA", "data")), "Yahoo! R3's files"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            yahoo_r3.load(config, folder)  # the files come into the cache
        except MissingData:
            folder, what = Path(scratch), "generated files of Yahoo! R3's format"
            _write_yahoo(folder / "yahoo_r3")
        start = time.perf_counter()
        yahoo_r3.load(config, folder)
        seconds = time.perf_counter() - start
    return [Figure(f"Loading {what}", seconds, "s", "<= 1", seconds <= 1)]


def _write_yahoo(folder: Path) -> None:
    """Files of the release's names, counts and ranges."""
    folder.mkdir()
    expected = yahoo_r3.MANIFEST
    random = np.random.default_rng(0)
    cells = random.permutation(expected.n_users * expected.n_items)
    for file in (expected.train, expected.test):
        mine, cells = cells[: file.rows], cells[file.rows :]
        columns = (
            mine // expected.n_items + 1,
            mine % expected.n_items + 1,
            random.integers(1, 6, file.rows),
        )
        np.savetxt(folder / file.file, np.stack(columns, 1), fmt="%d", delimiter="\t")


def memory_per_member(size: Size) -> list[Figure]:
    """Peak memory of training, per member: the slope between two sizes of the stack, in own processes."""
    few, many = (replace(size, members=factor * size.members) for factor in (8, 32))
    peaks = [apart(peak_bytes, work)[0] for work in (few, many)]
    slope = (peaks[1] - peaks[0]) / (many.members - few.members)
    single = replace(size, members=1)
    planned = bytes_per_member(stack("mf", single, training_data(single)), size.unbiased)
    name = f"{size.name}'s size"
    return [
        Figure(f"Memory per member, {name}: measured", slope / 2**20, "MiB"),
        Figure(
            f"Memory per member, {name}: planned", planned / 2**20, "MiB", ">= measured", planned >= slope
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description="Measures the suite's speed.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, help="a CSV file for the figures")
    parser.add_argument(
        "--all-methods", action="store_true", help="the cost of each method's step beside MF's"
    )
    parser.add_argument("--profile", action="store_true", help="where a group's step spends its time")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> int:
    if given.device == "cuda" and not torch.cuda.is_available():
        raise BenchError("PyTorch finds no CUDA device here: leave out --device cuda.")
    torch.set_num_threads(1)
    device = torch.device(given.device)
    parts: list[Callable[[], list[Figure]]] = [
        lambda: training(_COAT, device),
        lambda: training(_YAHOO, device),
        *(partial(bandwidth, size, device, given.profile) for size in _GROUPS),
    ]
    if given.all_methods:
        parts += [lambda: relative_cost(_COAT, device), lambda: relative_cost(_YAHOO, device)]
    parts += [metric_time, loading_time, lambda: memory_per_member(_COAT), lambda: memory_per_member(_YAHOO)]
    figures: list[Figure] = []
    for part in parts:
        figures += part()
        print(f"{figures[-1].what}: done", file=sys.stderr, flush=True)
    rows = [
        [f.what, f"{f.value:.3g}", f.unit, f.target, ("yes" if f.met else "NO") if f.target else ""]
        for f in figures
    ]
    header = ["what", "value", "unit", "target", "met"]
    print(tabulate(rows, header, disable_numparse=True))
    if given.output:
        write_csv(given.output, header, rows)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
