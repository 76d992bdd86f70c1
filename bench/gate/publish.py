"""The published table anew, for maintainers: `python -m bench.gate.publish` (`make publish`).

Takes every cell of the tuned configurations from `results/runs`, makes table and page in `build/publish`,
shows what moves against `results/published` (as `bench.gate --strict` does), and puts them in its place.
Nothing is trained. Where a published number would vanish, nothing is written unless `--force` says so.

A long edition is published row by row:

    make publish ARGS="--methods mf,ips --datasets coat"   these cells anew, all others stay as published
    make publish KEEP=1                                    whatever has a record here; all others stay

What stays keeps its record's name, its seeds' values, its commit and its code's fingerprint
(`provenance.csv`); rows of different editions are tested over the seeds that both have, and the captions say
which rows are of which plan and commit.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import methods
from bench import compose, data, reproduce
from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import write_all
from bench.gate import tables
from bench.gate.compare import compare_files
from bench.gate.tell import as_text
from bench.report import page_files
from bench.table import csv_files, files, load_frame
from bench.table.manifest import FILE, OWN_FOLDER, PUBLISHED_FOLDER, CellKey, Listed, TableManifest

_SCRATCH = Path("build/publish")
_TABLE, _SEEDS = "table1.csv", "seeds.csv"
_NAMED = 5  # cells that are named where more vanish


def vanished(old: Path, new: Path) -> list[str]:
    """The cells of which a number stands in one table and not in another: "table/coat/mf", each once.

    Raises:
        BenchError: a table cannot be read.
    """
    before, after = tables.read_table(old), tables.read_table(new)
    lost = [key for key, mean in before.items() if mean is not None and after.get(key) is None]
    return list(dict.fromkeys("/".join(key[:3]) for key in lost))


def with_reasons(listing: TableManifest, results: Path) -> TableManifest:
    """The list with the reasons that only a training can tell ("Only generated data have ...").

    They stand where the cell was last tried: in one's own table, else in the published one.

    Raises:
        BenchError: one of the two lists cannot be read.
    """
    cells = dict(listing.cells)
    for folder in (results / PUBLISHED_FOLDER, results / OWN_FOLDER):
        if not (folder / FILE).is_file():
            continue
        for key, known in TableManifest.read(folder).cells.items():
            if known.digest is None and known.missing and key in cells and cells[key].digest is None:
                # What is wrong with the data is told anew each time.
                cells[key] = Listed(None, listing.cells[key].missing or known.missing)
    return replace(listing, cells=cells)


@dataclass(frozen=True, kw_only=True)
class Selected:
    """Which cells are published anew: those of some protocols, data sets and rows; () for all of them.

    keep: of these, the cells that have no record here stay as published.
    """

    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    keep: bool = False

    def __contains__(self, key: CellKey) -> bool:
        return all(
            not names or name in names
            for name, names in zip(key, (self.protocols, self.datasets, self.rows), strict=True)
        )


def beside_published(
    found: Mapping[CellKey, Listed], published: Mapping[CellKey, Listed], chosen: Selected
) -> dict[CellKey, Listed]:
    """The cells of the table: those that were found, and the published ones that stay.

    Args:
        found: what is here of the chosen cells.
    """
    known = {
        key
        for key in published
        if key[0] in reproduce.PROTOCOLS and key[1] in data.names() and key[2] in methods.names()
    }
    kept = {key: published[key] for key in published if key in known and key not in chosen}
    cells = {**kept, **found}
    if chosen.keep:
        for key in known & found.keys():
            if found[key].digest is None and published[key].digest is not None:
                cells[key] = published[key]
    orders = reproduce.PROTOCOLS, data.names(), methods.names()
    return {
        key: cells[key]
        for key in sorted(
            cells, key=lambda key: [list(names).index(n) for n, names in zip(key, orders, strict=True)]
        )
    }


def without_untrained(cells: Mapping[CellKey, Listed]) -> dict[CellKey, Listed]:
    """The cells but for those of further methods, and of data sets that are left out until they are tuned
    (`reproduce.datasets_of_table`), that have no record anywhere: a row or group of X tells nothing."""
    trained = [key for key, listed in cells.items() if listed.digest is not None]
    datasets = {*reproduce.datasets_of_table(), *(dataset for _, dataset, _ in trained)}
    rows = {method for _, _, method in trained}
    return {
        key: cell
        for key, cell in cells.items()
        if key[1] in datasets and (key[2] in rows or not methods.is_further(key[2]))
    }


def publish(
    overrides: Sequence[str], scratch: Path, force: bool, chosen: Selected = Selected()
) -> list[Path]:
    """Makes the table, shows what moves, and publishes it.

    Returns:
        the files that were written.

    Raises:
        BenchError: a published number would vanish, an override is wrong, or a record or folder cannot be
            used.
    """
    compose.register(overrides)
    results = Path(compose.composed(list(overrides)).results)
    folder = results / PUBLISHED_FOLDER
    rows = tuple(filter(reproduce.of_suite, methods.names()))
    plan = reproduce.TablePlan(
        chosen.protocols or reproduce.PROTOCOLS,
        chosen.datasets or reproduce.DATASETS,
        chosen.rows or rows,
        tuple(overrides),
    )
    found = reproduce.look_up_all(plan, results / "runs")
    if found.failures:
        raise BenchError(found.failures[0])
    if not any(listed.digest for listed in found.cells.values()):
        raise BenchError(
            f"No cell of the table has a record in {results / 'runs'}, so there is nothing to publish: train "
            "them by `make table1`."
        )
    if (folder / FILE).is_file():
        published = TableManifest.read(folder).cells
        found = replace(found, cells=beside_published(found.cells, published, chosen))
    found = replace(found, cells=without_untrained(found.cells))
    listed = with_reasons(reproduce.manifest(plan, found), results)
    listed.write(scratch)
    _copy_files(folder, scratch)
    frame = load_frame(scratch, results / "runs", scratch)
    texts = {**files(frame), **page_files(frame, results, published=True)}
    write_all(scratch, texts)
    if (folder / _TABLE).is_file():
        old, new = scratch / "old.csv", scratch / "new.csv"
        for table, source in ((old, folder), (new, scratch)):
            shutil.copyfile(source / _TABLE, table)
            shutil.copyfile(source / _SEEDS, tables.seeds_file(table))
        print(as_text(compare_files(old, new, strict=True), False))
        lost = vanished(old, new)
        if lost and not force:
            named = ", ".join(lost[:_NAMED]) + (", …" if len(lost) > _NAMED else "")
            raise BenchError(
                f"Numbers of {len(lost)} published cells would vanish ({named}), so nothing is written: "
                "train them here by `make table1`, keep them as they are by `make publish KEEP=1`, or "
                "publish without them by `make publish FORCE=1`."
            )
    return [listed.write(folder), *write_all(folder, texts)]


def _copy_files(folder: Path, scratch: Path) -> None:
    """The published table's CSV files, from which the cells without a record are read; none of an old run."""
    for file in csv_files.ALL:
        (scratch / file.name).unlink(missing_ok=True)
        if (folder / file.name).is_file():
            shutil.copyfile(folder / file.name, scratch / file.name)


def _names(given: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    return reproduce.chosen_names(given, known, what) if given else ()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate.publish", description="Publishes the table of the records that are here."
    )
    parser.add_argument("--force", action="store_true", help="even where a published number vanishes")
    parser.add_argument("--keep", action="store_true", help="what has no record here stays as published")
    parser.add_argument("--protocols", default="", help="publish these anew alone")
    parser.add_argument("--datasets", default="", help="publish these anew alone")
    parser.add_argument("--methods", default="", help="publish these rows anew alone")
    parser.add_argument("--scratch", type=Path, default=_SCRATCH, metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration: results=DIR data_dir=DIR")

    def work(given: argparse.Namespace) -> None:
        rows = tuple(filter(reproduce.of_suite, methods.names()))
        chosen = Selected(
            protocols=_names(given.protocols, reproduce.PROTOCOLS, "protocol"),
            datasets=_names(given.datasets, reproduce.DATASETS, "data set"),
            rows=_names(given.methods, rows, "row of the suite"),
            keep=given.keep,
        )
        for file in publish(given.overrides, given.scratch, given.force, chosen):
            print(file)

    return command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
