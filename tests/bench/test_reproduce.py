"""`make table1`: trains what is missing, names what is absent, and does nothing the second time."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import methods
from bench import cell as cells
from bench import compose, reproduce, table
from bench.files import CHECKOUT
from bench.records import store
from bench.table.lines import CellResult
from tests.every_row import LATER

TINY = ("dataset.batch_size=32", "engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=1")
ROWS = ("--methods", "mf,ips,item_mean,ips_oracle")


TOY = Path(__file__).parents[1] / "extra" / "toy_method.py"


def command(results: Path, *more: str) -> list[str]:
    return [
        *ROWS,
        *("--datasets", "coat,synthetic", "--jobs", "1", *more),
        *(*TINY, f"results={results}", f"data_dir={results / 'nothing'}"),
    ]


def only(results: Path, methods: str, *more: str) -> list[str]:
    """The command for some rows on generated data, under one protocol."""
    where = (f"results={results}", f"data_dir={results / 'nothing'}")
    return [
        *("--methods", methods, "--datasets", "synthetic", "--protocols", "table", "--jobs", "1"),
        *(*TINY, *where, *more),
    ]


@pytest.fixture
def published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder of results with a published table of two rows, and without a record, as a fresh clone."""
    assert reproduce.main(only(tmp_path, "mf,ips")) == 0
    (tmp_path / "table1").rename(tmp_path / "published")
    table.write_table(tmp_path, published=True)
    shutil.rmtree(tmp_path / "runs")
    capsys.readouterr()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def lines(results: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    rows = csv.DictReader((results / "table1" / "table1.csv").open(encoding="utf-8"))
    return {(row["protocol"], row["dataset"], row["method"]): row for row in rows if row["metric"] == "auc"}


def test_the_table_of_the_embedded_data_set_from_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reproduce.main(command(tmp_path)) == 0
    said = capsys.readouterr()
    assert "Coat is not here: " in said.out and "run `make data`" in said.out
    assert "4 of 4 cells were trained here (4 on Synthetic)." in said.out
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

    monkeypatch.setattr(cells, "train_and_store", never)
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


@pytest.mark.slow
@pytest.mark.long
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
        (["dataset=coat"], "dataset=coat is an override of every cell: write --datasets coat instead."),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main(arguments) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


FURTHER = """
from methods import register
from methods.base import Method


@register
class Row(Method):
    title, paper, year, group = "Newer", "Somebody", 2919, "further"
"""


def test_without_a_word_it_is_the_tables_data_sets_that_are_tuned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make table1` calls it: other data sets, such as one's own CSV files, have to be asked for."""
    planned = []
    untuned = {"coat_features"}
    monkeypatch.setattr(
        reproduce.tuned, "tuned_names", lambda row, name, of: [] if name in untuned else [f"table/{name}/mf"]
    )
    monkeypatch.setattr(reproduce, "reproduce", lambda plan, jobs, brief: planned.append(plan.datasets) or 0)
    assert reproduce.main([f"results={tmp_path}"]) == 0
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith(
        "Coat, with side features is left out, since its rows are not tuned: `make sweep D"
    )
    for asked in ("coat_features", "synthetic_item_effects"):
        assert reproduce.main(["--datasets", asked, f"results={tmp_path}"]) == 0
    untuned.clear()
    assert reproduce.main([f"results={tmp_path}"]) == 0
    assert capsys.readouterr().out == ""
    without = tuple(name for name in reproduce.DATASETS if name != "coat_features")
    assert planned == [without, ("coat_features",), ("synthetic_item_effects",), reproduce.DATASETS]


def test_another_reading_of_a_data_set_stands_under_the_first_protocol_alone(tmp_path: Path) -> None:
    plan = reproduce.TablePlan(
        ("table", "text"), ("coat_features",), ("mf",), (f"data_dir={tmp_path}", f"results={tmp_path}")
    )
    found = reproduce.look_up_all(plan, tmp_path / "runs").cells
    missing = {key[0]: listed.missing or "" for key, listed in found.items()}
    assert "train.ascii" in missing["table"]  # it would be trained if it were there
    assert missing["text"] == (
        "Coat, with side features stands under protocol `table` alone, as another reading of a data set."
    )
    only = dataclasses.replace(plan, protocols=("text",))
    ((_, asked),) = reproduce.look_up_all(only, tmp_path / "runs").cells.items()
    assert "train.ascii" in (asked.missing or "")


