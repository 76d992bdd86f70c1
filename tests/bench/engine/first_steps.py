"""Three members of every row that is trained, on a small space, and the draws of their phases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch

import methods
from bench.engine.phase import Phase
from bench.engine.sampling import Draw, Sampler, TrainingData

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "escm2_dr": [{}, {"shared": False}],
    "ultd_jl": [
        {},
        {"rate": "network"},
        {"user_mean": "batch", "users_without": "skip"},
        {"f_steps": 3, "g_steps": 2, "batch_size": 8},  # a stretch of A in each step
    ],
    "invpref": [{"interval": 2}],
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


def built(key: str, settings: dict[str, Any]) -> Any:
    """The method, of members with three learning rates."""
    kind = methods.get(key)
    configs = [
        kind.Config(**{"batch_size": 16, "embedding_size": 4, **settings}, learning_rate=rate)
        for rate in (0.01, 0.02, 0.05)
    ]
    return kind(configs, [0, 1, 1], data())


def phases(method: Any) -> Iterator[tuple[Phase, Iterator[Draw]]]:
    """Every phase of a method, begun, with the draws of its steps."""
    config = method.config
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        for part in method.parts.values():
            part.restart()
        sampler = Sampler(method.data, config.batch_size, config.everywhere_ratio, method.kernels)
        yield phase, _draws(method, sampler, phase.stream)


def _draws(method: Any, sampler: Sampler, stream: str) -> Iterator[Draw]:
    for number in count():
        epoch = sampler.epoch(method.data, stream, number)
        for step in range(sampler.steps_per_epoch):
            yield epoch.draw(method.data, step)


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
