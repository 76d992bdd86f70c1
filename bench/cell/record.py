"""What is put into the record of a cell, and into the arrays beside it.

P points, S seeds, T trainings of the sweep; E evaluations, U users.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import methods
from bench.cell.search import Search
from bench.cell.trained import Trained
from bench.conventions import NO_POSITIVE
from bench.records.record import PlannedStage, Record, Tried, Validation

Array = NDArray[Any]


def record_of(search: Search) -> Record:
    """The record of a search that has found a winner, without its provenance."""
    cell, plan, chosen = search.cell, search.cell.plan, search.chosen
    columns: dict[str, Any] = {"auc": [each.test["auc"] for each in chosen]}
    for name in ("ndcg", "recall"):
        columns[name] = {rule: [each.test[name][rule] for each in chosen] for rule in NO_POSITIVE}
    if "ideal_loss" in chosen[0].test:
        columns["ideal_loss"] = [each.test["ideal_loss"] for each in chosen]
    ratings = cell.ratings
    tried = _tried(search)
    return Record(
        protocol=vars(cell.protocol),
        dataset=vars(cell.dataset),
        method={
            "name": cell.method,
            "title": methods.get(cell.method).title,
            **vars(cell.config(search.values)),
        },
        source=ratings.source,
        comparable=ratings.comparable,
        notes=ratings.notes,
        counts={
            "users": ratings.n_users,
            "items": ratings.n_items,
            "biased": len(ratings.biased),
            "unbiased": len(ratings.unbiased),
            "positive_biased": float((ratings.biased.values >= cell.dataset.threshold).mean()),
            "positive_unbiased": float((ratings.unbiased.values >= cell.dataset.threshold).mean()),
        },
        engine=vars(cell.engine),
        sweep=cell.sweep,
        plan=[
            PlannedStage(**dataclasses.asdict(stage), tried=n)
            for stage, n in zip(plan.stages, search.tried, strict=False)
        ],
        grid={
            name: sorted(
                {each.point[name] for each in tried}, key=lambda value: (isinstance(value, str), value)
            )
            for name in plan.fields
        },
        points=cell.tuned_points or max(len(tried), 1),
        selection=cell.selection,
        selected=dict(zip(plan.fields, search.values, strict=True)),
        tried=tried,
        seeds=[each.member.seed for each in chosen],
        test=columns,
        validation=Validation(
            auc=[each.validation_auc for each in chosen],
            held_out=[each.held_out_auc for each in chosen],
            evaluation=[each.best for each in chosen],
            step=[_kept_step(each) for each in chosen],
        ),
        diagnostics={name: [each.diagnostics[name] for each in chosen] for name in chosen[0].diagnostics},
        diverged=lost(search),
        identity=cell.identity,
    )


def lost(search: Search) -> list[dict[str, Any]]:
    """The trainings that diverged: number of the point, seed, and what happened."""
    return [
        {"point": each.member.point, "seed": each.member.seed, "what": each.diverged}
        for each in search.diverged
    ]


def _tried(search: Search) -> list[Tried]:
    """Every point with its mean AUC over the seeds that it was given."""
    found = []
    for values, number in search.numbers.items():
        row = [each for (point, _), (_, each) in search.trials.items() if point == number]
        found.append(
            Tried(
                point=dict(zip(search.cell.plan.fields, values, strict=True)),
                validation_auc=float(np.mean([each.validation_auc for each in row])) if row else None,
                held_out_auc=float(np.mean([each.held_out_auc for each in row])) if row else None,
                seeds=len(row),
            )
        )
    return found


def arrays_of(search: Search) -> dict[str, Array]:
    """The arrays beside the record.

    Returns:
        curve (S, E), validation AUC of the chosen point's last phase, NaN once a seed has stopped;
        curve_steps (E,), steps before each evaluation; loss_PART (S, E).
        trial_point, trial_seed, trial_stage, trial_auc, trial_held_out, trial_step, trial_seconds (T,).
        trial_test_auc, trial_test_ndcg_RULE, trial_test_recall_RULE (T,), of generated data
        trial_test_ideal_loss: the finalists' test metrics (`Search.finalists`), NaN elsewhere.
        user_NAME (S, U), what the method says about every user, and of generated data user_kappa, the users'
        true selection strength.
        users_SEED, the seed's test users, and ndcg_SEED, recall_SEED, their values.
    """
    chosen = search.chosen
    trials = list(search.trials.values())
    stages = [stage.name for stage in search.cell.plan.stages]
    arrays: dict[str, Array] = {
        "curve": _padded([each.curve for each in chosen]),
        "curve_steps": np.array(max((each.steps for each in chosen), key=len), np.int64),
        "trial_point": np.array([each.member.point for _, each in trials], np.int64),
        "trial_seed": np.array([each.member.seed for _, each in trials], np.int64),
        "trial_stage": np.array([stages.index(stage) for stage, _ in trials], np.int64),
        "trial_auc": np.array([each.validation_auc for _, each in trials]),
        "trial_held_out": np.array([each.held_out_auc for _, each in trials]),
        "trial_step": np.array([_kept_step(each) for _, each in trials], np.int64),
        "trial_seconds": np.array([each.seconds for _, each in trials], np.float32),
    }
    arrays |= _test_arrays(search)
    for name in chosen[0].losses:
        curves = [each.losses.get(name, np.zeros(0)) for each in chosen]
        arrays[f"loss_{name.replace('/', '_')}"] = _padded(curves)
    for name in chosen[0].user_arrays:
        arrays[f"user_{name}"] = np.stack([each.user_arrays[name] for each in chosen])
    for each in chosen:
        seed = each.member.seed
        arrays[f"users_{seed}"] = each.users.astype(np.int32)
        for name, values in each.per_user.items():
            arrays[f"{name}_{seed}"] = values
    return arrays


def _test_arrays(search: Search) -> dict[str, Array]:
    """The finalists' test metrics; see `arrays_of`."""
    finalists = search.finalists
    rows = [
        dict(_flat_metrics(each.test)) if each.member.point in finalists else {}
        for _, each in search.trials.values()
    ]
    names = dict(_flat_metrics(search.chosen[0].test))
    return {f"trial_test_{name}": np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _flat_metrics(test: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """A training's test metrics, `ndcg` under the rule `skip` as `ndcg_skip`."""
    for name, value in test.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}_{rule}", number) for rule, number in value.items())
        else:
            yield name, value


def _kept_step(trained: Trained) -> int:
    """The step whose parameters were kept."""
    return trained.steps[trained.best] if trained.steps else 0


def _padded(curves: list[Array]) -> NDArray[np.float32]:
    """Curves as the rows of a table, NaN behind their ends."""
    table = np.full((len(curves), max(map(len, curves))), np.nan, np.float32)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    return table
