"""Records survive damage, races and kills: nothing half-written is ever read."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bench
from bench.errors import BenchError
from bench.records import store
from bench.records.fingerprint import Identity

DIGEST = Identity(config={"clip": 10.0}, data="data", code="code").digest
RECORD = {"test": {"auc": [0.75, 0.76]}, "points": 8}
ARRAYS = {"curves": np.arange(12.0).reshape(3, 4)}


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    read = store.read(tmp_path, DIGEST)
    assert read["test"] == RECORD["test"]
    assert read["points"] == 8
    assert np.array_equal(store.read_arrays(tmp_path, DIGEST)["curves"], ARRAYS["curves"])
    assert store.read_arrays(tmp_path, DIGEST, ("users_",)) == {}
    assert list(store.read_arrays(tmp_path, DIGEST, ("users_", "cur"))) == ["curves"]
    assert store.digests(tmp_path) == [DIGEST]


def test_absent_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(store.NoRecord):
        store.read(tmp_path, DIGEST)
    assert store.find(tmp_path, DIGEST) is None


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    runs = tmp_path_factory.mktemp("runs")
    folder = store.write(runs, DIGEST, RECORD, ARRAYS)
    file = folder / data.draw(st.sampled_from(["record.json", "arrays.npz"]))
    content = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(store.DamagedRecord):
        store.read_arrays(runs, DIGEST)
        store.read(runs, DIGEST)


@pytest.mark.parametrize("name", ["record.json", "arrays.npz"])
def test_a_truncated_file_is_noticed_and_replaced(tmp_path: Path, name: str) -> None:
    folder = store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(store.DamagedRecord):
        store.read(tmp_path, DIGEST)
    store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    assert store.read(tmp_path, DIGEST)["points"] == 8


def test_a_record_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    store.write(tmp_path, DIGEST, {**RECORD, "points": 9}, ARRAYS)
    assert store.read(tmp_path, DIGEST)["points"] == 8
    store.write(tmp_path, DIGEST, {**RECORD, "points": 9}, {"curves": np.zeros(2)}, replace=True)
    assert store.read(tmp_path, DIGEST)["points"] == 9
    assert store.read_arrays(tmp_path, DIGEST)["curves"].tolist() == [0, 0]
    assert [entry.name for entry in tmp_path.iterdir()] == [DIGEST]


def test_a_record_stays_where_its_successor_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    really, renamed = os.rename, []

    def full(old: Path, new: Path) -> None:
        renamed.append(new)
        if len(renamed) == 3:  # the first finds the old record, the second takes it out of the way
            raise OSError(errno.ENOSPC, "No space left on device")
        really(old, new)

    monkeypatch.setattr(store.os, "rename", full)
    with pytest.raises(BenchError, match="No space left"):
        store.write(tmp_path, DIGEST, {**RECORD, "points": 9}, ARRAYS, replace=True)
    assert store.read(tmp_path, DIGEST)["points"] == 8
    assert [entry.name for entry in tmp_path.iterdir()] == [DIGEST]


def _write(runs: Path) -> None:
    for _ in range(5):
        store.write(runs, DIGEST, RECORD, ARRAYS)


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert store.read(tmp_path, DIGEST)["points"] == 8


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError)):
        store.write(tmp_path, DIGEST, RECORD, {"objects": np.array([{}], dtype=object)})
    assert store.digests(tmp_path) == []


def test_failures_never_count_as_done(tmp_path: Path) -> None:
    store.write_failure(tmp_path, DIGEST, {"why": "no memory"})
    assert store.find(tmp_path, DIGEST) is None
    assert store.digests(tmp_path) == []


_WRITER = """
import sys, numpy as np
from pathlib import Path
from bench.records import store
print("go", flush=True)
for n in range(10**6):
    store.write(Path(sys.argv[1]), f"{n:020x}", {"n": n}, {"a": np.arange(20000.0) + n})
"""


@pytest.mark.parametrize("milliseconds", [3, 7, 12, 20, 31, 45])
def test_a_killed_writer_leaves_whole_records_or_none(tmp_path: Path, milliseconds: int) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(bench.__file__).parents[1]) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(milliseconds / 1000)
        writer.kill()
    for digest in store.digests(tmp_path):
        assert f"{store.read(tmp_path, digest)['n']:020x}" == digest
        store.read_arrays(tmp_path, digest)
    store.clean(tmp_path)
    assert not list(tmp_path.glob(".tmp-*"))


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    store.write(tmp_path, DIGEST, RECORD, {"file": np.ones(2), "allow_pickle": np.zeros(3)})
    assert sorted(store.read_arrays(tmp_path, DIGEST)) == ["allow_pickle", "file"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "rename", full)
    with pytest.raises(BenchError, match="No space left"):
        store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_kept_where_neither_folders_are_opened_nor_processes_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where asking for a process by a signal would end it."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("a folder was opened"))
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was killed"))
    left = store._temporary(tmp_path)
    left.mkdir()
    store.write(tmp_path, DIGEST, RECORD, ARRAYS)
    store.clean(tmp_path)
    assert left.is_dir()
    assert store.read(tmp_path, DIGEST) == RECORD
