"""A cell's record is found or trained, anew where that is asked for, and one line says why."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import cell as cells
from bench import compose
from bench.cell import Cell, identity, loaded, lookup
from bench.cell import trained as kept
from bench.cell.trainer import Trainer
from bench.engine.members import Member
from bench.errors import BenchError
from bench.records import store
from bench.records.record import Provenance, Record, read_record

TINY = (
    *("dataset=synthetic", "dataset.n_users=50", "dataset.n_items=40", "dataset.ratings_per_user=10"),
    *("dataset.unbiased_per_user=20", "engine.max_epochs=2", "seeds=2", "dataset.selection_seeds=2"),
    "method.learning_rate=0.05",
)


def prepared(*overrides: str) -> Cell:
    compose.register()
    config = compose.composed([*TINY, *overrides])
    return cells.prepare(config, cells.load_ratings(config))


def record_of(runs: Path, *overrides: str) -> tuple[Record, list[str]]:
    said: list[str] = []
    return cells.find_or_train([*TINY, *overrides], runs, report=said.append), said


def test_a_record_of_a_real_run_comes_back_as_it_was_made(tmp_path: Path) -> None:
    cell = prepared("method=ips", "grid.clip=[5,10]")
    made = cells.train_and_store(cell, tmp_path)
    assert read_record(tmp_path, cell.digest) == made
    assert type(made).from_json(made.to_json(), made.digest) == made
    # As a document, it is the one that is on the disk.
    assert made.to_json() == json.loads((tmp_path / cell.digest / "record.json").read_bytes())["record"]
    assert made.identity is not None and made.identity.digest == cell.digest == made.digest
    assert made.identity.config["base"]["clip"] == cell.base["clip"]
    assert made.provenance.kernels.startswith("numba ") and made.provenance.torch and made.provenance.numpy


def test_kept_stacks_come_back_to_the_last_bit(tmp_path: Path) -> None:
    cell = prepared("method=ultd_jl")
    stack = [Member(0, seed, cell.points[0]) for seed in range(2)]
    trained = Trainer(cell).train_stack(stack, True, lambda n: None)
    store.write(tmp_path, "0" * 20, *kept.packed(trained))
    back = kept.find(tmp_path, "0" * 20, stack, pytest.fail)
    assert back is not None and kept.find(tmp_path, "1" * 20, stack, pytest.fail) is None
    for one, other in zip(trained, back, strict=True):
        for field in dataclasses.fields(one):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if field.name in ("losses", "per_user", "user_arrays"):
                assert mine.keys() == theirs.keys() and mine
                for name in mine:
                    np.testing.assert_array_equal(mine[name], theirs[name])
            elif isinstance(mine, np.ndarray):
                np.testing.assert_array_equal(mine, theirs)
            else:
                assert mine == theirs, field.name


def test_the_users_true_selection_strength_is_in_the_arrays(tmp_path: Path) -> None:
    cell = prepared("method=mf")
    kappa = cells.train_and_store(cell, tmp_path).arrays()["user_kappa"]
    assert cell.ratings.truth is not None
    np.testing.assert_array_equal(kappa, np.tile(cell.ratings.truth.selection_strength, (2, 1)))
    assert np.ptp(kappa) > 0


# --- Found or trained -------------------------------------------------------------------------------


def test_a_cell_is_trained_once(tmp_path: Path) -> None:
    first, said = record_of(tmp_path, "method=ips")
    assert said == []
    second, said = record_of(tmp_path, "method=ips")
    assert second == first and said == []


def test_again_trains_anew_and_comes_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = record_of(tmp_path, "method=ips")
    stacks: list[int] = []
    training = Trainer._train_stack

    def counted(self: Trainer, stack: list[Member], *rest: object) -> object:
        stacks.append(len(stack))
        return training(self, stack, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_stack", counted)
    again, said = record_of(tmp_path, "method=ips", "again=true")
    assert said == ["ips on synthetic, protocol table, is trained again, as again=true asks for."]
    assert sum(stacks) > 0  # nothing was taken from the stacks that are kept
    assert again.digest == first.digest
    assert again.provenance.finished >= first.provenance.finished
    assert dataclasses.replace(again, provenance=Provenance()) == dataclasses.replace(
        first, provenance=Provenance()
    )
    assert read_record(tmp_path, first.digest).provenance == again.provenance != first.provenance
    assert "again" not in again.provenance.command


def test_why_a_cell_is_trained_names_the_fields(tmp_path: Path) -> None:
    first, _ = record_of(tmp_path, "method=ips")
    _, said = record_of(tmp_path, "method=ips", "method.clip=7", "engine.patience=3")
    assert said == [
        f"ips on synthetic, protocol table, is trained although its record {first.digest} is there: that one "
        f"is of another configuration (engine.patience={first.engine['patience']}, not 3; "
        f"method.clip={first.method['clip']}, not 7.0)."
    ]
    assert record_of(tmp_path, "method=mf")[1] == []
    assert record_of(tmp_path, "method=ips", "protocol=text")[1] == []


def test_a_sweep_that_the_record_did_not_have_is_named_as_such(tmp_path: Path) -> None:
    record_of(tmp_path / "one", "method=ips", "sweep=none")
    swept = ("method=ips", "sweep=default", "dataset.quick_grid.learning_rate=[0.01,0.05]", "method.clip=10")
    assert "another configuration (without stage quick)" in record_of(tmp_path / "one", *swept)[1][0]
    record_of(tmp_path / "other", *swept)
    assert "(with stage quick)" in record_of(tmp_path / "other", "method=ips", "sweep=none")[1][0]


def test_an_intact_record_that_cannot_be_read_is_told_and_trained_again(tmp_path: Path) -> None:
    first, _ = record_of(tmp_path, "method=ips")
    document = store.read(tmp_path, first.digest)
    del document["tried"]
    store.write(tmp_path, first.digest, document, first.arrays(), replace=True)
    second, said = record_of(tmp_path, "method=ips")
    assert said == [f"The record {first.digest} lacks a field ('tried'); train it again."]
    assert dataclasses.replace(second, provenance=Provenance()) == dataclasses.replace(
        first, provenance=Provenance()
    )
    assert record_of(tmp_path, "method=ips") == (second, [])


def test_the_nearest_record_is_named(tmp_path: Path) -> None:
    record_of(tmp_path, "method=ips", "method.clip=7", "engine.patience=3")
    near, _ = record_of(tmp_path, "method=ips", "engine.patience=3")
    record_of(tmp_path, "method=ips", "dataset.data_seed=4")
    _, said = record_of(tmp_path, "method=ips")
    assert len(said) == 1 and near.digest in said[0] and "clip" not in said[0]


def test_other_data_and_other_code_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_of(tmp_path, "method=ips")
    _, (said,) = record_of(tmp_path, "method=ips", "dataset.data_seed=4")
    assert "that one is of other data and another configuration (dataset.data_seed=0, not 4)" in said
    monkeypatch.setattr(identity, "fingerprint", lambda *_: "another")
    _, (said,) = record_of(tmp_path, "method=ips")
    assert said.endswith("that one is of other code.")


def test_a_record_of_an_earlier_version_of_the_suite_is_named(tmp_path: Path) -> None:
    first, _ = record_of(tmp_path / "new", "method=ips")
    document = first.to_json()
    del document["identity"]
    store.write(tmp_path / "old", "a" * 20, document, first.arrays())
    _, (said,) = record_of(tmp_path / "old", "method=ips")
    assert said.endswith(f"its record {'a' * 20} is there: that one is of an earlier version of the suite.")


def test_a_damaged_record_is_told_and_trained_again(tmp_path: Path) -> None:
    first, _ = record_of(tmp_path, "method=ips")
    file = tmp_path / first.digest / "record.json"
    file.write_bytes(file.read_bytes().replace(b'"IPS"', b'"SPI"'))
    again, said = record_of(tmp_path, "method=ips")
    assert again.test == first.test
    assert len(said) == 1 and "does not match its checksum" in said[0]


def test_a_record_of_another_torch_is_used_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_told", set())
    first, _ = record_of(tmp_path, "method=ips")
    old = dataclasses.replace(first, provenance=Provenance(torch="1.0.0"))
    store.write(tmp_path, first.digest, old.to_json(), first.arrays(), replace=True)
    found, said = record_of(tmp_path, "method=ips")
    assert found.provenance.torch == "1.0.0" and found.test == first.test
    assert len(said) == 1 and "PyTorch 1.0.0" in said[0] and first.digest in said[0]
    assert record_of(tmp_path, "method=ips")[1] == []


def test_a_wrong_override_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean 'ips'"):
        record_of(tmp_path, "method=ipz")


def test_ratings_are_read_once_in_a_process() -> None:
    compose.register()
    one, other = (compose.composed([*TINY, f"seeds={n}"]) for n in (2, 3))
    assert cells.load_ratings(one) is cells.load_ratings(other)
    assert cells.load_ratings(compose.composed([*TINY, "dataset.data_seed=5"])) is not cells.load_ratings(one)


# --- From Python ------------------------------------------------------------------------------------

API = """
import sys, bench
assert not {"torch", "methods", "hydra", "bench.data", "bench.cell"} & set(sys.modules)
overrides = sys.argv[1:]
record = bench.run(overrides)
steps, auc = record.curves()
assert auc.shape == (2, len(steps))
assert sorted(record.metric("ndcg")) == record.seeds == [0, 1]
print(record.digest, record.mean("ndcg"), record.provenance.finished)
assert bench.run(overrides) == record
"""


def test_the_python_interface_trains_and_then_finds(tmp_path: Path) -> None:
    words = [*TINY, "method=ips", f"results={tmp_path}"]
    root = Path(bench.__file__).parents[1]
    answer = subprocess.run([sys.executable, "-c", API, *words], cwd=root, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    digest, ndcg, finished = answer.stdout.split()
    found = bench.run(words)  # by another process, which trains nothing
    assert (found.digest, str(found.mean("ndcg")), found.provenance.finished) == (digest, ndcg, finished)
    assert store.digests(tmp_path / "runs") == [digest]


# --- Code that is edited while a process runs ---------------------------------------------------------

GUEST = """
import own_helper
from methods import register
from methods.ips import IPS


