"""The page and the plots: what they say of records, of missing ones, and that they repeat themselves."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench import cell as cells
from bench import compose, report, table
from bench.errors import BenchError
from bench.records import store
from bench.report import plots
from bench.report.details import Details, Sweep, by_value, command, details, held, statistics, sweep
from bench.report.svg import Scale, thinned
from bench.table import load_results
from tests.bench.small_results import SEEDS, make_results

ROOT = Path(bench.__file__).parents[1]
VOID = {"meta", "link", "br", "circle", "line", "polyline", "polygon", "path", "input"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its table; not to be written to."""
    folder = make_results(tmp_path_factory.mktemp("results"))
    table.write(folder)
    return folder


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return report.build(results)


def records(page: str) -> dict[str, Any]:
    """What the page's windows show."""
    found = re.search(r'<script type="application/json" id="records">(.*?)</script>', page, re.S)
    assert found is not None
    return dict(json.loads(found[1]))


class Balance(HTMLParser):
    """Notes elements that are closed in another order than they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} at {self.getpos()}")


# --- The page -----------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_no_network_for_anything(page: str) -> None:
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page) == [
        *("table1.csv", "seeds.csv", "comparisons.csv", "users.csv", "provenance.csv"),
        *("table1.md", "table1.tex", "table1.html"),
    ]
    assert "@import" not in page and "url(" not in page
    # The one address is the name of SVG's namespace, which nothing is loaded from.
    assert set(re.findall(r"https?://[^\"'\s]*", page)) == {"http://www.w3.org/2000/svg"}


def test_the_page_is_well_formed(page: str, results: Path) -> None:
    for text in (page, (results / "table1" / "table1.html").read_text(encoding="utf-8")):
        parser = Balance()
        parser.feed(text)
        assert (parser.wrong, parser.open) == ([], [])


def test_a_screen_reader_is_told_what_it_meets(page: str) -> None:
    assert '<html lang="en">' in page
    assert len(re.findall(r"<h1", page)) == 1
    for svg in re.findall(r"<svg[^>]*>", page):
        assert 'role="img" aria-label="' in svg or 'aria-hidden="true"' in svg
    for heading in re.findall(r"<th[ >][^>]*>", page):
        assert "scope=" in heading or "colspan=" in heading
    for labelled in re.findall(r'aria-labelledby="([^"]*)"', page):
        assert page.count(f'id="{labelled}"') == 1


def test_the_same_records_give_the_same_page(results: Path, page: str) -> None:
    assert report.build(results) == page


def test_every_cell_of_the_table_has_its_record(page: str) -> None:
    shown = records(page)
    buttons = set(re.findall(r'data-cell="([^"]*)"', page))
    assert buttons == set(shown) and len(shown) == 10
    for record in shown.values():
        assert record["command"].startswith("python -m bench protocol=")
        assert [each["seed"] for each in record["seeds"]] == SEEDS
        assert len(record["curves"]) == len(SEEDS) and len(record["tried"]["rows"]) == 2


def test_a_page_without_records_keeps_the_numbers_and_says_what_is_missing(
    results: Path, page: str, tmp_path: Path
) -> None:
    clone = tmp_path / "results"
    shutil.copytree(results, clone, ignore=shutil.ignore_patterns("runs"))
    bare = report.build(clone)
    assert {each["missing"] for each in records(bare).values()} == {"absent"}
    assert "Validation curves are in the records" in bare
    part = r'<section id="(verdict|table|forest)".*?</section>'
    assert [m[0] for m in re.finditer(part, bare, re.S)] == [m[0] for m in re.finditer(part, page, re.S)]


def test_a_clone_without_records_makes_the_same_table(results: Path, tmp_path: Path) -> None:
    clone = tmp_path / "results"
    shutil.copytree(results, clone, ignore=shutil.ignore_patterns("runs"))
    assert table.build(clone) == table.build(results)


def test_a_damaged_record_is_not_read_from_the_table_instead(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    file = next((copy / "runs").glob("*/record.json"))
    file.write_text(file.read_text().replace("0.7", "0.8"))
    with pytest.raises(BenchError, match="does not match"):
        table.build(copy)


def test_a_table_file_that_cannot_be_read_back_is_named(results: Path, tmp_path: Path) -> None:
    clone = tmp_path / "results"
    shutil.copytree(results, clone, ignore=shutil.ignore_patterns("runs"))
    (clone / "table1" / "seeds.csv").write_text("protocol,dataset\ntable,coat\n")
    with pytest.raises(BenchError, match=r"not as `python -m bench\.table` writes it"):
        report.build(clone)


def test_records_beyond_the_pages_limit_are_named_only(
    results: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_LIMIT", 0.8 * len(page))
    shown = list(records(report.build(results)).values())
    assert "command" in shown[0] and shown[-1]["missing"] == "room"


def test_text_of_a_record_cannot_leave_its_place(tmp_path: Path) -> None:
    """Somebody's method may be called anything."""

    def evil(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["method"]["loss"] = "</script><script>alert(1)</script>"

    make_results(tmp_path, evil)
    text = report.build(tmp_path)
    assert text.count("<script") == 2 and "alert(1)" in json.dumps(records(text))


def test_the_page_and_the_plots_need_neither_torch_nor_data() -> None:
    code = (
        "import sys, bench.report, bench.report.plots; "
        "print([m for m in ('torch', 'methods', 'bench.data', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_committed_page_is_made_from_the_committed_table() -> None:
    """`make report` after every change of the table."""
    text = (ROOT / "results" / "table1" / "index.html").read_text(encoding="utf-8")
    known = load_results(ROOT / "results")
    compared = [line.within for line in known.lines if line.within is not None]
    if compared:  # a run of one's own without the paper's data sets has nothing to compare
        assert f"{sum(compared)} of {len(compared)}</p>" in text
    assert {line.cell.digest for line in known.lines if line.values} == set(records(text))


def test_the_committed_table_makes_itself_again(tmp_path: Path) -> None:
    """Without records, as every clone can; all but the users' tests of rows that no record was left of."""
    folder = tmp_path / "results" / "table1"
    shutil.copytree(ROOT / "results" / "table1", folder)
    shutil.copytree(ROOT / "results" / "sweep", tmp_path / "results" / "sweep")
    for name, text in table.build(tmp_path / "results").items():
        assert text == (folder / name).read_text(encoding="utf-8"), name


# --- What is shown of a record ------------------------------------------------------------------------


def test_the_command_makes_the_very_record(tmp_path: Path) -> None:
    given = [
        *("method=ips", "dataset=synthetic", "sweep=none", "seeds=2", "grid.learning_rate=[0.01,0.05]"),
        *("method.weight_decay=0.001", "engine.max_epochs=2", f"results={tmp_path}"),
        *("dataset.n_users=60", "dataset.n_items=40", "dataset.k=4"),
    ]
    compose.register(given)
    config = compose.composed(given)
    cell = cells.prepare(config, cells.load(config))
    record = cells.run(cell, tmp_path / "runs")
    again = shlex.split(command(record))[3:]
    config = compose.composed(again)
    assert cells.prepare(config, cells.load(config)).digest == cell.digest


def test_a_tuned_cell_tells_the_sweep_that_chose_it(results: Path, tmp_path: Path) -> None:
    lines = load_results(results).lines
    line = next(x for x in lines if (x.protocol, x.row.method, x.dataset.dataset) == ("text", "ips", "coat"))
    found = details(results / "runs", line.cell.digest)
    assert found is not None
    own = sweep(tmp_path, line, found)
    assert own is not None and own.names == ["learning_rate"] and len(own.points) == 2

    found.record["tried"] += [
        {"point": {"learning_rate": 0.01, "layers": [8, 4]}, "validation_auc": 0.6, "seeds": 8},
        {"point": {"learning_rate": 0.05, "layers": [8]}, "validation_auc": None, "seeds": 0},
    ]
    staged = sweep(tmp_path, line, found)
    assert staged is not None and staged.names == ["learning_rate", "layers"]
    assert staged.points[2:] == [([0.01, "[8, 4]"], 0.6)]
    assert list(by_value(staged, 1)) == [None, "[8, 4]"]

    found.record["tried"] = [{"point": {}, "seeds": 0, "validation_auc": None}]
    assert sweep(tmp_path, line, found) is None
    file = tmp_path / "sweep" / "table" / "coat" / "ips.csv"  # the point of the other protocol
    file.parent.mkdir(parents=True)
    file.write_text("loss,weight_decay,seeds,validation_auc\nmse,0.001,3,0.7\nbce,0.001,3,\n")
    chosen = sweep(tmp_path, line, found)
    assert chosen == Sweep(["loss", "weight_decay"], [(["mse", 0.001], 0.7)])
    file.write_text("loss,weight_decay,seeds,validation_auc\nmse,0.001,3,high\n")
    with pytest.raises(BenchError, match=r"ips\.csv"):
        sweep(tmp_path, line, found)


def test_values_of_a_hyper_parameter_come_in_order() -> None:
    tried = Sweep(["rate", "loss"], [([0.1, "mse"], 0.7), ([0.01, "bce"], 0.6), ([0.1, "bce"], 0.8)])
    assert list(by_value(tried, 0).items()) == [(0.01, [0.6]), (0.1, [0.7, 0.8])]
    assert list(by_value(tried, 1).items()) == [("bce", [0.6, 0.8]), ("mse", [0.7])]


def test_a_stopped_seed_counts_with_the_value_it_kept() -> None:
    curves = np.array([[0.5, 0.7, 0.6], [0.5, 0.8, np.nan]])
    record = {"validation": {"auc": [0.7, 0.8]}}
    assert held(Details(record, np.arange(3.0), curves, {})).tolist() == [[0.5, 0.7, 0.6], [0.5, 0.8, 0.8]]


def test_an_unbiased_loss_counts_only_where_there_are_unbiased_ratings() -> None:
    users = {
        "alpha": np.full((2, 3), 0.1),
        "unbiased_loss": np.array([[0.2, 0.9, 0.9], [0.4, 0.6, 0.9]]),
        "has_unbiased": np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]),
    }
    record = {"dataset": {"name": "coat"}}
    ((name, _, values),) = statistics(Details(record, np.zeros(0), np.zeros((0, 0)), users))
    assert name == "unbiased_loss"
    assert values == pytest.approx([0.3, 0.6, np.nan], nan_ok=True)


