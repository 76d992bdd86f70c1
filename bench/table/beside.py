"""A record beside what is published and printed of its cell: what a run's last lines in the terminal show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench.conventions import NO_POSITIVE
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF
from bench.records.metric import METRICS
from bench.records.record import Record
from bench.table.csv_files import SEEDS_FILE, TABLE_FILE, SeedEntry, TableEntry
from bench.table.layout import signed
from bench.table.lines import ValuesBySeed
from bench.table.manifest import PUBLISHED_FOLDER, TableManifest
from bench.table.statistics import wilcoxon

_PUBLISHED = CHECKOUT / "results" / PUBLISHED_FOLDER
_LEAST_SEEDS = 6  # for fewer, no p of the exact test is below .05
_Key = tuple[str, str, str, str, str]  # protocol, data set, method, metric, convention without a positive


@dataclass(frozen=True)
class _Known:
    """What is published: the table's lines, and the values of the rows that others are tested against.

    titles: method → as the table writes it.
    """

    entries: dict[_Key, TableEntry]
    values: dict[_Key, ValuesBySeed]
    titles: dict[str, str]


def beside(record: Record, published: Path = _PUBLISHED) -> list[str]:
    """A record's numbers, those published of its cell and the paper's, and the command of that cell.

    Nothing where the record is of other data than the published cell, or nothing of it is published.
    """
    known = _known(published)
    rows, same = [], True
    for metric in record.metrics:
        values = record.metric(metric)
        row = [METRICS[metric].heading(record.k), _number(list(values.values()))]
        entry = known.entries.get((*record.cell, metric, record.protocol["no_positive"]))
        if entry is not None and _alike(record, entry):
            same = same and entry.cell == record.digest
            printed = f"{entry.mean:.4f}" if entry.mean is not None else ""
            spread = f" ± {entry.std:.4f}" if printed and entry.std is not None else ""
            paper = entry.paper if record.comparable else ""
            row += [printed + spread, paper, _against(values, known, record, entry)]
        rows.append(row)
    if not any(len(row) > 2 for row in rows):
        return []
    reference = next((each.reference for each in known.entries.values() if each.reference), "")
    heads = ["", "here", "published", "paper", f"minus {known.titles.get(reference, reference)}"]
    lines = tabulate(rows, heads, "plain", disable_numparse=True).splitlines()
    protocol, dataset, method = record.cell
    if not same and (CONF / "tuned" / protocol / dataset / f"{method}.yaml").is_file():
        seeds = next(each.n for key, each in known.entries.items() if key[:3] == record.cell)
        groups = f"protocol={protocol} dataset={dataset} method={method}"
        tuned = f"+tuned={protocol}/{dataset}/{method} seeds={seeds}"
        lines.append(f"published by: python -m bench {groups} {tuned}")
    return [f"  {line}" for line in lines]


def _alike(record: Record, entry: TableEntry) -> bool:
    """Whether both are of the same ratings, as far as one can tell without them."""
    words = (word.lstrip("+") for word in record.provenance.command.split())
    if any(word.startswith(("dataset.", "protocol.")) for word in words):
        return False
    return entry.source == record.source and (entry.k is None or entry.k == record.k)


def _number(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _against(values: ValuesBySeed, known: _Known, record: Record, entry: TableEntry) -> str:
    """The mean difference to the published reference over the seeds of both, and the p of its test."""
    protocol, dataset, _ = record.cell
    convention = record.protocol["no_positive"]
    theirs = known.values.get((protocol, dataset, entry.reference, entry.metric, convention), {})
    seeds = sorted(values.keys() & theirs.keys())
    if not seeds or len(seeds) < len(values):
        return ""
    ours, others = ([each[seed] for seed in seeds] for each in (values, theirs))
    text = signed(float(np.mean(ours) - np.mean(others)))
    if len(seeds) < _LEAST_SEEDS or not np.isfinite([*ours, *others]).all():
        return text
    return f"{text} (p = {wilcoxon(ours, others)[0]:.2g})"


def _keys(each: TableEntry | SeedEntry) -> list[_Key]:
    """Of a metric that knows no convention, one under each."""
    conventions = [each.no_positive] if each.no_positive else NO_POSITIVE
    return [(each.protocol, each.dataset, each.method, each.metric, name) for name in conventions]


@cache
def _known(folder: Path) -> _Known:
    """Nothing where a file of the published table is not there or damaged: a run does not fail for it."""
    try:
        entries = {key: each for each in TABLE_FILE.read(folder) for key in _keys(each)}
        references = {each.reference for each in entries.values() if each.reference}
        values: dict[_Key, ValuesBySeed] = {}
        for value in SEEDS_FILE.read(folder):
            for key in _keys(value) if value.method in references else ():
                values.setdefault(key, {})[value.seed] = value.value
        rows = TableManifest.read(folder).rows if entries else []
    except BenchError:
        return _Known({}, {}, {})
    return _Known(entries, values, {row.method: row.title for row in rows})
