"""The published table, read once for all tests of a process: it takes seconds."""

from __future__ import annotations

from functools import cache

from bench.files import CHECKOUT
from bench.study.report import published_findings
from bench.table.frame import Frame


@cache
def published_frame() -> Frame:
    """The frame that the report is made of."""
    return published_findings(CHECKOUT / "results").frame
