"""The strength of KuaiRec's simulated selection: `python -m bench.study.kuairec_selection [--jobs N]`.

The rule that drew the literature's biased set was never published, so ours has two free numbers: kappa,
how strongly users select by their taste, and c, how much likelier a positive cell is drawn
(`bench/data/kuairec.py`). They are fixed once, by nothing but plain MF: of all pairs of the grid below
with any self-selection (kappa above 0) under which MF's AUC lies within .01 of the paper's MF row, the
one that comes nearest to that row (Euclidean distance over AUC, NDCG@50 and Recall@50). No other
method is looked at. `conf/dataset/kuairec.yaml` holds the choice, and `results/kuairec/calibration.csv`
every pair tried.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np

from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import read_csv, write_csv
from bench.records.metric import PAPER_METRICS
from bench.records.record import Record
from bench.study.variants import Study, Variant, trained
from bench.table import PAPER, read_paper

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # kappa
BOOSTS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)  # c

_K = 50  # of NDCG and Recall in the paper's row
_COLUMNS = [metric.heading(_K).lower() for metric in PAPER_METRICS.values()]
_HEADER = ["selection_strength", "positive_boost", *_COLUMNS, "distance", "n", "positive_share_biased"]
_TOLERANCE = 0.01  # of MF's AUC

Rule = dict[str, float]  # a line of the result: a pair, and what MF came to under it


def study_of_rules() -> Study:
    """MF, tuned on validation over the quick grid, under every pair of the grid."""
    common = ("protocol=table", "dataset=kuairec", "method=mf", "dataset.source=labels")
    variants = []
    for strength, boost in itertools.product(STRENGTHS, BOOSTS):
        words = (f"dataset.selection_strength={strength}", f"dataset.positive_boost={boost}")
        variants.append(Variant("", " ".join(words), f"kappa {strength:g}, c {boost:g}", (*common, *words)))
    return Study("kuairec_selection", "KuaiRec's simulated selection", "", (), tuple(variants))


def rule_of(record: Record) -> Rule:
    """The line of a pair's record."""
    means = [record.mean(name) for name in PAPER_METRICS]
    distance = float(np.linalg.norm(np.subtract(means, _papers_row())))
    pair = (record.dataset["selection_strength"], record.dataset["positive_boost"])
    values = [*pair, *means, distance, len(record.seeds), record.counts["positive_biased"]]
    return {name: round(value, 6) for name, value in zip(_HEADER, values, strict=True)}


def _papers_row() -> list[float]:
    paper = read_paper(PAPER)
    return [float(paper["mf", "kuairec", name]) for name in _COLUMNS]


def chosen_rule(rules: Sequence[Rule]) -> Rule:
    """The line that the rule in this module's docstring picks.

    Raises:
        BenchError: no pair brings MF's AUC near the paper's.
    """
    target = _papers_row()[0]
    near = [
        rule for rule in rules if rule["selection_strength"] > 0 and abs(rule["auc"] - target) <= _TOLERANCE
    ]
    if not near:
        raise BenchError(f"No pair of the grid brings MF's AUC within {_TOLERANCE} of the paper's {target}.")
    return min(near, key=lambda rule: rule["distance"])


def write_rules(file: Path, rules: Sequence[Rule]) -> Path:
    """Writes every pair tried.

    Raises:
        BenchError: the file cannot be written.
    """
    return write_csv(file, _HEADER, ([str(rule[name]) for name in _HEADER] for rule in rules))


def read_rules(file: Path) -> list[Rule]:
    """The pairs of a file that was written.

    Raises:
        BenchError: it cannot be read, or lacks a column.
    """
    return [{name: float(row[name]) for name in _HEADER} for row in read_csv(file, _HEADER)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.kuairec_selection", description="Fixes KuaiRec's simulated selection."
    )
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("results/kuairec/own/calibration.csv"))
    parser.add_argument("overrides", nargs="*", default=["seeds=3"], help="of the configuration")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    study = study_of_rules()
    found: dict[str, Rule] = {}
    for variant, answer in trained(study, given.overrides, given.jobs, store="runs"):
        if isinstance(answer, str):
            raise BenchError(answer)
        found[variant.name] = rule_of(answer)
        print("  ".join(f"{name} {value:g}" for name, value in found[variant.name].items()), flush=True)
    rules = [found[variant.name] for variant in study.variants]
    write_rules(given.output, rules)
    best = chosen_rule(rules)
    strength, boost = best["selection_strength"], best["positive_boost"]
    print(f"Chosen: selection_strength: {strength:g}, positive_boost: {boost:g}.")


if __name__ == "__main__":
    raise SystemExit(main())