@register
class Guest(IPS):
    title = "Guest"
    paper = "none"
    year = 2026

    def step(self, draw):
        for _ in range(1):
            super().step(draw)
        own_helper.tell()
"""


@pytest.fixture
def guest(tmp_path: Path, own_registry: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A method's file, whose helper lies where only the import path has it."""
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    (helpers / "own_helper.py").write_text("def tell():\n    return 1\n")
    monkeypatch.syspath_prepend(helpers)
    monkeypatch.delitem(sys.modules, "own_helper", raising=False)
    file = tmp_path / "edited_guest.py"
    file.write_text(GUEST)
    return file


def test_a_method_that_was_edited_is_loaded_again(tmp_path: Path, guest: Path) -> None:
    words = ["method=edited_guest", f"methods.extra=[{guest}]", "method.learning_rate=0.01"]
    first, _ = record_of(tmp_path / "runs", *words)
    guest.write_text(GUEST.replace("range(1)", "range(3)"))  # of the same size and perhaps the same second
    second, said = record_of(tmp_path / "runs", *words)
    assert second.digest != first.digest and "other code" in said[0]
    assert second.metric("auc") != first.metric("auc")
    guest.write_text(GUEST)
    third, said = record_of(tmp_path / "runs", *words)
    assert third == first and not said


