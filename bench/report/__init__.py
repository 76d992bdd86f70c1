"""The page of Table 1 and its plots: `python -m bench.report`. Needs neither torch nor data."""

from bench.report.page import build, main

__all__ = ["build", "main"]
