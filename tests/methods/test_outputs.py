"""`score: raw` and `biases`: the forms of public code."""

from __future__ import annotations

import pytest
import torch

import methods
from bench.errors import BenchError
from methods.base import Method
from methods.learned_propensity import Propensity
from tests.methods import small

RAW = [key for key in methods.names() if methods.get(key).raw_scores]


def stepped(method: Method) -> Method:
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        for _ in range(3):
            phase.step(small.Whole(method))  # type: ignore[arg-type]
            for part in method.parts.values():
                part.leaves = []
    return method


def test_raw_scores_are_the_models_outputs() -> None:
    method = small.built("mf", score="raw", loss="mse")
    part, batch = method.prediction, small.all_observed(method)
    expected = small.plain_logits(part.tables, batch)
    with torch.no_grad():
        torch.testing.assert_close(method.score(batch), expected)
        torch.testing.assert_close(
            method.pointwise(expected, batch.labels), (expected - batch.labels).square()
        )


@pytest.mark.parametrize("key", RAW)
def test_rows_that_have_raw_scores_rank_beyond_one(key: str) -> None:
    method = stepped(small.built(key, spread=1.5, score="raw", loss="mse"))
    with torch.no_grad():
        scores = method.score(small.all_pairs(method))
    assert float(scores.max()) > 1 and float(scores.min()) < 0


def test_raw_scores_are_refused_where_probabilities_are_meant() -> None:
    with pytest.raises(BenchError, match=r"^method.score=raw is not made for DR-JL, whose scores are prob"):
        small.built("dr_jl", score="raw", loss="mse")
    with pytest.raises(BenchError, match=r"^method\.loss must be mse with method\.score=raw"):
        small.built("mf", score="raw")


@pytest.mark.parametrize("key", [key for key in methods.names() if methods.get(key).trained])
@pytest.mark.parametrize(
    ("biases", "left_out"), [("none", {"bias", "user_bias", "item_bias"}), ("no_global", {"bias"})]
)
def test_biases_that_are_left_out_stay_where_they_start(key: str, biases: str, left_out: set[str]) -> None:
    if key == "ips_oracle":
        pytest.skip("it needs known propensities")
    own = {"shared": False} if hasattr(methods.get(key).Config, "shared") else {}
    method = small.built(key, spread=0, biases=biases, **own)
    start = {
        name: {table: values.clone() for table, values in part.tables.items()}
        for name, part in method.parts.items()
    }
    stepped(method)
    moved = set()
    for name, part in method.parts.items():
        if "item_bias" in part.tables and not isinstance(part, Propensity):  # those have all
            for table in left_out & part.tables.keys():
                assert torch.equal(part.tables[table], start[name][table]), (name, table)
            kept = {"user_bias", "item_bias", "bias"} & part.tables.keys() - left_out
            moved |= {table for table in kept if not torch.equal(part.tables[table], start[name][table])}
    assert bool(moved) == (biases == "no_global")


def test_a_model_without_biases_is_the_product() -> None:
    method = stepped(small.built("mf", spread=0, biases="none"))
    tables, pairs = method.prediction.tables, small.all_pairs(method)
    g = torch.arange(method.n_members).unsqueeze(-1)
    product = (tables["users"][g, pairs.users] * tables["items"][g, pairs.items]).sum(-1)
    with torch.no_grad():
        torch.testing.assert_close(method.prediction(pairs), product)


def test_heads_have_all_biases() -> None:
    with pytest.raises(BenchError, match=r"^method.biases must be all with method.shared=true"):
        small.built("escm2_dr", biases="none")
