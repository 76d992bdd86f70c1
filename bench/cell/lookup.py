"""The record of a cell: found in the store, or trained, and then why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import compose
from bench.cell import saved
from bench.cell.preparation import load_ratings, prepare
from bench.cell.progress import Progress, silent
from bench.cell.spec import Cell
from bench.cell.train import STACKS_FOLDER, train_and_store
from bench.errors import BenchError
from bench.records import store
from bench.records.fingerprint import Identity
from bench.records.record import Record, find_record

_NAMED = 3  # fields that a sentence names

Report = Callable[[str], None]


def to_stderr(sentence: str) -> None:
    """Says a sentence on standard error."""
    print(sentence, file=sys.stderr, flush=True)


def find_or_train(
    overrides: Sequence[str],
    runs: Path | None = None,
    progress: Progress = silent,
    report: Report = to_stderr,
    folder: str = "runs",
) -> Record:
    """The record of a command line, trained if it is not in the store.

    Args:
        overrides: as those of `python -m bench`.
        runs: the store; by default `folder` in the configuration's `results`.
        progress: is told of every training.
        report: gets a sentence about a damaged record, about one of another PyTorch, and about why a cell is
            trained although records of its method stand there.

    Raises:
        MissingData: the data set's files are absent.
        BenchError: an override is wrong, or training failed.
        Sliced: a share of a sweep was asked for (`sweep.slices`), and it is trained.
    """
    compose.register(overrides)
    config = compose.composed(overrides)
    cell = prepare(config, load_ratings(config), overrides)
    where = Path(config.results) / folder if runs is None else runs
    record = find(cell, where, report)
    if record is None and config.dry_run:
        raise BenchError(f"{cell.method} on {cell.dataset.name} has no record, and dry_run=true trains none.")
    if record is None:
        clean_runs(where)
        why = reason(cell, where)
        if why:
            report(why)
        record = train_and_store(cell, where, progress)
    return record


def find(cell: Cell, runs: Path, report: Report = to_stderr) -> Record | None:
    """The record of a cell, or None where it is absent or damaged, is to be trained again, or lacks what is
    to be saved with it.

    Raises:
        BenchError: the store cannot be read.
    """
    if cell.again or saved.lacking(cell, runs):
        return None
    record = find_record(runs, cell.digest, report)
    if record is not None:
        _compare_torch(record, report)
    return record


def clean_runs(runs: Path) -> None:
    """Removes what killed processes left half-written. Says nothing and fails at nothing."""
    store.clean(runs)
    store.clean(runs / STACKS_FOLDER)


# --- Another PyTorch --------------------------------------------------------------------------------

_told: set[str] = set()  # versions that were told of in this process


def _compare_torch(record: Record, report: Report) -> None:
    """Says, once for each version, that a record of another PyTorch is used."""
    version = record.provenance.torch
    if version and version != torch.__version__ and version not in _told:
        _told.add(version)
        report(
            f"The record {record.digest} was trained with PyTorch {version} and is used as it is; here is "
            f"{torch.__version__}, and again=true trains anew."
        )


# --- Why --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Standing:
    """What a sentence needs of a record in the store. finished: its moment, as text that sorts."""

    cell: tuple[str, str, str]
    identity: Identity | None
    finished: str


_standing: dict[Path, tuple[int, _Standing | None]] = {}  # file → its age, and what it holds


def reason(cell: Cell, runs: Path) -> str:
    """Why a cell is to be trained although records of its method stand there; "" where none does."""
    names = (cell.protocol.name, cell.dataset.name, cell.method)
    title = f"{cell.method} on {cell.dataset.name}, protocol {cell.protocol.name}"
    nearest: tuple[Any, ...] | None = None
    for digest, standing in _all_standing(runs):
        if standing.cell != names:
            continue
        if digest == cell.digest:  # unless it is asked for, it is damaged, which has been told
            if cell.again:
                return f"{title}, is trained again, as again=true asks for."
            lacking = saved.lacking(cell, runs)
            return (
                f"{title}: the record {digest} stands without its {' and '.join(lacking)}; its final runs "
                "are trained once more for that."
                if lacking
                else ""
            )
        parts, fields = _differences(standing.identity, cell.identity)
        merit = (-len(parts), -len(fields), standing.finished)
        if nearest is None or merit > nearest[0]:
            nearest = merit, digest, parts
    if nearest is None:
        return ""
    _, digest, parts = nearest
    return f"{title}, is trained although its record {digest} is there: that one is of {' and '.join(parts)}."


def _differences(old: Identity | None, new: Identity) -> tuple[list[str], list[str]]:
    """In what a record differs from what is asked for, in words, and the fields of the configuration."""
    if old is None:
        return ["an earlier version of the suite"], []
    parts = []
    if old.code != new.code:
        parts.append("other code")
    if old.data != new.data:
        parts.append("other data")
    before, now = dict(_flat(old.config)), dict(_flat(new.config))
    theirs, mine = _stages(before), _stages(now)
    fields = [f"without {stage}" for stage in sorted(mine - theirs)]
    fields += [f"with {stage}" for stage in sorted(theirs - mine)]
    fields += [
        f"{name}={_word(before.get(name))}, not {_word(now.get(name))}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name) and _stage(name) in {"", *(theirs & mine)}
    ]
    if fields:
        more = f" and {len(fields) - _NAMED} fields more" if len(fields) > _NAMED else ""
        parts.append(f"another configuration ({'; '.join(fields[:_NAMED])}{more})")
    return parts or ["another version of the identity"], fields


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted field → value, as a command line names it."""
    for name, value in config.items():
        if name == "files":  # see `identity`: by its path, which may hold dots
            yield from ((f"content of {file}", content) for file, content in value.items())
        elif isinstance(value, Mapping):
            inner = "method" if name == "base" else name
            yield from _flat(value, f"{before}{inner}.")
        elif name == "plan":
            for stage in value:
                fields = {key: entry for key, entry in stage.items() if key not in ("name", "lists")}
                yield from _flat({**fields, **stage["lists"]}, f"stage {stage['name']}: ")
        else:
            # As JSON has it: what stands in a record has been written down.
            yield f"{before}{name}", list(value) if isinstance(value, tuple) else value


def _stage(name: str) -> str:
    """The stage of a sweep that a field of `_flat` is of; "" for none."""
    return name.partition(": ")[0] if name.startswith("stage ") else ""


def _stages(fields: Mapping[str, Any]) -> set[str]:
    return {_stage(name) for name in fields} - {""}


def _word(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _all_standing(runs: Path) -> Iterator[tuple[str, _Standing]]:
    for digest in store.digests(runs):
        file = runs / digest / "record.json"
        try:
            age = file.stat().st_mtime_ns
            known = _standing.get(file)
            if known is None or known[0] != age:
                known = _standing[file] = age, _read(file)
        except OSError:
            continue
        if known[1] is not None:
            yield digest, known[1]


def _read(file: Path) -> _Standing | None:
    """Unchecked, since no number is taken from it; None of what is no record."""
    try:
        record = Record.from_json(json.loads(file.read_bytes())["record"])
    except Exception:  # a damaged record is told of where it is to be used
        return None
    return _Standing(record.cell, record.identity, record.provenance.finished)
