"""The front page shows what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.errors import BenchError
from bench.study import readme
from bench.study import report as findings

ROOT = Path(bench.__file__).parents[1]


def test_the_front_page_is_up_to_date() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.updated(text, ROOT / "results", "Coat") == text


def test_the_report_is_up_to_date() -> None:
    text = (ROOT / "results" / "published" / findings.NAME).read_text(encoding="utf-8")
    assert findings.report(ROOT / "results") == text


def test_the_excerpt_has_the_means_and_one_data_set() -> None:
    sections = "means\n\n### Coat\n\ny\n\n### Other\n\nz"
    table = f"# Table 1\n\nx\n\n## Protocol `table`\n\n{sections}\n\n## Protocol `text`\n\n{sections}"
    assert readme.excerpt(table, "Coat") == "### Protocol `table`\n\nmeans\n\n### Coat\n\ny\n\nx"


def test_only_the_marked_part_changes() -> None:
    old = "before\n<!-- part -->\nold\n<!-- /part -->\nafter"
    new = readme.inserted(old, "part", "new")
    assert new.startswith("before\n") and new.endswith("\nafter")
    assert "old" not in new and "new" in new
    with pytest.raises(BenchError, match="lacks the marks"):
        readme.inserted("no marks", "part", "new")
    with pytest.raises(BenchError, match="no section 'Cloak'"):
        readme.excerpt("# Table 1\n\nx\n\n## Protocol `table`\n\n### Coat\n\ny", "Cloak")
