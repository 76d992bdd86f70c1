"""KDCRec: the refined target, and what α = 0 leaves."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import methods
from bench.config import EngineConfig
from bench.engine.sampling import Pairs
from bench.engine.training import Outcome, Validation, train
from bench.errors import BenchError
from bench.metrics import auc
from tests.methods.small import Whole, all_observed, all_unbiased, built, data, plain_logits

PAIRS = torch.tensor([[0, 1, 2, 3]] * 2)
VALIDATION = Validation(PAIRS, PAIRS, torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64))
ENGINE = EngineConfig(max_epochs=6, patience=3)
EXACT = {"rtol": 0, "atol": 0, "equal_nan": True}


def trained(key: str, validation: Validation = VALIDATION, **fields: float) -> Outcome:
    """Two members trained by the engine, on its batches and with its stop rule."""
    kind = methods.get(key)
    config = kind.Config(**{"embedding_size": 3, "batch_size": 6, "learning_rate": 0.05, **fields})
    return train(kind([config] * 2, [0, 1], data(n_observed=24)), validation, ENGINE, 1)


def test_the_target_is_the_label_plus_the_teachers_share() -> None:
    method = built("kdcrec", alpha=0.7, spread=1.0)
    method.measure_teacher()
    observed = all_observed(method)
    taught = plain_logits(method.teacher.tables, observed)
    low, high = taught.min(-1, keepdim=True).values, taught.max(-1, keepdim=True).values
    assert_close(method.refined(observed), observed.labels + 0.7 * (taught - low) / (high - low))


def test_the_distillation_is_its_formula() -> None:
    """A step beside torch's Adam on squared errors of raw scores."""
    method = built("kdcrec", alpha=0.7, spread=1.0)
    method.measure_teacher()
    observed = all_observed(method)
    taught = plain_logits(method.teacher.tables, observed)
    low, high = taught.min(-1, keepdim=True).values, taught.max(-1, keepdim=True).values
    n = (taught - low) / (high - low)
    free = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    (observed.labels + 0.7 * n - plain_logits(free, observed)).square().mean(-1).sum().backward()
    torch.optim.Adam(free.values(), lr=0.01, weight_decay=1e-4).step()
    method.step(Whole(method))
    for name, table in method.prediction.tables.items():
        assert_close(table, free[name].detach(), rtol=1e-9, atol=1e-9)


def test_raw_scores_start_at_the_mean_labels_and_rank_beyond_one() -> None:
    method = built("kdcrec", spread=0.0)
    observed = all_observed(method)
    assert_close(method.prediction.tables["bias"][:, 0], observed.labels.mean(-1))
    assert_close(method.teacher.tables["bias"][:, 0], method.data.unbiased_mean)
    method.prediction.tables["bias"].add_(1.0)
    scores = method.score(observed).detach()
    assert float(scores.min()) > 1 and len(scores[0].unique()) == 14  # not cut off, which would make ties


def test_the_sigmoids_target_lies_between_label_and_teacher() -> None:
    method = built("kdcrec", score="sigmoid", alpha=0.5, spread=1.0)
    method.measure_teacher()
    observed = all_observed(method)
    taught = torch.sigmoid(method.teacher.fixed(observed))
    low, high = taught.min(-1, keepdim=True).values, taught.max(-1, keepdim=True).values
    assert_close(method.refined(observed), (observed.labels + 0.5 * (taught - low) / (high - low)) / 1.5)
    assert 0 <= float(method.refined(observed).min()) <= float(method.refined(observed).max()) <= 1


def test_a_flat_teacher_is_not_blown_up() -> None:
    method = built("kdcrec", alpha=1.0, spread=0.0, init_scale=0.05)
    method.measure_teacher()
    assert method.range.tolist() == [0.1, 0.1]
    observed = all_observed(method)
    taught = method.teacher.fixed(observed)
    spread = float((taught.max(-1).values - taught.min(-1).values).max())
    assert spread < 0.05
    # What reaches the target is at most the teacher's spread over the floor.
    target = method.refined(observed) - observed.labels
    assert float((target.max(-1).values - target.min(-1).values).max()) <= spread / 0.1 + 1e-12


def test_only_the_student_moves_in_the_distillation() -> None:
    method = built("kdcrec")
    method.measure_teacher()
    before = {name: table.clone() for name, table in method.teacher.tables.items()}
    start = method.prediction.tables["users"].clone()
    method.step(Whole(method))
    for name, table in method.teacher.tables.items():
        assert torch.equal(table, before[name])
    assert not torch.equal(method.prediction.tables["users"], start)


def assert_continued_mf(distilled: Outcome) -> None:
    """The last two phases are plain MF, and plain MF once more from its best, with a fresh Adam.

    With `score: sigmoid`: the suite's MF has a sigmoid.
    """
    assert [history.name for history in distilled.histories] == ["teacher", "base", "distillation"]
    mf = trained("mf", loss="mse")
    assert_close(mf.histories[0].criterion, distilled.histories[1].criterion, **EXACT)
    continued = train(mf.method, VALIDATION, ENGINE, 1)
    once_more, last = (outcome.histories[-1].criterion for outcome in (continued, distilled))
    # Where the base was better than what followed, plain MF keeps it, and stops the earlier.
    both = ~once_more.isnan()
    assert torch.equal(once_more[both], last[:, : once_more.shape[1]][both])
    assert torch.equal(last[:, 1:].nan_to_num(-1).max(-1).values, distilled.best)
    assert int(distilled.histories[-1].best.min()) > 0
    for member in range(2):
        if continued.histories[-1].best[member] == distilled.histories[-1].best[member]:
            for name, table in continued.method.prediction.tables.items():
                assert torch.equal(table[member], distilled.method.prediction.tables[name][member])


