"""What a step of every row costs beside MF's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import methods
from bench.files import CHECKOUT, read_csv
from bench.speed import costs, rows
from bench.speed.workload import Workload

TINY = Workload(users=30, items=20, ratings=300, batch_size=32, embedding_size=4, unbiased=40, members=2)


def test_lines_are_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rows, "_TURNS", 1)
    monkeypatch.setattr(costs, "_STEPS", 2)
    monkeypatch.setattr(costs, "_SHAPES", (TINY,))
    monkeypatch.setattr(costs, "LIMIT", 0.0)
    file = tmp_path / "costs.csv"
    assert costs.main(["--rows", "ips,invpref,eib", "--output", str(file)]) == 0
    lines = read_csv(file, costs.COST_HEADER)
    assert [(line["row"], line["group"]) for line in lines] == [
        *(("ips", "paper"), ("eib", "control"), ("invpref", "further")),
    ]
    assert all(float(line["x MF"]) > 0 and line["members"] == "2" for line in lines)
    assert "Above 0 times MF: ips, eib, invpref.\n" in capsys.readouterr().out


def test_a_further_method_above_the_limit_says_why() -> None:
    """By what is committed; a sentence of its file names the command that measured it."""
    file = CHECKOUT / "results" / "speed" / "costs.csv"
    lines = read_csv(file, costs.COST_HEADER)
    above = {
        line["row"] for line in lines if line["group"] == "further" and float(line["x MF"]) > costs.LIMIT
    }
    silent = [
        key for key in above if "`make cost`" not in (sys.modules[methods.get(key).__module__].__doc__ or "")
    ]
    assert lines and not silent
