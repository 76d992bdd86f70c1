"""The winner of a sweep is a configuration to start from, and gives the sweep's own numbers again."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from bench import cell as cells
from bench import compose, tuned

SIZES = (
    *("dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    "dataset.unbiased_per_user=20",
)
TINY = ("dataset=synthetic", *SIZES, "engine.max_epochs=3", "seeds=3", "dataset.selection_seeds=3")


def test_a_winner_is_written_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compose.register()
    sweep = ("method=ips", "grid.learning_rate=[0.01,0.1]", "grid.weight_decay=[1e-5,0.01]")
    config = compose.composed([*TINY, *sweep])
    ratings = cells.load(config)
    found = cells.run(cells.prepare(config, ratings), tmp_path / "runs")
    conf = tmp_path / "conf"
    shutil.copytree(compose.CONF, conf, ignore=shutil.ignore_patterns("tuned"))
    file = conf / "dataset" / "synthetic.yaml"
    arguments = ["--results", str(tmp_path), "--sweeps", str(tmp_path / "sweep")]
    # A sweep of a data set that is not as its file describes it is no sweep of that data set's.
    assert tuned.main([*arguments, "--conf", str(conf / "tuned")]) == 0
    assert "0 winners written" in capsys.readouterr().out
    own = OmegaConf.load(file)
    own.update({word.split("=")[0].removeprefix("dataset."): int(word.split("=")[1]) for word in SIZES})
    OmegaConf.save(own, file)
    assert tuned.main([*arguments, "--conf", str(conf / "tuned")]) == 0
    assert "1 winners written" in capsys.readouterr().out

    rows = list(csv.DictReader((tmp_path / "sweep/table/synthetic/ips.csv").open()))
    assert len(rows) == 4 * 3 and {row["stage"] for row in rows} == {"quick"}
    means: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        point = (float(row["learning_rate"]), float(row["weight_decay"]))
        means.setdefault(point, []).append(float(row["held_out_auc"]))
    best = max(means, key=lambda point: np.mean(means[point]))
    assert best == (found["selected"]["learning_rate"], found["selected"]["weight_decay"])

    monkeypatch.setattr(compose, "CONF", conf)
    again = compose.composed([*TINY, "method=ips", "+tuned=table/synthetic/ips"])
    cell = cells.prepare(again, ratings)
    assert len(cell.points) == 1
    record = cells.run(cell, tmp_path / "runs")
    assert record["points"] == 4
    assert record["test"] == found["test"]
    # A cell that chose nothing is no sweep, so the winner stays.
    before = (conf / "tuned/table/synthetic/ips.yaml").read_text()
    assert tuned.main([*arguments, "--conf", str(conf / "tuned")]) == 0
    assert (conf / "tuned/table/synthetic/ips.yaml").read_text() == before


def test_a_winner_keeps_what_its_command_line_fixed(tmp_path: Path) -> None:
    compose.register()
    words = (*TINY, "method=mf", "method.loss=mse", "sweep=none", "grid.learning_rate=[0.01,0.1]")
    config = compose.composed(words)
    record = cells.run(cells.prepare(config, cells.load(config), words), tmp_path / "runs")
    assert tuned.given(record) == {"loss": "mse"}
    written = OmegaConf.create(tuned.configuration(record))
    assert written.method == {"loss": "mse", "learning_rate": record["selected"]["learning_rate"]}
    record["method"]["name"] = "method_of_an_extra_file"
    assert tuned.given(record) == {}


def test_numbers_are_written_as_yaml_reads_them() -> None:
    assert tuned._plain(1e-05) == "0.00001"
    assert tuned._plain(0.0) == "0"
    assert tuned._plain(10.0) == "10"
    assert tuned._plain("bce") == "bce"
    assert tuned._plain(True) == "True"
