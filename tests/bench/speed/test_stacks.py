"""What is measured of stacks, and of the first call."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.files import CHECKOUT, read_csv
from bench.speed import first_call, stacks
from bench.speed.workload import Workload

TINY = Workload(users=30, items=20, ratings=120, batch_size=16, embedding_size=4, unbiased=20)


def test_every_question_has_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_PLACES", (("tiny", TINY, (1, 2, 3)),))
    monkeypatch.setattr(stacks, "_ROWS", ("mf",))
    monkeypatch.setattr(stacks, "_TURNS", 1)
    monkeypatch.setattr(stacks, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(stacks, "_by_the_clock", lambda row, work: {"threads": 1e-6, "processes": 2e-6})
    output = tmp_path / "stacks.csv"
    assert stacks.main(["--output", str(output)]) == 0
    lines = read_csv(output)
    assert [(line["what"], line["members"]) for line in lines] == [
        *(("size", "1"), ("size", "2"), ("size", "3"), ("draws, one seed", "3"), ("draws, own seeds", "3")),
        *(("leaving", "2"), ("threads", "1"), ("processes", "1")),
    ]
    assert all(float(line["value"]) > 0 for line in lines)


def test_the_page_says_of_threads_and_processes_what_is_measured() -> None:
    """docs/engine.md: whoever measures anew and finds otherwise mends its sentence."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for line in read_csv(CHECKOUT / "results" / "speed" / "stacks.csv"):
        found.setdefault((line["data"], line["d"], line["row"]), {})[line["what"]] = float(line["value"])
    assert len(found) == len(stacks._PLACES) * len(stacks._ROWS)
    for (data, d, row), values in found.items():
        if (data, d) == ("Yahoo! R3", "16"):
            assert values["threads"] < 1.05 * values["processes"], row
        else:
            assert values["processes"] < values["threads"], (data, d, row)


@pytest.mark.slow
def test_threads_and_processes_are_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stacks._by_the_clock("mf", TINY)
    assert found.keys() == {"threads", "processes"} and min(found.values()) > 0


@pytest.mark.slow
def test_a_first_call_compiles_and_a_later_one_reads(tmp_path: Path) -> None:
    output = tmp_path / "first_call.csv"
    assert first_call.main(["--rows", "mf", "--output", str(output)]) == 0
    seconds = {line["what"]: float(line["seconds"]) for line in read_csv(output)}
    assert seconds["import"] > 0
    assert seconds["first steps, kernels compiled"] > seconds["first steps, kernels from disk"]
