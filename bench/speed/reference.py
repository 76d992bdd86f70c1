"""What the engine is measured against: one model at a time, as it is written with torch's own modules."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.engine.sampling import TrainingData
from bench.speed.bandwidth import wait
from bench.speed.workload import Workload


class EagerMF(nn.Module):
    """MF as a single model is written with torch's own modules: the reference."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.users = nn.Embedding(work.users, work.embedding_size)
        self.items = nn.Embedding(work.items, work.embedding_size)
        self.user_bias = nn.Embedding(work.users, 1)
        self.item_bias = nn.Embedding(work.items, 1)
        self.bias = nn.Parameter(torch.zeros(1))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits (B,)."""
        product = (self.users(users) * self.items(items)).sum(-1)
        biases = self.user_bias(users) + self.item_bias(items)
        return product + biases.squeeze(-1) + self.bias


def eager_steps(work: Workload, data: TrainingData, steps: int) -> Callable[[], float]:
    """One turn of the reference: seconds per step of a single model."""
    model = EagerMF(work).to(data.labels.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
    loss = nn.BCEWithLogitsLoss()

    def turn() -> float:
        wait(data.labels.device)
        start = time.perf_counter()
        order = torch.randperm(len(data.labels), device=data.labels.device)
        for number in range(steps):
            batch = order[number * work.batch_size : (number + 1) * work.batch_size]
            optimiser.zero_grad()
            loss(model(data.users[batch], data.items[batch]), data.labels[batch]).backward()
            optimiser.step()
        wait(data.labels.device)
        return (time.perf_counter() - start) / steps

    return turn
