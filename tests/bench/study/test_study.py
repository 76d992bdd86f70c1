"""Studies: their files, their statistics, and the whole command on a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import compose
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF
from bench.study import command as study
from bench.study.comparisons import differences
from bench.study.files import Chosen, Difference, Scored, StudyResult
from bench.study.page import study_page
from bench.study.variants import NOT_TRAINED, PlainControl, Study, Variant, read_study
from tests.every_row import LATER
from tests.made_records import made_record

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
    monkeypatch.setattr(study, "_STUDIES", tmp_path)
    (tmp_path / "small.yaml").write_text(TINY)
    return tmp_path


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A variant that fails takes nothing from the others, and shows in the exit status.
    command = ["small", "--jobs", "1", "--output", str(folder / "out"), f"results={folder}"]
    assert study.main(command) == 1
    assert "Wrong: method.loss" in capsys.readouterr().err
    found = StudyResult.read(folder / "out", "small")
    assert len(found.scores) == 2 * 2 * 4 * 6  # groups, variants, metrics, seeds
    assert [(line.group, line.variant, line.points) for line in found.variants] == [
        (group, name, 2) for group in ("few", "many") for name in ("mf", "jl")
    ]
    for line in found.variants:
        assert (line.alpha_mean is not None) == (line.variant == "jl")
        assert "method=" in line.command and str(folder) not in line.command
    assert len(found.differences) == 2 * 4 and {line.against for line in found.differences} == {"mf"}
    page = (folder / "out" / "small.md").read_text()
    assert "## few" in page and "## many" in page and "X: method.loss" in page
    # Another time nothing is trained, and the files are the same.
    before = (folder / "out" / "small_variants.csv").read_text()
    study.main(command)
    assert (folder / "out" / "small_variants.csv").read_text() == before


def test_families_are_of_one_group_base_and_metric() -> None:
    variants = tuple(Variant(group, name, name, ()) for group in "ab" for name in ("mf", "x", "y"))
    base = [0.5 + seed / 100 for seed in range(8)]
    records = {
        (group, name): made_record([value + shift for value in base])
        for group in "ab"
        for name, shift in (("mf", 0.0), ("x", 0.01), ("y", -0.02))
    }
    lines = differences(Study("s", "", "", ("mf",), variants), records)
    assert len(lines) == 2 * 2 * 3
    for line in lines:
        shift = {"x": 0.01, "y": -0.02}[line.variant]
        assert line.median == pytest.approx(shift) and line.low <= line.median <= line.high
        assert line.p_value == pytest.approx(2 / 2**8)  # all eight on one side
        assert line.p_holm == pytest.approx(2 * 2 / 2**8)  # two tests in the family


def test_the_ideal_loss_is_a_metric_where_all_records_have_it() -> None:
    variants = tuple(Variant("", name, name, ()) for name in ("mf", "x"))
    base = [0.5 + seed / 100 for seed in range(8)]
    study_ = Study("s", "S", "", ("mf",), variants)
    records = {
        each.key: made_record(base, test={**made_record(base).test, "ideal_loss": base}) for each in variants
    }
    assert [line.metric for line in differences(study_, records)] == ["auc", "ndcg", "recall", "ideal_loss"]
    records[variants[1].key] = made_record(base)
    assert [line.metric for line in differences(study_, records)] == ["auc", "ndcg", "recall"]


# --- Files --------------------------------------------------------------------------------------------


def test_the_files_go_round(tmp_path: Path) -> None:
    place = {"group": "A, 5 %", "variant": "tp", "method": "ultd_tp"}
    found = StudyResult(
        scores=(Scored(**place, metric="ndcg", seed=19, value=0.771865),),
        variants=(
            Chosen(
                **place,
                title='O ∪ A, "both"',
                points=48,
                validation_auc=0.789139,
                held_out_auc=None,
                alpha_mean=0.123457,
                selected={"batch_size": 256, "learning_rate": 1e-05, "loss": "bce", "shared": False},
                training_seconds=115.852,
                commit="02a03dd+",
                command="python -m bench grid.embedding_size=[8,32]",
            ),
        ),
        differences=(
            Difference(
                group="",
                variant="tp",
                against="mf",
                metric="auc",
                n=20,
                median=-1.5e-05,
                low=-0.002,
                high=0.001,
                p_value=1.90735e-06,
                p_holm=1.0,
            ),
        ),
    )
    found.write(tmp_path, "small")
    assert StudyResult.read(tmp_path, "small") == found


ROW_BY_ROW = {"printed"}  # studies that are trained and published group by group
# Names that a study has asked for since its files were published; `make study PUBLISH=1` ends that.
SINCE = {"ultd": {"tp_table_literal", "jl_table_literal"}}


@pytest.mark.parametrize("file", sorted((CONF / "study").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_committed_files_go_round_byte_for_byte(file: Path, tmp_path: Path) -> None:
    folder = CHECKOUT / "results" / "study"
    if file.stem in ROW_BY_ROW and not (folder / f"{file.stem}.csv").is_file():
        pytest.skip("none of its groups is published yet")
    found = StudyResult.read(folder, file.stem)
    there, asked = {(each.group, each.variant) for each in found.variants}, read_study(file).variants
    assert there <= {each.key for each in asked}
    if file.stem not in ROW_BY_ROW:
        assert {each.name for each in asked if each.key not in there} <= SINCE.get(file.stem, set())
    found.write(tmp_path, file.stem)
    for written in tmp_path.iterdir():
        assert written.read_bytes() == (folder / written.name).read_bytes(), written.name


def test_a_file_that_is_not_as_written_is_one_sentence(tmp_path: Path) -> None:
    folder = CHECKOUT / "results" / "study"
    for written in folder.glob("naive*.csv"):
        (tmp_path / written.name).write_bytes(written.read_bytes())
    file = tmp_path / "naive_comparisons.csv"
    file.write_text(file.read_text().replace(",20,", ",some,", 1))
    with pytest.raises(
        BenchError, match=r"naive_comparisons\.csv, line 2, is not as `python -m bench.study`"
    ):
        StudyResult.read(tmp_path, "naive")
    file.write_text(file.read_text().replace("p_holm", "p", 1))
    with pytest.raises(BenchError, match="has no column 'p_holm'"):
        StudyResult.read(tmp_path, "naive")


# --- What is asked ------------------------------------------------------------------------------------


def test_a_variant_like_another_adds_to_its_overrides(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(TINY + '  - {name: near, title: Near, like: jl, overrides: ["method.loss=bce"]}\n')
    found = {(each.group, each.name): each.overrides for each in read_study(file).variants}
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
    found = read_study(file)
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
    found = read_study(file)
    base = [0.5 + seed / 100 for seed in range(8)]
    shifts = {"Loss": 0.01, "IPS": -0.02}
    records = {
        each.key: made_record([value + shifts[each.group] * (each.name == "public") for value in base])
        for each in found.variants
    }
    result = StudyResult(scores=(), variants=(), differences=differences(found, records))
    assert len(result.differences) == 2 * 3
    # Two tests in the family.
    assert all(line.p_holm == pytest.approx(2 * 2 / 2**8) for line in result.differences)
    text = study_page(found, records, result, {})
    assert text.count("|  ") and "| AUC, here" in text and "AUC, there" in text
    row = next(line for line in text.splitlines() if line.startswith("| IPS"))
    assert row.count("-0.0200†") == 3 and "0.5350 ± " in row and "0.5150 ± " in row
    del records["IPS", "public"]
    result = StudyResult(scores=(), variants=(), differences=differences(found, records))
    text = study_page(found, records, result, {("IPS", "public"): "It failed."})
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
        (TINY.replace("title: MF,", "title: MF, point_of: jl,"), "is not a study"),  # a later one
        (TINY.replace("title: ULTD,", "title: ULTD, point_of: mf,"), "'jl' at the point of 'mf', from which"),
        (TINY.replace("title: ULTD,", "title: ULTD, control: {method: mf},"), "is not a study"),
        (
            TINY.replace("title: ULTD,", "title: ULTD, control: {method: mf, variant: none},"),
            "holds 'jl' of 'few' against 'none' of mf, which is none of its variants on synthetic",
        ),
        (
            TINY.replace("title: ULTD,", "title: ULTD, control: {method: ips, variant: mf},"),
            "holds 'jl' of 'few' against 'mf' of ips, which is none of its variants on synthetic",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(BenchError, match=said):
        read_study(tmp_path / "wrong.yaml")


def covering(found: Study) -> list[Variant]:
    """Variants that have every group and every name of a study: the groups' in turn, then who is missing."""
    groups = [[each for each in found.variants if each.group == group] for group in found.groups]
    chosen = [mine[place % len(mine)] for place, mine in enumerate(groups)]
    there = {each.name for each in chosen}
    return chosen + list({each.name: each for each in found.variants if each.name not in there}.values())


