"""What the page draws of a record's arrays: validation curves of the seeds, and users' unlearning rates.

A clone has no records, so what is drawn lies beside the table, in `curves.csv.gz` and `rates.csv.gz`, as
thinned and rounded as the page shows it. Both files are written and read here alone. Needs neither torch
nor data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from bench.errors import BenchError
from bench.files import csv_text, read_csv
from bench.records.record import Validation

_Floats = NDArray[np.float64]
_Entry = TypeVar("_Entry")

_WRITER = "python -m bench.report"
CURVES_FILE, RATES_FILE = "curves.csv.gz", "rates.csv.gz"
CURVES_HEADER = ("cell", "seed", "kept_step", "kept_auc", "steps", "auc")
RATES_HEADER = ("cell", "statistic", "users", "rho", "values", "alpha")
DRAWN_EVALUATIONS = 40  # of a cell's curves that are kept
DRAWN_USERS = 400  # of a scatter plot that are kept
QUANTILES = (0.1, 0.5, 0.9)

# What a user is known for, beside the unlearning rate: title, and whether its axis is logarithmic.
STATISTICS = {
    "n_observed": ("ratings that the user chose to give", True),
    "unbiased_loss": ("loss on the user's unbiased ratings", False),
    "scale": ("learned scale of the user", False),
    "shift": ("learned shift of the user", False),
    "kappa": ("true strength of the user's selection, |κ|", False),
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Validation AUC of one seed up to where it stopped.

    kept_step, kept_auc: where the parameters were kept. steps: before each evaluation, (E,). auc: (E,).
    """

    seed: int
    kept_step: int
    kept_auc: float
    steps: tuple[int, ...]
    auc: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """The users' unlearning rates against one statistic of them.

    users: all that are known. rho: Spearman's over all of them, NaN where one side is constant. values,
    alpha: of the users that are drawn, in the order of the values.
    """

    users: int
    rho: float
    values: tuple[float, ...]
    alpha: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The users' unlearning rates, averaged over seeds.

    quantiles: of α over all users, at `QUANTILES`. scatters: name of a statistic → what is drawn.
    """

    users: int
    quantiles: tuple[float, ...]
    scatters: dict[str, Scatter]


@dataclass(frozen=True)
class Traces:
    """What is drawn of one record's arrays. rates: None of methods that have none."""

    curves: tuple[Curve, ...] = ()
    rates: Rates | None = None


# --- From a record's arrays -----------------------------------------------------------------------------


def traces_of(arrays: Mapping[str, ArrayLike], seeds: Sequence[int], validation: Validation) -> Traces:
    """What is drawn of a record's arrays; seeds: (S,)."""
    curves = curves_of(
        np.asarray(arrays.get("curve_steps", ()), float),
        np.asarray(arrays.get("curve", np.zeros((len(seeds), 0))), float),
        seeds,
        validation,
    )
    users = {
        name.removeprefix("user_"): np.asarray(values, float)
        for name, values in arrays.items()
        if name.startswith("user_")
    }
    return Traces(curves, rates_of(users))


def curves_of(
    steps: _Floats, curves: _Floats, seeds: Sequence[int], validation: Validation
) -> tuple[Curve, ...]:
    """The thinned curves, all at the same evaluations. steps: (E,). curves: (S, E), NaN after the end.

    A seed that stopped has no value afterwards: it is carried on nowhere.
    """
    lengths = [_length(curve) for curve in curves]
    places = _evaluations(lengths)
    found = []
    kept = zip(validation.step, validation.auc, strict=True)
    for seed, (step, auc), curve, length in zip(seeds, kept, curves, lengths, strict=True):
        mine = [place for place in places if place < length]
        if mine:
            found.append(
                Curve(
                    seed=int(seed),
                    kept_step=int(step),
                    kept_auc=round(float(auc), 4),
                    steps=tuple(int(steps[place]) for place in mine),
                    auc=tuple(round(float(curve[place]), 4) for place in mine),
                )
            )
    return tuple(found)


def _length(curve: _Floats) -> int:
    """Evaluations before the first that has no number."""
    missing = np.flatnonzero(~np.isfinite(curve))
    return int(missing[0]) if len(missing) else len(curve)


def _evaluations(lengths: Sequence[int]) -> list[int]:
    """At most `DRAWN_EVALUATIONS` indices, the closer to each other the more seeds were still training."""
    longest = max(lengths, default=0)
    running = np.array([sum(length > place for length in lengths) for place in range(longest)])
    if longest <= DRAWN_EVALUATIONS:
        return list(range(longest))
    passed = np.cumsum(running)
    wanted = np.linspace(passed[0], passed[-1], DRAWN_EVALUATIONS)
    return sorted({int(place) for place in np.searchsorted(passed, wanted)})


def rates_of(users: Mapping[str, _Floats]) -> Rates | None:
    """The rates of what a method says about every user, name → (S, U); None without rates."""
    if "alpha" not in users:
        return None
    alpha = np.nanmean(users["alpha"], axis=0)
    scatters = {}
    for name, values in user_statistics(users):
        drawn = _scatter(values, alpha, log=STATISTICS[name][1])
        if drawn is not None:
            scatters[name] = drawn
    quantiles = tuple(_significant(q) for q in np.quantile(alpha, QUANTILES))
    return Rates(users=len(alpha), quantiles=quantiles, scatters=scatters)


