"""What is known on generated data: `python -m bench.study.known_truth [--jobs N] [OVERRIDE ...]`.

Trains every row with its default settings and 20 seeds on `synthetic`, whose labels and propensities are
all known, and writes to `results/synthetic/own/`:

known_truth.csv   ideal loss, AUC and NDCG of every row, each tested against MF; further methods also against
                  the best row of the paper
known_truth.md    the same to read, and whether ULTD unlearns the users that select most: Spearman's
                  rho(alpha_u, |kappa_u|), with a bootstrap interval over users
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from tabulate import tabulate

import methods
from bench import cell as cells
from bench import compose
from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import write_csv, write_text
from bench.records.metric import METRICS
from bench.records.record import Record
from bench.study.comparisons import differences
from bench.study.files import Difference
from bench.study.variants import Study, Variant, VariantKey, trained

_REFERENCE = "mf"
_SHOWN = ("ideal_loss", "auc", "ndcg")
_TESTED = ("median_difference", "p_value", "p_holm")
_HEADER = [
    "method",
    "metric",
    "mean",
    "std",
    "n",
    *_TESTED,
    "best_row",
    *(f"{each}_best" for each in _TESTED),
]
_RESAMPLES = 2000
_LIMIT = 0.05  # of Holm's p, for a mark

_Floats = NDArray[np.float64]


def study_of_rows(keys: Sequence[str]) -> Study:
    """MF, and some other rows as their files have them, tested against it."""
    names = [_REFERENCE, *(key for key in keys if key != _REFERENCE)]
    common = ("dataset=synthetic", "sweep=none", "seeds=20")
    variants = [Variant("", key, methods.get(key).title, (f"method={key}", *common)) for key in names]
    return Study("known_truth", "Known truth", "", (_REFERENCE,), tuple(variants))


@dataclass(frozen=True)
class RowTests:
    """Differences by (method, metric). best: metric → the paper's row with the best mean, somewhat too good.

    Further methods are a Holm family of their own, so that they do not weaken the tests of the others.
    """

    against_mf: dict[tuple[str, str], Difference]
    against_best: dict[tuple[str, str], Difference]
    best: dict[str, str]


def row_tests(study: Study, records: Mapping[VariantKey, Record]) -> RowTests:
    """All rows against MF, and the further methods against the best row of the paper."""
    further = [each for each in study.variants if methods.is_further(each.name)]
    others = [each for each in study.variants if each not in further]
    against_mf = _by_place(replace(study, variants=tuple(others)), records)
    if not further:
        return RowTests(against_mf, {}, {})
    base = [each for each in others if each.name == _REFERENCE]
    against_mf |= _by_place(replace(study, variants=(*base, *further)), records)
    against_best: dict[tuple[str, str], Difference] = {}
    best = {metric: _best(others, records, metric) for metric in _SHOWN}
    for metric, first in best.items():
        beside = replace(study, against=(first.name,), variants=(first, *further))
        found = _by_place(beside, records)
        against_best |= {place: each for place, each in found.items() if place[1] == metric}
    return RowTests(against_mf, against_best, {metric: first.name for metric, first in best.items()})


def _best(variants: Sequence[Variant], records: Mapping[VariantKey, Record], metric: str) -> Variant:
    """The row of the paper with the best mean."""
    means = {
        each: _column(records[each.key], metric).mean()
        for each in variants
        if each.name in methods.ROWS and metric in records[each.key].metrics
    }
    return (max if METRICS[metric].more_is_better else min)(means, key=means.__getitem__)


def _by_place(study: Study, records: Mapping[VariantKey, Record]) -> dict[tuple[str, str], Difference]:
    return {(each.variant, each.metric): each for each in differences(study, records)}


def spearman(
    alpha: _Floats, strength: _Floats, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float, float]:
    """Mean over seeds of Spearman's rho(alpha_u, |kappa_u|), with its 95 % bootstrap interval over users.

    Args:
        alpha: (S, U) unlearning rates. strength: (U,) signed self-selection strengths kappa_u.
        seed, resamples: of the bootstrap.

    Returns:
        rho, low, high; rho is NaN where a seed's alpha are all equal.
    """
    target = np.abs(strength)
    random = np.random.default_rng(seed)
    picks = random.integers(alpha.shape[1], size=(resamples, alpha.shape[1]))
    draws = [_mean_rho(alpha[:, pick], target[pick]) for pick in picks]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return _mean_rho(alpha, target), float(low), float(high)


def _mean_rho(alpha: _Floats, target: _Floats) -> float:
    ranks = rankdata(alpha, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    other = rankdata(target)
    other = other - other.mean()
    scale = np.sqrt((ranks**2).sum(1) * (other**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.mean(ranks @ other / scale))


def _rows(study: Study, records: Mapping[VariantKey, Record], tests: RowTests) -> list[list[str]]:
    """The lines of the CSV file."""
    rows = []
    for metric in _SHOWN:
        for variant in study.variants:
            if metric not in records[variant.key].metrics:
                continue
            column = _column(records[variant.key], metric)
            place = variant.name, metric
            beside = tests.against_best.get(place)
            rows.append(
                [
                    *(variant.name, metric, f"{column.mean():.6g}", f"{column.std(ddof=1):.6g}"),
                    *(str(len(column)), *_numbers(tests.against_mf.get(place))),
                    *("" if beside is None else beside.against, *_numbers(beside)),
                ]
            )
    return rows


def _numbers(test: Difference | None) -> list[str]:
    if test is None:
        return [""] * len(_TESTED)
    return [f"{each:.6g}" for each in (test.median, test.p_value, test.p_holm)]


def _better(tests: Mapping[tuple[str, str], Difference], metric: str) -> list[str]:
    """The rows that are significantly better than what they were tested against."""
    return [
        name
        for (name, other), test in tests.items()
        if other == metric and test.p_holm < _LIMIT and METRICS[metric].better(test.median, 0.0)
    ]


def _column(record: Record, metric: str) -> _Floats:
    return np.array(list(record.metric(metric).values()))


def _page(
    study: Study,
    records: Mapping[VariantKey, Record],
    tests: RowTests,
    rhos: Mapping[str, tuple[float, float, float]],
) -> str:
    """`known_truth.md`."""
    marked = {place for place, test in tests.against_mf.items() if test.p_holm < _LIMIT}
    headings = {metric: METRICS[metric].heading(records["", _REFERENCE].k) for metric in _SHOWN}
    rows = []
    for variant in study.variants:
        row = [variant.title]
        for metric in _SHOWN:
            if metric not in records[variant.key].metrics:
                row.append("–")
                continue
            column, place = _column(records[variant.key], metric), (variant.name, metric)
            row.append(f"{column.mean():.4f}{'†' if place in marked else ''} ± {column.std(ddof=1):.4f}")
        rows.append(row)
    parts = [
        "# Known truth",
        "Generated data (`dataset=synthetic`): every label and propensity is known. Default settings, 20 "
        "seeds, mean ± standard deviation. †: differs from MF, p < .05, exact Wilcoxon signed-rank test over "
        "paired seeds, Holm's correction within the column"
        + (" (further methods a family of their own)" if tests.best else "")
        + ". Ideal loss: mean cross-entropy over all pairs, lower is better; raw scores have none.",
        tabulate(rows, ["Method", *headings.values()], tablefmt="github", disable_numparse=True),
        "\n".join(
            f"- Better than MF in {headings[metric]}: {_titles(study, _better(tests.against_mf, metric))}."
            for metric in _SHOWN
        ),
        "\n".join(
            f"- Further methods better than the best row of the paper in {headings[metric]}, "
            f"{study.titles[best]}: {_titles(study, _better(tests.against_best, metric))}."
            for metric, best in tests.best.items()
        ),
        "The paper's hypothesis is that users who select more are unlearned more, rho(α_u, |κ_u|) > 0:",
        "\n".join(
            f"- {study.titles[name]}: Spearman's rho = {rho:+.3f}, "
            f"95 % interval over users [{low:+.3f}, {high:+.3f}]."
            for name, (rho, low, high) in rhos.items()
        ),
        "Written by `python -m bench.study.known_truth`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _titles(study: Study, names: Sequence[str]) -> str:
    return ", ".join(study.titles[name] for name in names) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.known_truth", description="Every row where the truth is known."
    )
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count())
    parser.add_argument("--methods", default="", help="some rows' keys; MF is always among them")
    parser.add_argument("--output", type=Path, default=Path("results/synthetic/own"), metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every row")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    compose.register(given.overrides)
    study = study_of_rows(
        [key for key in methods.names() if not given.methods or key in given.methods.split(",")]
    )
    records: dict[VariantKey, Record] = {}
    for variant, answer in trained(study, given.overrides, given.jobs, store="runs"):
        if isinstance(answer, str):
            raise BenchError(f"{variant.title}: {answer}")
        records[variant.key] = answer
    truth = cells.load_ratings(compose.composed(["dataset=synthetic", *given.overrides])).truth
    assert truth is not None
    strength = truth.selection_strength.astype(float)
    rates = {each.name: records[each.key].arrays().get("user_alpha") for each in study.variants}
    rhos = {
        name: spearman(alpha.astype(float), strength) for name, alpha in rates.items() if alpha is not None
    }
    tests = row_tests(study, records)
    write_csv(given.output / "known_truth.csv", _HEADER, _rows(study, records, tests))
    print(write_text(given.output / "known_truth.md", _page(study, records, tests, rhos)))


if __name__ == "__main__":
    raise SystemExit(main())
