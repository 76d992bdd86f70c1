"""A trained member, and how a finished stack of members is written down and read back.

What is read back equals what was trained to the last bit, so that a run that was stopped ends like one that
was not. E evaluations, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.engine.members import Member
from bench.records import store

Array = NDArray[Any]


@dataclass
class Trained:
    """What is kept of one member."""

    member: Member
    validation_auc: float
    held_out_auc: float  # without the optimism of the stop rule: see `Outcome.held_out`
    curve: NDArray[np.float64]  # (E,) validation AUC of the last phase
    steps: list[int]  # steps done before each evaluation of the curve
    best: int  # evaluation whose parameters were kept
    losses: dict[str, NDArray[np.float64]]  # part, or phase/part before the last phase → (E,) mean losses
    diverged: str  # what happened, or ""
    diagnostics: dict[str, float]
    test: dict[str, Any]  # metrics; empty where the test set was not looked at
    per_user: dict[str, NDArray[np.float32]]  # NDCG and Recall of each test user
    users: NDArray[np.int64]  # those users
    user_arrays: dict[str, NDArray[np.float32]]  # what the method says about every user, (U,) each
    seconds: float = 0.0  # a member's share of its stack's wall time
    # Of a member that is to be saved; a kept stack has none. (N_t,), and see `state_of`.
    scores: Array | None = None
    state: dict[str, Array] = field(default_factory=dict)


_SCALARS = ("validation_auc", "held_out_auc", "steps", "best", "diverged", "diagnostics", "test", "seconds")
_GROUPS = ("losses", "per_user", "user_arrays")


def find(
    runs: Path, digest: str, stack: Sequence[Member], report: Callable[[str], None]
) -> list[Trained] | None:
    """A kept stack, or None where it is absent or damaged.

    Args:
        report: gets the sentence about a damaged one.

    Raises:
        BenchError: the store cannot be read.
    """
    record = store.find(runs, digest, report)
    if record is None:
        return None
    try:
        return unpacked(stack, record, store.read_arrays(runs, digest))
    except store.DamagedRecord as error:  # since the look before
        report(str(error))
        return None


def packed(trained: Sequence[Trained]) -> tuple[dict[str, Any], dict[str, Array]]:
    """A stack as a record and arrays for the store."""
    members = []
    arrays: dict[str, Array] = {}
    for place, each in enumerate(trained):
        scalars = {name: getattr(each, name) for name in _SCALARS}
        members.append({"seed": each.member.seed, "config": vars(each.member.config), **scalars})
        arrays[f"{place}.curve"] = each.curve
        arrays[f"{place}.users"] = each.users
        for kind in _GROUPS:
            for name, values in getattr(each, kind).items():
                # A part's name may hold a "/", which an archive would take for a folder.
                arrays[f"{place}.{kind}.{name.replace('/', '|')}"] = values
    return {"members": members}, arrays


def unpacked(
    stack: Sequence[Member], record: Mapping[str, Any], arrays: Mapping[str, Array]
) -> list[Trained]:
    """The members of a stack out of its record and arrays."""
    found = []
    for place, (member, scalars) in enumerate(zip(stack, record["members"], strict=True)):
        groups: dict[str, dict[str, Array]] = {kind: {} for kind in _GROUPS}
        for key, values in arrays.items():
            number, _, rest = key.partition(".")
            kind, _, name = rest.partition(".")
            if number == str(place) and kind in groups:
                groups[kind][name.replace("|", "/")] = values
        found.append(
            Trained(
                member=member,
                **{name: _finite(scalars[name]) for name in _SCALARS},
                curve=arrays[f"{place}.curve"],
                users=arrays[f"{place}.users"],
                losses=groups["losses"],
                per_user=groups["per_user"],
                user_arrays=groups["user_arrays"],
            )
        )
    return found


def _finite(value: Any) -> Any:
    """JSON has no NaN: a null was one."""
    if value is None:
        return float("nan")
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return value
