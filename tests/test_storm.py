"""Whatever happens to a run, the finished table is that of an undisturbed one: `make storm`.

Real processes, killed at random moments; damaged records; two writers; a full disk; a folder that cannot be
written. STORM_KILLS and STORM_SEED choose how many kills and which.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("STORM_KILLS", "50"))
SEED = int(os.environ.get("STORM_SEED", "0"))
TABLES = ("table1.csv", "seeds.csv", "comparisons.csv", "table1.md")
METHODS = ("mf", "ips", "dr_jl")

pytestmark = pytest.mark.slow


def command(results: Path, jobs: int = 2) -> list[str]:
    """A small sweep of three rows in stages, and their table."""
    return [
        *(sys.executable, "-m", "bench.reproduce", "--datasets", "synthetic", "--protocols", "table"),
        *("--methods", ",".join(METHODS), "--jobs", str(jobs)),
        *(f"results={results}", "seeds=3", "dataset.screening_seeds=1", "dataset.selection_seeds=2"),
        *("engine.max_epochs=8", "engine.patience=8", "tuned_points=0"),
        "dataset.shared_grid={learning_rate:[0.01,0.05],batch_size:[64,128,256],embedding_size:[4,8]}",
        "sweep.stages=[{name:shared,lists:[shared_grid],seeds:1},"
        "{name:own,lists:[common_grid,long_grid],around:2,points:6,seeds:1},{name:confirm,around:3,seeds:2}]",
    ]


def start(results: Path, jobs: int = 2) -> subprocess.Popen[str]:
    """The command, leading a process group of its own so that its workers can be killed with it."""
    return subprocess.Popen(
        command(results, jobs),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "BENCH_DEBUG": ""},
    )


def finish(results: Path, jobs: int = 2) -> tuple[int, str]:
    """Exit status and standard error of an undisturbed run."""
    process = start(results, jobs)
    _, error = process.communicate()
    return process.returncode, error


def tables(results: Path) -> dict[str, bytes]:
    return {name: (results / "table1" / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """The tables of an undisturbed run, and the seconds that it took."""
    results = tmp_path_factory.mktemp("reference")
    begun = time.monotonic()
    status, error = finish(results)
    assert status == 0, error
    return tables(results), time.monotonic() - begun


def stacks(results: Path) -> list[Path]:
    return sorted((results / "runs" / "groups").glob("*/record.json"))


def test_killed_at_random_moments(reference: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    expected, seconds = reference
    draw = random.Random(SEED)
    kills = 0
    while kills < KILLS:
        process = start(tmp_path)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.2, 1.0) * seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        # What is left to do gets less with every kill: once all is there, begin anew.
        if process.returncode == 0:
            assert tables(tmp_path) == expected
            shutil.rmtree(tmp_path / "runs")
    status, error = finish(tmp_path)
    assert status == 0, error
    assert tables(tmp_path) == expected
    # A killed writer's scratch is cleared away by those who come after.
    assert not list((tmp_path / "runs").glob(".tmp-*"))


def test_damage_is_reported_and_trained_again(
    reference: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    expected, _ = reference
    assert finish(tmp_path)[0] == 0
    records = sorted(file for file in (tmp_path / "runs").glob("*/record.json"))
    assert len(records) == len(METHODS)
    truncated, flipped, older = records
    truncated.write_bytes(truncated.read_bytes()[:-100])
    flip(flipped.with_name("arrays.npz"))
    rewrite(older, schema=0)
    kept = stacks(tmp_path)
    kept[0].write_bytes(b"")
    flip(kept[1].with_name("arrays.npz"))
    rewrite(kept[2], schema=0)
    shutil.copytree(kept[4].parent, kept[3].parent, dirs_exist_ok=True)  # the record of another stack
    kept[5].with_name("arrays.npz").unlink()
    damaged = [*records, *kept[:4], kept[5]]

    # Two at once mend it: neither reads a damaged record, and both end with the same table.
    both = [start(tmp_path, jobs=1) for _ in range(2)]
    said = ""
    for process in both:
        _, error = process.communicate()
        assert process.returncode == 0, error
        said += error
    assert tables(tmp_path) == expected
    for file in damaged:
        assert str(file.parent) in said, file
    assert said.count("it will be trained again") >= len(damaged)
    status, error = finish(tmp_path)
    assert (status, error) == (0, "")


def flip(file: Path) -> None:
    """Changes one bit."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite(file: Path, **fields: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_two_writers_at_once(reference: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    both = [start(tmp_path) for _ in range(2)]
    for process in both:
        _, error = process.communicate()
        assert process.returncode == 0, error
    assert tables(tmp_path) == reference[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = mount("-t", "tmpfs", "-o", "size=160k", "tmpfs", folder)
    if made.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def mount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("mount") is None:
        return subprocess.CompletedProcess([], 1, "", "there is no mount")
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def test_a_full_disk_and_a_folder_that_cannot_be_written(
    reference: tuple[dict[str, bytes], float], small_disk: Path
) -> None:
    status, error = finish(small_disk)
    assert status == 1
    assert "No space left on device" in error and "Traceback" not in error
    kept = len(stacks(small_disk))
    assert kept > 0

    assert mount("-o", "remount,size=64m,ro", small_disk).returncode == 0
    status, error = finish(small_disk)
    assert status == 1
    assert "Read-only file system" in error and "Traceback" not in error
    assert len(stacks(small_disk)) == kept

    assert mount("-o", "remount,size=64m,rw", small_disk).returncode == 0
    status, error = finish(small_disk)
    assert status == 0, error
    assert "trained again" not in error  # nothing half-written was left behind
    assert tables(small_disk) == reference[0]
