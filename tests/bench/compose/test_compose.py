"""The command line's words become a checked configuration: what is given counts, and nothing is ignored."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import methods
from bench import cell as cells
from bench import compose, data
from bench.compose import groups
from bench.config import Config
from bench.errors import BenchError
from tests.every_row import KINDS, LATER

TINY = ("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8")


@pytest.fixture(autouse=True)
def registered() -> None:
    compose.register()


def composed(*overrides: str) -> Config:
    return compose.composed(overrides)


def points(*overrides: str) -> dict[str, list[object]]:
    """The lists that a cell is swept over, of all stages."""
    config = composed(*TINY, *overrides)
    plan = cells.prepare(config, cells.load_ratings(config)).plan
    return {name: values for stage in plan.stages for name, values in stage.lists.items()}


# --- Words -------------------------------------------------------------------------------------------


def test_words_reach_hydra_as_it_spells_them() -> None:
    words = ["seeds=3", "grid.clip=[1,2]", "-m", "method=ips,mf", "--cfg", "job", "~grid", "+tuned=a/b/c"]
    assert compose.hydra_words(words) == [
        *("-m", "seeds=3", "++grid.clip=[1,2]", "method=ips,mf", "--cfg", "job", "~grid", "+tuned=a/b/c")
    ]
    assert compose.hydra_words([]) == []


def test_several_values_need_a_multirun() -> None:
    for word in ("method=mf,ips", "method=glob(*)", "seeds=range(1,3)", "method.clip=choice(1,2)"):
        with pytest.raises(BenchError, match="names several values: add -m"):
            compose.hydra_words([word])
        assert compose.hydra_words(["--multirun", word]) == ["--multirun", word]
        assert compose.hydra_words(["hydra.mode=MULTIRUN", word]) == ["hydra.mode=MULTIRUN", word]


def test_a_job_of_a_multirun_is_named_by_what_sets_it_apart() -> None:
    words = compose.hydra_words(["-m", "dataset=coat", "method=glob(i*)", "grid.clip=[1],[2]"])
    job = ["dataset=coat", "method=ips", "++grid.clip=[1]"]
    assert compose.told_apart(words, job) == ["method=ips", "grid.clip=[1]"]
    assert compose.told_apart(["-m", "dataset=coat"], ["dataset=coat"]) == ["dataset=coat"]


# --- Values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [KINDS, pytest.param(methods.names(), marks=LATER)], ids=["kinds", "all"])
@pytest.mark.parametrize("dataset", data.names())
def test_every_method_has_a_configuration_on_every_data_set(dataset: str, keys: Sequence[str]) -> None:
    for key in keys:
        config = composed(f"dataset={dataset}", f"method={key}")
        assert (config.dataset.name, config.method.name) == (dataset, key)
        assert isinstance(config.method, methods.get(key).Config)
        config.method.check()


def test_sizes_follow_the_data_set_unless_they_are_given() -> None:
    assert composed("dataset=yahoo_r3").method.batch_size == 4096
    assert composed("dataset=yahoo_r3", "method.batch_size=7").method.batch_size == 7
    assert composed("dataset.embedding_size=3").method.embedding_size == 3
    assert composed("method=eib", "dataset.everywhere_ratio=4").method.everywhere_ratio == 4


def test_the_command_line_stands_above_the_environment_and_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "elsewhere")
    assert composed().data_dir == "elsewhere"
    assert composed("data_dir=here").data_dir == "here"
    monkeypatch.setenv("BENCH_DATA", "")
    assert composed().data_dir == "data"


def test_a_field_that_is_given_is_not_swept() -> None:
    assert points() == {"learning_rate": [0.01, 0.05], "weight_decay": [0.0001, 0.0003, 0.001]}
    assert points("method.learning_rate=0.2") == {"weight_decay": [0.0001, 0.0003, 0.001]}
    swept = points("sweep=paper", "method.batch_size=64")
    assert swept.keys() == {"learning_rate", "embedding_size", "weight_decay"}
    # A method's own grid stands in its file.
    assert "alpha" in points("method=kdcrec") and "alpha" not in points("method=kdcrec", "method.alpha=0.3")
    assert points("grid.learning_rate=[0.3]")["learning_rate"] == [0.3]
    with pytest.raises(BenchError, match=r"method\.alpha and grid\.alpha are both given"):
        points("method=kdcrec", "method.alpha=0.3", "grid.alpha=[0.1]")


def test_a_field_that_follows_the_data_set_is_fixed_there_too() -> None:
    assert "learning_rate" in points("method=mf")
    assert "learning_rate" not in points("method=mf", "dataset.learning_rate=0.2")
    assert composed("method=mf", "dataset.learning_rate=0.2").method.learning_rate == 0.2
    # The method's own stands above it, so that nothing of it is fixed.
    assert points("method=mf", "dataset.learning_rate=0.2", "grid.learning_rate=[1,2]")["learning_rate"] == [
        1,
        2,
    ]


def test_a_list_can_be_emptied() -> None:
    """Hydra merges an empty list of fields into the one that is there, which changes nothing."""
    assert set(points("method=mf")) == {"learning_rate", "weight_decay"}
    assert points("method=mf", "dataset.quick_grid={}") == {}
    assert "clip" not in points("method=ips", "sweep=paper", "method.long_grid={}")


def test_a_value_of_a_file_that_is_swept_is_told() -> None:
    config = composed("method=mf", "dataset=coat")
    lists = {"learning_rate": [0.01, 0.05], "weight_decay": [1e-4]}
    assert compose.swept_over(config, lists) == []
    config.method.learning_rate = 0.2  # as an experiment file does
    assert compose.swept_over(config, lists) == [
        "method.learning_rate=0.2 is set in a file, and swept all the same (0.01, 0.05): "
        "method.learning_rate=0.2 on the command line fixes it."
    ]


def test_options_are_for_the_command_line() -> None:
    with pytest.raises(BenchError, match=r"^-m is an option of the command line: here are overrides"):
        composed("-m", "method=mf,ips")


def test_a_field_may_be_given_both_a_start_and_the_files_list_anew() -> None:
    words = ("method=kdcrec", "method.alpha=0.3", "method.grid.alpha=[0.1,0.2]")
    assert points(*words)["alpha"] == [0.1, 0.2]
    config = composed(*words)
    assert config.method.alpha == 0.3  # type: ignore[attr-defined]
    # The other list is still in its file, so it does not count.
    assert "alpha" not in config.method.long_grid


def test_the_given_value_is_the_one_that_is_trained_with() -> None:
    config = composed(*TINY, "method=kdcrec", "method.alpha=0.3", "method.weight_decay=0.5")
    cell = cells.prepare(config, cells.load_ratings(config))
    assert {(point.alpha, point.weight_decay) for point in cell.points} == {(0.3, 0.5)}  # type: ignore[attr-defined]
    assert len(cell.points) == 2


def test_fields_that_nobody_reads_are_refused() -> None:
    """Hydra's + puts a field anywhere, where it would be ignored."""
    for word, nearest in (
        ("+seed=1", "'seed': did you mean 'seeds'"),
        ("+method.rate=1", "'method.rate'"),
        ("++engine.thread=1", "'engine.thread': did you mean 'threads'"),
    ):
        with pytest.raises(BenchError, match=f"There is no field {nearest}"):
            composed(word)


