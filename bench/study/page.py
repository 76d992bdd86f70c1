"""A study to read: `NAME.md`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tabulate import tabulate

from bench.records.metric import METRICS
from bench.records.record import Record
from bench.study.files import Difference, StudyResult
from bench.study.variants import Study, VariantKey, metrics_of
from bench.table.claims import in_words
from bench.table.layout import signed

_LIMIT = 0.05  # of Holm's p, for a mark


def study_page(
    study: Study,
    records: Mapping[VariantKey, Record],
    result: StudyResult,
    missing: Mapping[VariantKey, str],
) -> str:
    """The page. missing: why a variant has no record."""
    some = next(iter(records.values()))
    parts = [f"# {study.title}", study.text.strip()]
    if study.pairs:
        parts.append(_pairs(study, records, result, missing))
    else:
        for group in study.groups:
            parts += [f"## {group}"] if group else []
            parts.append(_group(study, group, records, result, missing))
    budgets = sorted({record.points for record in records.values()})
    rules = {record.selection for record in records.values()}
    chosen = "" if "oracle_test" in rules else ", selected on validation"
    datasets = in_words(record.dataset["title"] for record in records.values())
    parts.append(
        f"{datasets}, protocol `{some.protocol['name']}`, {len(some.seeds)} seeds, mean ± "
        f"standard deviation; points tried for each variant: {', '.join(map(str, budgets))}{chosen}. "
        f"Differences: median of the paired seeds; † p < {_LIMIT:g}, exact Wilcoxon signed-rank test, Holm's "
        "correction within the column."
    )
    parts.append(f"Written by `python -m bench.study {study.name}`; every value in `{study.name}.csv`.")
    return "\n\n".join(parts) + "\n"


def _group(
    study: Study,
    group: str,
    records: Mapping[VariantKey, Record],
    result: StudyResult,
    missing: Mapping[VariantKey, str],
) -> str:
    """The table of a group: a line for each variant."""
    differences = _by_place(result)
    chosen = {(each.group, each.variant): each for each in result.variants}
    metrics = metrics_of(records)
    rows = []
    for each in study.variants:
        if each.group != group:
            continue
        if each.key not in records:
            rows.append([each.title, f"X: {missing[each.key]}"])
            continue
        point = chosen[each.key]
        row = [each.title, _fixed(point.held_out_auc), _fixed(point.validation_auc)]
        row += [_spread(records[each.key], metric) for metric in metrics]
        row += [_median(differences.get((*each.key, base, "auc"))) for base in study.against]
        row.append("" if point.alpha_mean is None else f"{point.alpha_mean:.2f}")
        rows.append(row)
    k = next(iter(records.values())).k
    header = ["Variant", "Held-out validation AUC", "Best validation AUC"]
    header += [METRICS[metric].heading(k) for metric in metrics]
    header += [f"AUC − {study.titles[base]}" for base in study.against] + ["mean α"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def _pairs(
    study: Study,
    records: Mapping[VariantKey, Record],
    result: StudyResult,
    missing: Mapping[VariantKey, str],
) -> str:
    """The table of a study of pairs: a line for each group."""
    base = study.against[0]
    other = next(name for name in study.titles if name != base)
    differences = _by_place(result)
    metrics = metrics_of(records)
    rows = []
    for group in study.groups:
        absent = next((key for key in ((group, base), (group, other)) if key not in records), None)
        if absent is not None:
            rows.append([group, f"X: {missing[absent]}"])
            continue
        row = [group, *(_spread(records[group, name], "auc") for name in (base, other))]
        rows.append(row + [_median(differences.get((group, other, base, metric))) for metric in metrics])
    k = next(iter(records.values())).k
    header = ["", f"AUC, {study.titles[base]}", f"AUC, {study.titles[other]}"]
    header += [f"{METRICS[metric].heading(k)}: difference" for metric in metrics]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def _by_place(result: StudyResult) -> dict[tuple[str, str, str, str], Difference]:
    return {(each.group, each.variant, each.against, each.metric): each for each in result.differences}


def _fixed(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _spread(record: Record, metric: str) -> str:
    column = np.array(list(record.metric(metric).values()))
    return f"{column.mean():.4f}" + (f" ± {column.std(ddof=1):.4f}" if len(column) > 1 else "")


def _median(line: Difference | None) -> str:
    """A difference's median, with a mark where it is significant."""
    return "" if line is None else signed(line.median, 4) + ("†" if line.p_holm < _LIMIT else "")
