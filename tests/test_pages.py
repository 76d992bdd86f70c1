"""The workflow that publishes the page: its site holds what the page links to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from bench.files import CHECKOUT

WORKFLOW: dict[str, Any] = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "pages.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["pages"]["steps"]


def test_the_site_holds_what_its_pages_link_to(tmp_path: Path) -> None:
    for name in ("results", "methods"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    for step in STEPS:
        if "run" in step:
            subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path, check=True)
    site = tmp_path / next(step["with"]["path"] for step in STEPS if "upload" in step.get("uses", ""))
    pages = [site / "index.html", site / "results" / "published" / "index.html"]
    for page in pages:
        links = re.findall(r'href="(?!#|data:|https:)([^"]*)"', page.read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not (page.parent / link).resolve().is_file()] == []
    # Where a page's methods are linked from.
    assert (pages[1].parent / "../../methods/mf.py").is_file()


def test_it_may_publish_and_write_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    paths = WORKFLOW[True]["push"]["paths"]  # YAML reads the key `on` as a boolean
    assert {"results/published/**", "methods/**"} <= set(paths)
    assert WORKFLOW["jobs"]["pages"]["timeout-minutes"] <= 120