def unlike(found: Study) -> list[Variant]:
    """`covering`, and one of every method under every name; all of pairs, each of whose groups is its own."""

    def kind(each: Variant) -> tuple[str, ...]:
        method = [word for word in each.overrides if word.startswith("method=")]
        return (each.group if found.pairs else method[-1], each.name)

    chosen = covering(found)
    there = {kind(each) for each in chosen}
    return chosen + list({kind(each): each for each in found.variants if kind(each) not in there}.values())


STUDIES = pytest.mark.parametrize("file", sorted((CONF / "study").glob("*.yaml")), ids=lambda file: file.stem)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("every", [12, pytest.param(1, marks=LATER)])
@STUDIES
def test_the_suites_own_studies_compose(file: Path, every: int) -> None:
    found = read_study(file)
    for variant in unlike(found) if every == 1 else covering(found)[::every]:
        compose.register(variant.overrides)
        compose.composed(variant.overrides)


@STUDIES
def test_no_group_and_no_name_of_a_study_is_left_uncomposed(file: Path) -> None:
    found = read_study(file)
    for chosen in (covering(found), unlike(found)):
        assert {each.group for each in chosen} == set(found.groups)
        assert {each.name for each in chosen} == set(found.titles)
        assert len({each.key for each in chosen}) == len(chosen)
    methods = {(each.name, word) for each in found.variants for word in each.overrides if "method=" in word}
    assert methods == {(each.name, w) for each in unlike(found) for w in each.overrides if "method=" in w}


