"""Coat: two matrices of stars."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import Ratings, coat
from bench.data.ratings import side_features
from bench.errors import BenchError, MissingData

FEATURES = {
    "user_features.ascii": "1 0\n0 1\n",
    "item_features.ascii": "1 0 0 1\n1 0 1 0\n0 1 0 0\n",
}
FILES = {"train.ascii": "0 5 1\n2 0 0\n", "test.ascii": "0 0 4\n3 0 0\n"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two users and three coats, and a manifest that describes it."""
    train, test = (
        replace(file, rated=rated, sha256="")
        for file, rated in ((coat.MANIFEST.train, 3), (coat.MANIFEST.test, 2))
    )
    of_users, of_items = (
        replace(file, columns=columns, sha256="")
        for file, columns in ((coat.MANIFEST.user_features, 2), (coat.MANIFEST.item_features, 4))
    )
    small = replace(
        coat.MANIFEST,
        n_users=2,
        n_items=3,
        train=train,
        test=test,
        user_features=of_users,
        item_features=of_items,
    )
    monkeypatch.setattr(coat, "MANIFEST", small)
    (tmp_path / "coat").mkdir()
    for name, text in FILES.items():
        (tmp_path / "coat" / name).write_text(text)
    return tmp_path


def load(root: Path) -> Ratings:
    return coat.load(coat.Config(name="coat"), root)


def test_the_release(real: Callable[..., Ratings]) -> None:
    ratings = real("coat")
    assert (ratings.n_users, ratings.n_items) == (290, 300)
    assert (np.bincount(ratings.biased.users) == 24).all()
    assert (np.bincount(ratings.unbiased.users) == 16).all()
    for part, share_of_3, share_of_4 in (
        (ratings.biased, 0.5204, 0.2737),
        (ratings.unbiased, 0.4013, 0.1853),
    ):
        assert (part.values >= 3).mean() == pytest.approx(share_of_3, abs=5e-5)
        assert (part.values >= 4).mean() == pytest.approx(share_of_4, abs=5e-5)
    assert ratings.notes == {"pairs_in_both": 366}
    assert ratings.comparable
    if ratings.released_propensity is not None:
        assert ratings.released_propensity.shape == (290, 300)
        assert ratings.released_propensity.mean() == pytest.approx(ratings.density, abs=5e-5)


def test_rated_cells_are_pairs(root: Path) -> None:
    ratings = load(root)
    assert ratings.biased.users.tolist() == [0, 0, 1]
    assert ratings.biased.items.tolist() == [1, 2, 0]
    assert ratings.biased.values.tolist() == [5, 1, 2]
    assert ratings.notes["pairs_in_both"] == 2
    assert ratings.density == 0.5
    kinds = [array.dtype for array in vars(ratings.unbiased).values()]
    assert kinds == [np.int64, np.int64, np.float32]


def test_line_ends_and_spaces_do_not_change_the_checksum(root: Path) -> None:
    before = load(root).checksum
    (root / "coat" / "train.ascii").write_bytes(b"0 5 1\r\n2 0 0\r\n")
    assert load(root).checksum == before
    (root / "coat" / "train.ascii").write_bytes(b" 0\t5  1 \n2 0 0")
    assert load(root).checksum == before
    (root / "coat" / "train.ascii").write_bytes(b"0 5 1\n3 0 0\n")
    assert load(root).checksum != before


