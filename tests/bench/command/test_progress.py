"""What a cell says of itself once it is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.command.progress import died_out, summary
from bench.records.record import Tried
from tests.bench.records.test_record import RECORD


def tried(size: int, rate: float, held_out: float | None) -> Tried:
    point = {"embedding_size": size, "learning_rate": rate}
    return Tried(point=point, validation_auc=0.7, held_out_auc=held_out, seeds=5)


def test_embeddings_that_have_died_are_told_of() -> None:
    alive = replace(
        RECORD,
        diagnostics={"interaction_sd": [0.2, 0.3]},
        selected={"embedding_size": 8, "learning_rate": 0.1},
        tried=[tried(4, 0.1, 0.70), tried(8, 0.1, 0.71), tried(16, 0.1, 0.70), tried(8, 0.2, 0.5)],
    )
    assert died_out(alive) == []
    (sentence,) = died_out(replace(alive, diagnostics={"interaction_sd": [0.0004, 0.0006]}))
    assert "(standard deviation 0.0005)" in sentence
    alike = [tried(4, 0.1, 0.7001), tried(8, 0.1, 0.7010), tried(16, 0.1, 0.7005), tried(8, 0.2, 0.5)]
    (sentence,) = died_out(replace(alive, tried=[*alike, tried(32, 0.1, None)]))
    assert sentence.startswith("3 embedding sizes at the selected point agree within 0.002 AUC")
    assert died_out(replace(alive, diagnostics={}, tried=alike[:2])) == []


def test_a_point_that_was_given_is_not_called_the_only_one_of_many() -> None:
    tuned = replace(RECORD, selected={}, points=132)
    chosen = [summary("ips on coat", each, Path("r")) for each in (replace(tuned, points=1), tuned, RECORD)]
    auc = f"validation AUC {sum(RECORD.validation.auc) / len(RECORD.validation.auc):.4f})"
    assert f"selected  the only point (1 point, {auc}" in chosen[0]
    assert f"selected  the given point (once chosen of 132 points; {auc}" in chosen[1]
    assert "point (" not in chosen[2]
