"""How far a run is, and what it came to: bars, times left, and the lines a cell prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.records.metric import METRICS
from bench.records.record import Record

_SIZE = "embedding_size"
_LEAST_INTERACTION = 0.01  # of logits
_SAME_AUC = 0.002  # the means of some seeds differ by more where embeddings matter


# tqdm would put a comma before its postfix.
_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}"


class Bar:
    """A progress bar over trainings; a line a minute where the output is no terminal.

    show: False for silence.
    """

    def __init__(self, name: str, show: bool = True) -> None:
        from tqdm import tqdm

        self._name, self._show = name, show
        self._told = time.monotonic()
        disable = None if show else True
        self._bar = tqdm(desc=name, unit="training", disable=disable, leave=False, bar_format=_FORMAT)

    def __call__(self, done: int, total: int, stage: str, seconds_left: float | None) -> None:
        """`done` of about `total` trainings are there."""
        left = "" if seconds_left is None else f", about {duration(seconds_left)} left"
        state = f"{done} of {total} trainings, stage {stage}{left}"
        if not self._bar.disable:
            self._bar.total, self._bar.n = total, done
            # Short, so that the bar and the time left are whole at 80 columns.
            self._bar.unit = f"{stage}{left.replace('about ', '')}"
            self._bar.refresh()
        elif self._show and time.monotonic() - self._told > 60:
            self._told = time.monotonic()
            # A job in another process speaks when it has ended, but progress is wanted before.
            stream = sys.stdout if sys.stdout is sys.__stdout__ else sys.__stderr__
            print(f"{self._name}: {state}", file=stream, flush=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """In the largest unit that says enough: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summary(name: str, record: Record, folder: Path, beside: Sequence[str] = ()) -> str:
    """What a cell selected and scored, in a few lines.

    Args:
        beside: lines that hold its test metrics against others; without them they stand in one line.
    """
    point = ", ".join(
        f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
        for field, value in record.selected.items()
    )
    tried = f"({_points(record.points)}, "
    if not point:  # of a tuned point, the sweep that chose it has its own record
        point = "the only point"
        if record.points > 1:
            point, tried = "the given point", f"(once chosen of {_points(record.points)}; "
    n = len(record.seeds)
    scores = []
    for metric in record.metrics:
        values = list(record.metric(metric).values())
        spread = f" ± {np.std(values, ddof=1):.4f}" if n > 1 else ""
        scores.append(f"{METRICS[metric].heading(record.k)} {np.mean(values):.4f}{spread}")
    lines = [
        name,
        f"  selected  {point} {tried}validation AUC {np.mean(record.validation.auc):.4f})",
        *(beside or [f"  test      {'  '.join(scores)}  ({n} seed{'s' if n > 1 else ''})"]),
        f"  record    {folder}",
    ]
    lines += [f"  warning   {sentence}" for sentence in died_out(record)]
    if record.diverged:
        lines.insert(2, f"  diverged  {len(record.diverged)} members; see the record")
    return "\n".join(lines)


def _points(n: int) -> str:
    return f"{n} point{'' if n == 1 else 's'}"


def died_out(record: Record) -> list[str]:
    """Sentences about embeddings that a weight decay, too large for loss and learning rate, has killed."""
    found = []
    # A record of an earlier version of the suite does not have it.
    spread = record.diagnostics.get("interaction_sd")
    if spread and np.mean(spread) < _LEAST_INTERACTION:
        found.append(
            f"user and item do not interact in the predictions (standard deviation {np.mean(spread):.4f}): "
            "a smaller weight decay may keep the embeddings alive"
        )
    alike = [
        each.held_out_auc
        for each in record.tried
        if each.held_out_auc is not None
        and {**each.point, _SIZE: 0} == {**record.selected, _SIZE: 0}
        and _SIZE in each.point
    ]
    if len(alike) > 2 and max(alike) - min(alike) < _SAME_AUC:
        found.append(
            f"{len(alike)} embedding sizes at the selected point agree within {_SAME_AUC:g} AUC: it may owe "
            "nothing to its embeddings"
        )
    return found


class Overview:
    """What a multirun of sweeps in stages has before it, told before it starts, and how far it is.

    jobs: the overrides of each cell. Other multiruns are short, and start at once.
    """

    def __init__(self, jobs: Sequence[Sequence[str]]) -> None:
        self._started = time.monotonic()
        self._trainings = [_trainings(job) for job in jobs] if len(jobs) > 1 and _staged(jobs) else []
        if self._trainings:
            known = [n for n in self._trainings if n]
            print(
                f"{len(self._trainings)} cells, {sum(known):,} trainings; the records of "
                f"{len(self._trainings) - len(known)} cells are there.",
                flush=True,
            )

    def position(self, cell: int) -> str:
        """A cell's number among all, both from 1: "3 of 13"; "" of a short multirun."""
        return f"{cell} of {len(self._trainings)}" if self._trainings else ""

    def tell(self, cell: int) -> None:
        """Says how far the whole is, once a cell has been trained."""
        done, to_come = sum(self._trainings[:cell]), sum(self._trainings[cell:])
        if done and to_come and self._trainings[cell - 1]:
            left = (time.monotonic() - self._started) / done * to_come
            print(f"{cell} of {len(self._trainings)} cells; about {duration(left)} left at this rate.")


def _staged(jobs: Sequence[Sequence[str]]) -> bool:
    """Whether a job is swept in several stages: of the jobs with the same sweep, the first tells."""
    from bench import compose

    first: dict[tuple[str, ...], Sequence[str]] = {}
    for job in jobs:
        first.setdefault(tuple(word for word in job if word.lstrip("+").startswith("sweep")), job)
    for job in first.values():
        try:
            if len(compose.composed(job).sweep.stages) > 1:
                return True
        except BenchError:
            continue  # the job will tell it itself
    return False


def _trainings(job: Sequence[str]) -> int:
    """Trainings of a cell; 0 where its record is there, or if it has an error that it will tell itself."""
    from bench import cell as cells
    from bench import compose

    try:
        config = compose.composed(job)
        cell = cells.prepare(config, cells.load_ratings(config))
    except BenchError:
        return 0
    there = (Path(config.results) / "runs" / cell.digest / "record.json").is_file()
    return 0 if there and not cell.again else cells.trainings(cell)
