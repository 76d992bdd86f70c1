"""`make table1`: trains what is missing, names what is absent, and does nothing the second time."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bench import cell as cells
from bench import compose, reproduce
from bench.records import store

TINY = ("dataset.batch_size=32", "engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=1")
ROWS = ("--methods", "mf,ips,item_mean,ips_oracle")


def command(results: Path, *more: str) -> list[str]:
    return [
        *ROWS,
        *("--datasets", "coat,synthetic", "--jobs", "1", *more),
        *(*TINY, f"results={results}", f"data_dir={results / 'nothing'}"),
    ]


def lines(results: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader((results / "table1" / "table1.csv").open(encoding="utf-8"))
    return {(row["protocol"], row["dataset"], row["method"]): row for row in rows if row["metric"] == "auc"}


def test_the_table_of_the_embedded_data_set_from_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reproduce.main(command(tmp_path)) == 0
    said = capsys.readouterr()
    assert "make data" in said.out and "4 of 16 cells are filled" in said.out
    found = lines(tmp_path)
    for method in ("mf", "ips", "item_mean", "ips_oracle"):
        row = found["table", "synthetic", method]
        assert row["n"] == "2" and 0 < float(row["mean"]) < 1
        assert store.read(tmp_path / "runs", row["cell"])["method"]["name"] == method
        assert row["paper"] == ""
    assert found["table", "coat", "mf"]["mean"] == found["text", "synthetic", "mf"]["mean"] == ""
    text = (tmp_path / "table1" / "table1.md").read_text(encoding="utf-8")
    assert "train.ascii and test.ascii are missing" in text
    assert "the same as protocol `table`" in text

    # The same command again trains nothing and writes the same bytes.
    files = [tmp_path / "table1" / name for name in ("table1.csv", "seeds.csv", "table1.md", "cells.json")]
    before = [file.read_bytes() for file in files]

    def never(*_: object) -> None:
        raise AssertionError("a cell was trained again")

    monkeypatch.setattr(cells, "run", never)
    assert reproduce.main(command(tmp_path)) == 0
    assert [file.read_bytes() for file in files] == before


def test_a_damaged_record_is_told_and_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(tmp_path, "--protocols", "table")
    assert reproduce.main(arguments) == 0
    before = (tmp_path / "table1" / "table1.csv").read_bytes()
    digest = lines(tmp_path)["table", "synthetic", "ips"]["cell"]
    file = tmp_path / "runs" / digest / "record.json"
    file.write_bytes(file.read_bytes()[:100])
    capsys.readouterr()
    assert reproduce.main(arguments) == 0
    assert "cut off or altered" in capsys.readouterr().err
    assert (tmp_path / "table1" / "table1.csv").read_bytes() == before


def test_side_by_side_is_one_after_the_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert reproduce.main(command(one, "--protocols", "table")) == 0
    arguments = command(two, "--protocols", "table")
    arguments[arguments.index("--jobs") + 1] = "2"
    assert reproduce.main(arguments) == 0
    for name in ("table1.csv", "seeds.csv"):
        assert (one / "table1" / name).read_bytes() == (two / "table1" / name).read_bytes()


def test_a_failing_cell_is_named_and_the_others_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*command(tmp_path, "--protocols", "table"), "method.learning_rate=1e30"]
    assert reproduce.main(arguments) == 1
    said = capsys.readouterr()
    assert "every point diverged" in said.err
    found = lines(tmp_path)
    assert found["table", "synthetic", "mf"]["mean"] == ""
    assert found["table", "synthetic", "item_mean"]["mean"] != ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--datasets", "coatt"], "did you mean 'coat'"),
        (["--methods", "msf"], "did you mean 'mf'"),
        (["method.clip=3"], "There is no field 'method.clip'"),
        (["sead=3"], "did you mean 'seeds'"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main(arguments) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_list_of_cells_names_every_row(tmp_path: Path) -> None:
    assert reproduce.main(command(tmp_path, "--protocols", "table")) == 0
    document = json.loads((tmp_path / "table1" / "cells.json").read_text())
    assert [row["method"] for row in document["rows"]] == ["mf", "ips", "item_mean", "ips_oracle"]
    assert [row["control"] for row in document["rows"]] == [False, False, True, True]
    assert {row["uses_unbiased"] for row in document["rows"]} == {"no", "mean label"}


@pytest.mark.parametrize(
    ("given", "dataset", "seeds"),
    [([], "coat", 20), ([], "yahoo_r3", 10), (["seeds=3"], "coat", 3), (["+profile=quick"], "coat", 5)],
)
def test_coat_has_more_seeds_unless_told_otherwise(given: list[str], dataset: str, seeds: int) -> None:
    plan = reproduce.Plan(("table",), (dataset,), ("mf",), tuple(given))
    compose.register(given)
    assert compose.composed(reproduce._overrides(plan, "table", dataset, "mf")).seeds == seeds


@pytest.mark.parametrize("place", ["data", "/somewhere/data", "../data", "."])
def test_the_place_of_the_data_is_left_out_and_nothing_else(place: str) -> None:
    sentence = "x-data.txt is missing under {}/coat: run `make data`, or see www.data.org/data/coat.zip."
    told = reproduce._anywhere(sentence.format(Path(place)), Path(place))
    assert told == sentence.format("the data folder")
