"""The suite against a public script: `python -m bench.speed.rival FOLDER`, or `make rival RIVAL=FOLDER`.

FOLDER is `real_world` of https://github.com/haoxuanli-pku/ICDE24-MNAR, as its authors published it; nothing
of it is part of this project. Their classes MF and MF_DR_JL train one model; here the suite's MF and DR-JL
train stacks of the same batch and embedding sizes on the same generated ratings, of Coat's and of Yahoo! R3's
numbers. Both sides are timed by the CPU time of their one thread, an epoch of each in turns, draws and
shuffles included, evaluations and early stops not.

Not the same work to the letter: their MF has no biases; their DR-JL looks its propensities up in a network.
`.cuda()` does nothing here, and the list of all pairs, which they build once for each training, is built fast
and not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate

from bench.command.main import main as command
from bench.engine.method import Method
from bench.engine.sampling import Sampler, TrainingData
from bench.errors import BenchError
from bench.files import write_csv
from bench.speed.workload import COAT, YAHOO_R3, Workload, stack, training_data

SCRIPT_FILE = "matrix_factorization_DT.py"
_CLASSES = {"mf": "MF", "dr_jl": "MF_DR_JL"}  # row → theirs
# Data set, sizes, sizes of the suite's stack.
_SHAPES = (("Coat", COAT, (1, 8, 40)), ("Yahoo! R3", replace(YAHOO_R3, embedding_size=32), (4,)))
_HEADER = ("data", "row", "d", "batch", "members", "rival", "suite", "ratio")
_PROPENSITY_BATCH = 1024  # of their propensity network, which is not timed
_TURN_SECONDS = 0.2  # of the suite, at least


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.rival", description=__doc__)
    parser.add_argument("folder", type=Path, help=f"the public script's, with {SCRIPT_FILE}")
    parser.add_argument("--turns", type=int, default=3, help="of each side; the medians count")
    parser.add_argument("--output", type=Path, help="a CSV file for the lines")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    theirs = public_script(given.folder)
    lines = []
    for data, work, sizes in _SHAPES:
        for row in _CLASSES:
            for line in against(theirs, row, work, sizes, given.turns):
                lines.append([data, *line])
                print(*lines[-1], file=sys.stderr, flush=True)
    print(tabulate(lines, _HEADER, disable_numparse=True))
    if given.output:
        write_csv(given.output, _HEADER, lines)


def public_script(folder: Path) -> types.ModuleType:
    """The public script's module of models.

    Raises:
        BenchError: the folder has none, or it cannot be imported.
    """
    file = folder / SCRIPT_FILE
    if not file.is_file():
        raise BenchError(
            f"{folder} has no {SCRIPT_FILE}: name the folder real_world of a copy of "
            "https://github.com/haoxuanli-pku/ICDE24-MNAR."
        )
    spec = importlib.util.spec_from_file_location("rival", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    stubs = {}
    if importlib.util.find_spec("matplotlib") is None:  # imported there, and not used
        stubs = {name: types.ModuleType(name) for name in ("matplotlib", "matplotlib.pyplot")}
    try:
        with mock.patch.dict(sys.modules, stubs):
            spec.loader.exec_module(module)
        found = [getattr(module, name) for name in _CLASSES.values()]
    except (ImportError, AttributeError, SyntaxError) as error:
        raise BenchError(f"{file} cannot be used as the public script's models: {error}.") from error
    assert found
    return module


def against(
    theirs: types.ModuleType, row: str, work: Workload, sizes: Sequence[int], turns: int
) -> list[list[str]]:
    """A line of `_HEADER`, but for the data set's name, for each size of the suite's stack.

    Times are in µs of a thread per model and step, medians of epochs in turns.
    """
    data = training_data(work)
    rival = _rival_epoch(theirs, row, work, data)
    ours = [_suite_epoch(stack(row, replace(work, members=size), data)) for size in sizes]
    for epoch in ours:
        epoch()  # compiles
    table = np.array([[rival(), *(epoch() for epoch in ours)] for _ in range(turns)])
    slow, *fast = np.median(table, axis=0) * 1e6
    return [
        [row, *map(str, (work.embedding_size, work.batch_size, size)), *_numbers(slow, seconds)]
        for size, seconds in zip(sizes, fast, strict=True)
    ]


def _numbers(slow: float, fast: float) -> list[str]:
    return [f"{slow:.4g}", f"{fast:.4g}", f"{slow / fast:.1f}"]


def _suite_epoch(method: Method) -> Callable[[], float]:
    """Seconds per member-step of some epochs, their draws included."""
    config = method.config
    sampler = Sampler(method.data, config.batch_size, config.everywhere_ratio, method.kernels)
    step = method.phases()[-1].step
    number = [0]

    def epoch() -> float:
        start, first = time.thread_time(), number[0]
        while number[0] == first or time.thread_time() - start < _TURN_SECONDS:
            draws = sampler.epoch(method.data, "training", number[0])
            number[0] += 1
            for place in range(sampler.steps_per_epoch):
                step(draws.draw(method.data, place))
        steps = (number[0] - first) * sampler.steps_per_epoch
        return (time.thread_time() - start) / (steps * method.n_members)

    return epoch


def _rival_epoch(
    theirs: types.ModuleType, row: str, work: Workload, data: TrainingData
) -> Callable[[], float]:
    """Seconds per step of one epoch of their `fit`."""
    x = torch.stack([data.users, data.items], -1).numpy()
    y = data.labels.numpy()
    model = getattr(theirs, _CLASSES[row])(
        work.users,
        work.items,
        batch_size=work.batch_size,
        batch_size_prop=_PROPENSITY_BATCH,
        embedding_k=work.embedding_size,
    )

    def epoch() -> float:
        with _on_cpu(theirs), contextlib.redirect_stdout(io.StringIO()):
            start = time.thread_time()
            model.fit(x, y, num_epoch=1, lr=0.01)
            return (time.thread_time() - start) / (len(x) // work.batch_size)

    _all_pairs(work.users, work.items)
    return epoch


@contextlib.contextmanager
def _on_cpu(theirs: types.ModuleType) -> Iterator[None]:
    """Within it `.cuda()` does nothing, and the list of all pairs comes ready."""

    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    with (
        mock.patch.object(torch.Tensor, "cuda", stay),
        mock.patch.object(torch.nn.Module, "cuda", stay),
        mock.patch.object(theirs, "generate_total_sample", _all_pairs, create=True),
    ):
        yield


_PAIRS: dict[tuple[int, int], NDArray[np.int64]] = {}


def _all_pairs(users: int, items: int) -> NDArray[np.int64]:
    """(U · I, 2) users and items, made once."""
    if (users, items) not in _PAIRS:
        _PAIRS.clear()
        _PAIRS[users, items] = np.stack(np.divmod(np.arange(users * items), items), -1)
    return _PAIRS[users, items]


if __name__ == "__main__":
    raise SystemExit(main())
