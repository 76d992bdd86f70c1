"""The page and the plots: what they say of records, of missing ones, and that they repeat themselves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import report, reproduce, table
from bench.errors import BenchError
from bench.records import store
from bench.report.details import read_cells
from bench.report.page import page_text
from bench.report.shared import SharedParts, restored
from bench.table import load_frame, load_results
from tests.bench.small_results import SEEDS, make_results

ROOT = Path(bench.__file__).parents[1]
VOID = {"meta", "link", "br", "circle", "line", "polyline", "polygon", "path", "input"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its table; not to be written to."""
    folder = make_results(tmp_path_factory.mktemp("results"))
    table.write_table(folder)
    return folder


def text_of(results: Path) -> str:
    """The page of a results folder."""
    return report.page_files(load_results(results), results)["index.html"]


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    """The page of the small results; what it draws of their records lies beside the table."""
    report.write_page(results)
    return (results / "table1" / "index.html").read_text(encoding="utf-8")


def carried(page: str) -> dict[str, Any]:
    """What the page's script reads: cells, curves, points and rates, by digest."""
    found = re.search(r'<script type="application/json" id="records">(.*?)</script>', page, re.S)
    assert found is not None
    return dict(json.loads(found[1]))


def records(page: str) -> dict[str, Any]:
    """What the page's windows show."""
    found = carried(page)
    return {digest: restored(entry, found["shared"]) for digest, entry in found["cells"].items()}


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
    found = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page)
    # Links lead to the paper and to the methods' files, and wait to be followed.
    paper, *files = [link for link in found if not link.startswith("table1") and not link.endswith(".csv")]
    assert paper.startswith("https://openreview.net/")
    assert files == [f"../../methods/{key}.py" for key in ("mf", "ips", "dr", "ultd_jl", "item_mean")]
    assert set(found) - {paper, *files} == {
        *("table1.csv", "seeds.csv", "tuning.csv", "comparisons.csv", "users.csv", "provenance.csv"),
        *("table1.md", "table1.tex", "table1.html"),
    }
    assert "@import" not in page and "url(" not in page
    # The other address is the name of SVG's namespace, which nothing is loaded from.
    assert set(re.findall(r"https?://[^\"'\s]*", page)) == {"http://www.w3.org/2000/svg", paper}


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
    assert text_of(results) == page


def test_every_number_of_the_page_has_a_name_of_its_own(page: str) -> None:
    """Row, column and number: who hears one button after the other knows where he is."""
    for found in re.findall(r'<table class="(?:table1|heat)".*?</table>', page, re.S):
        names = re.findall(r'<button type="button" class="cell"[^>]* aria-label="([^"]*)"', found)
        assert len(names) == found.count('class="cell"') == len(set(names)) > 0
        assert all(re.match(r"[^,]+, (Coat|KuaiRec) (AUC|[NR]@\d+): 0\.\d{3}", name) for name in names)
    assert "MF, Coat AUC: 0.750 ± 0.002; paper 0.747, difference +0.003, surely within ±0.01" in page


def test_no_zero_has_a_sign(page: str) -> None:
    shown = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    assert re.findall(r"[-+−]0\.000(?!\d)", re.sub(r'="[^"]*"', "", shown)) == []


def test_printed_numbers_that_cannot_be_compared_are_shown_as_such(page: str) -> None:
    """KuaiRec's ratings are not the paper's: its numbers stand in brackets, under no sign and in no count."""
    found = re.findall(r'data-dataset="kuairec" data-metric="auc"[^>]*data-printed="([^"]*)"', page)
    printed = table.read_paper(table.PAPER)
    assert found == [printed["mf", "kuairec", "auc"], printed["ips", "kuairec", "auc"]]
    assert 'data-dataset="kuairec" data-metric="auc" data-verdict' not in page
    assert page.count('class="paper other"') == 6


