"""Records made by hand, of which a test says only what it is about."""

from __future__ import annotations

from typing import Any

from bench.records.record import Record, Validation


def made_record(values: list[float], **fields: Any) -> Record:
    """A record of as many seeds as values, which are every metric's. fields: others than the empty ones."""
    empty: dict[str, Any] = {
        "protocol": {"name": "table", "no_positive": "skip"},
        "dataset": {"name": "coat", "title": "Coat", "k": 5},
        "method": {"name": "mf"},
        "source": "",
        "comparable": True,
        "notes": {},
        "counts": {},
        "engine": {},
        "grid": {},
        "points": 1,
        "selection": "validation_held_out",
        "selected": {},
        "tried": [],
        "seeds": list(range(len(values))),
        "test": {"auc": values, "ndcg": {"skip": values}, "recall": {"skip": values}},
        "validation": Validation(auc=values),
        "diagnostics": {},
        "diverged": [],
    }
    return Record(**(empty | fields))
