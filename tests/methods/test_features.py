"""`backbone: features`: the formula, its start, and who has it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import methods
from bench import cell as cells
from bench import compose
from bench.engine.features import Features
from bench.engine.sampling import TrainingData
from bench.errors import BenchError
from methods.base import Method
from tests.every_row import of_the_paper
from tests.methods import small

X_USER = torch.tensor([[1.0, 0], [1, 1], [0, 0], [0, 1], [0, 0.5], [1, 0]]).double()
X_ITEM = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]]).double()


def data() -> TrainingData:
    return replace(small.data(), user_features=Features(X_USER), item_features=Features(X_ITEM))


def built(key: str, spread: float = 0.4, **fields: object) -> Method:
    return small.built(key, data(), spread, backbone="features", **fields)


def effective(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tables of the same model without features."""
    return {
        "users": tables["users"] + X_USER @ tables["user_weights"],
        "items": tables["items"] + X_ITEM @ tables["item_weights"],
        "user_bias": tables["user_bias"] + (X_USER @ tables["user_slopes"].unsqueeze(-1)).squeeze(-1),
        "item_bias": tables["item_bias"] + (X_ITEM @ tables["item_slopes"].unsqueeze(-1)).squeeze(-1),
        "bias": tables["bias"],
    }


def test_logits_and_gradients_are_the_formulas() -> None:
    method = built("mf")
    part, pairs = method.prediction, small.all_pairs(method)
    logits = part(pairs)
    tables = {name: table.clone().requires_grad_() for name, table in part.tables.items()}
    assert len(tables) == 9
    expected = small.plain_logits(effective(tables), pairs)
    torch.testing.assert_close(logits.detach(), expected.detach())
    slope = torch.randn(logits.shape, dtype=logits.dtype, generator=torch.Generator().manual_seed(3))
    found = small.gradients(part, (logits * slope).sum(-1))
    for name, gradient in zip(
        tables, torch.autograd.grad((expected * slope).sum(), list(tables.values())), strict=True
    ):
        torch.testing.assert_close(found[name], gradient)


def test_heads_are_factorisations_over_one_pair_of_embeddings() -> None:
    """A head of ones is a factorisation with the head's biases and slopes."""
    method = built("escm2_dr")
    part, pairs = method.prediction, small.all_pairs(method)
    part.tables["heads"].fill_(1)
    logits = part(pairs)
    for head in range(3):
        tables = {name: part.tables[name] for name in ("users", "items", "user_weights", "item_weights")}
        tables |= {
            name: part.tables[name][..., head]
            for name in ("user_bias", "item_bias", "user_slopes", "item_slopes")
        }
        tables["bias"] = part.tables["bias"][:, head : head + 1]
        torch.testing.assert_close(logits[:, head].detach(), small.plain_logits(effective(tables), pairs))


def test_the_twin_shares_the_users_features_and_has_its_items_own() -> None:
    method = built("cause")
    base, twin, pairs = method.prediction, method.treatment, small.all_pairs(method)  # type: ignore[attr-defined]
    own = {**base.tables, **twin.tables}
    torch.testing.assert_close(
        twin(base, pairs).detach(), small.plain_logits(effective(own), pairs), msg="the twin's logits"
    )


@pytest.mark.parametrize(
    "key", of_the_paper([key for key in methods.names() if key not in ("item_mean", "ips_oracle")])
)
def test_every_row_starts_as_without_features_and_learns_from_them(key: str) -> None:
    method, plain = built(key, spread=0), small.built(key, spread=0)
    pairs = small.all_pairs(method)
    with torch.no_grad():
        torch.testing.assert_close(method.score(pairs), plain.score(pairs))
    weights = {
        (name, table): part
        for name, part in method.parts.items()
        for table in part.tables
        if table.endswith(("_weights", "_slopes"))
    }
    assert weights
    for phase in method.phases():
        if phase.begin is not None:
            with torch.no_grad():
                phase.begin()
        for _ in range(3):
            phase.step(small.Whole(method))  # type: ignore[arg-type]
            for part in method.parts.values():
                part.leaves = []
    for (name, table), part in weights.items():
        assert float(part.tables[table].abs().max()) > 0, (name, table)


def test_data_without_features_are_refused() -> None:
    with pytest.raises(BenchError, match=r"these data have none: use ids\.$"):
        small.built("mf", backbone="features")
    compose.register()
    config = compose.composed(["method=mf", "dataset=synthetic", "method.backbone=features"])
    with pytest.raises(BenchError, match=r"^method.backbone=features .* the data set 'synthetic' has none: "):
        cells.prepare(config, cells.load_ratings(config))


def test_features_of_users_alone_are_enough() -> None:
    of = replace(small.data(), user_features=Features(X_USER))
    part = small.built("mf", of, backbone="features").prediction
    assert set(part.tables) == {
        *("users", "items", "user_bias", "item_bias", "bias"),
        *("user_weights", "user_slopes"),
    }
