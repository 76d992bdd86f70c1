"""`python -m bench method=ips dataset=coat`: trains one cell, or many with `-m` (Hydra's multirun).

Every field of the configuration can be overridden: `method.clip=5 grid.learning_rate=[0.01,0.05]
seeds=20 engine.device=cuda`. A field of the method that is given is not swept. A cell whose record stands
in `results/runs` is not trained again.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import launchers
from bench.errors import BenchError, NotApplicable


def main() -> int:
    """The command line; returns the exit status."""
    # Hydra would print its own errors and leave; raised, they become one sentence here.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    debug = os.environ.get("BENCH_DEBUG") == "1"
    words = sys.argv[1:]
    try:
        import hydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import DictConfig

        from bench import compose

        failed: list[Exception] = []
        here, n_cells, many = launchers.PROCESS, 0, False

        @hydra.main(config_path=str(compose.CONF), config_name="config", version_base="1.3")
        def app(config: DictConfig) -> launchers.Answer | None:
            if here == launchers.PROCESS:
                one(config)
                return None
            return launchers.answer(lambda: anew(config), failed, config.engine.threads)

        def anew(config: DictConfig) -> None:
            compose.register(words)
            one(config)

        def one(config: DictConfig) -> None:
            nonlocal n_cells, many
            job = HydraConfig.get()
            many = job.mode == RunMode.MULTIRUN
            n_cells += 1
            try:
                with one_sentence():
                    run_one(compose.resolved(config, job.overrides.task))
            except NotApplicable as error:  # of `method=glob(*)`, for instance: no failure
                print(f"{config.method.name} on {config.dataset.name}: {error}", file=sys.stderr)
                if not many:
                    failed.append(error)
            except Exception as error:
                if debug or not (many or isinstance(error, BenchError)):
                    raise
                failed.append(error)
                # Told now, since Hydra speaks at the end, and of the first failure only.
                name = f"{' '.join(compose.swept(words, job.overrides.task))}: " if many else ""
                print(f"{name}{error}", file=sys.stderr)
                if not isinstance(error, BenchError):
                    traceback.print_exc()

        # Hydra's errors may be OSErrors, so they come first.
        with one_sentence(), compose.one_sentence(), launchers.one_sentence():
            compose.register(words)
            words[:] = sys.argv[1:] = compose.read(words)
            launchers.check(words)
            launchers.prepare()
            answers = launchers.listen()
            app()
        n_failed = len(failed) + sum(answer.failed for answer in answers.values())
        if n_failed and (many or answers):
            print(f"{n_failed} of {n_cells + len(answers)} cells failed.", file=sys.stderr)
        return 1 if n_failed else 0
    except BenchError as error:
        if debug:
            raise
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Stopped; finished cells are kept, and the same command goes on from them."
            f"{launchers.left_behind(words)}",
            file=sys.stderr,
        )
        return 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns what the machine cannot give (memory, a file) into a BenchError."""
    try:
        yield
    except BenchError:
        raise
    except OSError as error:
        place = error.filename or "A file"
        raise BenchError(f"{place} cannot be used: {error.strerror or error}.") from error
    except (MemoryError, RuntimeError) as error:
        # PyTorch's own: OutOfMemoryError on a GPU, a RuntimeError on a CPU.
        known = re.search(r"allocate memory|not enough memory|out of memory", str(error))
        if not (isinstance(error, MemoryError) or known):
            raise
        said = str(error).splitlines()[0].rstrip(". ") if str(error) else "none is left"
        raise BenchError(
            f"There is not enough memory ({said}): choose smaller sizes, or let engine.memory_gib bound what "
            "is trained at once."
        ) from error


def run_one(config: Any) -> None:
    """Trains a cell unless its record is there, and prints what was selected and scored."""
    from bench import cell as cells
    from bench import store

    runs = Path(config.results) / "runs"
    cell = cells.prepare(config, cells.load(config))
    name = f"{cell.method} on {cell.dataset.name}, protocol {cell.protocol.name}"
    record = store.find(runs, cell.digest, report=lambda sentence: print(sentence, file=sys.stderr))
    if record is None:
        store.clean(runs)
        with Bar(name) as bar:
            record = cells.run(cell, runs, bar)
    else:
        name += ", from its record"
    print(summary(name, record, runs / cell.digest), flush=True)


class Bar:
    """A progress bar over members; silent where the output is no terminal."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=name, unit="member", disable=None, leave=False, smoothing=0.05)

    def __call__(self, done: int, total: int) -> None:
        """`done` more members are finished, of `total`."""
        self._bar.total = total
        self._bar.update(done)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def summary(name: str, record: dict[str, Any], folder: Path) -> str:
    """What a cell selected and scored, in a few lines."""
    import numpy as np

    rule = record["protocol"]["no_positive"]
    k = record["dataset"]["k"]
    point = ", ".join(
        f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
        for field, value in record["selected"].items()
    )
    values = {"AUC": record["test"]["auc"]}
    values |= {
        f"{title}@{k}": record["test"][key][rule] for title, key in (("NDCG", "ndcg"), ("Recall", "recall"))
    }
    if "ideal_loss" in record["test"]:
        values["ideal loss"] = record["test"]["ideal_loss"]
    n = len(record["seeds"])
    scores = "  ".join(
        f"{title} {np.mean(column):.4f}" + (f" ± {np.std(column, ddof=1):.4f}" if n > 1 else "")
        for title, column in values.items()
    )
    lines = [
        name,
        f"  selected  {point or 'the only point'} ({record['points']} points, "
        f"validation AUC {np.mean(record['validation']['auc']):.4f})",
        f"  test      {scores}  ({n} seed{'s' if n > 1 else ''})",
        f"  record    {folder}",
    ]
    if record["diverged"]:
        lines.insert(2, f"  diverged  {len(record['diverged'])} members; see the record")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