def test_the_releases_propensities_are_read_where_they_lie(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = load(root)
    text = "0.5 0.25 0.125\n0.1 0.2 0.3\n"
    folder = root / "coat" / "unpacked"
    folder.mkdir()
    (folder / "propensities.ascii").write_text(text)
    published = replace(coat.MANIFEST.propensities, sha256=hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setattr(coat, "MANIFEST", replace(coat.MANIFEST, propensities=published))
    ratings = load(root)
    assert without.released_propensity is None and ratings.released_propensity is not None
    assert ratings.released_propensity.dtype == np.float32
    assert ratings.released_propensity.tolist() == pytest.approx(
        np.array([[0.5, 0.25, 0.125], [0.1, 0.2, 0.3]])
    )
    assert ratings.checksum == without.checksum  # the same ratings, with and without the file


def test_other_propensities_than_the_published_ones_are_refused(
    root: Path, refusal: Callable[..., str]
) -> None:
    """Their content is no part of a record's identity, so it must be known."""
    file = root / "coat" / "propensities.ascii"
    file.write_text("0.5 0.25 0.125\n0.1 0.2 0.3\n")
    assert refusal(load, root).startswith(
        f"{file}: expected the propensities of the release, found other ones"
    )


def test_another_file_than_the_published_one_is_marked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(coat.MANIFEST, test=replace(coat.MANIFEST.test, sha256="0" * 64))
    monkeypatch.setattr(coat, "MANIFEST", known)
    ratings = load(root)
    assert not ratings.comparable
    assert ratings.source.endswith("altered: test.ascii")
    assert ratings.notes["altered_files"] == "test.ascii"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 5 1\n2 0\n", ", line 2: expected 3 ratings of 0 to 5 separated by spaces, found 2 numbers;"),
        ("0 5 7\n2 0 0\n", ", line 1: expected 3 ratings of 0 to 5 separated by spaces, found '7';"),
        ("0 5 1\n2 x 0\n", ", line 2: expected 3 ratings of 0 to 5 separated by spaces, found 'x';"),
        ("0 5 1\n\n2 0 0\n", ", line 2: expected 3 ratings of 0 to 5 separated by spaces, found 0 numbers;"),
        ("0 5 1\n", ": expected 2 rows, found 1;"),
        ("", ": expected 2 rows, found 0;"),
        ("0 5 1\n0 0 0\n", ": expected 3 rated cells, found 2;"),
    ],
)
def test_a_wrong_matrix(root: Path, refusal: Callable[..., str], text: str, said: str) -> None:
    file = root / "coat" / "train.ascii"
    file.write_text(text)
    assert refusal(load, root) == f"{file}{said} replace it by the release's own file."


def test_absent_files_say_where_to_get_them(root: Path) -> None:
    (root / "coat" / "test.ascii").unlink()
    with pytest.raises(
        MissingData, match=r"test\.ascii is missing under .*train\.ascii\): run `make data`, or unpack"
    ):
        load(root)
    with pytest.raises(MissingData, match=r"train\.ascii and test\.ascii are missing under"):
        load(root / "elsewhere")


# --- Side features ----------------------------------------------------------------------------------


def write_features(root: Path, **texts: str) -> None:
    (root / "coat" / "user_item_features").mkdir()
    for name, text in FEATURES.items():
        key = name.partition("_")[0]
        (root / "coat" / "user_item_features" / name).write_text(texts.get(key, text))


def test_the_features_of_the_release(real: Callable[..., Ratings]) -> None:
    found = side_features(real("coat"))
    assert found.users is not None and found.items is not None
    assert (found.users.shape, found.items.shape) == ((290, 14), (300, 33))
    # Sex, age, location and interest; sex, type, colour and whether on the front page: one of each.
    assert (found.users.sum(1) == 4).all() and (found.items.sum(1) == 4).all()


def test_features_are_rows_of_users_and_items(root: Path) -> None:
    write_features(root)
    found = side_features(load(root))
    assert found.users is not None and found.items is not None
    assert found.users.tolist() == [[1, 0], [0, 1]]
    assert found.items.tolist() == [[1, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0]]


def test_ratings_are_the_same_without_the_files_of_features(root: Path) -> None:
    without = load(root)
    with pytest.raises(
        MissingData, match=r"user_features.ascii and user_item_features/item_features.ascii are missing"
    ):
        side_features(without)
    write_features(root)
    assert load(root).checksum == without.checksum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0\n0 2\n", r"line 2: expected 2 features of 0 or 1 separated by spaces, found '0 2'"),
        ("1 0\n0 1\n1 0\n", "expected 2 rows of users, found 3"),
    ],
)
def test_other_features_are_refused(root: Path, text: str, message: str) -> None:
    write_features(root, user=text)
    with pytest.raises(BenchError, match=message):
        side_features(load(root))


def test_features_that_are_not_the_releases_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_features(root)
    whole = coat.MANIFEST
    monkeypatch.setattr(
        coat, "MANIFEST", replace(whole, user_features=replace(whole.user_features, sha256="0" * 64))
    )
    with pytest.raises(BenchError, match=r"user_features.ascii is not the file of the release"):
        side_features(load(root))
