"""Each data set's counts on its real files where they are, and the generated one always."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench.data import coat, synthetic, yahoo_r3
from bench.data.split import split
from bench.errors import MissingData

DATA = Path(os.environ.get("BENCH_DATA", "data"))


@pytest.mark.parametrize(
    ("module", "counts", "positive"),
    [(coat, (290, 300, 6960, 4640), 0.1853), (yahoo_r3, (15400, 1000, 311704, 54000), 0.0879)],
)
def test_counts_of_the_release(module, counts, positive) -> None:
    name = module.__name__.rsplit(".", 1)[-1]
    try:
        ratings = module.load(module.Config(name=name), DATA)
    except MissingData as missing:
        pytest.skip(str(missing))
    assert (ratings.n_users, ratings.n_items, len(ratings.biased), len(ratings.unbiased)) == counts
    assert (ratings.unbiased.values >= 4).mean() == pytest.approx(positive, abs=5e-5)


@pytest.mark.parametrize("module", [coat, yahoo_r3])
def test_missing_files_say_so_in_one_sentence(module, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=str(tmp_path)):
        module.load(module.Config(name="x"), tmp_path)


def test_a_seed_fixes_the_generated_data_set(tmp_path: Path) -> None:
    one, again = (synthetic.load(synthetic.Config(name="synthetic"), tmp_path) for _ in range(2))
    assert one.checksum == again.checksum
    assert np.array_equal(one.biased.items, again.biased.items)
    assert one.truth is not None
    expected = one.truth.propensity.sum()
    assert abs(len(one.biased) - expected) < 5 * np.sqrt(expected)


def test_a_split_covers_every_row_once_and_repeats() -> None:
    one, again, other = split(4640, 3), split(4640, 3), split(4640, 4)
    rows = np.concatenate([one.train, one.validation, one.test])
    assert np.array_equal(np.sort(rows), np.arange(4640))
    assert (len(one.train), len(one.validation)) == (232, 232)
    assert np.array_equal(one.test, again.test)
    assert not np.array_equal(one.test, other.test)
