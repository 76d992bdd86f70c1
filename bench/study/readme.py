"""Puts the findings and the list of methods into README.md: `python -m bench.study.readme [--results DIR]`.

The findings are the sentences of `bench/study/report.py`; the list is what the methods say of themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.files import CHECKOUT, write_text
from bench.study.report import numbered, published_findings, sentences

README = CHECKOUT / "README.md"


def method_list() -> str:
    """The methods of the suite as a table: key, row, year, paper, and what each knows of A."""
    # Only who writes the list waits for the methods.
    import methods

    lines = ["| Key | Row | A | Year | Paper |", "| --- | --- | --- | --- | --- |"]
    keys = [key for key in methods.names() if methods.get(key).__module__ == f"methods.{key}"]
    blocks = {
        "": methods.ROWS,
        "Controls": [key for key in keys if methods.is_control(key)],
        "Further methods": [key for key in keys if methods.is_further(key)],
    }
    for heading, block in blocks.items():
        some = [key for key in keys if key in block]
        if heading and some:
            lines.append(f"| | *{heading}* | | | |")
        for key in some:
            kind = methods.get(key)
            year, paper = (str(kind.year), kind.paper) if kind.year else ("", "")
            paper = paper.removesuffix(year).rstrip(", ")
            lines.append(f"| `{key}` | {kind.title} | {kind.uses_unbiased} | {year} | {paper} |")
    return "\n".join(lines)


def inserted(readme: str, part: str, text: str) -> str:
    """The README with a new text between the marks of a part.

    Raises:
        BenchError: the marks are not there.
    """
    start, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    if start not in readme or end not in readme:
        raise BenchError(f"{README.name} lacks the marks {start} and {end}.")
    return readme.split(start)[0] + f"{start}\n\n{text}\n\n{end}" + readme.split(end)[1]


def updated(readme: str, results: Path) -> str:
    """The README with the findings of a folder of results, as published, and the list of methods.

    Raises:
        BenchError: a mark is not there, or the published table is not.
    """
    texts = {"findings": numbered(sentences(published_findings(results))), "methods": method_list()}
    for part, text in texts.items():
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

    def work(options: argparse.Namespace) -> None:
        write_text(README, updated(_read(README), options.results))

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
