"""Stacks of members: nobody notices who else is trained, who has stopped, who has diverged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import methods
from bench.config import EngineConfig
from bench.engine.members import Member, groups
from bench.engine.memory import bytes_per_member
from bench.engine.phase import Every, Phase
from bench.engine.sampling import Draw, Pairs, TrainingData
from bench.engine.training import Outcome, Validation, train
from bench.errors import BenchError
from bench.metrics import auc
from methods.base import Method, MethodConfig
from methods.parts import Factorisation

ENGINE = EngineConfig(max_epochs=30, patience=4)
N_USERS, N_ITEMS, SEEDS = 40, 30, 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def ratings() -> tuple[TrainingData, Validation]:
    """Labels of a rank-one preference, A and validation of four seeds."""
    generator = torch.Generator().manual_seed(0)
    taste = torch.randn(N_USERS, 1, generator=generator) @ torch.randn(1, N_ITEMS, generator=generator)
    truth = (taste + 0.3 * torch.randn(N_USERS, N_ITEMS, generator=generator) > 0).float()
    cells = torch.randperm(N_USERS * N_ITEMS, generator=generator)
    observed, rest = cells[:600], cells[600:]

    def rows(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = torch.stack([rest[torch.randperm(len(rest), generator=generator)[:n]] for _ in range(SEEDS)])
        return chosen // N_ITEMS, chosen % N_ITEMS, truth.flatten()[chosen]

    a, v = rows(60), rows(200)
    data = TrainingData(
        n_users=N_USERS,
        n_items=N_ITEMS,
        seeds=tuple(range(SEEDS)),
        seed_row=torch.arange(SEEDS),
        users=observed // N_ITEMS,
        items=observed % N_ITEMS,
        labels=truth.flatten()[observed],
        unbiased_users=a[0],
        unbiased_items=a[1],
        unbiased_labels=a[2],
    )
    return data, Validation(*v)


DATA, VALIDATION = ratings()
BASE = MethodConfig(batch_size=32, embedding_size=4, learning_rate=0.05, weight_decay=1e-4)


def run(
    members: Sequence[tuple[int, MethodConfig]], engine: EngineConfig = ENGINE, key: str = "mf"
) -> Outcome:
    """Trains (seed, configuration) pairs as one stack."""
    seeds = [seed for seed, _ in members]
    data = DATA.take(torch.tensor(seeds))
    of_seed = torch.tensor(data.seeds)
    validation = Validation(VALIDATION.users[of_seed], VALIDATION.items[of_seed], VALIDATION.labels[of_seed])
    method = methods.get(key)([config for _, config in members], seeds, data)
    return train(method, validation, engine, evaluations_per_epoch=2)


def tables(outcome: Outcome, member: int) -> dict[str, torch.Tensor]:
    return {name: table[member] for name, table in outcome.method.prediction.tables.items()}


def test_a_member_alone_is_the_same_member_among_forty() -> None:
    rates = [0.01, 0.02, 0.05, 0.1, 0.2]
    crowd = [
        (seed, replace(BASE, learning_rate=rate, weight_decay=decay))
        for rate in rates
        for decay in (0.0, 1e-3)
        for seed in range(SEEDS)
    ]
    together = run(crowd)
    # They stop at different times, or nothing would have left the stack.
    assert len(set(together.histories[0].best.tolist())) > 3
    for place in (0, 13, 22, 39):
        alone = run([crowd[place]])
        assert alone.histories[0].best[0] == together.histories[0].best[place]
        assert float(alone.best[0]) == pytest.approx(float(together.best[place]), abs=1e-6)
        for name, table in tables(alone, 0).items():
            torch.testing.assert_close(table, tables(together, place)[name], rtol=1e-4, atol=1e-5)


def test_one_seed_repeats_bit_for_bit_and_two_seeds_differ() -> None:
    first, again = run([(0, BASE), (1, BASE)]), run([(0, BASE), (1, BASE)])
    for place in (0, 1):
        for name, table in tables(first, place).items():
            assert torch.equal(table, tables(again, place)[name])
    assert not torch.equal(tables(first, 0)["users"], tables(first, 1)["users"])


def test_the_best_parameters_come_back_as_a_copy() -> None:
    outcome = run([(0, BASE), (1, replace(BASE, learning_rate=0.3))])
    history = outcome.histories[0]
    for place in (0, 1):
        curve = history.criterion[place]
        assert int(history.best[place]) == int(curve.nan_to_num(-1).argmax())
        seed = torch.tensor([place])
        pairs = Pairs(VALIDATION.users[seed], VALIDATION.items[seed])
        with torch.no_grad():
            scores = outcome.method.take(torch.tensor([place])).score(pairs)
        # The restored parameters give the best evaluation's AUC, not the last one's.
        assert float(auc(scores, VALIDATION.labels[seed])[0]) == float(outcome.best[place])
        assert float(outcome.best[place]) == float(curve.nan_to_num(-1).max())
        after = curve[int(history.best[place]) + 1 :]
        assert (~after.isnan()).sum() <= ENGINE.patience


def test_patience_ends_each_member_by_itself() -> None:
    outcome = run([(0, replace(BASE, learning_rate=0.3)), (0, replace(BASE, learning_rate=0.005))])
    measured = (~outcome.histories[0].criterion.isnan()).sum(-1)
    best = outcome.histories[0].best
    last = len(outcome.histories[0].steps)
    for place in (0, 1):
        assert int(measured[place]) in (int(best[place]) + 1 + ENGINE.patience, last)
    assert measured[0] != measured[1]


def test_a_member_that_diverges_is_dropped_and_recorded_and_the_others_go_on() -> None:
    sound = [(0, BASE), (1, BASE)]
    outcome = run([sound[0], (0, replace(BASE, learning_rate=1e30)), sound[1]])
    assert list(outcome.diverged) == [1]
    assert "evaluation 1" in outcome.diverged[1]
    assert outcome.best[1].isnan()
    expected = run(sound)
    for place, among in ((0, 0), (1, 2)):
        assert expected.histories[0].best[place] == outcome.histories[0].best[among]
        torch.testing.assert_close(tables(expected, place)["users"], tables(outcome, among)["users"])


def test_a_training_that_moves_no_parameter_is_an_error() -> None:
    """Such a member's scores are those of its initial values, whatever the method would have learnt."""
    too_slow = replace(BASE, learning_rate=1e-300, weight_decay=0.0)  # 0 in float32
    run([(0, replace(BASE, learning_rate=1e-9))], replace(ENGINE, max_epochs=1))
    with pytest.raises(BenchError, match=r"^mf was not trained: .*\(seed 1, method.learning_rate=0\)"):
        run([(0, BASE), (1, too_slow), (2, BASE)])
    idle = methods.get("mf")([BASE], [0], DATA.take(torch.tensor([0])))
    idle.step = lambda draw: None  # type: ignore[method-assign]
    with pytest.raises(BenchError, match="let its step call minimise"):
        train(idle, _of(0), ENGINE, 1)