def test_a_tuned_point_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(compose.CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("tuned"))
    monkeypatch.setattr(groups, "CONF", tmp_path / "conf")
    with pytest.raises(BenchError, match="There is no field 'tuned'"):
        composed("+tuned=table/coat/ips")
    folder = tmp_path / "conf" / "tuned" / "table" / "coat"
    folder.mkdir(parents=True)
    with pytest.raises(BenchError, match=r"^There is no conf/tuned/table/coat/ips\.yaml, nor another file"):
        composed("+tuned=table/coat/ips")
    (folder / "mf.yaml").write_text("# @package _global_\ntuned_points: 6\n")
    with pytest.raises(BenchError, match=r"^There is no tuned/table/coat 'mff': did you mean 'mf'\?"):
        composed("+tuned=table/coat/mff")
    assert composed("+tuned=table/coat/mf").tuned_points == 6


def test_a_configuration_is_composed_anew_where_a_file_of_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(compose.CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("tuned"))
    monkeypatch.setattr(groups, "CONF", tmp_path / "conf")
    first = composed("method=ips")
    first.method.clip = -1.0
    assert composed("method=ips").method.clip != -1.0  # each caller has one of his own
    file = tmp_path / "conf" / "method" / "ips.yaml"
    file.write_text(file.read_text() + "\nlearning_rate: 0.125\n")
    assert composed("method=ips").method.learning_rate == 0.125
    (tmp_path / "conf" / "profile" / "mine.yaml").write_text("# @package _global_\nseeds: 4\n")
    assert composed("method=ips", "+profile=mine").seeds == 4
    (tmp_path / "conf" / "profile" / "mine.yaml").unlink()
    with pytest.raises(BenchError, match="There is no profile 'mine'"):
        composed("method=ips", "+profile=mine")


