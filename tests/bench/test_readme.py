"""The front page shows what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import readme
from bench.errors import BenchError

ROOT = Path(readme.__file__).parents[1]


def test_the_front_page_is_up_to_date() -> None:
    table = (ROOT / "results" / "table1" / "table1.md").read_text(encoding="utf-8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.inserted(text, readme.excerpt(table, "Coat")) == text


def test_only_the_marked_part_changes() -> None:
    old = f"before\n{readme.START}\nold\n{readme.END}\nafter"
    new = readme.inserted(old, "new")
    assert new.startswith("before\n") and new.endswith("\nafter")
    assert "old" not in new and "new" in new
    with pytest.raises(BenchError, match="lacks the marks"):
        readme.inserted("no marks", "new")
    with pytest.raises(BenchError, match="no section 'Cloak'"):
        readme.excerpt("# Table 1\n\nx\n\n## Protocol `table`\n\n### Coat\n\ny", "Cloak")