def test_a_member_that_is_lost_before_its_first_step_has_diverged() -> None:
    method = methods.get("mf")([BASE], [0], DATA.take(torch.tensor([0])))
    method.parts["prediction"].tables["users"].fill_(torch.nan)
    assert list(train(method, _of(0), ENGINE, 1).diverged) == [0]


def test_pairs_of_all_of_d_are_refused_where_none_are_drawn() -> None:
    """eib's own range of everywhere_ratio is not asked here, as in a method without one."""
    config = replace(methods.get("eib").Config(batch_size=32, embedding_size=4), everywhere_ratio=0)
    with pytest.raises(BenchError, match=r"needs method\.everywhere_ratio of at least 1, but it is 0"):
        run([(0, config)], key="eib")


def test_same_seed_same_observed_batches_whatever_the_method() -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    for key in ("mf", "eib"):
        kind = methods.get(key)
        config = kind.Config(batch_size=32, embedding_size=4)
        if key == "eib":
            config = replace(config, everywhere_ratio=2)
        method = kind([config], [1], DATA.take(torch.tensor([1])))
        seen[key] = []
        step = method.step

        def spy(draw, key=key, step=step) -> None:
            seen[key].append(draw.observed().users * N_ITEMS + draw.observed().items)
            step(draw)

        method.step = spy  # type: ignore[method-assign]
        train(method, _of(1), EngineConfig(max_epochs=2), 1)
    assert len(seen["mf"]) == 36
    for one, other in zip(seen["mf"], seen["eib"], strict=True):
        assert torch.equal(one, other)