def test_what_is_told_before_a_sweep_is_what_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing in the store: a tuned cell has its seeds, another one its sweep's trainings too."""
    arguments = only(tmp_path, "mf,item_mean", "dry_run=true")
    assert reproduce.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  mf on synthetic, protocol table: 2 trainings",
        "  item_mean on synthetic, protocol table: 2 trainings",
    ]
    monkeypatch.setattr(reproduce.tuned, "tuned_names", lambda *_: [])
    assert reproduce.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  mf on synthetic, protocol table: 8 trainings",  # 6 points, and the winner with 2 seeds
        "  item_mean on synthetic, protocol table: 2 trainings",
    ]


def test_further_methods_are_trained_where_they_are_asked_for(own_registry: None) -> None:
    default = reproduce.chosen_rows("")
    before = reproduce.chosen_rows("all")
    code = compile(FURTHER, "newer.py", "exec")
    exec(code, {"__name__": "methods.newer"})
    assert reproduce.chosen_rows("") == default and "newer" not in default
    assert reproduce.chosen_rows("all") == (*before, "newer")
    assert reproduce.chosen_rows("further")[-1] == "newer" and "mf" not in reproduce.chosen_rows("further")
    assert reproduce.chosen_rows("further,mf,newer")[0] == "mf"
    of_suite = {key for key in default if reproduce.of_suite(key)}
    assert of_suite == {*methods.ROWS, *methods.CONTROLS, *methods.EXTRA}
    row = reproduce._row("newer")
    assert (row.family, row.proposed) == ("further", False) and reproduce.of_suite("newer")


def test_a_sweep_takes_the_papers_rows_and_the_further_methods_by_name() -> None:
    """The Makefile's words: what is neither named there nor untuned is a further method."""
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    suite = re.search(r"^SUITE := (.*)$", makefile, re.MULTILINE)
    assert suite is not None
    untuned = {"item_mean", "ips_oracle"}
    assert {*suite[1].split(","), *untuned} == set(filter(reproduce.of_suite, reproduce.chosen_rows("")))
    assert "FURTHER := glob(*,exclude=[$(SUITE),item_mean,ips_oracle])\n" in makefile


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
    plan = reproduce.TablePlan(("table",), (dataset,), ("mf",), tuple(given))
    compose.register(given)
    assert compose.composed(reproduce._overrides(plan, "table", dataset, "mf")).seeds == seeds


@pytest.mark.parametrize("place", ["data", "/somewhere/data", "../data", "."])
def test_the_place_of_the_data_is_left_out_and_nothing_else(place: str) -> None:
    sentence = "x-data.txt is missing under {}/coat: run `make data`, or see www.data.org/data/coat.zip."
    told = reproduce._anywhere(sentence.format(Path(place)), Path(place))
    assert told == sentence.format("the data folder")


# --- Beside what is published -------------------------------------------------------------------------


