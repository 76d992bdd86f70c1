"""Puts findings, seconds and the methods into README.md: `python -m bench.study.readme [--results DIR]`.

The findings are the sentences of `bench/study/report.py`, the seconds those of `make first-call`, the list of
methods is what they say of themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.files import CHECKOUT, read_csv, write_text
from bench.study.report import Findings, numbered, published_findings, sentences

README = CHECKOUT / "README.md"
# Lines of `results/speed/first_call.csv`.
FIRST_CALL = ("import", "first steps, kernels compiled", "first steps, kernels from disk")


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


def first_call(results: Path) -> str:
    """What the first run waits for, as `bench.speed.first_call` has measured it.

    Raises:
        BenchError: its file is not there, or is another one.
    """
    file = results / "speed" / "first_call.csv"
    lines = {line["what"]: line["seconds"] for line in read_csv(file, ("what", "seconds"), "make first-call")}
    try:
        importing, cold, cached = (lines[what] for what in FIRST_CALL)
    except KeyError as error:
        raise BenchError(f"{file} has no line {error}; write it anew: make first-call PUBLISH=1.") from error
    return (
        f"Every command first imports PyTorch and the engine, {importing} s of CPU time where this was "
        f"measured. The very first run also compiles the engine's kernels, {cold} s for those of six unlike "
        f"rows; a later one reads them from disk, {cached} s (`make first-call`)."
    )


def inserted(readme: str, part: str, text: str) -> str:
    """The README with a new text between the marks of a part.

    Raises:
        BenchError: the marks are not there.
    """
    start, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    if start not in readme or end not in readme:
        raise BenchError(f"{README.name} lacks the marks {start} and {end}.")
    return readme.split(start)[0] + f"{start}\n\n{text}\n\n{end}" + readme.split(end)[1]


def updated(readme: str, results: Path, findings: Findings) -> str:
    """The README with the `published_findings` and seconds of a folder of results, and the list of methods.

    Raises:
        BenchError: a mark is not there, or the published table or `first_call.csv` is not.
    """
    texts = {
        "findings": numbered(sentences(findings)),
        "first call": first_call(results),
        "methods": method_list(),
    }
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
        findings = published_findings(options.results)
        write_text(README, updated(_read(README), options.results, findings))

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