def test_another_file_of_the_same_name_is_refused(tmp_path: Path, guest: Path) -> None:
    other = tmp_path / "elsewhere" / guest.name
    other.parent.mkdir()
    other.write_text(GUEST)
    with pytest.raises(BenchError, match=r"is the method 'edited_guest' already, so rename .*elsewhere"):
        compose.register([f"methods.extra=[{guest},{other}]"])


def test_a_helper_anywhere_counts_and_is_refused_once_it_is_not_what_was_loaded(
    tmp_path: Path, guest: Path
) -> None:
    words = ["method=edited_guest", f"methods.extra=[{guest}]"]
    record_of(tmp_path / "runs", *words)
    helper = tmp_path / "helpers" / "own_helper.py"
    assert helper in identity.closure("edited_guest", "synthetic")
    helper.write_text("# A comment.\n" + helper.read_text())
    record_of(tmp_path / "runs", *words)
    helper.write_text("def tell():\n    return 2\n")
    with pytest.raises(BenchError, match=r"own_helper\.py was changed after this process had loaded it"):
        record_of(tmp_path / "runs", *words)


def test_the_suites_own_code_is_refused_once_it_is_not_what_was_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared("method=mf")
    file = Path(identity.__file__).parent / "splits.py"
    monkeypatch.setitem(
        loaded._seen, "bench.cell.splits", (sys.modules["bench.cell.splits"], file, b"x = 1\n")
    )
    with pytest.raises(BenchError, match=r"splits\.py was changed after this process had loaded it"):
        prepared("method=mf")


# --- Files that a method reads -----------------------------------------------------------------------

READER = """
from dataclasses import dataclass
from pathlib import Path

import torch

from methods import register
from methods.base import Shared
from methods.mf import MF


@register
class Reader(MF):
    title = "Reader"
    paper = "none"
    year = 2026

    @dataclass(kw_only=True)
    class Config(MF.Config):
        shift: str = ""

    @classmethod
    def files(cls, config):
        return [Path(config.shift)]

    def build(self):
        super().build()
        self.shift = Shared(torch.tensor(float(Path(self.config.shift).read_text())))

    def score(self, pairs):
        users = (pairs.users + int(self.shift.value)) % self.data.n_users
        return super().score(type(pairs)(users, pairs.items))
"""


def test_what_a_method_reads_belongs_to_its_records_identity(tmp_path: Path, own_registry: None) -> None:
    file, read = tmp_path / "reading_method.py", tmp_path / "shift.txt"
    file.write_text(READER)
    read.write_text("0")
    words = ["method=reading_method", f"methods.extra=[{file}]", f"method.shift={read}"]
    first, _ = record_of(tmp_path / "runs", *words)
    read.write_text("1")
    second, said = record_of(tmp_path / "runs", *words)
    assert second.metric("auc") != first.metric("auc")
    assert "another configuration (content of" in said[0]
    read.write_text("0")
    third, said = record_of(tmp_path / "runs", *words)
    assert third == first and not said
    read.unlink()
    with pytest.raises(
        BenchError, match=r"^reading_method reads .*shift\.txt, which cannot be read: No such"
    ):
        record_of(tmp_path / "runs", *words)


def test_a_dry_run_trains_nothing(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^mf on synthetic has no record, and dry_run=true trains none"):
        record_of(tmp_path / "runs", "method=mf", "dry_run=true")
    assert not (tmp_path / "runs").exists()