@pytest.mark.parametrize("where", ["grid", "method.grid", "dataset.quick_grid", "dataset.shared_grid"])
def test_lists_are_typed_wherever_they_stand(where: str) -> None:
    words = {"method.grid": ["method=kdcrec", "method.grid.alpha=[x]"]}
    with pytest.raises(BenchError) as raised:
        composed(*words.get(where, [f"{where}.learning_rate=[0.1,x]"]))
    assert str(raised.value).startswith(where)
    assert str(raised.value).endswith(" must be a number, but it is 'x'.")


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(BenchError, match="method has no value: give one"):
        composed("~method")


# --- Methods -----------------------------------------------------------------------------------------


@pytest.fixture
def extra(tmp_path: Path, own_registry: None) -> Path:
    """The example of CONTRIBUTING as a file of its own."""
    text = (Path(__file__).parents[2] / "extra" / "toy_method.py").read_text(encoding="utf-8")
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_method_from_outside_needs_no_yaml(extra: Path) -> None:
    words = [f"methods.extra=[{extra}]", "method=mine", "dataset=yahoo_r3"]
    compose.register(words)
    compose.register(words)  # a second time is no clash
    config = composed(*words, "method.power=0.25")
    assert (config.method.power, config.method.batch_size) == (0.25, 4096)


def test_its_own_defaults_stand_above_the_data_sets(extra: Path) -> None:
    text = extra.read_text(encoding="utf-8")
    extra.write_text(
        text.replace("        power: float", "        learning_rate: float = 0.7\n        power: float")
    )
    words = [f"methods.extra=[{extra}]", "method=mine", "dataset=yahoo_r3"]
    compose.register(words)
    assert (composed(*words).method.learning_rate, composed(*words).method.batch_size) == (0.7, 4096)


def test_hydras_own_words_are_never_all_that_is_said() -> None:
    """An error that nobody foresaw is the first line of it, with its place where it is known."""
    with pytest.raises(BenchError) as raised, compose.one_sentence():
        OmegaConf.create({"a": "${b}"}).a  # noqa: B018
    assert str(raised.value) == "a cannot be set: Interpolation key 'b' not found."
    assert compose.explain(ValueError("First.\nSecond.")) == "First."
    assert compose.explain(ValueError()) == "ValueError."


def test_nothing_that_is_composed_changes_hydras_store_of_which_there_is_one() -> None:
    store = ConfigStore.instance()
    composed()  # Hydra enters things of its own
    before = copy.deepcopy(store.repo)
    config = composed("method=dr_jl", "method.clip=5", "+method.long_grid.clip=[2,5]", "seeds=3")
    config.method.grid["l2"] = [1.0]
    assert store.repo == before
    assert copy.deepcopy(store) is store


def test_threads_and_a_hydra_of_the_programs_own_do_not_disturb(own_registry: None) -> None:
    words = [["method=ips", f"seeds={n}"] for n in range(100, 108)]
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        theirs = GlobalHydra.instance().hydra
        with ThreadPoolExecutor(4) as pool:
            found = [config.seeds for config in pool.map(compose.composed, words)]
        assert found == list(range(100, 108))
        assert GlobalHydra.instance().hydra is theirs
        with pytest.raises(BenchError):
            compose.composed(["method=nothing"])
        assert GlobalHydra.instance().hydra is theirs
    assert not GlobalHydra.instance().is_initialized()
