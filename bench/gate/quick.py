"""The quick profile for the gate: `python -m bench.gate.quick [--update] [OVERRIDE ...]`.

Trains every row on generated data, and on Coat where its files are, by `conf/profile/quick.yaml`, and
compares the table with `results/gate/baseline.csv` (`bench.gate --strict`). It always trains afresh: the
gate answers for what no record's hash sees, too, such as another version of PyTorch, and it takes the
time. What it trained stays in `build/gate` until the next time.

With `--update` the table becomes the baseline, and what changed is printed. Lines of a data set that is
absent here are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import reproduce
from bench.errors import BenchError
from bench.files import write_text as write
from bench.gate import compare as gate
from bench.records import store

PROFILE = ("+profile=quick",)
DATASETS = "coat,synthetic"
PROTOCOL = "table"
BASELINE = Path("results/gate/baseline.csv")
SCRATCH = Path("build/gate")


def train(scratch: Path, options: Sequence[str], overrides: Sequence[str]) -> tuple[Path, int]:
    """Trains the profile into an emptied folder.

    Args:
        options: of `bench.reproduce`. overrides: of the configuration, above the profile's.

    Returns:
        the table, with its seeds and costs beside it, and the exit status: 0, or 1 where a cell failed.

    Raises:
        BenchError: the folder cannot be used, or nothing could be trained.
        KeyboardInterrupt: the user stopped it.
    """
    made, table = scratch / "table1", scratch / "new.csv"
    try:
        # Only what this command wrote, since the folder is the user's choice.
        for folder in (scratch / "runs", made):
            if folder.exists():
                shutil.rmtree(folder)
        words = [*PROFILE, *overrides, f"results={scratch}"]
        status = reproduce.main(["--protocols", PROTOCOL, *options, *words])
        if status > 1:
            raise KeyboardInterrupt
        if not (made / "table1.csv").exists():
            raise BenchError("The quick profile could not be trained; the sentence above says why.")
        shutil.copyfile(made / "table1.csv", table)
        shutil.copyfile(made / "seeds.csv", gate.seeds_file(table))
    except OSError as error:
        raise BenchError(f"{scratch} cannot be used: {error.strerror or error}.") from error
    write(gate.cost_file(table), costs(table, scratch / "runs"))
    return table, status


def costs(table: Path, runs: Path) -> str:
    """Run time and memory of a table's cells, as CSV, in the table's order.

    Raises:
        BenchError: the table or a record of it cannot be read.
    """
    lines = [gate.COST_HEADER.split(",")]
    cells = {
        tuple(row[name] for name in (*lines[0][:3], "cell")): None for row in _rows(table) if row["cell"]
    }
    for *names, digest in cells:
        provenance = store.read(runs, digest)["provenance"]
        lines.append([*names, *(str(provenance[name]) for name in lines[0][3:])])
    return _csv(lines)


def update(baseline: Path, table: Path) -> list[str]:
    """Puts a table, its seeds and its costs in the place of the baseline.

    Returns:
        the data sets whose lines were kept, because the new table has no numbers of them.

    Raises:
        BenchError: a file cannot be read or written.
    """
    kept: list[str] = []
    for beside in (lambda file: file, gate.seeds_file, gate.cost_file):
        old, new = beside(baseline), beside(table)
        rows = _rows(new)
        before = _rows(old) if old.exists() else []
        measured = {row["dataset"] for row in rows if row.get("mean", "measured")}
        kept = sorted({row["dataset"] for row in before if row.get("mean", "measured")} - measured)
        rows = [row for row in rows if row["dataset"] not in kept]
        rows = [row for row in before if row["dataset"] in kept] + rows
        rows.sort(key=lambda row: row["dataset"])  # stable: a data set's lines stay in their order
        write(old, _csv([list(rows[0]), *(list(row.values()) for row in rows)]))
    return kept


def _rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, which is the gate's."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate.quick",
        description="Trains the quick profile and compares it with the baseline.",
    )
    parser.add_argument("--update", action="store_true", help="make what was trained the baseline")
    parser.add_argument("--datasets", default=DATASETS)
    parser.add_argument("--methods", default="", help="compare these rows only")
    parser.add_argument("--jobs", default="0", help="cells trained at once; 0: one for each core")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, metavar="DIR")
    style = parser.add_mutually_exclusive_group()
    for name, what in (("md", "as Markdown"), ("json", "as JSON")):
        style.add_argument(f"--{name}", dest="style", action="store_const", const=name, help=what)
    parser.add_argument("--all", action="store_true", help="show what stayed within its tolerance, too")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every cell")
    given = parser.parse_args(arguments)
    try:
        if given.update and (given.methods or given.overrides):
            raise BenchError(
                "A baseline has all rows as the profile trains them: leave out rows and overrides."
            )
        if given.baseline.exists():
            gate.read(given.baseline)  # what is wrong with it shows before the minutes of training
        elif not given.update:
            raise BenchError(f"{given.baseline} does not exist: `make gate-update` writes it.")
        options = ["--datasets", given.datasets, "--methods", given.methods, "--jobs", given.jobs]
        # What stands in a document's way goes where the sentences about failures go.
        with contextlib.redirect_stdout(sys.stderr) if given.style else contextlib.nullcontext():
            table, failed = train(given.scratch, options, given.overrides)
        if given.update and failed:
            raise BenchError("A baseline needs every cell, but some failed: the baseline is the old one.")
        found = None
        if given.baseline.exists():
            rows = given.methods.split(",") if given.methods else ()
            found = gate.compare_files(given.baseline, table, strict=True, methods=rows)
        if given.update:
            kept = update(given.baseline, table)
            if found is not None:
                print(gate.text(found, given.all, given.style == "md"))
            print(f"{given.baseline} is written, and its seeds and costs beside it.")
            if kept:
                print(f"The lines of {', '.join(kept)} are the old ones: its files are absent here.")
            return 0
        assert found is not None
        status = gate.report(found, given.style or "text", given.all) or failed
        if status:
            print(
                "Either this is a fault, or the baseline is to be updated by `make gate-update`; the numbers "
                f"are in {table}.",
                file=sys.stderr,
            )
        return status
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG") == "1":
            raise
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
