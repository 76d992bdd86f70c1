"""KuaiRec's configuration is what the committed calibration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import compose
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.study import kuairec_selection
from bench.study.kuairec_selection import chosen_rule, read_rules, write_rules
from tests.made_records import made_record

COMMITTED = CHECKOUT / "results" / "kuairec" / "calibration.csv"


def test_the_configuration_is_the_calibrated_one() -> None:
    rules = read_rules(COMMITTED)
    assert len(rules) == len(kuairec_selection.STRENGTHS) * len(kuairec_selection.BOOSTS)
    best = chosen_rule(rules)
    compose.register()
    dataset: Any = compose.composed(["dataset=kuairec"]).dataset
    assert dataset.selection_strength == best["selection_strength"]
    assert dataset.positive_boost == best["positive_boost"]


def test_every_pair_composes_and_is_told_apart() -> None:
    variants = kuairec_selection.study_of_rules().variants
    assert len({each.key for each in variants}) == len(variants)
    compose.register()
    dataset: Any = compose.composed(variants[-1].overrides).dataset
    assert (dataset.name, dataset.source) == ("kuairec", "labels")
    assert dataset.selection_strength == kuairec_selection.STRENGTHS[-1]
    assert dataset.positive_boost == kuairec_selection.BOOSTS[-1]


def test_the_rule_prefers_what_lies_near_and_refuses_what_lies_far() -> None:
    def rule(strength: float, auc: float, distance: float) -> dict[str, float]:
        return {"selection_strength": strength, "auc": auc, "distance": distance}

    rules = [rule(0.0, 0.827, 0.01), rule(0.5, 0.9, 0.02), rule(0.5, 0.82, 0.05), rule(1.0, 0.83, 0.04)]
    assert chosen_rule(rules) == rules[3]
    with pytest.raises(BenchError, match="No pair"):
        chosen_rule(rules[:2])


def test_a_records_line_goes_round(tmp_path: Path) -> None:
    values = {"auc": [0.8, 0.9], "ndcg": {"skip": [0.5, 0.7]}, "recall": {"skip": [0.8, 0.8]}}
    record = made_record(
        [0.5, 0.5],
        dataset={"name": "kuairec", "k": 50, "selection_strength": 0.25, "positive_boost": 5.0},
        comparable=False,
        counts={"positive_biased": 0.125},
        test=values,
    )
    rule = kuairec_selection.rule_of(record)
    assert (rule["auc"], rule["ndcg@50"], rule["recall@50"], rule["n"]) == (0.85, 0.6, 0.8, 2)
    assert (rule["selection_strength"], rule["positive_boost"]) == (0.25, 5.0)
    assert rule["positive_share_biased"] == 0.125 and rule["distance"] > 0
    assert read_rules(write_rules(tmp_path / "rules.csv", [rule])) == [rule]
    committed = read_rules(COMMITTED)
    assert write_rules(tmp_path / "again.csv", committed).read_text().count("\n") == len(committed) + 1
