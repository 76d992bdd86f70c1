"""What is known on generated data: `python -m bench.study.known_truth [--jobs N] [OVERRIDE ...]`.

Trains every row with its default settings and 20 seeds on `synthetic`, whose labels and propensities are
all known, and writes to `results/synthetic/`:

known_truth.csv   ideal loss, AUC and NDCG of every row, each tested against MF
known_truth.md    the same to read, and whether ULTD unlearns the users that select most: Spearman's
                  rho(alpha_u, |kappa_u|), with a bootstrap interval over users
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from tabulate import tabulate

import methods
from bench import cell as cells
from bench import compose
from bench.errors import BenchError
from bench.files import write_text as write
from bench.records import store
from bench.study.variants import values
from bench.table.statistics import holm, paired, wilcoxon

REFERENCE = "mf"
METRICS = ("ideal_loss", "auc", "ndcg")
HEADER = ["method", "metric", "mean", "std", "n", "median_difference", "p_value", "p_holm"]
RESAMPLES = 2000

Floats = NDArray[np.float64]


def record_of(method: str, overrides: Sequence[str]) -> tuple[str, dict[str, Any], str]:
    """A row's record on the generated data, trained if it is not there: (method, record, digest)."""
    compose.register(overrides)
    given = [f"method={method}", "dataset=synthetic", "sweep=none", "seeds=20", *overrides]
    config = compose.composed(given)
    cell = cells.prepare(config, cells.load(config))
    runs = Path(config.results) / "runs"
    return method, store.find(runs, cell.digest) or cells.run(cell, runs), cell.digest


def compare(records: dict[str, dict[str, Any]]) -> list[list[Any]]:
    """Lines of the CSV: every row beside the reference, Holm's family being a metric's rows."""
    lines: list[list[Any]] = []
    for metric in METRICS:
        base = values(records[REFERENCE], metric)
        block, p_values = [], []
        for method, record in records.items():
            own = values(record, metric)
            column = np.array(list(own.values()))
            line: list[Any] = [method, metric, column.mean(), column.std(ddof=1), len(column), "", "", ""]
            if method != REFERENCE:
                ours, theirs = paired(own, base)
                p_values.append(wilcoxon(ours, theirs)[0])
                line[5:7] = [float(np.median(ours - theirs)), p_values[-1]]
            block.append(line)
        corrected = iter(holm(p_values))
        for line in block:
            if line[0] != REFERENCE:
                line[7] = next(corrected)
        lines += block
    return lines


def spearman(alpha: Floats, strength: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean over seeds of Spearman's rho(alpha_u, |kappa_u|), with its 95 % bootstrap interval over users.

    Args:
        alpha: (S, U) unlearning rates. strength: (U,) signed self-selection strengths kappa_u.

    Returns:
        rho, low, high; rho is NaN where a seed's alpha are all equal.
    """
    target = np.abs(strength)
    random = np.random.default_rng(seed)
    picks = random.integers(alpha.shape[1], size=(RESAMPLES, alpha.shape[1]))
    draws = [_mean_rho(alpha[:, pick], target[pick]) for pick in picks]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return _mean_rho(alpha, target), float(low), float(high)


def _mean_rho(alpha: Floats, target: Floats) -> float:
    ranks = rankdata(alpha, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    other = rankdata(target)
    other = other - other.mean()
    scale = np.sqrt((ranks**2).sum(1) * (other**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean(ranks @ other / scale))


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def page(lines: list[list[Any]], rhos: dict[str, tuple[float, float, float]], titles: dict[str, str]) -> str:
    """`known_truth.md`."""
    rows = []
    for method, title in titles.items():
        row = [title]
        for metric in METRICS:
            line = next(line for line in lines if line[:2] == [method, metric])
            mark = "†" if line[7] != "" and line[7] < 0.05 else ""
            row.append(f"{line[2]:.4f}{mark} ± {line[3]:.4f}")
        rows.append(row)
    better = {
        metric: [
            titles[line[0]]
            for line in lines
            if line[1] == metric
            and line[7] != ""
            and line[7] < 0.05
            and (line[5] < 0) == (metric == "ideal_loss")
        ]
        for metric in METRICS
    }
    names = {"ideal_loss": "Ideal loss", "auc": "AUC", "ndcg": "NDCG@5"}
    parts = [
        "# Known truth",
        "Generated data (`dataset=synthetic`): every label and propensity is known. Default settings, 20 "
        "seeds, mean ± standard deviation. †: differs from MF, p < .05, exact Wilcoxon signed-rank test over "
        "paired seeds, Holm's correction within the column. Ideal loss: mean cross-entropy over all pairs, "
        "lower is better.",
        tabulate(rows, ["Method", *names.values()], tablefmt="github", disable_numparse=True),
        "\n".join(
            f"- Better than MF in {names[metric]}: {', '.join(found) or 'none'}."
            for metric, found in better.items()
        ),
        "The paper's hypothesis is that users who select more are unlearned more, rho(α_u, |κ_u|) > 0:",
        "\n".join(
            f"- {titles[method]}: Spearman's rho = {rho:+.3f}, "
            f"95 % interval over users [{low:+.3f}, {high:+.3f}]."
            for method, (rho, low, high) in rhos.items()
        ),
        "Written by `python -m bench.study.known_truth`.",
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.known_truth", description="Every row where the truth is known."
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--methods", default="", help="some rows' keys; MF is always among them")
    parser.add_argument("--output", type=Path, default=Path("results/synthetic"), metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every row")
    given = parser.parse_args(arguments)
    try:
        compose.register(given.overrides)
        names = [key for key in methods.names() if not given.methods or key in given.methods.split(",")]
        names = [REFERENCE, *(key for key in names if key != REFERENCE)]
        work = (joblib.delayed(record_of)(name, given.overrides) for name in names)
        done = list(joblib.Parallel(n_jobs=given.jobs, batch_size=1)(work))
        records = {method: record for method, record, _ in done}
        config = compose.composed(["dataset=synthetic", *given.overrides])
        truth = cells.load(config).truth
        assert truth is not None
        rhos = {}
        for method, _, digest in done:
            arrays = store.read_arrays(Path(config.results) / "runs", digest)
            if "user_alpha" in arrays:
                alpha = arrays["user_alpha"].astype(float)
                rhos[method] = spearman(alpha, truth.selection_strength.astype(float))
        lines = compare(records)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [HEADER, *([_number(value) for value in line] for line in lines)]
        )
        write(given.output / "known_truth.csv", text.getvalue())
        titles = {name: methods.get(name).title for name in names}
        write(given.output / "known_truth.md", page(lines, rhos, titles))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(given.output / "known_truth.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
