"""Coat (Schnabel et al., "Recommendations as Treatments", ICML 2016).

290 users rated 24 coats of their own choice and 16 coats drawn at random, out of 300, with 1 to 5
stars. Files: `coat/train.ascii` and `coat/test.ascii`, matrices of 290 x 300 ratings, 0 = not rated; and,
if it is there, `coat/propensities.ascii`, the authors' estimates for every pair.

For those who read side features: `coat/user_item_features/user_features.ascii` (290 x 14: sex, age, location,
interest in fashion) and `item_features.ascii` (300 x 33: sex, type, colour, promotion), matrices of 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Interactions, Ratings, SideFeatures
from bench.errors import BenchError

_TITLES = ("coat",)
REMEDY = (
    "run `make data`, or unpack https://www.cs.cornell.edu/~schnabts/mnar/coat.zip so that they lie there"
)


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Coat has no fields of its own."""


@dataclass(frozen=True, kw_only=True)
class MatrixFile:
    """A matrix of ratings; `rated` cells are not 0."""

    file: str
    rated: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PropensityFile:
    """A matrix of propensities, of which only the published one is taken; sha256 "": any."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """A matrix of features, 0 or 1, with a row for each user or item; sha256 "": any."""

    file: str
    columns: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the release holds."""

    n_users: int
    n_items: int
    train: MatrixFile
    test: MatrixFile
    propensities: PropensityFile
    user_features: FeatureFile
    item_features: FeatureFile


MANIFEST = Manifest(
    n_users=290,
    n_items=300,
    train=MatrixFile(
        file="train.ascii",
        rated=6960,
        sha256="f9088c6e95fa9a42e8be6a92fc77252b95b969e34ed1299c611420da68680873",
    ),
    test=MatrixFile(
        file="test.ascii",
        rated=4640,
        sha256="51fa28550f5bedebc6959d0e7b5e242b173c3c8d16317c7e49b89441304504ce",
    ),
    propensities=PropensityFile(
        file="propensities.ascii",
        sha256="a72e3142a413623c4a6b9d20c4f70fcc017e0db67cc3eb242116f69fb8fb9661",
    ),
    user_features=FeatureFile(
        file="user_item_features/user_features.ascii",
        columns=14,
        sha256="593b59c63a3f983575d3a770b32158fdfa4e2e4f63aafffdee70d1600ff072f8",
    ),
    item_features=FeatureFile(
        file="user_item_features/item_features.ascii",
        columns=33,
        sha256="72b08cc0766d3e9899231aea90c815b5bb08e07dcfba569d5f182da649099f5a",
    ),
)


def load(config: Config, data_dir: Path) -> Ratings:
    """Read Coat from `data_dir/coat`.

    366 of its pairs stand in both files of the release; they are kept, as the literature does, and
    counted in the notes (protocol §3).

    Raises:
        MissingData: a file is absent.
        BenchError: a file is not the release's.
    """
    expected = MANIFEST
    files = (expected.train, expected.test)
    paths = manifest.require(data_dir / "coat", [file.file for file in files], REMEDY, _TITLES)
    shape = (expected.n_users, expected.n_items)
    parts = [_read(path, file, *shape) for path, file in zip(paths, files, strict=True)]
    biased, unbiased = (Interactions(part.users, part.items, part.values) for part in parts)
    source = "train.ascii and test.ascii of the release"
    ratings = manifest.assemble("coat", source, shape, biased, unbiased, files=parts)
    ratings = replace(ratings, features=cache(lambda: _features(expected, data_dir / "coat")))
    propensities = manifest.find(data_dir / "coat", expected.propensities.file, titles=_TITLES)
    if propensities is None:
        return ratings
    return replace(ratings, released_propensity=_read_propensities(propensities, expected))


def _features(expected: Manifest, root: Path) -> SideFeatures:
    """The side features of users and items.

    Raises:
        MissingData: a file is absent.
        BenchError: a file is not the release's.
    """
    files = (expected.user_features, expected.item_features)
    paths = manifest.require(root, [file.file for file in files], REMEDY, _TITLES)
    counts = (("users", expected.n_users), ("items", expected.n_items))
    users, items = (
        _read_features(path, file, *count) for path, file, count in zip(paths, files, counts, strict=True)
    )
    return SideFeatures(users, items, manifest.checksum(users, items))


def _read_features(path: manifest.Place, expected: FeatureFile, whose: str, rows: int) -> NDArray[np.float32]:
    """A matrix of features (rows, K)."""
    text = manifest.read_text(path)
    bad = manifest.first_bad_line(text, rf"[ \t]*[01](?:[ \t]+[01]){{{expected.columns - 1}}}[ \t]*")
    if bad:
        wanted = f"{expected.columns} features of 0 or 1 separated by spaces"
        raise manifest.line_error(path, bad[0], wanted, manifest.quote(bad[1]))
    manifest.check_count(path, f"rows of {whose}", rows, manifest.count_lines(text))
    if expected.sha256 and not manifest.is_published(text, expected.sha256):
        raise BenchError(f"{path} is not the file of the release: {manifest.REMEDY}.")
    return np.array(text.split(), dtype=np.float32).reshape(rows, expected.columns)


def _read_propensities(path: manifest.Place, expected: Manifest) -> NDArray[np.float32]:
    """The release's propensities, (U, I)."""
    text = manifest.read_text(path)
    if expected.propensities.sha256 and not manifest.is_published(text, expected.propensities.sha256):
        raise BenchError(
            f"{path}: expected the propensities of the release, found other ones; {manifest.REMEDY}, or "
            "remove it, since only `method.propensity=released` asks for it."
        )
    return np.array(text.split(), dtype=np.float32).reshape(expected.n_users, expected.n_items)


def _read(path: manifest.Place, expected: MatrixFile, n_users: int, n_items: int) -> manifest.Pairs:
    """The rated cells of one matrix, in row order, with zero-based ids."""
    text = manifest.read_text(path)
    published = manifest.is_published(text, expected.sha256)
    if not published:
        bad = manifest.first_bad_line(text, rf"[ \t]*[0-5](?:[ \t]+[0-5]){{{n_items - 1}}}[ \t]*")
        if bad:
            line, row = bad
            words = row.split()
            wrong = [word for word in words if word not in set("012345")]
            found = repr(wrong[0][:20]) if wrong else f"{len(words)} numbers"
            raise manifest.line_error(path, line, f"{n_items} ratings of 0 to 5 separated by spaces", found)
        manifest.check_count(path, "rows", n_users, manifest.count_lines(text))
    matrix = np.array(text.split(), dtype=np.float32).reshape(n_users, n_items)
    users, items = np.nonzero(matrix)
    manifest.check_count(path, "rated cells", expected.rated, len(users))
    altered = "" if published or not expected.sha256 else path.name
    return manifest.Pairs(users.astype(np.int64), items.astype(np.int64), matrix[users, items], altered)