def test_a_page_names_the_paper_and_spells_its_abbreviations_out(page: str) -> None:
    for words in (
        *("Meng Li and Haochen Sui", "Causal Recommendation via Machine Unlearning with a Few Unbiased"),
        *("area under the ROC curve", "normalised discounted cumulative gain", "O ∪ A", "mean label"),
    ):
        assert words in " ".join(page.split()), words
    assert '<option value="table">as printed (≥ 4)</option>' in page
    assert '<option value="text">as written (≥ 3)</option>' in page


def test_a_page_has_a_limit_and_names_the_records_that_would_exceed_it(results: Path) -> None:
    frame = load_results(results)
    cells = read_cells(frame, results)
    whole = len(page_text(frame, cells).encode())
    small = page_text(frame, cells, limit=whole - 2000)
    assert whole < 2.5e6 and len(small.encode()) <= whole - 1500
    assert "room" in {record.get("missing") for record in records(small).values()}


def test_what_windows_share_is_carried_once_and_put_back(page: str) -> None:
    windows = [*records(page).values(), {"title": "absent", "missing": "absent"}]
    before = json.dumps(windows)
    shared = SharedParts()
    lifted = [shared.lifted(each) for each in windows]
    assert json.dumps(windows) == before
    assert [restored(each, shared.parts) for each in lifted] == windows
    assert lifted[0]["configuration"]["protocol"] == lifted[1]["configuration"]["protocol"]
    assert len(shared.parts) == len({json.dumps(part) for part in shared.parts}) < 2 * len(windows)
    assert carried(page)["shared"] == shared.parts


def test_every_cell_of_the_table_has_its_record(page: str) -> None:
    data = carried(page)
    buttons = set(re.findall(r'data-cell="([^"]*)"', page))
    assert buttons == set(data["cells"]) and len(buttons) == 10
    for digest, record in data["cells"].items():
        assert record["command"].startswith("python -m bench protocol=")
        assert record["seeds"]["seed"] == SEEDS == data["curves"][digest]["seeds"]
        assert data["points"][digest]["count"] == 2 and data["points"][digest]["trainings"] == 4


def test_a_clone_without_records_draws_the_same_charts(results: Path, page: str, tmp_path: Path) -> None:
    clone = tmp_path / "results"
    shutil.copytree(results, clone, ignore=shutil.ignore_patterns("runs"))
    bare = text_of(clone)
    ours, theirs = carried(bare), carried(page)
    assert {each["missing"] for each in ours["cells"].values()} == {"absent"}
    assert ours["curves"] == theirs["curves"] and len(ours["curves"]) == 10
    assert ours["rates"] == theirs["rates"] and len(ours["rates"]) == 2
    part = r'<section id="(verdict|table|forest|curves|rates)".*?</section>'
    found = [match[0] for match in re.finditer(part, bare, re.S)]
    assert len(found) == 5
    assert found == [match[0] for match in re.finditer(part, page, re.S)]
    before = {file.name: file.read_bytes() for file in (clone / "table1").glob("*.gz")}
    report.write_page(clone)  # nor does it lose what it was made from
    assert {file.name: file.read_bytes() for file in (clone / "table1").glob("*.gz")} == before


def test_without_anything_to_draw_the_page_says_what_is_missing(
    results: Path, page: str, tmp_path: Path
) -> None:
    clone = tmp_path / "results"
    shutil.copytree(results, clone, ignore=shutil.ignore_patterns("runs", "*.gz"))
    report.write_page(clone)
    bare = (clone / "table1" / "index.html").read_text(encoding="utf-8")
    assert "Validation curves are in the records" in bare and carried(bare)["curves"] == {}
    assert list((clone / "table1").glob("*.gz")) == []


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
        text_of(clone)


def test_records_beyond_the_pages_limit_are_named_only(results: Path, page: str) -> None:
    known = load_results(results)
    cells = read_cells(known, results)
    windows = len(json.dumps(records(page)).encode())
    limit = len(page.encode()) - windows / 2
    text = page_text(known, cells, limit)
    shown = list(records(text).values())
    assert "command" in shown[0] and shown[-1] == {"title": shown[-1]["title"], "missing": "room"}
    assert len(text.encode()) <= limit + 1000  # the names


