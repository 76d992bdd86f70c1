"""Table 1 from the records: `python -m bench.table [--results DIR]`.

Reads `DIR/table1/cells.json` (which cells the table has) and the records that it names, and writes
beside it

table1.csv        one line per protocol, data set, row and metric
seeds.csv         the values behind it
columns.csv       what the rows of a data set share: source, threshold, users without a positive
comparisons.csv   every row against the reference and against the best baseline, over paired seeds
users.csv         the same for NDCG and Recall, over paired users
provenance.csv    of every cell: commit, time, device, seconds of training, the command that makes it
table1.md .tex .html   the paper's layout

Needs neither torch nor data, and the same records give the same bytes. A record that is not there is
taken from the files that were made from it, so that a clone without records can make the table anew.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.table import render
from bench.table.frame import PAPER, PROVENANCE, Frame, Line, load, read_paper
from bench.table.statistics import smallest_p

__all__ = ["PAPER", "build", "main", "read_paper", "write", "write_files"]

HEADER = (
    "protocol,dataset,source,method,metric,k,no_positive,mean,std,n,"
    "paper,delta,within,reference,p_value,p_holm,points,cell"
)
SEEDS_HEADER = "protocol,dataset,method,seed,metric,no_positive,value"
COLUMNS_HEADER = "protocol,dataset,source,threshold,no_positive,comparable"
COMPARISONS_HEADER = (
    "protocol,dataset,method,metric,no_positive,against,reference,n,median,low,high,p_value,p_holm,smallest_p"
)
USERS_HEADER = (
    "protocol,dataset,method,metric,against,reference,users,mean,low,high,p_value,p_holm,cell,reference_cell"
)
PROVENANCE_HEADER = ",".join(("protocol", "dataset", "method", "cell", *PROVENANCE))


def build(results: Path, paper: Path = PAPER) -> dict[str, str]:
    """The table's files, name → text.

    Raises:
        BenchError: see `bench.table.frame.load`.
    """
    return files(load(results, paper))


def files(frame: Frame) -> dict[str, str]:
    """The files of a frame, name → text."""
    return {
        "table1.csv": _csv(HEADER, map(_csv_fields, frame.lines)),
        "seeds.csv": _csv(SEEDS_HEADER, _seed_fields(frame.lines)),
        "columns.csv": _csv(COLUMNS_HEADER, _column_fields(frame.lines)),
        "comparisons.csv": _csv(COMPARISONS_HEADER, _comparison_fields(frame)),
        "users.csv": _csv(USERS_HEADER, _user_fields(frame)),
        "provenance.csv": _csv(PROVENANCE_HEADER, _provenance_fields(frame.lines)),
        "table1.md": render.markdown(frame),
        "table1.tex": render.latex(frame),
        "table1.html": render.page(frame),
    }


# --- CSV ----------------------------------------------------------------------------------------------


def _csv(header: str, rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    text.write(header + "\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _csv_fields(line: Line) -> list[str]:
    present = not line.cell.missing
    return [
        line.protocol,
        line.dataset.dataset,
        line.cell.source,
        line.row.method,
        line.metric,
        str(line.dataset.k) if line.no_positive else "",
        line.no_positive,
        _fixed(line.mean),
        _fixed(line.std),
        str(len(line.values)),
        line.paper,
        _fixed(line.delta),
        "" if line.within is None else str(line.within),
        line.reference,
        "" if line.p_value is None else f"{line.p_value:.6g}",
        "" if line.p_holm is None else f"{line.p_holm:.6g}",
        str(line.cell.points) if present else "",
        line.cell.digest,
    ]


def _seed_fields(lines: Iterable[Line]) -> Iterable[list[str]]:
    for line in lines:
        for seed in sorted(line.values):
            yield [
                line.protocol,
                line.dataset.dataset,
                line.row.method,
                str(seed),
                line.metric,
                line.no_positive,
                repr(line.values[seed]),
            ]


def _column_fields(lines: Iterable[Line]) -> Iterable[list[str]]:
    """Of every data set under every protocol that has a record."""
    seen = set()
    for line in lines:
        cell, place = line.cell, (line.protocol, line.dataset.dataset)
        if not cell.missing and place not in seen:
            seen.add(place)
            yield [*place, cell.source, f"{cell.threshold:g}", cell.no_positive, str(cell.comparable)]


def _provenance_fields(lines: Iterable[Line]) -> Iterator[list[str]]:
    """One line for each cell that has a record."""
    for line in lines:
        if line.metric == "auc" and not line.cell.missing:
            place = (line.protocol, line.dataset.dataset, line.row.method, line.cell.digest)
            yield [*place, *(line.cell.provenance.get(name, "") for name in PROVENANCE)]


def _comparison_fields(frame: Frame) -> Iterator[list[str]]:
    """Only of what the protocol counts: the other conventions for users without a positive are left out."""
    for each in frame.comparisons:
        line = each.line
        numbers = (each.p_value, each.p_holm, smallest_p(each.n))
        yield [
            *(line.protocol, line.dataset.dataset, line.row.method, line.metric, line.no_positive),
            *(each.against, each.base.row.method, str(each.n)),
            *map(_fixed, (each.median, each.low, each.high)),
            *(f"{number:.6g}" for number in numbers),
        ]


def _user_fields(frame: Frame) -> Iterator[list[str]]:
    """More digits than anybody reads, because these are read back where the records are not."""
    for each in frame.users:
        line = each.line
        yield [
            *(line.protocol, line.dataset.dataset, line.row.method, line.metric),
            *(each.against, each.base.row.method, str(each.n)),
            *(f"{number:.12g}" for number in (each.mean, each.low, each.high, each.p_value, each.p_holm)),
            *(line.cell.digest, each.base.cell.digest),
        ]


def _fixed(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".replace("-0.000000", "0.000000")


# --- Command line -------------------------------------------------------------------------------------


def write(results: Path) -> list[Path]:
    """Writes the table's files and returns their paths. Each appears complete or not at all.

    Raises:
        BenchError: see `build`; or the folder cannot be written.
    """
    return write_files(results / "table1", build(results))


def write_files(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Writes files into a folder, each complete or not at all, and returns their paths.

    Raises:
        BenchError: the folder cannot be written.
    """
    written = []
    for name, text in texts.items():
        file = folder / name
        temporary = file.with_name(f".{name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            os.replace(temporary, file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error
        written.append(file)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table", description="Writes Table 1 from the records."
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    try:
        for file in write(parser.parse_args(arguments).results):
            print(file)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
