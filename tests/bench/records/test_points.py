"""The points of sweeps: the real writer, the real reader, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cell.plan import Stage
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.records.points import (
    AFTER,
    BEFORE,
    Point,
    Points,
    Training,
    plans_in_words,
    stages_in_words,
    typed,
    value_text,
)

SWEEPS = sorted((CHECKOUT / "results").rglob("sweep/*/*/*.csv"))


def training(point: tuple[object, ...], seed: int, held_out: float, stage: str = "shared") -> Training:
    return Training(
        stage=stage,
        point=point,
        seed=seed,
        validation_auc=0.9 - held_out,  # points the other way, so that mixing the two up shows
        held_out_auc=held_out,
        epoch=1.25,
        seconds=0.5,
    )


SMALL = Points(
    ("learning_rate", "loss"),
    (
        training((0.01, "bce"), 0, 0.70),
        training((0.01, "bce"), 1, 0.72),
        training((0.05, "bce"), 0, 0.80),
        training((0.05, "bce"), 1, 0.60),
        training((0.01, "mse"), 0, math.nan),
        training((0.01, "bce"), 2, 0.74, "confirm"),
    ),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    read = Points.read(SMALL.write(tmp_path / "mf.csv"))
    assert read.names == SMALL.names
    for mine, back in zip(SMALL.trainings, read.trainings, strict=True):
        assert (back.stage, back.point, back.seed) == (mine.stage, mine.point, mine.seed)
        assert back.held_out_auc == pytest.approx(mine.held_out_auc, abs=1e-6, nan_ok=True)
        assert back.validation_auc == pytest.approx(mine.validation_auc, abs=1e-6, nan_ok=True)
        assert (back.epoch, back.seconds) == (1.25, 0.5)
    assert read.text() == SMALL.text()


def test_a_file_is_parsed_once_and_anew_when_it_has_changed(tmp_path: Path) -> None:
    file = SMALL.write(tmp_path / "mf.csv")
    first = Points.read(file)
    assert Points.read(file) is first
    replace(SMALL, trainings=SMALL.trainings[:1]).write(file)
    assert len(Points.read(file).trainings) == 1
    file.unlink()
    with pytest.raises(BenchError, match=r"mf\.csv"):
        Points.read(file)


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: "/".join(file.parts[-3:]))
def test_every_committed_sweep_is_read_and_written_to_the_byte(file: Path) -> None:
    points = Points.read(file)
    assert points.text() == file.read_text(encoding="utf-8")
    fields = {*BEFORE, *AFTER}
    assert points.names and not fields & set(points.names), "bookkeeping is no hyper-parameter"


def test_a_point_is_the_mean_of_its_seeds_by_what_selects() -> None:
    first, second, lost = SMALL.points()
    assert first == Point(
        values=(0.01, "bce"), auc=pytest.approx(0.72), seeds=3, stages=("shared", "confirm")
    )
    assert second.auc == pytest.approx(0.70) and second.seeds == 2
    assert math.isnan(lost.auc)
    # .05 has the best single seed, and is not the best.
    assert [point.values for point in SMALL.ranked()] == [(0.01, "bce"), (0.05, "bce")]
    by_rate = SMALL.by_value("learning_rate")
    assert {rate: [point.seeds for point in points] for rate, points in by_rate.items()} == {
        0.01: [3],
        0.05: [2],
    }
    assert SMALL.stages() == {"shared": (3, 2), "confirm": (1, 3)}


def test_a_sweep_is_described_by_its_stages() -> None:
    sized = Points(("embedding_size",), (training((8,), 0, 0.7), training((16,), 0, 0.7)))
    assert (
        stages_in_words([SMALL, sized])
        == "shared 2–3 × 2, confirm 1 × 3; 2–6 trainings; embedding sizes 8, 16"
    )
    assert stages_in_words([]) == ""


def test_rows_of_several_plans_are_described_apart() -> None:
    plain = Points(("loss",), (training(("bce",), 0, 0.7),))  # a row without the later stages of its plan
    newer = Points(("loss",), (training(("bce",), 0, 0.7, "plane"),))
    assert plans_in_words({"MF": plain, "IPS": SMALL}) == stages_in_words([plain, SMALL])
    told = plans_in_words({"MF": plain, "IPS": SMALL, "DR": newer})
    assert told == f"DR: {stages_in_words([newer])} | MF, IPS: {stages_in_words([plain, SMALL])}"
    assert plans_in_words({}) == ""


@given(
    st.one_of(
        st.integers(-(10**6), 10**6),
        st.floats(-1000, 1000, allow_nan=False).map(lambda value: round(value, 9)),
        st.booleans(),
        st.sampled_from(["bce", "naive_bayes", "pretrained"]),
        st.none(),
    )
)
def test_a_value_survives_its_text(value: object) -> None:
    assert typed(value_text(value)) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("loss,weight_decay,seeds,validation_auc\nbce,0.1,2,0.7\n", "no column 'stage'"),
        ("stage,seed,validation_auc,held_out_auc,epoch,seconds\na,0,.7,.7,1,1\n", "its columns are"),
        ("stage,loss,seed,validation_auc,held_out_auc,epoch,seconds\na,bce,x,.7,.7,1,1\n", "line 2"),
        ("stage,loss,seed,validation_auc,held_out_auc,epoch,seconds\na,bce,0\n", "expected 7 columns"),
        ("stage,loss,seed,validation_auc,held_out_auc,epoch,seconds\n", "lists no training"),
    ],
)
def test_another_form_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "ips.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=sentence) as caught:
        Points.read(file)
    assert "ips.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_the_plan_s_stages_are_those_of_a_record() -> None:
    """A record's stage has the fields of the plan's, and how many points it came to."""
    from dataclasses import fields

    from bench.records.record import PlannedStage

    assert [f.name for f in fields(PlannedStage)] == [*(f.name for f in fields(Stage)), "tried"]