def test_alpha_zero_is_continued_mf() -> None:
    distilled = trained("kdcrec", score="sigmoid", alpha=0.0)
    assert_continued_mf(distilled)
    # The restored base is evaluated before the first step.
    assert distilled.histories[2].steps[0] == 0
    assert torch.equal(
        distilled.histories[2].criterion[:, 0], distilled.histories[1].criterion.nan_to_num(-1).max(-1).values
    )


def test_the_teacher_learns_a_at_its_own_rate_and_decay() -> None:
    """Three steps beside torch's Adam on the formula."""
    method = built("kdcrec", learning_rate=0.5, teacher_learning_rate=0.02, teacher_weight_decay=0.3)
    unbiased = all_unbiased(method)
    free = {name: table.clone().requires_grad_() for name, table in method.teacher.tables.items()}
    optimiser = torch.optim.Adam(free.values(), lr=0.02, weight_decay=0.3)
    student = {name: table.clone() for name, table in method.prediction.tables.items()}
    for _ in range(3):
        method.step_teacher(Whole(method))
        optimiser.zero_grad()
        (plain_logits(free, unbiased) - unbiased.labels).square().mean(-1).sum().backward()
        optimiser.step()
    for name, table in method.teacher.tables.items():
        assert_close(table, free[name].detach(), rtol=1e-9, atol=1e-9)
    for name, table in method.prediction.tables.items():
        assert torch.equal(table, student[name])


def test_the_best_teacher_is_kept_and_measured_and_is_the_bridges_too() -> None:
    """A validates itself, so that the teacher rises; the later phases leave it where it was best."""
    a = data(n_observed=24)
    validation = Validation(a.unbiased_users, a.unbiased_items, a.unbiased_labels)
    fields = {"teacher_learning_rate": 0.2, "teacher_weight_decay": 0.0}
    outcome = trained("kdcrec", validation, **fields)
    method, teacher = outcome.method, outcome.histories[0]
    assert int(teacher.best.min()) > 0
    taught = method.taught(Pairs(a.unbiased_users, a.unbiased_items))
    assert torch.equal(auc(taught, a.unbiased_labels), teacher.criterion.nan_to_num(-1).max(-1).values)
    over_o = method.taught(all_observed(method))
    lowest, highest = over_o.min(-1).values, over_o.max(-1).values
    assert float((highest - lowest).min()) > 0.1
    assert_close(method.lowest, lowest)
    assert_close(method.diagnostics()["teacher_range"], highest - lowest)

    bridge = trained("kdcrec_bridge", validation, everywhere_ratio=1, **fields).method
    for name, table in method.teacher.tables.items():
        assert torch.equal(table, bridge.teacher.tables[name])
    assert torch.equal(bridge.diagnostics()["teacher_range"], method.range)


@pytest.mark.parametrize("score", ["raw", "sigmoid"])
def test_the_bridge_is_its_formula(score: str) -> None:
    method = built("kdcrec_bridge", bridge_weight=0.4, score=score)
    scored = torch.sigmoid if score == "sigmoid" else torch.Tensor.clone
    whole = Whole(method)
    observed, everything = whole.observed(), whole.everywhere()
    free = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    teacher = {name: table.clone() for name, table in method.teacher.tables.items()}
    apart = scored(plain_logits(teacher, everything)) - scored(plain_logits(free, everything))
    loss = (scored(plain_logits(free, observed)) - observed.labels).square().mean(-1)
    (loss + 0.4 * apart.square().mean(-1)).sum().backward()
    optimiser = torch.optim.Adam(free.values(), lr=0.01, weight_decay=1e-4)
    optimiser.step()
    method.step(whole)
    for name, table in method.prediction.tables.items():
        assert_close(table, free[name].detach(), rtol=1e-9, atol=1e-9)
    for name, table in method.teacher.tables.items():
        assert torch.equal(table, teacher[name])


def test_a_bridge_without_weight_is_continued_mf() -> None:
    assert_continued_mf(trained("kdcrec_bridge", score="sigmoid", bridge_weight=0.0, everywhere_ratio=1))


@pytest.mark.parametrize("key", ["kdcrec", "kdcrec_bridge"])
def test_cross_entropy_of_raw_scores_is_refused(key: str) -> None:
    with pytest.raises(
        BenchError, match=r"^method\.loss must be mse with method\.score=raw, .* but it is bce"
    ):
        methods.get(key).Config(loss="bce").check()
    methods.get(key).Config(loss="bce", score="sigmoid").check()


def test_an_alpha_for_the_bridge_is_refused() -> None:
    with pytest.raises(BenchError, match=r"method\.alpha has no meaning in the bridge"):
        methods.get("kdcrec_bridge").Config(alpha=0.3).check()
