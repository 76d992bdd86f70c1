"""What is timed: generated ratings of given counts, stacks of members on them, and their memory."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import methods
from bench.config import EngineConfig
from bench.engine import kernels
from bench.engine.memory import peak_memory
from bench.engine.method import Method
from bench.engine.sampling import Sampler, TrainingData

_MEMORY_STEPS = 3  # after which a process has held all that it will hold


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Of a data set and of what is trained on it. unbiased: ratings in A, for each seed."""

    members: int = 1
    users: int
    items: int
    ratings: int
    batch_size: int
    embedding_size: int
    unbiased: int = 2000


# The data sets' counts, and what is usual there.
COAT = Workload(users=290, items=300, ratings=6960, batch_size=128, embedding_size=8, unbiased=232)
YAHOO_R3 = Workload(
    users=15400, items=1000, ratings=311704, batch_size=4096, embedding_size=16, unbiased=2700
)


def training_data(work: Workload, device: torch.device | str = "cpu", n_seeds: int = 10) -> TrainingData:
    """Ratings of a workload's counts, as many of each user, made without a table of users x items.

    A user's items are a random start and a stride that has no factor in common with the number of items, so
    that none comes twice.
    """
    generator = torch.Generator().manual_seed(0)
    per_user = -(-work.ratings // work.users)
    start = torch.randint(work.items, (work.users, 1), generator=generator)
    stride = next(each for each in range(round(0.618 * work.items), 0, -1) if math.gcd(each, work.items) == 1)
    items = ((start + stride * torch.arange(per_user)) % work.items).flatten()[: work.ratings]
    users = torch.arange(work.users).repeat_interleave(per_user)[: work.ratings]
    a = (n_seeds, work.unbiased)
    return TrainingData(
        n_users=work.users,
        n_items=work.items,
        seeds=tuple(range(n_seeds)),
        seed_row=torch.arange(n_seeds).to(device),
        users=users.to(device),
        items=items.to(device),
        labels=(torch.rand(work.ratings, generator=generator) < 0.4).float().to(device),
        unbiased_users=torch.randint(work.users, a, generator=generator).to(device),
        unbiased_items=torch.randint(work.items, a, generator=generator).to(device),
        unbiased_labels=(torch.rand(a, generator=generator) < 0.4).float().to(device),
    )


def trained_rows() -> list[str]:
    """The rows that can be trained on these ratings: nobody knows the propensities of any."""
    return [name for name in methods.names() if methods.get(name).trained and name != "ips_oracle"]


def stack(
    method: str,
    work: Workload,
    data: TrainingData,
    adam: str = "dense",
    kernel: str = "auto",
    threads: int = 1,
) -> Method:
    """A built stack of a workload's members, with different rates.

    Args:
        adam, kernel, threads: as `engine.adam`, `engine.kernels` and `engine.threads`.
    """
    kind = methods.get(method)
    configs = [
        kind.Config(
            batch_size=work.batch_size,
            embedding_size=work.embedding_size,
            learning_rate=0.01 * (1 + member % 4),
            weight_decay=1e-5,
        )
        for member in range(work.members)
    ]
    rows = torch.arange(work.members, device=data.labels.device) % len(data.seeds)
    engine = EngineConfig(kernels=kernel, device=data.labels.device.type)
    with kernels.using(kernels.make(kernels.name_for(engine), threads)):
        built = kind(configs, [int(row) for row in rows], data.take(rows))
    for part in built.parts.values():
        part.restart(by_rows=adam == "rows")
    return built


# --- Memory, in processes of their own ----------------------------------------------------------------


def peak_bytes(work: Workload, adam: str = "dense") -> int:
    """What a few steps of MF take beyond what the process holds before them, a best copy included."""
    torch.set_num_threads(1)
    with suppress(OSError):  # Linux: forget the peak so far
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak_of_process()
    method = stack("mf", work, training_data(work, n_seeds=min(work.members, 10)), adam)
    kept = {name: table.clone() for name, table in method.prediction.tables.items()}
    sampler = Sampler(method.data, work.batch_size, 0, method.kernels)
    epoch = sampler.epoch(method.data, "training", 0)
    for number in range(_MEMORY_STEPS):
        method.step(epoch.draw(method.data, number % sampler.steps_per_epoch))
    assert kept
    return _peak_of_process() - before


def _peak_of_process() -> int:
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return peak_memory()


def apart(what: Callable[..., Any], *arguments: Any, processes: int = 1) -> list[Any]:
    """What a function returns in each of some new processes that run it at once.

    Where there are several, its first argument is a barrier of theirs.
    """
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


def _answer(sender: Any, what: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(what(*arguments))
