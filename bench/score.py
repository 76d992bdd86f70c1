"""Scores made elsewhere, measured as a row: `python -m bench.score FILE dataset=coat seeds=20`.

Whoever trains outside this suite gives a score to every test pair of every seed. The file becomes a row of
one's own table, measured and tested like the rows that are trained here. A file is

    .csv, .csv.gz    a line `user,item,score`, then a line for each pair
    .parquet         the same columns (needs pyarrow)
    .npz             the same names, an array of each; or what `save=scores` keeps of a row

`user` and `item` count from 0, as in the files of `--splits FOLDER`: what to train on (biased.csv), and for
each seed which of the unbiased ratings are A, validation and test (unbiased.csv). With a fourth column,
`seed`, each seed has scores of its own; without it all seeds have the same. Pairs beyond those that are asked
for are passed over. Where all validation pairs have scores, too, their AUC is noted.

Scores may be any numbers: only their order within a seed counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import methods
from bench import cell as cells
from bench import compose
from bench.cell import evaluation, identity
from bench.cell.progress import Watch
from bench.cell.record import arrays_of, record_of
from bench.cell.search import Search
from bench.cell.spec import Cell
from bench.cell.splits import Seeds
from bench.cell.trained import Trained
from bench.cell.trainer import Trainer
from bench.command.main import main as run_command
from bench.data.split import split
from bench.engine.members import Member
from bench.errors import BenchError
from bench.files import CHECKOUT, write_all, write_csv
from bench.metrics import auc
from bench.records import store
from bench.records.fingerprint import Code, Identity
from bench.records.record import Provenance, Record, SavedScores, saved_scores, write_record
from bench.report import page_files
from bench.reproduce import REFERENCE
from bench.table import files, load_results
from bench.table.manifest import FILE, OWN_FOLDER, Dataset, Listed, Row, TableManifest

Scores = dict[int | None, dict[str, NDArray[Any]]]  # seed, or None of all → user, item, score
_COLUMNS = ("user", "item", "score")
_KEY = re.compile(r"[a-z][a-z0-9_]*")


# --- Files ----------------------------------------------------------------------------------------------


def read_scores(file: Path) -> Scores:
    """The scores of a file, by seed.

    Raises:
        BenchError: it cannot be read, lacks a column, or holds what is no id or no number.
    """
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        elif file.suffix == ".parquet":
            arrays = _columns(pd.read_parquet(file))
        else:
            # NumPy reads a number's last digit as it was written; not every pandas does.
            table = pd.read_csv(file, dtype={"score": str}, skipinitialspace=True)
            arrays = {
                name: values.astype(float) if name == "score" else values
                for name, values in _columns(table).items()
            }
    except ImportError as error:
        raise BenchError(
            f"{file} needs pyarrow to be read: pip install pyarrow, or give a CSV file."
        ) from error
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # whatever the libraries raise on other files
        said = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
        raise BenchError(f"{file} is no file of scores ({said}).") from error
    return {seed: _checked(file, part) for seed, part in _by_seed(file, arrays)}


def _columns(table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    return {str(name).strip(): table[name].to_numpy() for name in table.columns}


def _by_seed(
    file: Path, arrays: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[int | None, dict[str, NDArray[Any]]]]:
    saved = [name for name in arrays if re.fullmatch(r"scores_\d+", name)]
    if saved:  # of `save=scores`
        for name in saved:
            seed = int(name.removeprefix("scores_"))
            names = (f"users_{seed}", f"items_{seed}", name)
            yield seed, {short: arrays[long] for short, long in zip(_COLUMNS, names, strict=True)}
        return
    missing = [name for name in _COLUMNS if name not in arrays]
    if missing:
        known = ", ".join(arrays) or "none"
        raise BenchError(
            f"{file} has no column '{missing[0]}': it needs user, item and score, and has {known}."
        )
    whole = {name: arrays[name] for name in _COLUMNS}
    if "seed" not in arrays:
        yield None, whole
        return
    for seed in np.unique(arrays["seed"]):
        yield int(seed), {name: values[arrays["seed"] == seed] for name, values in whole.items()}


def _checked(file: Path, part: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for name in ("user", "item"):
        values = part[name]
        if not (np.issubdtype(values.dtype, np.integer) and (not len(values) or values.min() >= 0)):
            raise BenchError(f"{file}: {name} must be whole numbers from 0.")
    scores = part["score"]
    if not (np.issubdtype(scores.dtype, np.number) and np.isfinite(scores).all()):
        raise BenchError(f"{file}: score must be finite numbers.")
    return part


def write_splits(folder: Path, cell: Cell) -> list[Path]:
    """Writes the observed ratings and the unbiased ones with each seed's split; returns the files.

    Raises:
        BenchError: one cannot be written.
    """
    ratings, protocol = cell.ratings, cell.protocol
    biased, unbiased = ratings.biased, ratings.unbiased
    parts = []
    for seed in range(cell.seeds):
        found = split(len(unbiased), seed, protocol.unbiased_train, protocol.unbiased_validation)
        part = np.full(len(unbiased), "test", dtype="<U10")
        part[found.train], part[found.validation] = "A", "validation"
        parts.append(part)

    def rows(of: Any, more: Sequence[NDArray[Any]] = ()) -> Iterator[list[str]]:
        labels = (of.values >= cell.dataset.threshold).astype(int)
        return (list(map(str, row)) for row in zip(of.users, of.items, of.values, labels, *more, strict=True))

    header = ["user", "item", "rating", "label"]
    return [
        write_csv(folder / "biased.csv", header, rows(biased)),
        write_csv(
            folder / "unbiased.csv",
            [*header, *(f"seed_{seed}" for seed in range(cell.seeds))],
            rows(unbiased, parts),
        ),
    ]


# --- Measuring ------------------------------------------------------------------------------------------


def record_of_scores(
    cell: Cell, scores: Scores, file: Path, key: str, title: str
) -> tuple[Record, dict[str, Any]]:
    """The record of scores, and its arrays; in no store yet.

    Args:
        cell: of the data set, the protocol and the seeds; its method does not matter.
        key, title: of the row.

    Raises:
        BenchError: a test pair has no score, or two.
    """
    cpu = torch.device("cpu")
    seeds = Seeds.of(cell, cpu, torch.float32)
    config = cell.config(cell.plan.start)
    used = hashlib.sha256()
    search = Search(cell, cast(Trainer, None), cast(Watch, None))
    for seed in range(cell.seeds):
        part = scores.get(seed, scores.get(None))
        if part is None:
            known = ", ".join(map(str, sorted(each for each in scores if each is not None)))
            raise BenchError(f"{file} has no scores of seed {seed}: it has those of {known}; give seeds=N.")
        users, items, labels = seeds.test[seed]
        found = _scores_of(cell, part, users.numpy(), items.numpy(), f"{file}, seed {seed}")
        used.update(np.ascontiguousarray(found, np.float64).tobytes())
        numbers = evaluation.of_scores(torch.from_numpy(found), users, labels, cell.dataset.k)
        search.chosen.append(
            Trained(
                member=Member(0, seed, config),
                validation_auc=_of_validation(cell, seeds, part, seed, file),
                held_out_auc=float("nan"),
                curve=np.zeros(0),
                steps=[],
                best=0,
                losses={},
                diverged="",
                diagnostics={},
                test=numbers.metrics,
                per_user=numbers.per_user,
                users=numbers.users,
                user_arrays={},
                scores=found,
            )
        )
    here = Path(evaluation.__file__).parent
    code = Code((CHECKOUT,), identity.is_silent).fingerprint(
        {"evaluation": here / "evaluation.py", "splits": here / "splits.py"}
    )
    asked = cell.identity.config
    record = dataclasses.replace(
        record_of(search),
        method={"name": key, "title": title},
        engine={},
        sweep="made elsewhere",
        selection="made elsewhere",
        plan=[],
        grid={},
        tried=[],
        selected={},
        identity=Identity(
            config={
                **{name: asked[name] for name in ("protocol", "dataset")},
                **{"scores": used.hexdigest(), "method": key, "seeds": cell.seeds},
            },
            data=cell.ratings.checksum,
            code=code,
        ),
    )
    return record, {**arrays_of(search), **_saved(search, seeds)}


def _saved(search: Search, seeds: Seeds) -> dict[str, Any]:
    found = {}
    for each in search.chosen:
        users, items, labels = seeds.test[each.member.seed]
        assert each.scores is not None
        pair = users.numpy().astype(np.int32), items.numpy().astype(np.int32)
        found[each.member.seed] = SavedScores(*pair, labels, each.scores)
    return {f"saved/{name}": values for name, values in saved_scores(found).items()}


def _scores_of(
    cell: Cell, part: Mapping[str, NDArray[Any]], users: NDArray[Any], items: NDArray[Any], where: str
) -> NDArray[Any]:
    """The scores of some pairs."""
    n_items = cell.ratings.n_items
    inside = (part["user"] < cell.ratings.n_users) & (part["item"] < n_items)
    pairs = (part["user"].astype(np.int64) * n_items + part["item"])[inside]
    values = part["score"][inside]
    order = np.argsort(pairs, kind="stable")
    pairs, values = pairs[order], values[order]
    twice = (pairs[1:] == pairs[:-1]) & (values[1:] != values[:-1])
    if twice.any():
        user, item = divmod(int(pairs[1:][twice][0]), n_items)
        raise BenchError(f"{where}: user {user} and item {item} have two scores.")
    wanted = users.astype(np.int64) * n_items + items
    places = np.searchsorted(pairs, wanted)
    there = places < len(pairs)
    there[there] = pairs[places[there]] == wanted[there]
    if not there.all():
        user, item = divmod(int(wanted[~there][0]), n_items)
        raise BenchError(
            f"{where}: {int((~there).sum()):,} of {len(wanted):,} pairs have no score, user {user} and item "
            f"{item} for instance; --splits FOLDER writes the pairs that each seed needs, counted from 0."
        )
    return np.ascontiguousarray(values[places])


def _of_validation(
    cell: Cell, seeds: Seeds, part: Mapping[str, NDArray[Any]], seed: int, file: Path
) -> float:
    """Validation AUC where all its pairs have scores, else NaN."""
    validation = seeds.validation
    users, items = (values[seed].numpy() for values in (validation.users, validation.items))
    try:
        found = _scores_of(cell, part, users, items, str(file))
    except BenchError:
        return float("nan")
    return float(auc(torch.from_numpy(found), validation.labels[seed].bool()))


# --- The row --------------------------------------------------------------------------------------------


def enter(results: Path, record: Record, uses_unbiased: str) -> Path:
    """Puts a record that stands in the store into one's own table; returns the table's page.

    Raises:
        BenchError: a file of the table is damaged, or cannot be written.
    """
    folder = results / OWN_FOLDER
    protocol, dataset, key = record.cell
    mine = TableManifest(
        protocols=[protocol],
        datasets=[Dataset(dataset=dataset, title=record.dataset["title"], k=record.k)],
        rows=[Row(method=key, title=record.method["title"], uses_unbiased=uses_unbiased, guest=True)],
        reference=REFERENCE,
        cells={record.cell: Listed(record.digest)},
    )
    if (folder / FILE).is_file():
        before = TableManifest.read(folder)
        known = {each.dataset for each in before.datasets}
        mine = dataclasses.replace(
            before,
            protocols=list(dict.fromkeys([*before.protocols, protocol])),
            datasets=[*before.datasets, *(each for each in mine.datasets if each.dataset not in known)],
            rows=[*(row for row in before.rows if row.method != key), *mine.rows],
            cells={**before.cells, **mine.cells},
        )
    mine.write(folder)
    frame = load_results(results)
    write_all(folder, {**files(frame), **page_files(frame, results)})
    return folder / "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.score", description="Measures scores made elsewhere, and enters them as a row."
    )
    parser.add_argument(
        "words", nargs="+", metavar="FILE | OVERRIDE", help="the scores; dataset=coat seeds=20"
    )
    parser.add_argument("--name", default="", help="key of the row; by default the file's name")
    parser.add_argument("--title", default="", help="of the row in the table; by default its key")
    parser.add_argument("--uses-unbiased", default="", help="what it knows of A: no, mean label or yes")
    parser.add_argument("--splits", type=Path, metavar="FOLDER", help="write what to train on and to score")

    def work(given: argparse.Namespace) -> None:
        overrides = [word for word in given.words if "=" in word]
        named = [Path(word) for word in given.words if "=" not in word]
        if len(named) != (0 if given.splits else 1):
            raise BenchError(
                "Give one file of scores and overrides such as dataset=coat; or --splits FOLDER."
            )
        compose.register(overrides)
        config = compose.composed([*overrides, "sweep=none"])
        cell = cells.prepare(config, cells.load_ratings(config), overrides)
        if given.splits:
            for file in write_splits(given.splits, cell):
                print(file)
            return
        (file,) = named
        key = given.name or file.name.split(".")[0].lower().replace("-", "_")
        if not _KEY.fullmatch(key) or key in methods.names():
            raise BenchError(
                f"'{key}' cannot be the row's key: give --name small_letters that no method of the suite has."
            )
        runs = Path(config.results) / "runs"
        record, arrays = record_of_scores(cell, read_scores(file), file, key, given.title or key)
        kept = {name: values for name, values in arrays.items() if not name.startswith("saved/")}
        command = " ".join(["python -m bench.score", file.name, *overrides])
        record = dataclasses.replace(record, provenance=Provenance(command=command))
        assert record.identity is not None
        record = write_record(runs, record.identity.digest, record, kept, replace=True)
        saved = {name.removeprefix("saved/"): each for name, each in arrays.items() if name not in kept}
        store.add_beside(runs, record.digest, "scores", saved)
        for metric in record.metrics:
            values = list(record.metric(metric).values())
            print(
                f"{metric:8} {np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.4f}"
            )
        print(enter(Path(config.results), record, given.uses_unbiased))

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
