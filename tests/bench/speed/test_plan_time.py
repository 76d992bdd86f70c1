"""A line for each row of a sweep, and their sum."""

from __future__ import annotations

from pathlib import Path

import pytest

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
