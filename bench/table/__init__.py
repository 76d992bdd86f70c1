"""Records → lines → tests → Table 1 as CSV, Markdown, LaTeX and HTML: `python -m bench.table`.

manifest → frame (lines, comparisons, published) → claims, layout → files. Needs neither torch nor data.
"""

from bench.table.files import build, files, load_results, main, write_table
from bench.table.frame import PAPER, load_frame, read_paper

__all__ = ["PAPER", "build", "files", "load_frame", "load_results", "main", "read_paper", "write_table"]