def test_a_row_of_ones_own_stands_beside_the_published_rows_and_nothing_else_is_trained(
    published: Path, own_registry: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []
    really = cells.train_and_store
    monkeypatch.setattr(
        cells, "train_and_store", lambda cell, *rest: trained.append(cell.method) or really(cell, *rest)
    )
    before = contents(published / "published")
    extra = f"methods.extra=[{TOY}]"
    assert reproduce.main(only(published, "toy_method", extra)) == 0
    assert trained == ["toy_method"]
    said = capsys.readouterr()
    assert "1 cell to be trained, 1 at a time" in said.out
    assert "1 of 3 cells were trained here (1 on Synthetic); the others are as published." in said.out
    found = lines(published)
    origins = {key[2]: row["origin"] for key, row in found.items()}
    assert origins == {"mf": "published", "ips": "published", "toy_method": "here"}
    # Tested against the published reference over the same seeds.
    toy = found["table", "synthetic", "toy_method"]
    assert (toy["reference"], toy["n"]) == ("mf", "2") and toy["p_value"] == "0.5"
    # A baseline that is trained here takes its published number's place, and they are compared.
    assert reproduce.main(only(published, "ips", extra)) == 0
    assert trained == ["toy_method", "ips"]
    said = capsys.readouterr()
    assert "2 of 3 cells were trained here" in said.out
    assert "Of 4 numbers trained here that are published, too, 4 are equal to six decimals" in said.out
    origins = {key[2]: row["origin"] for key, row in lines(published).items()}
    assert origins == {"mf": "published", "ips": "here", "toy_method": "here"}
    assert contents(published / "published") == before


def test_what_is_published_and_how_long_it_takes_is_told_before_training(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train_all(*_: object) -> list[tuple[int, reproduce.CellAnswer]]:
        out = capsys.readouterr().out
        assert "published" in out
        assert out.splitlines()[-1].startswith("2 cells to be trained, 2 at a time; about ")
        return [(place, reproduce.CellAnswer(None, "Not now.")) for place in range(2)]

    monkeypatch.setattr(reproduce, "train_all", train_all)
    assert reproduce.main([*only(published, "mf,ips"), "--jobs", "2"]) == 0


def test_the_expected_seconds_are_the_published_ones_for_as_many_seeds(published: Path) -> None:
    plan = reproduce.TablePlan(("table",), ("synthetic",), ("mf", "dr"), ("seeds=6",))
    frame = table.load_results(published, published=True)
    (mf,) = (line for line in frame.lines if line.row.method == "mf" and line.metric == "auc")
    found = reproduce.Listing(
        waiting=[reproduce._task(plan, ("table", "synthetic", row)) for row in plan.rows], trainings=[6, 6]
    )
    seconds = float(mf.cell.provenance["training_seconds"])
    assert reproduce.expected_seconds(found, frame) == [pytest.approx(3 * seconds), 0.0]
    assert reproduce.expected_seconds(found, None) == [0.0, 0.0]


def test_a_bug_in_a_row_of_ones_own_leaves_the_others(
    tmp_path: Path, own_registry: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "faulty.py"
    file.write_text(
        TOY.read_text().replace("class ToyMethod", "class Faulty").replace("self.counts =", "1 +")
    )
    assert reproduce.main(only(tmp_path, "mf,faulty", f"methods.extra=[{file}]")) == 1
    said = capsys.readouterr()
    assert "faulty on synthetic, protocol table:" in said.err and "Traceback" in said.err
    assert "1 cell failed; their sentences stand above." in said.out
    assert lines(tmp_path)["table", "synthetic", "mf"]["mean"] != ""


def test_nothing_that_a_run_writes_can_be_committed() -> None:
    places = ("results/table1/table1.csv", "results/runs/x/record.json", "results/sweep/own/table/coat/x.csv")
    measured = ("study/own/ultd.csv", "synthetic/own/known_truth.md", "scaling/own/scaling.svg")
    for place in (*places, *(f"results/{name}" for name in measured), "conf/tuned/own/table/coat/x.yaml"):
        done = subprocess.run(["git", "check-ignore", "-q", place], cwd=compose.CONF.parent, check=False)
        if done.returncode > 1:
            pytest.skip("no git checkout")
        assert done.returncode == 0, place


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=LATER), "2"])
def test_ctrl_c_ends_in_one_sentence_and_leaves_no_process(tmp_path: Path, jobs: str) -> None:
    words = [
        *only(tmp_path, "mf,ips,dr,dr_jl"),
        "--jobs",
        jobs,
        "dataset.n_users=2000",
        "engine.max_epochs=500",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.reproduce", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=compose.CONF.parent,
        env={**os.environ, "BENCH_DEBUG": ""},
        start_new_session=True,
        # The suite's own process may have been started to ignore Ctrl-C (nohup, a background job).
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"4 cells to be trained, {jobs} at a time.\n"
    time.sleep(5.0)  # of minutes
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert error == "Stopped; finished cells are kept, and the same command goes on from them.\n"
    alive = ["pgrep", "-g", str(process.pid), "-r", "R,S,D"]
    deadline = time.monotonic() + 20
    while subprocess.run(alive, capture_output=True, check=False).stdout and time.monotonic() < deadline:
        time.sleep(0.2)
    assert subprocess.run(alive, capture_output=True, check=False).stdout == b""


def test_a_table_of_several_versions_says_so() -> None:
    def cell(torch: str) -> CellResult:
        return CellResult(
            digest="0" * 20,
            origin="here",
            source="",
            threshold=1.0,
            no_positive="skip",
            k=5,
            comparable=True,
            points=1,
            provenance={"torch": torch, "numpy": "2.4", "kernels": ""},
        )

    assert reproduce.mixed_versions([cell("2.13"), cell("2.13")]) == []
    assert reproduce.mixed_versions([cell("2.14"), cell("2.13"), cell("2.13")]) == [
        "The table mixes versions of PyTorch: 2.13 (2 cells), 2.14 (1 cell); again=true trains cells anew."
    ]
