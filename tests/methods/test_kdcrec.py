"""KDCRec: the refined target, and what α = 0 leaves."""

from __future__ import annotations

import torch
from torch.testing import assert_close

import methods
from bench.config import EngineConfig
from bench.engine.sampling import Draw
from bench.engine.training import Validation, train
from tests.methods.small import Whole, all_observed, built, data


def test_the_target_lies_between_label_and_teacher() -> None:
    method = built("kdcrec", alpha=0.5, spread=1.0)
    method.measure_teacher()
    observed = all_observed(method)
    taught = torch.sigmoid(method.teacher.fixed(observed))
    low, high = taught.min(-1, keepdim=True).values, taught.max(-1, keepdim=True).values
    assert_close(method.refined(observed), (observed.labels + 0.5 * (taught - low) / (high - low)) / 1.5)
    assert 0 <= float(method.refined(observed).min()) <= float(method.refined(observed).max()) <= 1


def test_a_flat_teacher_is_not_blown_up() -> None:
    method = built("kdcrec", alpha=1.0, spread=0.0)
    method.measure_teacher()
    assert method.range.tolist() == [0.1, 0.1]
    observed = all_observed(method)
    taught = torch.sigmoid(method.teacher.fixed(observed))
    spread = float(taught.max() - taught.min())
    assert spread < 0.05
    # What reaches the target is at most the teacher's spread over the floor, halved by 1 + alpha.
    target = method.refined(observed) - observed.labels / 2
    assert float(target.max() - target.min()) <= spread / 0.1 / 2 + 1e-12


def test_only_the_student_moves_in_the_distillation() -> None:
    method = built("kdcrec")
    method.measure_teacher()
    before = {name: table.clone() for name, table in method.teacher.tables.items()}
    start = method.prediction.tables["users"].clone()
    method.step(Whole(method))
    for name, table in method.teacher.tables.items():
        assert torch.equal(table, before[name])
    assert not torch.equal(method.prediction.tables["users"], start)


def test_alpha_zero_is_continued_mf() -> None:
    """The same batches, a fresh Adam, from the base's best parameters."""
    one = data(n_observed=24)
    labels = torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    pairs = torch.tensor([[0, 1, 2, 3]] * 2)
    validation = Validation(pairs, pairs, labels)
    engine = EngineConfig(max_epochs=6, patience=3)
    fields = {"embedding_size": 3, "batch_size": 6, "learning_rate": 0.05}

    kind = methods.get("kdcrec")
    distilled = train(kind([kind.Config(alpha=0.0, **fields)] * 2, [0, 1], one), validation, engine, 1)
    assert [history.name for history in distilled.histories] == ["teacher", "base", "distillation"]

    kind = methods.get("mf")
    mf = train(kind([kind.Config(**fields)] * 2, [0, 1], one), validation, engine, 1)
    same = {"rtol": 0, "atol": 0, "equal_nan": True}
    assert_close(mf.histories[0].criterion, distilled.histories[1].criterion, **same)
    continued = train(mf.method, validation, engine, 1)  # its phase starts with a fresh Adam
    assert_close(continued.histories[0].criterion, distilled.histories[2].criterion, **same)
    for name, table in continued.method.prediction.tables.items():
        assert torch.equal(table, distilled.method.prediction.tables[name])
    # The restored base is a candidate: it is evaluated before the first step.
    assert distilled.histories[2].steps[0] == 0
    assert torch.equal(
        distilled.histories[2].criterion[:, 0], distilled.histories[1].criterion.nan_to_num(-1).max(-1).values
    )


def test_the_bridge_is_its_formula() -> None:
    method = built("kdcrec_bridge", bridge_weight=0.4)
    whole = Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    free = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    from tests.methods.small import plain_logits

    apart = torch.sigmoid(method.teacher.fixed(everything)) - torch.sigmoid(plain_logits(free, everything))
    loss = method.pointwise(plain_logits(free, observed), observed.labels).mean(-1)
    (loss + 0.4 * apart.square().mean(-1)).sum().backward()
    optimiser = torch.optim.Adam(free.values(), lr=0.01, weight_decay=1e-4)
    optimiser.step()
    draw: Draw = whole  # type: ignore[assignment]
    method.step(draw)
    for name, table in method.prediction.tables.items():
        assert_close(table, free[name].detach(), rtol=1e-9, atol=1e-9)
