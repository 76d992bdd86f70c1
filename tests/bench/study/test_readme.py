"""The front page shows what the table says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bench
import methods
from bench.errors import BenchError
from bench.speed import first_call
from bench.study import readme
from bench.study import report as findings

ROOT = Path(bench.__file__).parents[1]


def test_the_front_page_and_the_report_are_up_to_date() -> None:
    results = ROOT / "results"
    found = findings.published_findings(results)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.updated(text, results, found) == text
    text = (results / "published" / findings.NAME).read_text(encoding="utf-8")
    assert findings.report(results, found) == text


def test_every_method_is_listed_once() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", readme.method_list(), re.MULTILINE)
    assert sorted(listed) == sorted(
        key for key in methods.names() if methods.get(key).__module__ == f"methods.{key}"
    )
    line = next(line for line in readme.method_list().splitlines() if "`res_dr`" in line)
    assert line.split("|")[2:5] == [" Res-DR ", " yes ", " 2023 "]


def test_the_first_calls_seconds_are_those_that_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter((3.04, 30.04, 4.54))
    monkeypatch.setattr(first_call, "_seconds", lambda program, cache: next(measured))
    file = tmp_path / "speed" / "first_call.csv"
    assert first_call.main(["--output", str(file)]) == 0
    sentence = readme.first_call(tmp_path)
    assert re.findall(r"\d+\.\d", sentence) == ["3.0", "27.0", "1.5"]
    file.write_text("what,seconds\nimport,3.0\n", encoding="utf-8")
    with pytest.raises(BenchError, match=r"has no line 'first steps, kernels compiled'.*PUBLISH=1"):
        readme.first_call(tmp_path)


def test_only_the_marked_part_changes() -> None:
    old = "before\n<!-- part -->\nold\n<!-- /part -->\nafter"
    new = readme.inserted(old, "part", "new")
    assert new.startswith("before\n") and new.endswith("\nafter")
    assert "old" not in new and "new" in new
    with pytest.raises(BenchError, match="lacks the marks"):
        readme.inserted("no marks", "part", "new")
