"""Where, when, with what and at what cost a cell was trained."""

from __future__ import annotations

import platform
import subprocess
import time

import numpy as np
import torch

from bench.cell.search import Search
from bench.engine.memory import peak_memory
from bench.files import CHECKOUT
from bench.records.record import Provenance


class Clock:
    """Starts with a run."""

    def __init__(self) -> None:
        self._started, self._cpu = time.time(), time.process_time()

    def provenance(self, search: Search) -> Provenance:
        """Of a run that has just ended."""
        device = search.trainer.device
        if device.type == "cuda":
            peak, name = torch.cuda.max_memory_allocated(device), torch.cuda.get_device_name(device)
        else:
            peak, name = peak_memory(), platform.machine()  # of the whole process
        trained = [*search.chosen, *(each for _, each in search.trials.values())]
        words = search.cell.words
        return Provenance(
            device=device.type,
            device_name=name,
            threads=torch.get_num_threads(),
            wall_seconds=round(time.time() - self._started, 3),
            cpu_seconds=round(time.process_time() - self._cpu, 3),
            peak_memory_mib=round(peak / 2**20, 1),
            python=platform.python_version(),
            torch=torch.__version__,
            numpy=np.__version__,
            kernels=search.trainer.kernels.described,
            commit=_commit(),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            training_seconds=round(sum(each.seconds for each in trained), 3),
            command=" ".join(["python -m bench", *words]) if words else "",
        )


def _commit() -> str:
    """The checkout's commit, with "+" where files have been changed since; "unknown" outside git."""
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(CHECKOUT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "bench", "methods"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answers[0] + ("+" if answers[1] else "")
