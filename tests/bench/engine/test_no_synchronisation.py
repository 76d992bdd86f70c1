"""No training step waits for its device: nothing in it needs a number, or a size, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import methods
from bench.engine.sampling import Sampler, TrainingData

# What makes a GPU wait: reading a number, results whose size depends on the data, new tensors from Python's
# numbers (a copy from pageable memory).
WAITING = (
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_static", "argwhere"),
    *("masked_select", "masked_scatter", "unique_consecutive", "_unique", "_unique2", "unique_dim"),
    *("bincount", "_bincount", "histc", "repeat_interleave", "lift_fresh", "allclose"),
)


class Watch(TorchDispatchMode):
    """Lists the operations that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.seen = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        self.seen += 1
        if name in WAITING or (name.startswith("index") and _by_mask(args)):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def _by_mask(args: Sequence[Any]) -> bool:
    """Whether an indexing operation has a mask among its indices: its result's size depends on the data."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], Sequence) else ()
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices)


def data() -> TrainingData:
    """Two seeds of a small space."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(30 * 20, generator=generator)[:120]
    a = torch.randint(30 * 20, (2, 40), generator=generator)
    return TrainingData(
        n_users=30,
        n_items=20,
        seeds=(0, 1),
        seed_row=torch.tensor([0, 1, 1]),
        users=cells // 20,
        items=cells % 20,
        labels=(torch.rand(120, generator=generator) < 0.5).float(),
        unbiased_users=a // 20,
        unbiased_items=a % 20,
        unbiased_labels=(torch.rand(2, 40, generator=generator) < 0.5).float(),
        propensity=torch.full((30, 20), 0.25),
    )


def watched(method: Any) -> Watch:
    """The second step of every phase under watch; the first one makes what stays."""
    watch = Watch()
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        for part in method.parts.values():
            part.restart()
        sampler = Sampler(
            method.data, method.config.batch_size, method.config.everywhere_ratio, method.kernels
        )
        epoch = sampler.epoch(method.data, phase.stream, 0)
        phase.step(epoch.draw(method.data, 0))
        with watch:
            phase.step(epoch.draw(method.data, 1))
    return watch


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "escm2_dr": [{}, {"shared": False}],
    "ultd_jl": [{}, {"rate": "network"}, {"user_mean": "batch", "users_without": "skip"}],
    "ultd_tp": [{}, {"missing_weight": 0.01}, {"batch_size": 8}],
    "autodebias": [{}, {"freeze_steps": 5}],
    "dr_jl": [{}, {"loss": "mse"}, {"propensity": "logistic"}],
    "dr": [{}, {"imputation": "constant"}],
    "cause": [{}, {"mask": False}],
}
CASES = [
    (key, settings)
    for key in methods.names()
    if methods.get(key).trained
    for settings in VARIANTS.get(key, [{}])
]


@pytest.mark.parametrize(("key", "settings"), CASES, ids=lambda value: str(value))
def test_no_step_waits_for_the_device(key: str, settings: dict[str, Any]) -> None:
    kind = methods.get(key)
    configs = [
        kind.Config(**{"batch_size": 16, "embedding_size": 4, **settings}, learning_rate=rate)
        for rate in (0.01, 0.02, 0.05)
    ]
    watch = watched(kind(configs, [0, 1, 1], data()))
    assert watch.seen > 20
    assert watch.found == []


def test_the_watch_sees_what_would_wait() -> None:
    values = torch.arange(4.0)
    watch = Watch()
    with watch:
        float(values[0])
        values[values > 1]
        values[values > 1] = values[0]
        values.unique()
        values.nonzero()
        torch.tensor([1.0])
        values[torch.arange(2)]  # fine
    waits = ["_local_scalar_dense", "index", "index_put_", "_unique2", "nonzero", "lift_fresh"]
    assert [name.split(".")[1] for name in watch.found] == waits