def test_generated_users_are_told_with_their_true_selection(tmp_path: Path) -> None:
    given = ["method=mf", "dataset=synthetic", "dataset.n_users=60", "dataset.n_items=40"]
    compose.register(given)
    config = compose.composed(given)
    ratings = cells.load(config)
    record = {"dataset": vars(config.dataset), "counts": {"biased": len(ratings.biased)}}
    found = Details(record, np.zeros(0), np.zeros((0, 0)), {})
    ((name, _, values),) = statistics(found)
    assert ratings.truth is not None
    assert name == "kappa" and np.array_equal(values, np.abs(ratings.truth.selection_strength))
    record["counts"] = {"biased": len(ratings.biased) + 1}  # of another generator: not to be trusted
    assert list(statistics(found)) == []


def test_curves_are_thinned_with_both_ends() -> None:
    assert thinned(5, 10) == [0, 1, 2, 3, 4]
    kept = thinned(1000, 40)
    assert (len(kept), kept[0], kept[-1]) == (40, 0, 999)
    assert [Scale(0, 1, 10, 20)(x) for x in (-1, 0.5, 2)] == [10, 15, 20]


# --- LaTeX and plots ----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex: apt install texlive")
@pytest.mark.parametrize("own", [True, False])
def test_latex_compiles_as_it_stands(results: Path, tmp_path: Path, own: bool) -> None:
    folder = results if own else ROOT / "results"
    shutil.copy(folder / "table1" / "table1.tex", tmp_path)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table1.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and (tmp_path / "table1.pdf").stat().st_size > 10_000


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="Matplotlib is an extra")
def test_plots_name_their_command_and_repeat_themselves(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    names = [
        "deltas-table",
        "forest-table-coat",
        "curves-table-coat",
        "sensitivity-table-coat",
        "rates-table-coat",
    ]
    assert set(names) <= set(plots.plots(load_results(copy), copy))
    first = [file.read_bytes() for file in plots.write(copy, names, "svg")]
    assert first == [file.read_bytes() for file in plots.write(copy, names, "svg")]
    for name, content in zip(names, first, strict=True):
        assert content.count(f"python -m bench.report.plots {name}".encode()) >= 2
    assert plots.main(["deltas-table", "--format", "png", "--results", str(copy)]) == 0
    assert (copy / "table1" / "plots" / "deltas-table.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert plots.main(["delta-table", "--results", str(copy)]) == 1
    assert "deltas-table" in capsys.readouterr().err


def test_a_store_that_cannot_be_read_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert store.digests(tmp_path / "runs") == []
