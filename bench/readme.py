"""Puts the front page's table into README.md: `python -m bench.readme [--results DIR]`.

It is the section of one data set, by default Coat under protocol `table`, of `table1.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError

README = Path(__file__).resolve().parents[1] / "README.md"
START, END = "<!-- table1 -->", "<!-- /table1 -->"


def excerpt(table: str, dataset: str) -> str:
    """How to read the table, and one data set's section under the first protocol.

    Raises:
        BenchError: the table has no such section.
    """
    reading = table.split("\n## Protocol")[0].removeprefix("# Table 1").strip()
    sections = table.split("\n## Protocol")[1].split("\n### ")[1:]
    for section in sections:
        if section.partition("\n")[0] == dataset:
            return f"### {section.strip()}\n\n{reading}"
    raise BenchError(f"The table has no section '{dataset}'.")


def inserted(readme: str, text: str) -> str:
    """The README with a new text between its marks.

    Raises:
        BenchError: the marks are not there.
    """
    if START not in readme or END not in readme:
        raise BenchError(f"{README.name} lacks the marks {START} and {END}.")
    return readme.split(START)[0] + f"{START}\n\n{text}\n\n{END}" + readme.split(END)[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description="Updates README.md.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--dataset", default="Coat", help="the title of a data set in the table")
    given = parser.parse_args(arguments)
    file = given.results / "table1" / "table1.md"
    try:
        text = excerpt(file.read_text(encoding="utf-8"), given.dataset)
        README.write_text(inserted(README.read_text(encoding="utf-8"), text), encoding="utf-8")
    except OSError as error:
        print(f"{error.filename} cannot be read or written: {error.strerror}.", file=sys.stderr)
        return 1
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
