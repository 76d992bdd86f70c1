"""Puts the front page's findings and table into README.md: `python -m bench.study.readme [--results DIR]`.

They are the sentences of `bench/study/report.py`, and of `results/published/table1.md` what stands under its
first protocol: the means on all data sets, and the section of one, by default Coat.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.files import CHECKOUT, write_text
from bench.study.report import numbered, published_findings, sentences
from bench.table.manifest import PUBLISHED_FOLDER

README = CHECKOUT / "README.md"
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
    """The README with the findings and the table of a folder of results, as published.

    Raises:
        BenchError: a mark is not there, or the table is not.
    """
    file = results / PUBLISHED_FOLDER / "table1.md"
    texts = numbered(sentences(published_findings(results))), excerpt(_read(file), dataset)
    for part, text in zip(PARTS, texts, strict=True):
        readme = inserted(readme, part, text)
    return readme


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.study.readme", description="Updates README.md.")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--dataset", default="Coat", help="the title of a data set in the table")

    def work(options: argparse.Namespace) -> None:
        write_text(README, updated(_read(README), options.results, options.dataset))

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