def user_statistics(users: Mapping[str, _Floats]) -> Iterator[tuple[str, _Floats]]:
    """What every user is known for: name, and (U,) means over seeds with NaN where unknown."""
    for name in STATISTICS:
        if name not in users or np.ptp(users[name]) == 0:
            continue
        values = users[name]
        if name == "unbiased_loss" and "has_unbiased" in users:
            values = np.where(users["has_unbiased"] > 0, values, np.nan)
        if name == "kappa":
            values = np.abs(values)
        known = np.isfinite(values).any(axis=0)
        mean = np.full(values.shape[-1], np.nan)
        mean[known] = np.nanmean(values[:, known], axis=0)
        yield name, mean


def _scatter(values: _Floats, alpha: _Floats, *, log: bool) -> Scatter | None:
    """None where fewer than three users are known, or all are alike."""
    known = np.isfinite(values) & np.isfinite(alpha) & (values > 0 if log else True)
    if known.sum() < 3 or np.ptp(values[known]) == 0:
        return None
    xs, ys = values[known], alpha[known]
    rho = float(np.corrcoef(rankdata(xs), rankdata(ys))[0, 1]) if np.ptp(ys) > 0 else math.nan
    drawn = np.argsort(xs, kind="stable")[spaced(len(xs), DRAWN_USERS)]
    return Scatter(
        users=len(xs),
        rho=round(rho, 4),
        values=tuple(_significant(x) for x in xs[drawn]),
        alpha=tuple(_significant(y) for y in ys[drawn]),
    )


def spaced(length: int, most: int) -> list[int]:
    """At most `most` indices of a sequence, evenly apart, the first and the last among them."""
    if length <= most:
        return list(range(length))
    return sorted({round(i * (length - 1) / (most - 1)) for i in range(most)})


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


# --- The files ------------------------------------------------------------------------------------------


def trace_files(traces: Mapping[str, Traces]) -> dict[str, str]:
    """The files of cells by digest, name → text; none where there is nothing to draw."""
    if not traces:
        return {}
    curves = (
        [
            cell,
            *map(repr, (each.seed, each.kept_step, each.kept_auc)),
            _joined(each.steps),
            _joined(each.auc),
        ]
        for cell, found in traces.items()
        for each in found.curves
    )
    return {
        CURVES_FILE: csv_text(CURVES_HEADER, curves),
        RATES_FILE: csv_text(RATES_HEADER, _rates_rows(traces)),
    }


def _rates_rows(traces: Mapping[str, Traces]) -> Iterator[list[str]]:
    """Of each cell its quantiles, as statistic "quantile", then its scatter plots."""
    for cell, found in traces.items():
        rates = found.rates
        if rates is None:
            continue
        yield [cell, "quantile", str(rates.users), "", _joined(QUANTILES), _joined(rates.quantiles)]
        for name, each in rates.scatters.items():
            rho = "" if math.isnan(each.rho) else repr(each.rho)
            yield [cell, name, str(each.users), rho, _joined(each.values), _joined(each.alpha)]


def read_traces(folder: Path) -> dict[str, Traces]:
    """What is drawn of every cell, by digest; nothing where the files are not there.

    Raises:
        BenchError: one of them is not as it was written.
    """
    curves = _read(folder / CURVES_FILE, CURVES_HEADER, _curves_of_rows)
    rates = _read(folder / RATES_FILE, RATES_HEADER, _rates_of_rows)
    return {cell: Traces(curves.get(cell, ()), rates.get(cell)) for cell in dict.fromkeys([*curves, *rates])}


def _read(
    file: Path, header: Sequence[str], parse: Callable[[list[dict[str, str]]], dict[str, _Entry]]
) -> dict[str, _Entry]:
    if not file.is_file():
        return {}
    try:
        return parse(read_csv(file, header, _WRITER))
    except (ValueError, KeyError) as error:
        raise BenchError(f"{file} is not as `{_WRITER}` writes it ({error}); remove it.") from error


def _curves_of_rows(rows: list[dict[str, str]]) -> dict[str, tuple[Curve, ...]]:
    found: dict[str, list[Curve]] = {}
    for row in rows:
        curve = Curve(
            seed=int(row["seed"]),
            kept_step=int(row["kept_step"]),
            kept_auc=float(row["kept_auc"]),
            steps=tuple(map(int, row["steps"].split())),
            auc=tuple(map(float, row["auc"].split())),
        )
        if len(curve.steps) != len(curve.auc):
            raise ValueError(f"{len(curve.steps)} steps, {len(curve.auc)} values")
        found.setdefault(row["cell"], []).append(curve)
    return {cell: tuple(curves) for cell, curves in found.items()}


def _rates_of_rows(rows: list[dict[str, str]]) -> dict[str, Rates]:
    found: dict[str, Rates] = {}
    for row in rows:
        values, alpha = (tuple(map(float, row[name].split())) for name in ("values", "alpha"))
        users = int(row["users"])
        if row["statistic"] == "quantile":
            found[row["cell"]] = Rates(users=users, quantiles=alpha, scatters={})
            continue
        if row["statistic"] not in STATISTICS or len(values) != len(alpha):
            raise ValueError(f"statistic {row['statistic']}: {len(values)} values, {len(alpha)} rates")
        found[row["cell"]].scatters[row["statistic"]] = Scatter(
            users=users, rho=float(row["rho"] or "nan"), values=values, alpha=alpha
        )
    return found


def _joined(numbers: Iterable[float]) -> str:
    return " ".join(map(repr, numbers))
