"""Studies: variants of rows beside each other, tuned alike and paired: `python -m bench.study NAME`.

A study is a file of `conf/study`: variants, each a command line of `python -m bench`, common overrides, and
the variants that all others of the same group are tested against. Every variant is swept with the same plan
and trained with the same seeds, so that what differs is what its command line says. Writes to
`results/study/`:

NAME.csv              every test value: group, variant, method, metric, seed
NAME_variants.csv     points, validation AUC, what was selected, the command, commit and seconds
NAME_comparisons.csv  paired differences: median, interval, exact Wilcoxon test, Holm within metric and base
NAME.md               the same to read; where every group is a pair of variants, one line for each
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tabulate import tabulate
from tqdm import tqdm

from bench import cell as cells
from bench import compose
from bench.errors import BenchError, nearest
from bench.files import write_text as write
from bench.records import store
from bench.table.statistics import bootstrap_median, holm, paired, wilcoxon

CONF = compose.CONF / "study"
RESULTS = Path("results/study")
METRICS = ("auc", "ndcg", "recall")
LIMIT = 0.05  # of Holm's p, for a mark in the page
ALL = "all"  # in a group: overrides of all its variants

VALUES = ["group", "variant", "method", "metric", "seed", "value"]
VARIANTS = [
    *("group", "variant", "title", "method", "points", "validation_auc", "held_out_auc", "alpha_mean"),
    *("selected", "training_seconds", "commit", "command"),
]
COMPARISONS = ["group", "variant", "against", "metric", "n", "median", "low", "high", "p_value", "p_holm"]


@dataclass(frozen=True)
class Variant:
    """One line of a study. overrides: its command line, the study's and the group's included."""

    group: str
    name: str
    title: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A file of `conf/study`. against: names of variants; each other one of their group is tested."""

    name: str
    title: str
    text: str
    against: tuple[str, ...]
    variants: tuple[Variant, ...]

    @property
    def pairs(self) -> bool:
        """Whether every group is a pair: one variant beside the one that it is tested against."""
        names = {each.name for each in self.variants}
        return len(names) == 2 and len(self.against) == 1 and len(self.variants) > 2


