"""`make publish`: nothing that is published vanishes unless somebody says so."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from bench import reproduce
from bench.gate import publish
from bench.table.manifest import CellKey, Listed, TableManifest

TINY = ("dataset.batch_size=32", "engine.max_epochs=2", "seeds=2")


def test_what_would_vanish_is_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The suite, cut to what is tried here.
    monkeypatch.setattr(reproduce, "DATASETS", ("coat", "synthetic"))
    monkeypatch.setattr(reproduce, "PROTOCOLS", ("table",))
    monkeypatch.setattr(reproduce, "of_suite", lambda key: key in ("mf", "ips", "item_mean"))
    words = (*TINY, f"results={tmp_path}", f"data_dir={tmp_path / 'nothing'}")
    chosen = ("--methods", "mf,item_mean", "--datasets", "synthetic", "--protocols", "table", "--jobs", "1")
    assert reproduce.main(["--brief", *chosen, *words]) == 0
    command = ["--scratch", str(tmp_path / "scratch"), *words]
    folder = tmp_path / "published"

    def lines() -> dict[str, tuple[str, str]]:
        rows = csv.DictReader((folder / "table1.csv").open(encoding="utf-8"))
        return {row["method"]: (row["origin"], row["mean"]) for row in rows if row["mean"]}

    assert publish.main(command) == 0
    assert {method: origin for method, (origin, _) in lines().items()} == dict.fromkeys(
        ("mf", "item_mean"), "published"
    )
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"cells.json", "seeds.csv", "table1.md", "index.html"} <= set(before)

    # The same records: nothing moves, and the same bytes.
    capsys.readouterr()
    assert publish.main(command) == 0
    assert "The gate passes" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before

    (digest,) = {
        row["cell"]
        for row in csv.DictReader((folder / "table1.csv").open(encoding="utf-8"))
        if row["method"] == "mf" and row["cell"]
    }
    shutil.rmtree(tmp_path / "runs" / digest)
    assert publish.main(command) == 1
    said = capsys.readouterr()
    assert "Numbers of 1 published cells would vanish (table/synthetic/mf)" in said.err
    assert "FORCE=1" in said.err and "KEEP=1" in said.err and "gone" in said.out
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before

    # What has no record stays as it is, and so does what is not published anew: to the byte.
    for some in (
        ["--keep"],
        ["--methods", "item_mean"],
        ["--methods", "item_mean", "--datasets", "synthetic"],
    ):
        assert publish.main([*some, *command]) == 0
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before, some
    capsys.readouterr()
    assert publish.main(["--methods", "mf", *command]) == 1
    assert "there is nothing to publish" in capsys.readouterr().err
    assert publish.main(["--methods", "mff", *command]) == 1
    assert "There is no row of the suite 'mff'" in capsys.readouterr().err

    # A row of another edition: trained anew with more seeds, and tested over those that both have.
    more = [word.replace("seeds=2", "seeds=3") for word in words]
    assert reproduce.main(["--brief", *chosen[:1], "item_mean", *chosen[2:], *more]) == 0
    assert publish.main(["--keep", "--scratch", str(tmp_path / "scratch"), *more]) == 0
    with (folder / "comparisons.csv").open(encoding="utf-8") as file:
        (test,) = [
            row for row in csv.DictReader(file) if (row["metric"], row["against"]) == ("auc", "reference")
        ]
    assert (test["method"], test["n"]) == ("item_mean", "2")
    with (folder / "provenance.csv").open(encoding="utf-8") as file:
        code = {row["method"]: row["code"] for row in csv.DictReader(file)}
    assert len(set(code.values())) == 2 and "" not in code.values()  # each method has code of its own
    assert publish.main(["--methods", "item_mean", *command]) == 0  # the two seeds are back
    for name in ("cells.json", "table1.csv", "seeds.csv", "tuning.csv", "comparisons.csv", "provenance.csv"):
        assert (folder / name).read_bytes() == before[name], name
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    assert publish.main(["--force", *command]) == 0
    assert set(lines()) == {"item_mean"}

    # Without any record there is nothing to publish, whatever is said.
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(tmp_path / "runs")
    assert publish.main(["--force", *command]) == 1
    assert "so there is nothing to publish: train them by `make table1`" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def listing(**cells: Listed) -> TableManifest:
    return TableManifest(
        protocols=["table"],
        datasets=[],
        rows=[],
        reference="",
        cells={("table", "coat", method): listed for method, listed in cells.items()},
    )


def test_why_a_cell_cannot_be_trained_is_remembered_from_where_it_was_tried(tmp_path: Path) -> None:
    known = Listed(None, "Only generated data have known propensities.")
    published = listing(mf=Listed("a" * 20), ips_oracle=known, eib=known, gone=known)
    published.write(tmp_path / "published")
    listing(ips_oracle=Listed(None, "Tried here.")).write(tmp_path / "table1")
    now = listing(mf=Listed(None), ips_oracle=Listed(None), eib=Listed(None, "No data."))
    assert publish.with_reasons(now, tmp_path).cells == {
        ("table", "coat", "mf"): Listed(None),  # it had a number: that it vanishes is another matter
        ("table", "coat", "ips_oracle"): Listed(None, "Tried here."),
        ("table", "coat", "eib"): Listed(None, "No data."),
    }
    assert publish.with_reasons(now, tmp_path / "nothing") == now


def test_what_is_trained_where_it_is_asked_for_is_no_row_and_no_group_until_it_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reproduce, "datasets_of_table", lambda: ("coat", "synthetic"))
    trained = {("table", "coat", "mf"), ("table", "coat_features", "ips")}

    def kept(*given: CellKey) -> set[CellKey]:
        return set(publish.without_untrained({key: Listed("a" if key in trained else None) for key in given}))

    # Of the paper, on the table's data sets: an X says that there is no number yet.
    shown: set[CellKey] = {("table", "coat", "mf"), ("table", "synthetic", "mf")}
    of_none: set[CellKey] = {("table", "coat", "esmm"), ("table", "coat_features", "mf")}
    assert kept(*shown, *of_none) == shown
    of_one: set[CellKey] = {("table", "coat_features", "mf"), ("table", "coat_features", "ips")}
    assert kept(*shown, *of_one) == shown | of_one
