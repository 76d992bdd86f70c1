"""Records → lines → tests → Table 1 as CSV, Markdown, LaTeX and HTML: `python -m bench.table`.

Needs neither torch nor data.
"""

from bench.table.files import HEADER, SEEDS_HEADER, build, main, write, write_files
from bench.table.frame import PAPER, read_paper

__all__ = ["HEADER", "PAPER", "SEEDS_HEADER", "build", "main", "read_paper", "write", "write_files"]
