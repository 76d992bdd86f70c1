"""The quick profile for the gate: `python -m bench.gate.quick [--update] [OVERRIDE ...]`.

Trains every row on generated data, and on Coat where its files are, by `conf/profile/quick.yaml`, and
compares the table with `results/gate/baseline.csv` (`bench.gate --strict`). It always trains afresh: the
gate answers for what no record's hash sees, too, such as another version of PyTorch, and it takes the
time. What it trained stays in `build/gate` until the next time, and the comparison in `build/gate/gate.md`.

With `--update` the table becomes the baseline, and what changed is printed. Lines of a data set that is
absent here are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import reproduce
from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import write_text
from bench.gate import tables
from bench.gate.compare import compare_files
from bench.gate.tell import UNREADABLE, add_style, as_text, tell
from bench.records.record import read_record

# A row that no sweep has tuned is trained at its defaults: the gate is to be quick, and not to tune.
_PROFILE = ("+profile=quick", "sweep=none")
_DATASETS = "coat,synthetic"
_PROTOCOL = "table"
_BASELINE = Path("results/gate/baseline.csv")
SCRATCH = Path("build/gate")
SUMMARY = "gate.md"  # in the scratch folder: the comparison, for whoever has no terminal


def train_profile(scratch: Path, options: Sequence[str], overrides: Sequence[str]) -> tuple[Path, int]:
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
        words = [*_PROFILE, *overrides, f"results={scratch}"]
        status = reproduce.main(["--brief", "--protocols", _PROTOCOL, *options, *words])
        if status > 1:
            raise KeyboardInterrupt
        if not (made / "table1.csv").exists():
            raise BenchError("The quick profile could not be trained; the sentence above says why.")
        shutil.copyfile(made / "table1.csv", table)
        shutil.copyfile(made / "seeds.csv", tables.seeds_file(table))
    except OSError as error:
        raise BenchError(f"{scratch} cannot be used: {error.strerror or error}.") from error
    tables.write_costs(tables.cost_file(table), measured_costs(table, scratch / "runs"))
    return table, status


def measured_costs(table: Path, runs: Path) -> dict[tables.CellName, tables.Cost]:
    """Run time and memory of a table's cells, in the table's order.

    Raises:
        BenchError: the table or a record of it cannot be read.
    """
    names = [each.name for each in dataclasses.fields(tables.Cost)]
    found = {}
    for cell, digest in tables.read_digests(table).items():
        provenance = read_record(runs, digest).provenance
        found[cell] = tables.Cost(*(getattr(provenance, name) for name in names))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, which is the gate's."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate.quick",
        description="Trains the quick profile and compares it with the baseline.",
    )
    parser.add_argument("--update", action="store_true", help="make what was trained the baseline")
    parser.add_argument("--datasets", default=_DATASETS)
    parser.add_argument("--methods", default="", help="compare these rows only")
    parser.add_argument("--jobs", default="0", help="cells trained at once; 0: one for each core")
    parser.add_argument("--baseline", type=Path, default=_BASELINE, metavar="FILE")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, metavar="DIR")
    add_style(parser)
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every cell")
    return command(parser, _work, arguments, failed=UNREADABLE)


def _work(given: argparse.Namespace) -> int:
    if given.update and (given.methods or given.overrides):
        raise BenchError("A baseline has all rows as the profile trains them: leave out rows and overrides.")
    if given.baseline.exists():
        tables.read_table(given.baseline)  # what is wrong with it shows before the minutes of training
    elif not given.update:
        raise BenchError(f"{given.baseline} does not exist: `make gate-update` writes it.")
    options = ["--datasets", given.datasets, "--methods", given.methods or "all", "--jobs", given.jobs]
    # What stands in a document's way goes where the sentences about failures go.
    with contextlib.redirect_stdout(sys.stderr) if given.style != "text" else contextlib.nullcontext():
        table, failed = train_profile(given.scratch, options, given.overrides)
    if given.update and failed:
        raise BenchError("A baseline needs every cell, but some failed: the baseline is the old one.")
    found = None
    if given.baseline.exists():
        rows = given.methods.split(",") if given.methods else ()
        found = compare_files(
            given.baseline,
            table,
            strict=True,
            methods=rows,
            datasets=given.datasets.split(","),
            allow_missing=given.allow_missing or given.update,
        )
        write_text(given.scratch / SUMMARY, as_text(found, given.all, markdown=True))
    if given.update:
        kept = tables.replace_baseline(given.baseline, table)
        if found is not None:
            print(as_text(found, given.all, given.style == "md"))
        print(f"{given.baseline} is written, and its seeds and costs beside it.")
        if kept:
            print(f"The lines of {', '.join(kept)} are the old ones: its files are absent here.")
        return 0
    assert found is not None
    status = tell(found, given.style, given.all) or failed
    if status:
        print(
            "Either this is a fault, or the baseline is to be updated by `make gate-update`; the numbers "
            f"are in {table}.",
            file=sys.stderr,
        )
    return status


if __name__ == "__main__":
    raise SystemExit(main())
