"""What Numba has compiled is kept for the code that it was compiled from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.cell import compiled
from bench.files import CHECKOUT


def test_another_constant_that_is_compiled_in_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (CHECKOUT / "bench" / "engine").rglob("*.py"):
        copy = tmp_path / file.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    monkeypatch.setattr(compiled, "CHECKOUT", tmp_path)
    monkeypatch.setattr(compiled, "KERNELS", tmp_path / "bench" / "engine" / "kernels")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if "numba" in sys.modules:
        monkeypatch.setattr(sys.modules["numba"].config, "CACHE_DIR", "")
    folders = []
    for name, old, new in (
        ("adam.py", "", ""),
        ("adam.py", "0.999", "0.599"),
        ("kernels/lanes.py", "LANES = ", "LANES = 1 * "),
    ):
        file = tmp_path / "bench" / "engine" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        compiled.use_cache_folder()
        folders.append(os.environ["NUMBA_CACHE_DIR"])
        compiled.use_cache_folder()
        assert os.environ["NUMBA_CACHE_DIR"] == folders[-1]
    assert len(set(folders)) == 3
    assert {Path(each).parent for each in folders} == {compiled.KERNELS / "__pycache__"}
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    compiled.use_cache_folder()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "mine" / Path(folders[-1]).name)
