"""Puts the front page's findings and table into README.md: `python -m bench.study.readme [--results DIR]`.

They are the sentences of `bench/study/report.py`, and of `results/published/table1.md` what stands under its
first protocol: the means on all data sets, and the section of one, by default Coat.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.study import report as findings
from bench.table.files import PUBLISHED_FOLDER

README = Path(__file__).resolve().parents[2] / "README.md"
PARTS = ("findings", "table1")


def excerpt(table: str, dataset: str) -> str:
    """The means under the first protocol, one data set's section, and how to read them.

    Raises:
        BenchError: the table has no such section.
    """
    reading = table.split("\n## Protocol")[0].removeprefix("# Table 1").strip()
    means, *sections = table.split("\n## Protocol")[1].split("\n### ")
    for section in sections:
        if section.partition("\n")[0] == dataset:
            return f"### Protocol {means.strip()}\n\n### {section.strip()}\n\n{reading}"
    raise BenchError(f"The table has no section '{dataset}'.")


def inserted(readme: str, part: str, text: str) -> str:
    """The README with a new text between the marks of a part.

    Raises:
        BenchError: the marks are not there.
    """
    start, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    if start not in readme or end not in readme:
        raise BenchError(f"{README.name} lacks the marks {start} and {end}.")
    return readme.split(start)[0] + f"{start}\n\n{text}\n\n{end}" + readme.split(end)[1]


def updated(readme: str, results: Path, dataset: str) -> str:
    """The README with the findings and the table of a results folder.

    Raises:
        BenchError: a mark is not there, or the table is not.
        OSError: the table cannot be read.
    """
    table = (results / PUBLISHED_FOLDER / "table1.md").read_text(encoding="utf-8")
    found = findings.columns(findings.published(results))
    listed = "\n".join(f"{n}. {each}" for n, each in enumerate(findings.sentences(found), 1))
    texts = dict(zip(PARTS, (listed, excerpt(table, dataset)), strict=True))
    for part, text in texts.items():
        readme = inserted(readme, part, text)
    return readme


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.study.readme", description="Updates README.md.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--dataset", default="Coat", help="the title of a data set in the table")
    given = parser.parse_args(arguments)
    try:
        text = updated(README.read_text(encoding="utf-8"), given.results, given.dataset)
        README.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{error.filename} cannot be read or written: {error.strerror}.", file=sys.stderr)
        return 1
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