def _of(seed: int) -> Validation:
    row = torch.tensor([seed])
    return Validation(VALIDATION.users[row], VALIDATION.items[row], VALIDATION.labels[row])


# --- Several phases that stop on validation AUC ---------------------------------------------------------


class Noise(Method):
    """Scores that mean nothing: two phases of random walks, the second around where the first one stopped.

    Every member walks alone, by its place in the stack, whatever it is stopped by.
    """

    title, paper, year = "Noise", "", 2000

    def build(self) -> None:
        self.prediction = self.part(Factorisation, "prediction")
        self.generator = torch.Generator().manual_seed(int(self.seeds.sum()))
        self.size = 1.0

    def phases(self) -> list[Phase]:
        return [
            Phase(name="base", step=self.step, score=self.score),
            Phase(name="training", step=self.step, score=self.score, begin=self.begin),
        ]

    def begin(self) -> None:
        self.size = 0.02

    def step(self, draw: Draw) -> None:
        draw.observed()
        for table in self.prediction.tables.values():
            table.add_(self.size * torch.randn(table.shape, generator=self.generator))


def noise(n: int, method: type[Method] = Noise) -> Outcome:
    """A stack of n members, each of its seed, on labels that nothing predicts."""
    generator = torch.Generator().manual_seed(1)
    names = ("unbiased_users", "unbiased_items", "unbiased_labels")
    a = {name: getattr(DATA, name)[torch.arange(n) % SEEDS] for name in names}
    data = replace(DATA, seeds=tuple(range(n)), seed_row=torch.arange(n), **a)
    users, items = (torch.randint(size, (n, 60), generator=generator) for size in (N_USERS, N_ITEMS))
    validation = Validation(users, items, torch.arange(60).expand(n, -1) // 2 % 2)
    built = method([replace(BASE, batch_size=600)] * n, list(range(n)), data)
    return train(built, validation, ENGINE, 1)


def test_what_several_phases_were_stopped_on_is_not_what_they_are_measured_on() -> None:
    outcome = noise(200)
    error = float(outcome.held_out.std()) / 200**0.5
    assert float(outcome.held_out.mean()) == pytest.approx(0.5, abs=4 * error)
    # The plain best shows that there was something to be flattered by, and so did the start's halves alone,
    # by which a last phase was measured that had begun at the base's best over all ratings.
    assert float(outcome.best.mean()) > 0.56
    assert float(outcome.histories[1].criterion[:, 0].mean()) > 0.5 + 8 * error


def test_a_start_that_an_earlier_phase_kept_is_not_chosen_again() -> None:
    class Spoilt(Noise):
        def begin(self) -> None:
            self.size = 3.0  # what follows forgets the base

    outcome = noise(20, Spoilt)
    base, last = outcome.histories
    curves = last.criterion.nan_to_num(-1)
    assert torch.equal(curves[:, 0], base.criterion.nan_to_num(-1).max(-1).values)
    assert int((curves[:, 0] > outcome.best).sum()) > 5  # the start was better, and is not the result
    assert torch.equal(curves[:, 1:].max(-1).values, outcome.best)
    assert torch.equal(curves[:, 1:].argmax(-1) + 1, last.best)


def test_a_phase_has_other_steps_and_work_between_epochs() -> None:
    told: list[object] = []

    class Told(Noise):
        def phases(self) -> list[Phase]:
            return [
                Phase(
                    name="training",
                    step=self.step,
                    score=self.score,
                    criterion=self.criterion,
                    at=self.step_of,
                    every=(Every(2, lambda: told.append("two")), Every(3, self.three)),
                )
            ]

        def step_of(self, number: int) -> Callable[[Draw], None]:
            told.append(number)
            return self.other if number % 2 else self.step

        def other(self, draw: Draw) -> None:
            assert draw.number % 2
            told.append("other")
            super().step(draw)

        def three(self) -> None:
            assert not torch.is_grad_enabled()
            told.append(("three", self.n_members))  # of the stack that is in training

        def criterion(self) -> Tensor:
            told.append("evaluation")
            left = len([each for each in told if each == "evaluation"])  # the first goes on for longest
            return torch.where(torch.arange(self.n_members) == 0, float(left), 0.0)

    noise(8, Told)
    n = told.index(("three", 8))
    assert told[:n] == [
        *("evaluation", 0, "evaluation", 1, "other", "two", "evaluation", 2),
    ], told[:n]
    assert ("three", 1) in told and not any(each == ("three", 8) for each in told[told.index(("three", 1)) :])


def test_copies_change_no_member_and_are_told_of_by_nobody() -> None:
    kind = methods.get("ultd_tp")
    config = kind.Config(batch_size=32, embedding_size=4, learning_rate=0.05, phase_one_steps=5)
    told: list[int] = []

    def trained(held_out: bool) -> Outcome:
        method = kind([config] * SEEDS, range(SEEDS), DATA)
        return train(method, VALIDATION, ENGINE, 2, told.append, held_out)

    plain, copied = trained(False), trained(True)
    assert sum(told) == 2 * SEEDS
    assert copied.method.n_members == len(copied.best) == len(copied.held_out) == SEEDS
    assert torch.equal(plain.best, copied.best)
    assert plain.held_out.isnan().all() and not copied.held_out.isnan().any()
    for one, other in zip(plain.histories, copied.histories, strict=True):
        assert one.steps == other.steps
        torch.testing.assert_close(one.criterion, other.criterion, rtol=0, atol=0, equal_nan=True)
    for name, table in tables(plain, 1).items():
        assert torch.equal(table, tables(copied, 1)[name])


def test_a_copy_that_diverges_is_its_member() -> None:
    class Bursting(Noise):
        def step(self, draw: Draw) -> None:
            super().step(draw)
            if self.n_members > 6 and self.size < 1:  # the last of nine: a copy of the third
                self.prediction.tables["users"][-1] = torch.nan

    outcome = noise(3, Bursting)
    assert list(outcome.diverged) == [2]
    assert outcome.diverged[2].endswith("of phase training, stopped on half of validation")


def test_members_of_several_phases_may_all_diverge() -> None:
    class Lost(Noise):
        def step(self, draw: Draw) -> None:
            super().step(draw)
            self.prediction.tables["users"].fill_(torch.nan)

    outcome = noise(3, Lost)
    assert sorted(outcome.diverged) == [0, 1, 2]
    assert outcome.best.isnan().all()


def test_groups_share_shapes_and_fit_the_budget() -> None:
    members = [
        Member(point, seed, replace(BASE, embedding_size=size, learning_rate=rate))
        for point, (size, rate) in enumerate([(4, 0.1), (8, 0.1), (4, 0.2)])
        for seed in range(5)
    ]
    found = groups(members, lambda member: 10 * member.config.embedding_size, 170, torch.device("cpu"))
    assert sorted(map(len, found)) == [1, 2, 2, 2, 4, 4]
    assert sorted((m.point, m.seed) for stack in found for m in stack) == [
        (m.point, m.seed) for m in sorted(members, key=lambda m: (m.point, m.seed))
    ]
    for stack in found:
        assert len({m.config.embedding_size for m in stack}) == 1
        assert sum(10 * m.config.embedding_size for m in stack) <= 170
    # Of ten members of size 4 in three stacks, those of one seed stand together: their draws are made once.
    assert [[m.seed for m in stack] for stack in found[:3]] == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4]]
    with pytest.raises(BenchError, match=r"One member .*embedding size 8"):
        groups(members, lambda member: 10 * member.config.embedding_size, 70, torch.device("cpu"))


def test_the_planned_memory_covers_parameters_moments_and_best_copy() -> None:
    method = methods.get("mf")([BASE], [0], DATA.take(torch.tensor([0])))
    floats = sum(table.numel() for table in method.prediction.tables.values())
    assert bytes_per_member(method, 200) > 4 * 5 * floats
