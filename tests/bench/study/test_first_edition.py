"""What is new against the first edition: its counts against counts by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest

import methods
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.study.files import Chosen
from bench.study.first_edition import CHANGES, FOLDER, earlier_row, first_edition, read_first_edition
from tests.bench.study.published import published_frame

RESULTS = CHECKOUT / "results"


def numbers(file: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The paper's numbers that a table can be held against, by place."""
    with file.open(encoding="utf-8") as text:
        return {
            (row["protocol"], row["dataset"], row["method"], row["metric"]): row
            for row in csv.DictReader(text)
            if row["within"] and row["protocol"] == "table" and row["no_positive"] in ("", "skip")
        }


def test_what_came_in_and_went_out_is_counted_from_both_tables() -> None:
    first, now = (numbers(RESULTS / folder / "table1.csv") for folder in (FOLDER, "published"))
    places = [place for place in now if place in first and place[1] in ("coat", "yahoo_r3")]
    inside = [[place for place in places if table[place]["within"] == "True"] for table in (first, now)]
    came, went = set(inside[1]) - set(inside[0]), set(inside[0]) - set(inside[1])
    text = first_edition(published_frame(), RESULTS)
    assert (
        f"Of {len(places)} printed numbers, {len(inside[0])} came out within ±0.01 there and "
        f"{len(inside[1])} do here: {len(came)} came in, {len(went)} went out."
    ) in text
    assert len(places) == 78 and came and went
    place = ("table", "coat", "res_dr", "auc")
    before, mean = (float(table[place]["mean"]) for table in (first, now))
    line = next(line for line in text.splitlines() if line.startswith("| Res-DR"))
    assert f"{before:.3f} → {mean:.3f} ({mean - before:+.3f})" in line and CHANGES["res_dr"] in line
    assert "Synthetic" not in text


def test_without_the_first_editions_table_there_is_no_section(tmp_path: Path) -> None:
    assert first_edition(published_frame(), tmp_path) == ""


def test_a_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    file = shutil.copy(RESULTS / FOLDER / "table1.csv", tmp_path / FOLDER / "table1.csv")
    Path(file).write_text(Path(file).read_text().replace("0.770356", "some", 1))
    with pytest.raises(BenchError, match=r"table1\.csv is not the first edition's table"):
        read_first_edition(tmp_path)


def test_changes_are_of_rows_of_the_suite() -> None:
    assert set(CHANGES) <= set(methods.ROWS) | set(methods.EXTRA)


@pytest.mark.parametrize(
    ("method", "commit", "earlier"),
    [
        ("ultd_tp", "2f8286c961fe73761c091fded628beaf84cdd70f+", True),
        ("mf", "2f8286c961fe73761c091fded628beaf84cdd70f", False),  # nothing of it is another now
        ("ultd_tp", "929448d000000000000000000000000000000000", False),
    ],
)
def test_a_studys_row_is_of_the_first_edition_by_its_commit(method: str, commit: str, earlier: bool) -> None:
    variant = Chosen(
        group="",
        variant="x",
        title="X",
        method=method,
        points=1,
        validation_auc=0.7,
        held_out_auc=None,
        alpha_mean=None,
        selected={},
        training_seconds=1.0,
        commit=commit,
        command="",
    )
    assert earlier_row(variant) is earlier


def test_what_was_expected_is_read_from_table_and_sweeps() -> None:
    frame = published_frame()
    text = first_edition(frame, RESULTS)
    now = numbers(RESULTS / "published" / "table1.csv")
    for method, title in (("cause", "CausE"), ("kdcrec", "KDCRec")):
        mine = [now["table", "yahoo_r3", method, metric] for metric in ("auc", "ndcg", "recall")]
        inside = sum(row["within"] == "True" for row in mine)
        line = next(line for line in text.splitlines() if line.startswith(f"- {title} near"))
        assert f"{inside} of 3 are within ±0.01" in line and f"AUC {float(mine[0]['delta']):+.3f}" in line
    # KDCRec's weight by the best point's mean over the seeds that all points have.
    sweep = pd.read_csv(RESULTS / "sweep" / "table" / "yahoo_r3" / "kdcrec.csv")
    own = list(sweep.columns[1 : list(sweep.columns).index("seed")])
    n = sweep.groupby(own).seed.nunique().min()
    best = sweep[sweep.seed < n].groupby(own).held_out_auc.mean().groupby("alpha").max()
    said = ", ".join(f"{auc:.3f} ({alpha:g})" for alpha, auc in best.items())
    assert f"{said}, over {n} seeds." in text
    # What the winners' own validation promises.
    winners = {
        method: pd.read_csv(RESULTS / "sweep" / "table" / "coat" / f"{method}.csv")
        for method in ("mf", "ltd")
    }
    promised = {}
    for method, sweep in winners.items():
        own = list(sweep.columns[1 : list(sweep.columns).index("seed")])
        by_point = sweep.groupby(own).held_out_auc.agg(["count", "mean", "size"])
        finals = by_point[by_point["size"] == by_point["size"].max()]
        promised[method] = finals[finals["count"] == finals["size"]]["mean"].max()
    assert f"LTD {promised['ltd'] - promised['mf']:+.3f}" in text
