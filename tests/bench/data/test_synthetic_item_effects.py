"""The second generated world: today's model under the settings that the suite began with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import compose, data

WEIGHTS = [5324126741, 3961727953, 10889279, 2298592400, 1725426465, 4705613]


def test_its_ratings_are_those_that_the_suite_began_with() -> None:
    compose.register()
    config = compose.composed(["dataset=synthetic_item_effects"]).dataset
    ratings = data.load(config, Path("nowhere"))
    assert ratings.name == "synthetic_item_effects"
    arrays = (*vars(ratings.biased).values(), *vars(ratings.unbiased).values())
    # Their number, and a sum that any other pair or rating would move.
    weights = [int((np.arange(1, len(array) + 1) * array.astype(np.int64)).sum()) for array in arrays]
    assert (len(ratings.biased), len(ratings.unbiased), weights) == (7291, 4800, WEIGHTS)
