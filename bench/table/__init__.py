"""Records → lines → tests → Table 1 as CSV, Markdown, LaTeX and HTML: `python -m bench.table`.

manifest → frame (lines, comparisons, published) → claims, layout → files. Needs neither torch nor data.
"""

from bench.table.files import build, files, load_results, main, write
from bench.table.frame import PAPER, load, read_paper

__all__ = ["PAPER", "build", "files", "load", "load_results", "main", "read_paper", "write"]
