"""Table 1 from the records: `python -m bench.table [--results DIR] [--published]`.

Reads `DIR/table1/cells.json` (which cells were made here), the records that it names and, for every other
cell, `DIR/published`; writes beside it the CSV files of `bench.table.csv_files` and

table1.md .tex .html            the paper's layout
table1-PROTOCOL-DATASET.tex    a tabular for a paper of one's own, to be \\input

With `--published` it is `DIR/published` that is made anew.

Needs neither torch nor data, and the same records give the same bytes. A record that is not there is
taken from the files that were made from it, so that a clone without records can make the table anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as run_command
from bench.files import write_all
from bench.table import csv_files, html, latex, markdown
from bench.table.frame import PAPER, Frame, load_frame
from bench.table.manifest import OWN_FOLDER, PUBLISHED_FOLDER


def load_results(results: Path, *, published: bool = False, paper: Path = PAPER) -> Frame:
    """The frame of a folder of results: one's own table, or the published one.

    Raises:
        BenchError: see `bench.table.frame.load_frame`.
    """
    theirs = results / PUBLISHED_FOLDER
    return load_frame(theirs if published else results / OWN_FOLDER, results / "runs", theirs, paper=paper)


def build(results: Path, *, published: bool = False, paper: Path = PAPER) -> dict[str, str]:
    """The table's files, name → text.

    Raises:
        BenchError: see `bench.table.frame.load_frame`.
    """
    return files(load_results(results, published=published, paper=paper))


def files(frame: Frame) -> dict[str, str]:
    """The files of a frame, name → text."""
    return {
        csv_files.TABLE_FILE.name: csv_files.TABLE_FILE.text(csv_files.table_entries(frame.lines)),
        csv_files.SEEDS_FILE.name: csv_files.SEEDS_FILE.text(csv_files.seed_entries(frame.lines)),
        csv_files.TUNING_FILE.name: csv_files.TUNING_FILE.text(csv_files.tuning_entries(frame.lines)),
        csv_files.COLUMNS_FILE.name: csv_files.COLUMNS_FILE.text(csv_files.column_entries(frame.lines)),
        csv_files.COMPARISONS_FILE.name: csv_files.COMPARISONS_FILE.text(
            csv_files.comparison_entries(frame.comparisons)
        ),
        csv_files.USERS_FILE.name: csv_files.USERS_FILE.text(csv_files.user_entries(frame.users)),
        csv_files.PROVENANCE_FILE.name: csv_files.PROVENANCE_FILE.text(
            csv_files.provenance_entries(frame.lines)
        ),
        "table1.md": markdown.markdown(frame),
        "table1.html": html.page(frame),
        **latex.latex(frame),
    }


def write_table(results: Path, *, published: bool = False) -> list[Path]:
    """Writes the table's files and returns their paths. Each appears complete or not at all.

    Raises:
        BenchError: see `build`; or the folder cannot be written.
    """
    folder = results / (PUBLISHED_FOLDER if published else OWN_FOLDER)
    return write_all(folder, build(results, published=published))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table", description="Writes Table 1 from the records."
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--published", action="store_true", help="the published table, not one's own")

    def work(options: argparse.Namespace) -> None:
        for file in write_table(options.results, published=options.published):
            print(file)

    return run_command(parser, work, arguments)