def read(file: Path) -> Study:
    """Reads a study.

    Groups are the product of the file's `groups` (title → overrides) and its variants; without `groups`
    all variants are one. A group may have more overrides for some of its variants (title → name →
    overrides, `all` for those of every variant). A variant may be `like` an earlier one, whose overrides
    come before its own.

    Raises:
        BenchError: the file is absent or wrong.
    """
    if not file.is_file():
        known = sorted(each.stem for each in file.parent.glob("*.yaml"))
        raise BenchError(f"There is no study '{file.stem}': {nearest(file.stem, known)}")
    try:
        given: Any = OmegaConf.to_container(OmegaConf.load(file))
        groups = {
            group: more if isinstance(more, dict) else {ALL: more}
            for group, more in (given.get("groups") or {"": []}).items()
        }
        own: dict[str, tuple[str, ...]] = {}
        for each in given["variants"]:
            own[each["name"]] = (*(own[each["like"]] if "like" in each else ()), *each["overrides"])
        if len(own) < len(given["variants"]):
            raise BenchError(f"{file} names a variant twice.")
        variants = tuple(
            Variant(
                group,
                each["name"],
                each["title"],
                (*given["overrides"], *more.get(ALL, ()), *own[each["name"]], *more.get(each["name"], ())),
            )
            for group, more in groups.items()
            for each in given["variants"]
        )
        strange = next((name for more in groups.values() for name in more if name not in {ALL, *own}), None)
        if strange is not None:
            raise BenchError(f"{file} has overrides for '{strange}' in a group: none of its variants.")
        study = Study(file.stem, given["title"], given["text"], tuple(given["against"]), variants)
    except (OSError, OmegaConfBaseException, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BenchError(f"{file} is not a study ({error!r}).") from error
    for name in study.against:
        if name not in {each.name for each in variants}:
            raise BenchError(f"{file} compares with '{name}', which is none of its variants.")
    return study


def record_of(variant: Variant, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A variant's record, trained if it is not in the store, and its arrays.

    Raises:
        BenchError: its command line is wrong, or training failed.
    """
    words = (*variant.overrides, *overrides)
    compose.register(words)
    config = compose.composed(words)
    runs = Path(config.results) / "study" / "runs"
    cell = cells.prepare(config, cells.load(config), words)
    record = store.find(runs, cell.digest, report=lambda sentence: print(sentence, file=sys.stderr))
    return record or cells.run(cell, runs), store.read_arrays(runs, cell.digest)


def _numbered(place: int, variant: Variant, overrides: Sequence[str]) -> tuple[int, Any]:
    """One variant in a worker process: its place and what came, which may be a sentence."""
    try:
        return place, record_of(variant, overrides)
    except BenchError as error:
        return place, str(error)


def values(record: Mapping[str, Any], metric: str) -> dict[int, float]:
    """Seed → test value, users without a positive as the protocol counts them."""
    column = record["test"][metric]
    column = column[record["protocol"]["no_positive"]] if isinstance(column, dict) else column
    return dict(zip(record["seeds"], column, strict=True))


def compare(study: Study, records: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[list[Any]]:
    """The lines of `NAME_comparisons.csv`, one Holm family for each group, base and metric.

    Of a study of pairs all groups are one family.
    """
    lines: list[list[Any]] = []
    groups = list(dict.fromkeys(each.group for each in study.variants))
    for family in [groups] if study.pairs else [[group] for group in groups]:
        for base in study.against:
            for metric in METRICS:
                block: list[list[Any]] = []
                for each in study.variants:
                    key, other = (each.group, each.name), (each.group, base)
                    if each.group not in family or each.name == base or not {key, other} <= records.keys():
                        continue
                    ours, theirs = paired(values(records[key], metric), values(records[other], metric))
                    p_value = wilcoxon(ours, theirs)[0]
                    interval = bootstrap_median(ours - theirs, 0)
                    block.append([*key, base, metric, len(ours), *interval, p_value])
                corrected = holm([float(line[-1]) for line in block])
                lines += [[*line, p] for line, p in zip(block, corrected, strict=True)]
    return lines


def variant_line(variant: Variant, record: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[Any]:
    """A line of `NAME_variants.csv`."""
    tried = [each for each in record["tried"] if each["point"] == record["selected"]]
    return [
        variant.group,
        variant.name,
        variant.title,
        record["method"]["name"],
        record["points"],
        float(np.mean(record["validation"]["auc"])),
        tried[0]["held_out_auc"] if tried else "",
        float(np.mean(arrays["user_alpha"])) if "user_alpha" in arrays else "",
        json.dumps(record["selected"]),
        record["provenance"]["training_seconds"],
        record["provenance"]["commit"],
        record["provenance"]["command"],
    ]


def page(
    study: Study,
    records: Mapping[tuple[str, str], Mapping[str, Any]],
    lines: Mapping[tuple[str, str], list[Any]],
    comparisons: Sequence[Sequence[Any]],
    missing: Mapping[tuple[str, str], str],
) -> str:
    """`NAME.md`."""
    found = {(line[0], line[1], line[2], line[3]): line for line in comparisons}
    titles = {each.name: each.title for each in study.variants}
    some = next(iter(records.values()))
    k = some["dataset"]["k"]
    parts = [f"# {study.title}", study.text.strip()]
    if study.pairs:
        parts.append(_pairs(study, records, found, missing))
    for group in () if study.pairs else dict.fromkeys(each.group for each in study.variants):
        if group:
            parts.append(f"## {group}")
        rows = []
        for each in study.variants:
            key = (each.group, each.name)
            if each.group != group:
                continue
            if key not in records:
                rows.append([each.title, f"X: {missing[key]}"])
                continue
            merit = lines[key][6]  # what the rule chose by, absent from records of other rules
            row = [each.title, "" if merit in ("", None) else f"{merit:.4f}", f"{lines[key][5]:.4f}"]
            row += [_spread(values(records[key], metric)) for metric in METRICS]
            row += [_median(found.get((group, each.name, base, "auc"))) for base in study.against]
            rate = lines[key][7]
            row.append("" if rate == "" else f"{rate:.2f}")
            rows.append(row)
        header = ["Variant", "Held-out validation AUC", "Best validation AUC"]
        header += ["AUC", f"NDCG@{k}", f"Recall@{k}"]
        header += [f"AUC − {titles[base]}" for base in study.against] + ["mean α"]
        parts.append(tabulate(rows, header, tablefmt="github", disable_numparse=True))
    seeds = len(some["seeds"])
    budgets = sorted({record["points"] for record in records.values()})
    rules = {record.get("selection") for record in records.values()}
    chosen = "" if "oracle_test" in rules else ", selected on validation"
    parts.append(
        f"{some['dataset']['title']}, protocol `{some['protocol']['name']}`, {seeds} seeds, mean ± standard "
        f"deviation; points tried for each variant: {', '.join(map(str, budgets))}{chosen}. "
        f"Differences: median of the paired seeds; † p < {LIMIT:g}, exact Wilcoxon signed-rank test, Holm's "
        "correction within the column."
    )
    parts.append(f"Written by `python -m bench.study {study.name}`; every value in `{study.name}.csv`.")
    return "\n\n".join(parts) + "\n"


def _pairs(
    study: Study,
    records: Mapping[tuple[str, str], Mapping[str, Any]],
    found: Mapping[tuple[str, str, str, str], Sequence[Any]],
    missing: Mapping[tuple[str, str], str],
) -> str:
    """The table of a study of pairs: a line for each group."""
    base = study.against[0]
    other = next(each.name for each in study.variants if each.name != base)
    titles = {each.name: each.title for each in study.variants}
    k = next(iter(records.values()))["dataset"]["k"]
    rows = []
    for group in dict.fromkeys(each.group for each in study.variants):
        absent = next((key for key in ((group, base), (group, other)) if key not in records), None)
        if absent is not None:
            rows.append([group, f"X: {missing[absent]}"])
            continue
        row = [group, *(_spread(values(records[group, name], "auc")) for name in (base, other))]
        rows.append(row + [_median(found.get((group, other, base, metric))) for metric in METRICS])
    header = ["", f"AUC, {titles[base]}", f"AUC, {titles[other]}", "AUC: difference"]
    header += [f"NDCG@{k}: difference", f"Recall@{k}: difference"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def _spread(found: Mapping[int, float]) -> str:
    column = np.array(list(found.values()))
    return f"{column.mean():.4f}" + (f" ± {column.std(ddof=1):.4f}" if len(column) > 1 else "")


def _median(line: Sequence[Any] | None) -> str:
    """A comparison's median, with a mark where it is significant."""
    return "" if line is None else f"{line[5]:+.4f}" + ("†" if line[9] < LIMIT else "")


def _text(header: Sequence[str], lines: Iterator[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in line])
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study", description="Variants of rows beside each other, tuned alike."
    )
    parser.add_argument("name", help=f"a file of {CONF.name}/ in conf, without its ending")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="variants trained at once")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every variant")
    given = parser.parse_intermixed_args(arguments)
    try:
        study = read(CONF / f"{given.name}.yaml")
        work = (
            joblib.delayed(_numbered)(place, variant, given.overrides)
            for place, variant in enumerate(study.variants)
        )
        answers = joblib.Parallel(n_jobs=given.jobs, return_as="generator_unordered", batch_size=1)(work)
        records: dict[tuple[str, str], dict[str, Any]] = {}
        lines: dict[tuple[str, str], list[Any]] = {}
        missing: dict[tuple[str, str], str] = {}
        for place, answer in tqdm(answers, total=len(study.variants), unit="variant", disable=None):
            variant = study.variants[place]
            key = (variant.group, variant.name)
            if isinstance(answer, str):
                missing[key] = answer
                print(f"{variant.title}: {answer}", file=sys.stderr)
            else:
                records[key] = answer[0]
                lines[key] = variant_line(variant, *answer)
                print(f"{len(records)} of {len(study.variants)}: {variant.title}", flush=True)
        if not records:
            raise BenchError("No variant could be trained.")
        order = [(each.group, each.name) for each in study.variants if (each.group, each.name) in records]
        comparisons = compare(study, records)
        write(
            given.output / f"{study.name}.csv",
            _text(
                VALUES,
                (
                    [*key, records[key]["method"]["name"], metric, seed, value]
                    for key in order
                    for metric in METRICS
                    for seed, value in values(records[key], metric).items()
                ),
            ),
        )
        write(given.output / f"{study.name}_variants.csv", _text(VARIANTS, (lines[key] for key in order)))
        write(given.output / f"{study.name}_comparisons.csv", _text(COMPARISONS, iter(comparisons)))
        write(given.output / f"{study.name}.md", page(study, records, lines, comparisons, missing))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(given.output / f"{study.name}.md")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
