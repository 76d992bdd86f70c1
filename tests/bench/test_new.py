"""`bench.new`: two files that work as they are written, inside the checkout and outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import cell as cells
from bench import compose, new
from bench.errors import BenchError


def plan(words: list[str]) -> dict[str, list[object]]:
    compose.register(words)
    config = compose.composed(words)
    return cells.prepare(config, cells.load_ratings(config)).plan.stages[0].lists


def test_from_outside_both_files_are_read(
    tmp_path: Path, own_registry: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new.main(["my_method", "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    source, values = tmp_path / "my_method.py", tmp_path / "my_method.yaml"
    assert str(source) in said and str(values) in said and f"'methods.extra=[{source}]'" in said
    assert "class MyMethod(Method)" in source.read_text() and 'title = "My Method"' in source.read_text()
    words = [f"methods.extra=[{source}]", "method=my_method", "dataset=synthetic"]
    assert plan(words)["power"] == [0.0, 0.3, 1.0]
    assert compose.composed(words).method.power == 0.3
    # An edited file counts, and what it does not know is said.
    values.write_text(values.read_text().replace("[0.0, 0.3, 1.0]", "[0.5]"))
    assert plan(words)["power"] == [0.5]
    values.write_text("powr: 0.3\n")
    with pytest.raises(BenchError, match=r"my_method.yaml does not fit the method beside it \(Key 'powr'"):
        compose.register(words)
    values.unlink()
    assert "power" not in plan(words)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    new.write_new("mine", tmp_path)
    with pytest.raises(BenchError, match=r"There is .*mine.py already, which is left as it is"):
        new.write_new("mine", tmp_path)
    with pytest.raises(BenchError, match=r"There is methods/mf.py already"):
        new.write_new("mf", tmp_path)
    for key in ("My-Method", "2d", "class", "a b"):
        with pytest.raises(BenchError, match="cannot be a method's key"):
            new.write_new(key, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.py", "mine.yaml"]
