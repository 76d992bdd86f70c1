"""The page of the table and its plots: `python -m bench.report`. Needs neither torch nor data."""

from bench.report.page import main, page_files, write_page

__all__ = ["main", "page_files", "write_page"]
