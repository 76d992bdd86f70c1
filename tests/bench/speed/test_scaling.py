"""The scaling study: its data, what it reads off its curves, and that it goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.speed import scaling
from bench.speed.scaling import KINDS, Point

TINY = Point("users", 40, users=40, items=13, ratings=200, batch_size=32, embedding_size=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_data_have_the_counts_and_no_pair_twice() -> None:
    data = scaling.generated(replace(TINY, ratings=197, members=3))
    assert (len(data.users), len(data.labels), data.seeds) == (197, 197, (0, 1, 2))
    cells = data.users * 13 + data.items
    assert len(cells.unique()) == 197
    assert int(data.users.max()) == 39 and int(data.items.max()) < 13


def test_the_curves_cover_what_is_asked() -> None:
    sizes = {name: [point.size for point in curve] for name, curve in scaling.CURVES.items()}
    assert (sizes["members"][0], sizes["members"][-1]) == (1, 256)
    assert (sizes["users"][0], sizes["users"][-1]) == (300, 1_000_000)
    assert sizes["processes"] == sizes["processes_large"] == [1, 2]
    for curve in ("members", "users", "ratings", "batch"):
        for point in scaling.CURVES[curve]:
            field = {"batch": "batch_size"}.get(curve, curve)
            assert (point.curve, getattr(point, field)) == (curve, point.size)
    assert len({point.ratings / point.users for point in scaling.CURVES["users"]}) == 1


def test_both_kinds_of_adam_are_timed_and_trained() -> None:
    found = scaling.times(TINY)
    assert set(found) == set(KINDS)
    for seconds, share, draws in found.values():
        assert seconds > 0 and 0 < share < 1 and 0 <= draws < 1
    data = scaling.generated(TINY)
    assert scaling.built(TINY, data, "rows").prediction.adam.by_rows
    assert not scaling.built(TINY, data, "dense").prediction.adam.by_rows


def lines(curve: str, exponent: float) -> list[dict[str, str]]:
    """Seconds that grow with a power of the size; Adam's share rises with it, and rows do not grow."""
    found = []
    for place, size in enumerate((10, 100, 1000, 10_000)):
        for adam in KINDS:
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
        for line in scaling.exponents(lines("users", 0.75))
    }
    dense = found["seconds_per_step", "dense", "whole"]
    assert (dense["exponent"], dense["from"], dense["to"], dense["points"]) == ("0.75", "10", "10000", 4)
    assert dense["largest_residual"] == "1.00"
    assert abs(float(found["seconds_per_step", "rows", "whole"]["exponent"])) == 0
    upper = found["peak_mib", "rows", "upper half"]
    assert (upper["exponent"], upper["from"], upper["points"]) == ("0.50", "1000", 2)


def test_members_count_as_a_whole_stack() -> None:
    grown = [line | {"members": line["size"]} for line in lines("members", 0.0)]
    dense = scaling.exponents(grown)[0]
    assert (dense["quantity"], dense["exponent"]) == ("seconds_per_step", "1.00")


def test_crossings_are_interpolated_on_the_logarithm() -> None:
    (found,) = scaling.crossings(lines("users", 1.0))
    # The share is .4 at 100 and .6 at 1000; the seconds are equal at 100.
    assert found["dense_adam_above_half"] == "316"
    assert float(found["rows_faster"]) == pytest.approx(100, rel=0.01)
    assert found["dense_over_rows_at_largest"] == "100"
    slow = [line | {"adam_share": "0.1"} for line in lines("batch", 0.1)]
    (found,) = scaling.crossings(slow)
    assert (found["dense_adam_above_half"], found["rows_faster"]) == ("never", "never")


def test_a_stopped_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(point: Point) -> list[dict[str, Any]]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(point.size)
        of = dict(zip(scaling.FIELDS, map(str, scaling.astuple(point)), strict=True))
        return [of | {"adam": adam, "seconds_per_member_step": "1"} for adam in KINDS]

    monkeypatch.setattr(scaling, "measure", measured)
    curves = {"users": [replace(TINY, size=size) for size in (1, 2, 3)]}
    with pytest.raises(KeyboardInterrupt):
        scaling.study(tmp_path, curves, lambda sentence: None)
    assert len(scaling.read(tmp_path / "scaling.csv")) == 4
    asked.clear()
    scaling.study(tmp_path, curves, lambda sentence: None)
    assert asked == [3]
    assert len(scaling.read(tmp_path / "scaling.csv")) == 6


def test_a_point_is_measured_in_processes_of_its_own() -> None:
    found = scaling.measure(replace(TINY, processes=2))
    assert [line["adam"] for line in found] == list(KINDS)
    assert all(float(line["peak_mib"]) > 0 for line in found)


def test_the_plot_is_the_same_file_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        scaling.plot(lines("users", 1.0), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"users, 10 ratings each" in (tmp_path / "one.svg").read_bytes()


def test_metrics_are_compared_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(shift: float) -> dict[str, Any]:
        values = [0.7 + shift, 0.8 + shift, 0.6 + 2 * shift]
        test = {"auc": values, "ndcg": {"skip": values}, "recall": {"skip": values}}
        return {"test": test, "validation": {"step": [10, 20, 30]}}

    monkeypatch.setattr(scaling, "CELLS", [("some", "mf", 3, "sweep=none")])
    monkeypatch.setattr(scaling, "_both", lambda *cell: {"dense": record(0.0), "rows": record(-0.03)})
    scaling.metrics(tmp_path, lambda sentence: None)
    scaling.metrics(tmp_path, lambda sentence: None)  # what is there stays
    found = scaling.read(tmp_path / "rows_vs_dense.csv")
    assert [line["metric"] for line in found] == ["auc", "ndcg", "recall"]
    assert (found[0]["dense"], found[0]["rows"], found[0]["change"]) == ("0.7000", "0.6600", "-0.0400")
    assert (found[0]["p_value"], found[0]["dense_steps"]) == ("0.25", "20")
