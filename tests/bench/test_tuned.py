"""The winner of a sweep is a configuration to start from, and gives the sweep's own numbers again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench import cell as cells
from bench import compose, tuned
from bench.compose import groups
from bench.files import CHECKOUT, read_csv
from bench.records.points import Points, value_text

SIZES = (
    *("dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    "dataset.unbiased_per_user=20",
)
TINY = ("dataset=synthetic", *SIZES, "engine.max_epochs=3", "seeds=3", "dataset.selection_seeds=3")


SWEEP = ("grid.learning_rate=[0.01,0.1]", "grid.weight_decay=[1e-5,0.01]")


def asked(results: Path, conf: Path, *more: str) -> list[str]:
    """The command line that looks for the winner of MF."""
    where = ("--results", str(results), "--conf", str(conf / "tuned"), "--sweep", "default")
    return [*where, "--datasets", "synthetic", "--methods", "mf", *more, *TINY[1:], *SWEEP]


def described(folder: Path) -> Path:
    """A copy of `conf/` without tuned points, in which the generated data set is as small as here."""
    conf = folder / "conf"
    shutil.copytree(compose.CONF, conf, ignore=shutil.ignore_patterns("tuned"))
    file = conf / "dataset" / "synthetic.yaml"
    own = OmegaConf.load(file)
    own.update({word.split("=")[0].removeprefix("dataset."): int(word.split("=")[1]) for word in SIZES})
    OmegaConf.save(own, file)
    return conf


def test_a_winner_is_written_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compose.register()
    words = (*TINY, "method=mf", *SWEEP)
    config = compose.composed(words)
    ratings = cells.load_ratings(config)
    found = cells.train_and_store(cells.prepare(config, ratings, words), tmp_path / "runs")
    # A sweep of a data set that is not as its file describes it is no sweep of that data set's.
    assert tuned.main(asked(tmp_path, compose.CONF, "--sweeps", str(tmp_path / "none"))) == 0
    assert "its dataset is not as conf/dataset has it" in capsys.readouterr().out
    conf = described(tmp_path)
    assert tuned.main(asked(tmp_path, conf)) == 0
    assert "1 winner written" in capsys.readouterr().out

    swept = Points.read(tmp_path / "sweep/own/table/synthetic/mf.csv")
    assert len(swept.trainings) == 4 * 3 and {each.stage for each in swept.trainings} == {"quick"}
    best = swept.ranked()[0]
    assert best.values == (found.selected["learning_rate"], found.selected["weight_decay"])

    monkeypatch.setattr(groups, "CONF", conf)
    again = compose.composed([*TINY, "method=mf", "+tuned=own/table/synthetic/mf"])
    cell = cells.prepare(again, ratings)
    assert len(cell.points) == 1
    record = cells.train_and_store(cell, tmp_path / "runs")
    assert record.points == 4
    assert record.test == found.test
    # A cell that chose nothing is no sweep, so the winner stays.
    before = (conf / "tuned/own/table/synthetic/mf.yaml").read_text()
    assert tuned.main(asked(tmp_path, conf)) == 0
    assert (conf / "tuned/own/table/synthetic/mf.yaml").read_text() == before


def test_only_the_sweep_that_was_asked_for_is_written_and_a_published_point_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = described(tmp_path)
    published = conf / "tuned/table/synthetic/mf.yaml"
    published.parent.mkdir(parents=True)
    published.write_text("published\n")
    compose.register()
    # Beside the sweep, a toy run of another row and a smaller sweep of the same row lie in the store.
    for words in (
        (*TINY, "method=mf", *SWEEP),
        (*TINY, "method=mf_combine", *SWEEP),
        (*TINY, "method=mf", *SWEEP[:1], "grid.weight_decay=[0.01]"),
    ):
        config = compose.composed(words)
        cells.train_and_store(cells.prepare(config, cells.load_ratings(config), words), tmp_path / "runs")
    assert tuned.main(asked(tmp_path, conf)) == 0
    assert published.read_text() == "published\n"
    written = {file.relative_to(conf / "tuned").as_posix() for file in (conf / "tuned").rglob("*.yaml")}
    assert written == {"table/synthetic/mf.yaml", "own/table/synthetic/mf.yaml"}
    assert "the first of 4 points" in (conf / "tuned/own/table/synthetic/mf.yaml").read_text()
    # The maintainer's way.
    assert tuned.main(asked(tmp_path, conf, "--publish")) == 0
    assert "the first of 4 points" in published.read_text()
    assert (tmp_path / "sweep/table/synthetic/mf.csv").is_file()
    # A cell of the sweep that has not been trained is named.
    capsys.readouterr()
    arguments = asked(tmp_path, conf)
    arguments[arguments.index("mf")] = "mf,dr"
    assert tuned.main(arguments) == 0
    assert "1 cell of this sweep has no record here (dr on synthetic, protocol table)." in (
        capsys.readouterr().out
    )


def test_a_published_point_comes_before_one_of_ones_own(tmp_path: Path) -> None:
    def put(*names: str) -> list[str]:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"{name}.yaml").touch()
        return tuned.tuned_names("mf", "coat", ("text", "table"), tmp_path)

    assert put() == []
    assert put("own/table/coat/mf") == ["own/table/coat/mf"]
    assert put("own/text/coat/mf") == ["own/text/coat/mf", "own/table/coat/mf"]
    assert put("table/coat/mf")[0] == "table/coat/mf"
    assert put("text/coat/mf")[:2] == ["text/coat/mf", "table/coat/mf"]


def test_the_published_files_are_as_they_are_written() -> None:
    """Every value in them is spelt as the writer spells it, so that writing them anew changes no byte."""
    files = sorted(tuned.TUNED.glob("*/*/*.yaml"))  # those of one's own lie deeper
    assert len(files) > 50
    for file in files:
        text = file.read_text(encoding="utf-8")
        document = OmegaConf.to_container(OmegaConf.load(file))
        head, _, tail = text.partition("method:\n")
        assert tail == "".join(
            f"  {name}: {value_text(value)}\n" for name, value in document["method"].items()
        )
        assert head.splitlines()[-2:] == [
            f"sweep: {{name: {document['sweep']['name']}, stages: []}}",
            f"tuned_points: {document['tuned_points']}",
        ]
        assert head.splitlines()[-3] == "# and written by `python -m bench.tuned`."


def test_a_winner_keeps_what_its_command_line_fixed(tmp_path: Path) -> None:
    compose.register()
    words = (*TINY, "method=mf", "method.loss=mse", "sweep=none", "grid.learning_rate=[0.01,0.1]")
    config = compose.composed(words)
    record = cells.train_and_store(
        cells.prepare(config, cells.load_ratings(config), words), tmp_path / "runs"
    )
    assert tuned.fixed_fields(record) == {"loss": "mse"}
    written = OmegaConf.create(tuned.configuration(record))
    assert written.method == {"loss": "mse", "learning_rate": record.selected["learning_rate"]}
    record.method["name"] = "method_of_an_extra_file"
    assert tuned.fixed_fields(record) == {}


def test_a_published_cell_is_of_the_point_that_its_sweep_chose() -> None:
    """By its held-out AUC, which no other point has: trained anew it is the sweep's, but for rounding.

    Single trainings of Res-DR on generated data do not survive a change of rounding; it was swept before one.
    """
    results, n = CHECKOUT / "results", 0
    for line in read_csv(results / "published" / "tuning.csv"):
        file = results / "sweep" / line["protocol"] / line["dataset"] / f"{line['method']}.csv"
        if line["metric"] == "auc" and file.is_file() and line["held_out"]:
            chosen = Points.read(file).ranked()[0]
            moved = (line["dataset"], line["method"]) == ("synthetic", "res_dr")
            near = pytest.approx(chosen.auc, abs=2e-3 if moved else 1e-4)
            assert float(line["held_out"]) == near, line["method"]
            n += 1
    assert n > 100