def test_a_variant_may_be_in_some_groups_only(folder: Path) -> None:
    groups = 'groups: {"A on Coat": [], "B on Coat": [], "A elsewhere": []}'
    more = "  - {name: x, title: X, overrides: [], only: [on Coat, nowhere], never: [B]}\n"
    text = TINY.replace(TINY[TINY.index("groups:") : TINY.index("variants:")], f"{groups}\n") + more
    (folder / "some.yaml").write_text(text)
    found = read_study(folder / "some.yaml")
    assert [each.group for each in found.variants if each.name == "x"] == ["A on Coat"]
    assert len([each for each in found.variants if each.name == "mf"]) == 3


def test_titles_stand_in_the_order_of_the_file_whatever_the_first_group_has(folder: Path) -> None:
    file = folder / "small.yaml"
    file.write_text(
        TINY.replace("title: ULTD,", "title: ULTD, only: [many], control: {method: mf, variant: mf},")
    )
    found = read_study(file)
    assert [each.name for each in found.variants] == ["mf", "wrong", "mf", "jl", "wrong"]
    assert list(found.titles) == ["mf", "jl", "wrong"]
    control = next(each.control for each in found.variants if each.name == "jl")
    assert control == PlainControl("mf", "mf")


def test_groups_can_be_trained_one_by_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "small.yaml").write_text(TINY.replace(TINY[TINY.index("  - {name: wrong") :], ""))
    command = ["small", "--jobs", "1", "--output", str(folder / "out"), f"results={folder}", "seeds=2"]
    assert study.main([*command, "--only", "few"]) == 0
    assert {line.group for line in StudyResult.read(folder / "out", "small").variants} == {"few"}
    assert f"X: {NOT_TRAINED}" in (folder / "out" / "small.md").read_text()
    # The other one beside it: what is there stays.
    assert study.main([*command, "--only", "many"]) == 0
    assert {line.group for line in StudyResult.read(folder / "out", "small").variants} == {"few", "many"}
    assert NOT_TRAINED not in (folder / "out" / "small.md").read_text()


def test_a_leak_into_the_test_set_takes_the_point_that_its_own_sweep_would_choose(folder: Path) -> None:
    """A stays in the test set: the same to the bit at the plain variant's point, which is not swept again."""
    leak = "overrides: [method=mf, protocol.leak_a_stays_in_test=true]"
    lines = (
        f"  - {{name: swept, title: Swept, {leak}}}\n",
        f"  - {{name: taken, title: Taken, point_of: mf, {leak}}}\n",
    )
    (folder / "small.yaml").write_text(TINY[: TINY.index("  - {name: jl")] + "".join(lines))
    command = ["small", "--jobs", "1", "--output", str(folder / "out"), f"results={folder}"]
    assert study.main([*command, "--only", "few"]) == 0
    found = StudyResult.read(folder / "out", "small")
    values = {
        name: [line.value for line in found.scores if line.variant == name]
        for name in ("mf", "swept", "taken")
    }
    assert values["taken"] == values["swept"] != values["mf"] and len(values["taken"]) == 4 * 6
    swept, taken = (
        next(line for line in found.variants if line.variant == name) for name in ("swept", "taken")
    )
    assert (taken.points, taken.validation_auc) == (swept.points, swept.validation_auc)
    assert all(f"method.{name}=" in taken.command for name in swept.selected) and swept.selected
