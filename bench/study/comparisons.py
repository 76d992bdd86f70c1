"""What came of a study: chosen points, test values, and paired differences with their tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.records.record import Record
from bench.study.files import Chosen, Difference, Scored, StudyResult
from bench.study.variants import Study, Variant, VariantKey, metrics_of
from bench.table.statistics import bootstrap_median, holm, paired, wilcoxon


def differences(study: Study, records: Mapping[VariantKey, Record]) -> list[Difference]:
    """The lines of `NAME_comparisons.csv`, one Holm family for each group, base and metric.

    Of a study of pairs all groups are one family.
    """
    found: list[Difference] = []
    groups = study.groups
    for family in [groups] if study.pairs else [[group] for group in groups]:
        for base in study.against:
            for metric in metrics_of(records):
                block = []
                for each in study.variants:
                    other = (each.group, base)
                    if (
                        each.group not in family
                        or each.name == base
                        or not {each.key, other} <= records.keys()
                        or any(metric not in records[key].metrics for key in (each.key, other))
                    ):
                        continue
                    ours, theirs = paired(records[each.key].metric(metric), records[other].metric(metric))
                    median, low, high = bootstrap_median(ours - theirs, 0)
                    p_value = wilcoxon(ours, theirs)[0]
                    block.append(
                        Difference(
                            group=each.group,
                            variant=each.name,
                            against=base,
                            metric=metric,
                            n=len(ours),
                            median=median,
                            low=low,
                            high=high,
                            p_value=p_value,
                            p_holm=p_value,
                        )
                    )
                corrected = holm([each.p_value for each in block])
                found += [replace(each, p_holm=p) for each, p in zip(block, corrected, strict=True)]
    return found


def chosen_point(variant: Variant, record: Record) -> Chosen:
    """A line of `NAME_variants.csv`."""
    tried = [each for each in record.tried if each.point == record.selected]
    arrays = record.arrays()
    return Chosen(
        group=variant.group,
        variant=variant.name,
        title=variant.title,
        method=record.method["name"],
        points=record.points,
        validation_auc=float(np.mean(record.validation.auc)),
        held_out_auc=tried[0].held_out_auc if tried else None,
        alpha_mean=float(np.mean(arrays["user_alpha"])) if "user_alpha" in arrays else None,
        selected=record.selected,
        training_seconds=record.provenance.training_seconds,
        commit=record.provenance.commit,
        command=record.provenance.command,
    )


def result_of(study: Study, records: Mapping[VariantKey, Record]) -> StudyResult:
    """The rows of the three files, in the order of the study."""
    there = [(each, records[each.key]) for each in study.variants if each.key in records]
    scores = [
        Scored(
            group=each.group,
            variant=each.name,
            method=record.method["name"],
            metric=metric,
            seed=seed,
            value=value,
        )
        for each, record in there
        for metric in metrics_of(records)
        if metric in record.metrics
        for seed, value in record.metric(metric).items()
    ]
    return StudyResult(
        scores=scores,
        variants=[chosen_point(each, record) for each, record in there],
        differences=differences(study, records),
    )
