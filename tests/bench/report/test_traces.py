"""What is drawn of a record's arrays, and the files that keep it."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.files import write_all
from bench.records.record import Validation
from bench.report.traces import (
    CURVES_FILE,
    DRAWN_EVALUATIONS,
    DRAWN_USERS,
    RATES_FILE,
    Curve,
    Rates,
    Scatter,
    Traces,
    curves_of,
    rates_of,
    read_traces,
    spaced,
    trace_files,
    user_statistics,
)


def write_traces(folder: Path, traces: dict[str, Traces]) -> list[Path]:
    return write_all(folder, trace_files(traces))


def validation(auc: list[float], step: list[int]) -> Validation:
    return Validation(auc=auc, step=step)


# --- Curves ---------------------------------------------------------------------------------------------


def test_a_stopped_seed_is_carried_on_nowhere() -> None:
    curves = np.array([[0.5, 0.7, 0.6], [0.5, 0.8, np.nan]])
    found = curves_of(np.array([0.0, 10, 20]), curves, [0, 1], validation([0.7, 0.8], [10, 10]))
    assert [curve.auc for curve in found] == [(0.5, 0.7, 0.6), (0.5, 0.8)]
    assert [curve.steps for curve in found] == [(0, 10, 20), (0, 10)]
    assert [(curve.kept_step, curve.kept_auc) for curve in found] == [(10, 0.7), (10, 0.8)]


def test_a_seed_without_a_number_is_left_out() -> None:
    curves = np.array([[np.nan, 0.7], [0.5, 0.8]])
    found = curves_of(np.array([0.0, 10]), curves, [4, 7], validation([0.7, 0.8], [10, 10]))
    assert [curve.seed for curve in found] == [7]


def test_long_curves_are_thinned_with_both_ends_and_denser_where_more_seeds_train() -> None:
    curves = np.full((10, 1000), 0.7)
    curves[1:, 100:] = np.nan  # nine of ten stop early
    kept = validation([0.7] * 10, [0] * 10)
    found = curves_of(np.arange(1000.0), curves, range(10), kept)
    steps = found[0].steps
    assert len(steps) <= DRAWN_EVALUATIONS and (steps[0], steps[-1]) == (0, 999)
    early = sum(step < 100 for step in steps)
    assert early > DRAWN_EVALUATIONS / 3  # evenly thinned it would be a tenth of them
    assert all(curve.steps == steps[:early] for curve in found[1:])


def test_spaced_indices_have_both_ends() -> None:
    assert spaced(5, 10) == [0, 1, 2, 3, 4]
    kept = spaced(1000, 40)
    assert (len(kept), kept[0], kept[-1]) == (40, 0, 999)


# --- Rates ----------------------------------------------------------------------------------------------


def test_an_unbiased_loss_counts_only_where_there_are_unbiased_ratings() -> None:
    users = {
        "unbiased_loss": np.array([[0.2, 0.9, 0.9], [0.4, 0.6, 0.9]]),
        "has_unbiased": np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]),
    }
    ((name, values),) = user_statistics(users)
    assert name == "unbiased_loss"
    assert values == pytest.approx([0.3, 0.6, np.nan], nan_ok=True)


def test_the_true_strength_of_selection_counts_without_its_sign() -> None:
    users = {"kappa": np.array([[-1.0, 2.0, -3.0]] * 2), "alpha": np.array([[0.1, 0.2, 0.3]] * 2)}
    rates = rates_of(users)
    assert rates is not None
    assert rates.scatters["kappa"].values == (1.0, 2.0, 3.0) and rates.scatters["kappa"].rho == 1
    assert rates_of({"kappa": users["kappa"]}) is None  # a method without rates
    assert rates_of({"alpha": users["alpha"]}).scatters == {}  # a record from before κ was kept


def test_rates_are_described_over_all_users_and_drawn_of_some() -> None:
    n = 5 * DRAWN_USERS
    observed, alpha = np.arange(1.0, n + 1), np.linspace(0.2, 0.1, n)
    rates = rates_of({"alpha": np.stack([alpha] * 3), "n_observed": np.stack([observed] * 3)})
    assert rates is not None and rates.users == n
    assert rates.quantiles == pytest.approx((0.11, 0.15, 0.19), abs=1e-4)
    scatter = rates.scatters["n_observed"]
    assert (scatter.users, len(scatter.values), scatter.rho) == (n, DRAWN_USERS, -1)
    assert (scatter.values[0], scatter.values[-1]) == (1, n)


# --- The files ------------------------------------------------------------------------------------------


numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
curves = st.builds(
    lambda seed, kept, pairs: Curve(
        seed=seed,
        kept_step=kept[0],
        kept_auc=kept[1],
        steps=tuple(step for step, _ in pairs),
        auc=tuple(auc for _, auc in pairs),
    ),
    st.integers(0, 99),
    st.tuples(st.integers(0, 10**9), numbers),
    st.lists(st.tuples(st.integers(0, 10**9), numbers), min_size=1, max_size=5),
)
scatters = st.builds(
    lambda users, rho, pairs: Scatter(
        users=users, rho=rho, values=tuple(x for x, _ in pairs), alpha=tuple(y for _, y in pairs)
    ),
    st.integers(0, 9999),
    st.floats(-1, 1),
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5),
)
rates = st.builds(
    Rates,
    users=st.integers(0, 9999),
    quantiles=st.tuples(numbers, numbers, numbers),
    scatters=st.dictionaries(st.sampled_from(["n_observed", "kappa"]), scatters),
)


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=20, max_size=20),
        st.builds(Traces, st.lists(curves, min_size=1, max_size=3).map(tuple), st.none() | rates),
        max_size=3,
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, traces: dict[str, Traces]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    write_traces(folder, traces)
    assert read_traces(folder) == traces


def some() -> dict[str, Traces]:
    curve = Curve(seed=3, kept_step=10, kept_auc=0.75, steps=(0, 10), auc=(0.5, 0.75))
    scatter = Scatter(users=3, rho=math.nan, values=(1.0, 2.0), alpha=(0.1, 0.1))
    return {
        "a" * 20: Traces((curve,), Rates(users=3, quantiles=(0.1, 0.1, 0.1), scatters={"scale": scatter}))
    }


def test_the_same_traces_give_the_same_bytes_and_leave_a_file_as_it_is(tmp_path: Path) -> None:
    first = [file.read_bytes() for file in write_traces(tmp_path / "one", some())]
    assert first == [file.read_bytes() for file in write_traces(tmp_path / "two", some())]
    assert math.isnan(read_traces(tmp_path / "one")["a" * 20].rates.scatters["scale"].rho)  # type: ignore[union-attr]
    # Another zlib makes other bytes of the same text, which is no change.
    file = tmp_path / "one" / CURVES_FILE
    other = gzip.compress(gzip.decompress(first[0]), compresslevel=1, mtime=0)
    assert other != first[0]
    file.write_bytes(other)
    write_traces(tmp_path / "one", some())
    assert file.read_bytes() == other


@pytest.mark.parametrize("name", [CURVES_FILE, RATES_FILE])
@pytest.mark.parametrize(
    "text", ["cell,seed\n", None, "{header}\nabc,1,x,x,x,x\n", "{header}\nabc,0,1,1,1 2,1\n"]
)
def test_a_file_that_cannot_be_read_back_is_named(tmp_path: Path, name: str, text: str | None) -> None:
    write_traces(tmp_path, some())
    file = tmp_path / name
    if text is None:
        file.write_bytes(file.read_bytes()[:-20])
    else:
        header = gzip.decompress(file.read_bytes()).decode().splitlines()[0]
        file.write_bytes(gzip.compress(text.format(header=header).encode()))
    with pytest.raises(BenchError, match=name.replace(".", r"\.")):
        read_traces(tmp_path)


def test_without_files_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert read_traces(tmp_path) == {}
