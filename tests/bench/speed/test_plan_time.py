"""A line for each row of a sweep, and their sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.cell import forecast
from bench.cell.forecast import Costs
from bench.files import read_csv
from bench.records.points import Points, Training
from bench.speed import plan_time

WORDS = (
    *("dataset=synthetic", "dataset.n_users=60", "dataset.n_items=40", "dataset.ratings_per_user=8"),
    *(
        "method=mf,ips",
        "seeds=1",
        "engine.device=cpu",
        "engine.kernels=torch",
        "grid.learning_rate=[0.01,0.1]",
    ),
)


def test_lines_and_their_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan_time, "SWEEPS", tmp_path)
    swept = tuple(
        Training(
            stage="shared",
            point=(0.01,),
            seed=seed,
            validation_auc=0.7,
            held_out_auc=0.7,
            epoch=2.0,
            seconds=36.0,
        )
        for seed in range(5)
    )
    file = tmp_path / "table" / "synthetic" / "mf.csv"
    file.parent.mkdir(parents=True)
    Points(("learning_rate",), swept).write(file)
    output = tmp_path / "plan.csv"
    assert plan_time.main([*WORDS, "--output", str(output)]) == 0
    mf, ips, whole = read_csv(output)
    assert (mf["row"], ips["row"], whole["data"]) == ("mf", "ips", "all")
    assert int(whole["trainings"]) == int(mf["trainings"]) + int(ips["trainings"]) > 2
    assert (mf["swept"], mf["took_hours"]) == ("5", "0.050") and ips["swept"] == ips["took_hours"] == ""
    assert "ips" in capsys.readouterr().out


def test_further_embedding_sizes_are_reckoned_beside_the_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_time, "SWEEPS", tmp_path)
    # Costs that grow with the embeddings alone: what is measured on so small a set is mostly noise.
    none, an_hour_a_size = np.zeros(4), np.array([0.0, 0.0, 3600.0, 0.0])
    costs = Costs(none, an_hour_a_size, an_hour_a_size, steps=lambda batch_size: 1)
    for module in (plan_time, forecast):
        monkeypatch.setattr(module, "training_costs", lambda cell: costs)
    output = tmp_path / "wide.csv"
    words = [word.replace("mf,ips", "mf") for word in WORDS]
    words += ["sweep=reduced", "dataset.sizes_grid.embedding_size=[2,4]"]
    assert plan_time.main([*words, "--wide", "8,16", "--output", str(output)]) == 0
    mf, whole = read_csv(output)
    assert mf["wide_sizes"] == "2 4 8 16" and whole["wide_sizes"] == ""
    assert int(mf["wide_trainings"]) > int(mf["trainings"])
    each, wider = (float(mf[f"{which}hours"]) / int(mf[f"{which}trainings"]) for which in ("", "wide_"))
    assert wider > each > 0
    assert int(whole["wide_trainings"]) > int(whole["trainings"])


def test_a_size_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_time.main([*WORDS, "--wide", "128,wide"]) == 1
    assert capsys.readouterr().err.startswith("--wide wide: embedding sizes are whole numbers above 0")
