"""What a trained member is measured by, beside `bench.metrics`, which has tests of its own."""

from __future__ import annotations

import torch

from bench.cell.evaluation import interaction_sd
from tests.methods.small import built


def test_the_interaction_is_what_a_factorisation_has_beyond_its_biases() -> None:
    method = built("mf", spread=0.7)
    tables = method.prediction.tables
    product = torch.einsum("gud,gid->gui", tables["users"], tables["items"])
    centred = product - product.mean(1, keepdim=True) - product.mean(2, keepdim=True)
    centred += product.mean((1, 2), keepdim=True)
    torch.testing.assert_close(interaction_sd(method), centred.flatten(1).std(-1, correction=0))


def test_biases_alone_do_not_interact() -> None:
    method = built("mf", spread=0.7)
    method.prediction.tables["users"].zero_()
    assert float(interaction_sd(method).max()) < 1e-9