def test_text_of_a_record_cannot_leave_its_place(tmp_path: Path) -> None:
    """Somebody's method may be called anything."""

    def evil(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["method"]["loss"] = "</script><script>alert(1)</script>"

    make_results(tmp_path, evil)
    text = text_of(tmp_path)
    assert text.count("<script") == 2 and "alert(1)" in json.dumps(records(text))


def test_text_of_the_table_cannot_become_markup(tmp_path: Path) -> None:
    make_results(tmp_path)
    file = tmp_path / "table1" / "cells.json"
    manifest = json.loads(file.read_text())
    evil = '<b id="evil">"x"</b><script>alert(1)</script>'
    for row in manifest["rows"]:
        row["title"] = evil
    for dataset in manifest["datasets"]:
        dataset["title"] = evil
    file.write_text(json.dumps(manifest))
    text = text_of(tmp_path)
    assert text.count("<script") == 2 and '<b id="evil"' not in text
    assert "&lt;b id=&#34;evil&#34;&gt;" in text


def test_the_page_and_the_plots_need_neither_torch_nor_data() -> None:
    code = (
        "import sys, bench.report, bench.report.plots; "
        "print([m for m in ('torch', 'methods', 'bench.data', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_committed_page_is_made_from_the_committed_table() -> None:
    """`make report` after every change of the table."""
    folder = ROOT / "results" / "published"
    text = (folder / "index.html").read_text(encoding="utf-8")
    known = load_frame(folder, None, folder)
    compared = [line.within for line in known.lines if line.within is not None]
    assert f"{sum(compared)} of {len(compared)}</p>" in text
    shown = set(re.findall(r'data-cell="([^"]*)"', text))
    assert {line.cell.digest for line in known.lines if line.values} == shown


def test_published_cells_keep_their_windows_without_their_records(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    shutil.copytree(results / "table1", results / "published")
    table.write_table(results, published=True)
    report.write_page(results, published=True)
    published = results / "published" / "index.html"
    before = records(published.read_text(encoding="utf-8"))
    shutil.rmtree(results / "runs")
    shutil.rmtree(results / "table1")
    for own in (False, True):
        report.write_page(results, published=not own)
        page = results / ("table1" if own else "published") / "index.html"
        after = records(page.read_text(encoding="utf-8"))
        assert after == before and all("configuration" in each for each in after.values())
    # A page that is none has no windows to keep.
    published.write_text("<p>Nothing")
    assert all(each["missing"] == "absent" for each in records(text_of(results)).values())


def test_dead_embeddings_are_told_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    def dead(cell: dict[str, str], record: dict[str, Any]) -> None:
        spread = 0.0004 if (cell["method"], cell["dataset"]) == ("mf", "coat") else 0.3
        record["diagnostics"]["interaction_sd"] = [spread] * len(SEEDS)

    results = make_results(tmp_path, dead)
    warned = {entry["title"]: entry["warnings"] for entry in records(text_of(results)).values()}
    told = {title: sentences for title, sentences in warned.items() if sentences}
    assert told.keys() == {f"MF on Coat, {protocol}" for protocol in ("as printed", "as written")}
    assert all("do not interact" in sentence for sentences in told.values() for sentence in sentences)
    said = reproduce.warnings(load_results(results), results / "runs")
    assert [sentence.partition(":")[0] for sentence in said] == [
        f"MF on Coat, protocol {protocol}" for protocol in ("table", "text")
    ]


def test_a_window_tells_validation_and_tuning(tmp_path: Path) -> None:
    def held_out(cell: dict[str, str], record: dict[str, Any]) -> None:
        if cell["method"] == "mf":
            record["validation"]["held_out"] = [0.71] * len(SEEDS)

    found = records(text_of(make_results(tmp_path, held_out)))
    told = {entry["title"]: entry.get("tuning") for entry in found.values()}
    assert told["MF on Coat, as printed"] == {"held_out_validation_auc": 0.71}
    assert told["IPS on Coat, as printed"] is None


def test_the_committed_table_makes_itself_again(tmp_path: Path) -> None:
    """Without records, as every clone can; all but the users' tests of rows that no record was left of."""
    folder = tmp_path / "results" / "published"
    shutil.copytree(ROOT / "results" / "published", folder)
    shutil.copytree(ROOT / "results" / "sweep", tmp_path / "results" / "sweep")
    for name, text in table.build(tmp_path / "results", published=True).items():
        assert text == (folder / name).read_text(encoding="utf-8"), name


# --- LaTeX ----------------------------------------------------------------------------------------------


def compiled(folder: Path, name: str) -> str:
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / name).with_suffix(".pdf").stat().st_size > 10_000
    return done.stdout


PDFLATEX = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="there is no pdflatex: apt install texlive"
)


@PDFLATEX
@pytest.mark.parametrize("own", [True, False])
def test_latex_compiles_as_it_stands(results: Path, tmp_path: Path, own: bool) -> None:
    folder = results / "table1" if own else ROOT / "results" / "published"
    shutil.copy(folder / "table1.tex", tmp_path)
    assert "Overfull" not in compiled(tmp_path, "table1.tex")


@PDFLATEX
def test_a_tabular_fits_a_paper_in_eight_points(tmp_path: Path) -> None:
    tabulars = sorted((ROOT / "results" / "published").glob("table1-*.tex"))
    assert len(tabulars) > 1
    inputs = []
    for file in tabulars:
        shutil.copy(file, tmp_path)
        inputs.append(rf"\begin{{table}}\centering\footnotesize\input{{{file.stem}}}\end{{table}}")
    text = [
        r"\documentclass[10pt]{article}\usepackage[a4paper,textwidth=16cm]{geometry}",
        r"\usepackage{amssymb,booktabs}\setlength{\tabcolsep}{3pt}\begin{document}",
        *inputs,
        r"\end{document}",
    ]
    (tmp_path / "paper.tex").write_text("\n".join(text), encoding="utf-8")
    assert "Overfull" not in compiled(tmp_path, "paper.tex")
    for file in tabulars:
        assert not re.search(r"resizebox|scriptsize|tiny", file.read_text(encoding="utf-8"))


def test_a_store_that_cannot_be_read_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert store.digests(tmp_path / "runs") == []


# --- One's own page and the published one -------------------------------------------------------------


def test_ones_own_page_draws_published_cells_beside_its_own(tmp_path: Path) -> None:
    """Here MF alone was trained; what is drawn of the others lies beside the published table."""
    make_results(tmp_path)
    shutil.move(tmp_path / "table1", tmp_path / "published")
    table.write_table(tmp_path, published=True)
    report.write_page(tmp_path, published=True)
    before = {file.name: file.read_bytes() for file in (tmp_path / "published").iterdir()}
    published = carried(before["index.html"].decode())
    assert {window["origin"] for window in published["cells"].values()} == {"published"}
    shutil.rmtree(tmp_path / "runs")

    def retrained(cell: dict[str, str], record: dict[str, Any]) -> None:
        record["validation"]["step"] = [30] * len(SEEDS)

    make_results(tmp_path, retrained, methods=("mf",))
    table.write_table(tmp_path)
    report.write_page(tmp_path)
    text = (tmp_path / "table1" / "index.html").read_text(encoding="utf-8")
    own = carried(text)
    where = {window["title"]: window["origin"] for window in own["cells"].values()}
    assert where["MF on Coat, as printed"] == "here"
    assert where["IPS on Coat, as printed"] == "published"
    marked = set(re.findall(r'data-cell="([^"]*)" data-origin="here"', text))
    assert marked == {digest for digest, window in own["cells"].items() if window["origin"] == "here"}
    assert 'class="mixed"' in text and 'class="mixed"' not in before["index.html"].decode()
    assert own["curves"].keys() == own["cells"].keys() == published["curves"].keys()
    for digest, window in own["cells"].items():
        here = window["origin"] == "here"
        assert {step for step, _ in own["curves"][digest]["kept"]} == ({30} if here else {20})
        assert "missing" not in window  # of a published one as its page has it
    assert {file.name: file.read_bytes() for file in (tmp_path / "published").iterdir()} == before
