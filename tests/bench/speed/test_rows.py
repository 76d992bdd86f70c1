"""Steps and phases of rows with either kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.files import read_csv
from bench.speed import rows
from bench.speed.workload import Workload, stack, training_data

TINY = Workload(users=30, items=20, ratings=300, batch_size=32, embedding_size=4, unbiased=40, members=2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_TURNS", 1)
    monkeypatch.setattr(rows, "_TURN_SECONDS", 0.001)
    monkeypatch.setattr(rows, "SHAPES", (("tiny", TINY), ("wide", replace(TINY, embedding_size=8))))


@pytest.mark.parametrize("phases", [False, True])
def test_lines_are_printed_and_kept(phases: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.csv"
    words = ["--rows", "mf,res_dr", "--shapes", "1", "--output", str(file), *["--phases"] * phases]
    assert rows.main(words) == 0
    lines = read_csv(file, rows.HEADER)
    assert [line["row"] for line in lines] == ["mf", "res_dr"]
    assert {line["d"] for line in lines} == {"8"} and {line["data"] for line in lines} == {"wide"}
    for line in lines:
        assert float(line["ratio"]) == pytest.approx(float(line["torch"]) / float(line["numba"]), rel=0.02)
        assert bool(line["single"]) == (line["row"] == "mf" and not phases)
        if not phases:
            assert 0 < float(line["one pass"]) < float(line["numba"])
    assert "res_dr" in capsys.readouterr().out


def test_an_unknown_shape_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert rows.main(["--shapes", "7"]) != 0
    assert "--shapes 7: the shapes are 0 to 1." in capsys.readouterr().err


def test_one_pass_leaves_no_gradient() -> None:
    method = stack("dr_jl", TINY, training_data(TINY), kernel="numba")
    assert rows.one_pass(method) > 0
    for part in method.parts.values():
        assert part.adam.steps == 1 and not part.adam.gradients.mark_array.any()
