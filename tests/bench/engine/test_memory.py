"""What is planned for a stack covers what it takes, and `engine.memory_gib` is what the process may hold.

Run as a program (`PYTHONPATH=. python tests/bench/engine/test_memory.py METHOD MEMBERS KERNELS`) it trains
with the least budget that is not refused, and prints that budget and the peak it reached, in bytes.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import methods
from bench.config import EngineConfig
from bench.engine import heap, kernels, memory
from bench.engine import members as planning
from bench.engine.members import Member, groups
from bench.engine.memory import budget, bytes_per_member, least_bytes, peak_memory
from bench.engine.sampling import Pairs, TrainingData
from bench.engine.training import Validation, train
from bench.errors import BenchError
from methods.base import Method, MethodConfig
from tests.every_row import LATER

N_USERS, N_ITEMS, N_OBSERVED, SEEDS = 6000, 2000, 120_000, 3
N_VALIDATION, N_TEST = 5000, 60_000
CPU = torch.device("cpu")
GIB = 2**30


def ratings() -> tuple[TrainingData, Validation]:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(N_USERS * N_ITEMS, (N_OBSERVED,), generator=generator)  # some twice

    def rows(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = torch.randint(N_USERS * N_ITEMS, (SEEDS, n), generator=generator)
        labels = (torch.rand(chosen.shape, generator=generator) < 0.4).float()
        return chosen // N_ITEMS, chosen % N_ITEMS, labels

    a = rows(3000)
    data = TrainingData(
        n_users=N_USERS,
        n_items=N_ITEMS,
        seeds=tuple(range(SEEDS)),
        seed_row=torch.arange(SEEDS),
        users=cells // N_ITEMS,
        items=cells % N_ITEMS,
        labels=(torch.rand(N_OBSERVED, generator=generator) < 0.4).float(),
        unbiased_users=a[0],
        unbiased_items=a[1],
        unbiased_labels=a[2],
    )
    return data, Validation(*rows(N_VALIDATION))


def go(key: str, n_members: int, kernel: str) -> tuple[int, int]:
    """The budget and the peak of the process, in bytes, of members that leave the stack one by one."""
    torch.set_num_threads(1)
    data, validation = ratings()
    kind = methods.get(key)
    members = [
        Member(
            0, place % SEEDS, kind.Config(batch_size=2048, embedding_size=32, learning_rate=0.002 * 4**place)
        )
        for place in range(n_members)
    ]

    own = kernels.make(kernel)

    def built(configs: list[MethodConfig], seeds: list[int], of: TrainingData) -> Method:
        with kernels.using(own):
            return kind(configs, seeds, of)

    def bytes_of(member: Member) -> int:
        method = built([member.config], [member.seed], data.take(torch.tensor([member.seed])))
        return bytes_per_member(method, N_VALIDATION, N_TEST)

    need = bytes_of(members[0]) * n_members
    planning._CPU_GROUP_BYTES = need  # all of them in one stack, which is the harder case
    config = EngineConfig(max_epochs=4, patience=1, kernels=kernel)
    allowed = need + memory._held_memory() + memory.runtime_bytes(config) + 2**20
    config.memory_gib = allowed / GIB
    stacks = groups(members, bytes_of, budget(config, CPU), CPU)
    assert len(stacks) == 1
    for stack in stacks:
        seeds = [member.seed for member in stack]
        mine = data.take(torch.tensor(seeds))
        rows = torch.tensor(mine.seeds)
        its = Validation(validation.users[rows], validation.items[rows], validation.labels[rows])
        outcome = train(built([member.config for member in stack], seeds, mine), its, config, 2)
        for place in range(len(stack)):
            test = torch.randint(N_USERS, (1, N_TEST)), torch.randint(N_ITEMS, (1, N_TEST))
            with torch.no_grad():
                outcome.method.take(torch.tensor([place])).score(Pairs(*test))
    return allowed, peak()


def peak() -> int:
    """Bytes that this process has held at most. Linux's ru_maxrss would count the one it was forked from."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return peak_memory()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


SOON = {("ultd_jl", 3, "numba")}  # a stack of several parts


@pytest.mark.parametrize(
    ("key", "n_members", "kernel"),
    [
        pytest.param(key, n, kernel, marks=() if (key, n, kernel) in SOON else LATER)
        for key in ("mf", "res_dr", "autodebias", "ultd_jl")
        for n in (1, 3)
        for kernel in kernels.NAMES
    ],
)
def test_a_process_stays_below_its_memory(key: str, n_members: int, kernel: str) -> None:
    found = subprocess.run(
        [sys.executable, __file__, key, str(n_members), kernel],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "."},
        cwd=Path(__file__).parents[3],
    )
    allowed, held = map(int, found.stdout.split())
    assert held <= allowed
    assert allowed < 2 * held  # nor is it planned far too high


def never(member: Member) -> int:
    raise AssertionError("a member was built")


def least(data: TrainingData) -> Callable[[MethodConfig], int]:
    return lambda config: least_bytes(config, data.n_users, data.n_items, 4)


def test_what_cannot_fit_is_refused_before_anything_is_built() -> None:
    data, _ = ratings()
    sizes = [Member(place, 0, MethodConfig(embedding_size=size)) for place, size in enumerate((4, 10**6))]
    with pytest.raises(
        BenchError, match=r"embedding size 1000000.* engine.memory_gib leaves 1 for it: raise"
    ):
        groups(sizes, never, GIB, CPU, least(data))


def test_the_least_is_below_the_estimate_of_every_trained_method() -> None:
    data, _ = ratings()
    one = data.take(torch.tensor([0]))
    for key in methods.names():
        if not methods.get(key).trained or key == "ips_oracle":
            continue
        config = methods.get(key).Config(embedding_size=8)
        assert least(data)(config) <= bytes_per_member(methods.get(key)([config], [0], one), 100), key


def test_the_budget_is_what_the_process_has_not_taken() -> None:
    held = memory._held_memory()
    assert held > 50 * 2**20
    left = budget(EngineConfig(memory_gib=(held + 2**30) / GIB), CPU)
    assert 2**29 < left < 2**30
    with pytest.raises(
        BenchError, match=r"^engine.memory_gib=0.01 leaves nothing to train with: the process"
    ):
        budget(EngineConfig(memory_gib=0.01), CPU)


def test_a_system_without_a_measure_of_memory_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_memory() > 10 * 2**20
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory() == 0


def test_what_a_step_frees_is_there_for_the_next_one() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is told to keep what is freed")
    import resource

    heap.keep_freed()

    def steps(number: int) -> None:
        for _ in range(number):
            for array in [np.empty(2**18) for _ in range(4)]:  # 2 MiB each, 512 pages
                array.fill(1)

    steps(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    steps(50)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 500  # else five times as many


if __name__ == "__main__":
    print(*go(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
