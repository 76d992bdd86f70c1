"""The parts of a seed's split: each needs ratings of both classes."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import cell as cells
from bench import compose
from bench.cell.splits import Seeds
from bench.data.split import split
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF

TINY = ("dataset=synthetic", "dataset.n_users=40", "dataset.n_items=30", "dataset.ratings_per_user=8")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("train", "The A ratings of seed 0 are all negative at dataset.threshold=1, so nothing"),
        ("validation", "The validation ratings of seed 0 are all negative at dataset.threshold=1, so no AUC"),
        ("test", "The test ratings of seed 0 are all negative at dataset.threshold=1, so no AUC"),
    ],
)
def test_a_part_of_one_class_is_refused(part: str, said: str) -> None:
    compose.register()
    config = compose.composed([*TINY, "method=item_mean", "sweep=none", "seeds=1"])
    ratings = cells.load_ratings(config)
    values = ratings.unbiased.values.copy()
    own = getattr(split(len(values), 0), part)
    values[own] = 0
    others = np.setdiff1d(np.arange(len(values)), own)
    values[others] = np.arange(len(others)) % 2
    cell = cells.prepare(config, replace(ratings, unbiased=replace(ratings.unbiased, values=values)))
    with pytest.raises(BenchError) as raised:
        Seeds.of(cell, torch.device("cpu"), torch.float32)
    assert str(raised.value).startswith(said)


# --- Leaks, which no table has ----------------------------------------------------------------------


def of(*overrides: str) -> Seeds:
    compose.register()
    config = compose.composed([*TINY, "method=item_mean", "sweep=none", "seeds=2", *overrides])
    cell = cells.prepare(config, cells.load_ratings(config))
    return Seeds.of(cell, torch.device("cpu"), torch.float32)


def pairs(users: torch.Tensor, items: torch.Tensor) -> set[tuple[int, int]]:
    return set(zip(users.tolist(), items.tolist(), strict=True))


def test_a_may_stay_in_the_test_set() -> None:
    sound, leaking = of(), of("protocol.leak_a_stays_in_test=true")
    for seed in range(2):
        a = pairs(sound.training.unbiased_users[seed], sound.training.unbiased_items[seed])
        test = pairs(*sound.test[seed][:2])
        assert not a & test
        assert pairs(*leaking.test[seed][:2]) == a | test
        assert len(leaking.test[seed][2]) == len(a | test)
    assert torch.equal(leaking.training.unbiased_items, sound.training.unbiased_items)
    assert torch.equal(leaking.validation.items, sound.validation.items)


def test_the_test_ratings_may_be_looked_at_to_stop_and_to_choose() -> None:
    sound, leaking = of(), of("protocol.leak_validates_on_test=true")
    for seed in range(2):
        users, items, labels = leaking.test[seed]
        assert torch.equal(leaking.validation.users[seed], users)
        assert torch.equal(leaking.validation.items[seed], items)
        assert torch.equal(leaking.validation.labels[seed], torch.from_numpy(labels).float())
        assert torch.equal(sound.test[seed][1], items)
    both = of("protocol.leak_validates_on_test=true", "protocol.leak_a_stays_in_test=true")
    assert (
        both.validation.items.shape[-1] == sound.test[0][1].shape[0] + sound.training.unbiased_items.shape[-1]
    )


def test_no_protocol_and_no_published_row_leaks() -> None:
    compose.register()
    for file in (CONF / "protocol").glob("*.yaml"):
        protocol = compose.composed([f"protocol={file.stem}"]).protocol
        leaks = {name: value for name, value in vars(protocol).items() if name.startswith("leak_")}
        assert len(leaks) == 2 and not any(leaks.values()), file
    published = CHECKOUT / "results" / "published" / "provenance.csv"
    commands = [row["command"] for row in csv.DictReader(published.open(encoding="utf-8"))]
    assert commands and all("dataset=" in each for each in commands)
    assert not [each for each in commands if "leak_" in each or "oracle_test" in each]
    winners = [file.read_text(encoding="utf-8") for file in (CONF / "tuned").rglob("*.yaml")]
    assert not [each for each in winners if "leak_" in each or "oracle_test" in each]
