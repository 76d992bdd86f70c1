"""Coat as a data set of which every model reads the side features."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import methods
from bench import compose
from bench.data import Ratings
from bench.data.ratings import side_features
from tests.every_row import of_each_kind


def test_its_ratings_are_coats(real: Callable[..., Ratings]) -> None:
    coat, found = real("coat"), real("coat_features")
    assert (found.name, found.checksum) == ("coat_features", coat.checksum)
    assert side_features(found).checksum == side_features(coat).checksum


def test_it_is_configured_as_coat_but_for_the_backbone() -> None:
    compose.register()
    coat, found = (compose.composed([f"dataset={name}"]).dataset for name in ("coat", "coat_features"))
    apart = {name for name, value in vars(coat).items() if vars(found)[name] != value}
    assert apart == {"name", "title", "paper", "note", "backbone"}


@pytest.mark.parametrize("key", of_each_kind(methods.names()))
def test_every_row_reads_the_features_there_and_nowhere_else(key: str) -> None:
    compose.register()
    for dataset, backbone in (("coat", "ids"), ("coat_features", "features")):
        assert compose.composed([f"dataset={dataset}", f"method={key}"]).method.backbone == backbone
