"""Studies: their files, their statistics, and the whole command on a small one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from bench import compose
from bench.errors import BenchError
from bench.study import variants as study
from bench.study.variants import Study, Variant

TINY = """
title: Small
text: What it asks.
overrides:
  - dataset=synthetic
  - seeds=6
  - dataset.n_users=40
  - dataset.n_items=30
  - dataset.ratings_per_user=8
  - dataset.unbiased_per_user=12
  - engine.max_epochs=2
  - grid.learning_rate=[0.01,0.05]
  - "sweep.stages=[{name: shared, lists: [shared_grid], points: 2, seeds: 1}]"
  - "grid.batch_size=[64]"
  - "grid.embedding_size=[4]"
against: [mf]
groups: {few: [protocol.unbiased_train=0.05], many: [protocol.unbiased_train=0.2]}
variants:
  - {name: mf, title: MF, overrides: [method=mf]}
  - {name: jl, title: ULTD, overrides: [method=ultd_jl]}
  - {name: wrong, title: Wrong, overrides: [method=mf, method.loss=nothing]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(study, "CONF", tmp_path)
    (tmp_path / "small.yaml").write_text(TINY)
    return tmp_path


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A variant that fails takes nothing from the others, and shows in the exit status.
    command = ["small", "--jobs", "1", "--output", str(folder / "out"), f"results={folder}"]
    assert study.main(command) == 1
    assert "Wrong: method.loss" in capsys.readouterr().err
    values = list(csv.DictReader((folder / "out" / "small.csv").open()))
    assert len(values) == 2 * 2 * 3 * 6  # groups, variants, metrics, seeds
    variants = list(csv.DictReader((folder / "out" / "small_variants.csv").open()))
    assert [(line["group"], line["variant"], line["points"]) for line in variants] == [
        (group, name, "2") for group in ("few", "many") for name in ("mf", "jl")
    ]
    for line in variants:
        assert (line["alpha_mean"] != "") == (line["variant"] == "jl")
        assert "method=" in line["command"] and str(folder) not in line["command"]
    compared = list(csv.DictReader((folder / "out" / "small_comparisons.csv").open()))
    assert len(compared) == 2 * 3 and {line["against"] for line in compared} == {"mf"}
    page = (folder / "out" / "small.md").read_text()
    assert "## few" in page and "## many" in page and "X: method.loss" in page
    # Another time nothing is trained, and the files are the same.
    before = (folder / "out" / "small_variants.csv").read_text()
    study.main(command)
    assert (folder / "out" / "small_variants.csv").read_text() == before


def record(values: list[float]) -> dict[str, Any]:
    test = {"auc": values, "ndcg": {"skip": values}, "recall": {"skip": values}}
    return {"test": test, "seeds": list(range(len(values))), "protocol": {"no_positive": "skip"}}


def test_families_are_of_one_group_base_and_metric() -> None:
    variants = tuple(Variant(group, name, name, ()) for group in "ab" for name in ("mf", "x", "y"))
    base = [0.5 + seed / 100 for seed in range(8)]
    records = {
        (group, name): record([value + shift for value in base])
        for group in "ab"
        for name, shift in (("mf", 0.0), ("x", 0.01), ("y", -0.02))
    }
    lines = study.compare(Study("s", "", "", ("mf",), variants), records)
    assert len(lines) == 2 * 2 * 3
    for line in lines:
        shift = {"x": 0.01, "y": -0.02}[line[1]]
        assert line[5] == pytest.approx(shift) and line[6] <= line[5] <= line[7]
        assert line[8] == pytest.approx(2 / 2**8)  # all eight on one side
        assert line[9] == pytest.approx(2 * 2 / 2**8)  # two tests in the family


def test_a_variant_like_another_adds_to_its_overrides(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(TINY + '  - {name: near, title: Near, like: jl, overrides: ["method.loss=bce"]}\n')
    found = {(each.group, each.name): each.overrides for each in study.read(file).variants}
    for group in ("few", "many"):
        assert found[group, "near"] == (*found[group, "jl"], "method.loss=bce")


PAIRS = """
title: Pairs
text: What it asks.
overrides: [dataset=synthetic]
against: [ours]
groups:
  Loss: {all: [method=mf], public: [method.loss=mse]}
  IPS: {all: [method=ips], public: [method.clip=5]}
variants: [{name: ours, title: here, overrides: []}, {name: public, title: there, overrides: [seeds=8]}]
"""


def test_a_group_has_overrides_for_some_of_its_variants(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(PAIRS)
    found = study.read(file)
    assert found.pairs
    assert {(each.group, each.name): each.overrides for each in found.variants} == {
        ("Loss", "ours"): ("dataset=synthetic", "method=mf"),
        ("Loss", "public"): ("dataset=synthetic", "method=mf", "seeds=8", "method.loss=mse"),
        ("IPS", "ours"): ("dataset=synthetic", "method=ips"),
        ("IPS", "public"): ("dataset=synthetic", "method=ips", "seeds=8", "method.clip=5"),
    }


def test_pairs_are_one_family_and_one_table(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(PAIRS)
    found = study.read(file)
    base = [0.5 + seed / 100 for seed in range(8)]
    shifts = {"Loss": 0.01, "IPS": -0.02}
    records = {
        (each.group, each.name): {
            **record([value + shifts[each.group] * (each.name == "public") for value in base]),
            "dataset": {"title": "Coat", "k": 5},
            "protocol": {"no_positive": "skip", "name": "table"},
            "points": 1,
        }
        for each in found.variants
    }
    lines = study.compare(found, records)
    assert len(lines) == 2 * 3
    assert all(line[9] == pytest.approx(2 * 2 / 2**8) for line in lines)  # two tests in the family
    text = study.page(found, records, {}, lines, {})
    assert text.count("|  ") and "| AUC, here" in text and "AUC, there" in text
    row = next(line for line in text.splitlines() if line.startswith("| IPS"))
    assert row.count("-0.0200†") == 3 and "0.5350 ± " in row and "0.5150 ± " in row
    del records["IPS", "public"]
    text = study.page(found, records, {}, study.compare(found, records), {("IPS", "public"): "It failed."})
    assert "X: It failed." in text


def test_a_study_that_is_not_there_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main(["ultdd"]) == 1
    assert "ultd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: x", "is not a study"),
        (TINY.replace("against: [mf]", "against: [ips]"), "which is none of its variants"),
        (TINY.replace("name: jl", "name: mf"), "names a variant twice"),
        (PAIRS.replace("public: [method.loss", "publik: [method.loss"), "overrides for 'publik'"),
        (TINY.replace("title: Wrong,", "title: Wrong, like: later,"), "is not a study"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(BenchError, match=said):
        study.read(tmp_path / "wrong.yaml")


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("file", sorted((compose.CONF / "study").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_suites_own_studies_compose(file: Path) -> None:
    found = study.read(file)
    for variant in [each for each in found.variants if found.pairs or each.group == found.variants[0].group]:
        compose.register(variant.overrides)
        compose.composed(variant.overrides)
