"""The scaling study: its data, what it reads off its curves, and that it goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.files import CHECKOUT
from bench.records.record import Record, Validation
from bench.speed import adam_metrics, curves
from bench.speed.curves import ADAMS, CurvePoint
from bench.speed.scaling_plot import plot
from bench.speed.workload import stack, training_data
from tests.made_records import made_record

CELLS = list(adam_metrics._CELLS)
TINY = CurvePoint(curve="users", size=40, users=40, items=13, ratings=200, batch_size=32, embedding_size=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("items", "ratings"), [(13, 197), (12, 200), (300, 200)])
def test_the_data_have_the_counts_and_no_pair_twice(items: int, ratings: int) -> None:
    data = training_data(replace(TINY, items=items, ratings=ratings), n_seeds=3)
    assert (len(data.users), len(data.labels), data.seeds) == (ratings, ratings, (0, 1, 2))
    cells = data.users * items + data.items
    assert len(cells.unique()) == ratings
    assert int(data.users.max()) == 39 and int(data.items.max()) < items
    assert data.unbiased_labels.shape == (3, TINY.unbiased)


def test_a_curve_changes_one_thing_and_calls_it_its_size() -> None:
    for curve in ("members", "users", "ratings", "batch", "processes"):
        field = {"batch": "batch_size"}.get(curve, curve)
        points = curves.CURVES[curve]
        assert all((point.curve, getattr(point, field)) == (curve, point.size) for point in points)
        sizes = [point.size for point in points]
        assert sizes == sorted(set(sizes))
        # Ratings go with users, so that each has as many.
        free = {"curve", "size", field, *(["ratings"] if curve == "users" else [])}
        rest = {frozenset((k, v) for k, v in point.line.items() if k not in free) for point in points}
        assert len(rest) == 1
    assert len({point.ratings / point.users for point in curves.CURVES["users"]}) == 1


def test_both_kinds_of_adam_are_timed_and_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_TURN_SECONDS", 0.01)
    found = curves.step_times(TINY)
    assert set(found) == set(ADAMS)
    for seconds, share, draws in found.values():
        assert seconds > 0 and 0 < share < 1 and 0 <= draws < 1
    data = training_data(TINY, n_seeds=1)
    assert stack("mf", TINY, data, "rows").prediction.adam.by_rows
    assert not stack("mf", TINY, data, "dense").prediction.adam.by_rows


def lines(curve: str, exponent: float) -> list[dict[str, str]]:
    """Seconds that grow with a power of the size; Adam's share rises with it, and rows do not grow."""
    found = []
    for place, size in enumerate((10, 100, 1000, 10_000)):
        for adam in ADAMS:
            seconds = 1e-3 * size**exponent if adam == "dense" else 0.1
            found.append(
                {
                    "curve": curve,
                    "size": str(size),
                    "members": "1",
                    "adam": adam,
                    "seconds_per_member_step": str(seconds),
                    "adam_share": str(0.2 + 0.2 * place),
                    "peak_mib": str(5 * size**0.5),
                }
            )
    return found


def test_exponents_are_slopes_on_logarithms_with_their_range() -> None:
    found = {
        (line["quantity"], line["adam"], line["range"]): line
        for line in curves.exponents(lines("users", 0.75))
    }
    dense = found["seconds_per_step", "dense", "whole"]
    assert (dense["exponent"], dense["from"], dense["to"], dense["points"]) == ("0.75", "10", "10000", "4")
    assert dense["largest_residual"] == "1.00"
    assert abs(float(found["seconds_per_step", "rows", "whole"]["exponent"])) == 0
    upper = found["peak_mib", "rows", "upper half"]
    assert (upper["exponent"], upper["from"], upper["points"]) == ("0.50", "1000", "2")


def test_members_count_as_a_whole_stack() -> None:
    grown = [line | {"members": line["size"]} for line in lines("members", 0.0)]
    dense = curves.exponents(grown)[0]
    assert (dense["quantity"], dense["exponent"]) == ("seconds_per_step", "1.00")


def test_crossings_are_interpolated_on_the_logarithm() -> None:
    (found,) = curves.crossings(lines("users", 1.0))
    # The share is .4 at 100 and .6 at 1000; the seconds are equal at 100.
    assert found["dense_adam_above_half"] == "316"
    assert float(found["rows_faster"]) == pytest.approx(100, rel=0.01)
    assert found["dense_over_rows_at_largest"] == "100"
    slow = [line | {"adam_share": "0.1"} for line in lines("batch", 0.1)]
    (found,) = curves.crossings(slow)
    assert (found["dense_adam_above_half"], found["rows_faster"]) == ("never", "never")


def test_a_stopped_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(point: CurvePoint) -> list[dict[str, str]]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(point.size)
        return [point.line | {"adam": adam, "seconds_per_member_step": "1"} for adam in ADAMS]

    monkeypatch.setattr(curves, "measured", measured)
    some = {"users": [replace(TINY, size=size) for size in (1, 2, 3)]}
    with pytest.raises(KeyboardInterrupt):
        curves.measure_curves(tmp_path, some, lambda sentence: None)
    assert len(curves.read_lines(tmp_path / "scaling.csv")) == 4
    asked.clear()
    found = curves.measure_curves(tmp_path, some, lambda sentence: None)
    assert asked == [3]
    assert curves.read_lines(tmp_path / "scaling.csv") == found and len(found) == 6


def test_the_committed_curves_are_those_that_are_asked() -> None:
    lines = curves.read_lines(CHECKOUT / "results" / "scaling" / "scaling.csv")
    asked = [point.line for curve in curves.CURVES.values() for point in curve]
    assert all(any(point.items() <= line.items() for line in lines) for point in asked)
    for name, found in (("exponents", curves.exponents(lines)), ("crossings", curves.crossings(lines))):
        assert curves.read_lines(CHECKOUT / "results" / "scaling" / f"{name}.csv") == found


@pytest.mark.slow
@pytest.mark.long
def test_a_point_is_measured_in_processes_of_its_own() -> None:
    found = curves.measured(replace(TINY, processes=2))
    assert [line["adam"] for line in found] == list(ADAMS)
    assert all(float(line["peak_mib"]) > 0 for line in found)


def test_the_plot_is_the_same_file_twice(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        plot(lines("users", 1.0), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"users, 10 ratings each" in (tmp_path / "one.svg").read_bytes()


def test_metrics_are_compared_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(adam: str, *_: object) -> Record:
        shift = {"dense": 0.0, "rows": -0.03}[adam]
        values = [0.7 + shift, 0.8 + shift, 0.6 + 2 * shift]
        return made_record(
            values, dataset={"name": "some", "k": 5}, validation=Validation(auc=values, step=[10, 20, 30])
        )

    monkeypatch.setattr(adam_metrics, "_CELLS", [("some", "mf", 3, "sweep=none")])
    monkeypatch.setattr(adam_metrics, "_trained", record)
    adam_metrics.compare_metrics(tmp_path, lambda sentence: None)
    adam_metrics.compare_metrics(tmp_path, lambda sentence: None)  # what is there stays
    found = curves.read_lines(tmp_path / "rows_vs_dense.csv")
    assert [line["metric"] for line in found] == ["auc", "ndcg", "recall"]
    assert (found[0]["dense"], found[0]["rows"], found[0]["change"]) == ("0.7000", "0.6600", "-0.0400")
    assert (found[0]["p_value"], found[0]["dense_steps"]) == ("0.25", "20")
    committed = curves.read_lines(CHECKOUT / "results" / "scaling" / "rows_vs_dense.csv")
    assert list(committed[0]) == list(found[0])
    assert {
        (line["dataset"], line["method"], int(line["seeds"]), line["settings"]) for line in committed
    } == {*CELLS}
