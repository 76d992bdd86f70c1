"""Small files of the releases' formats: right ones are read, wrong ones give one sentence each."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import coat, kuairec, yahoo_r3
from bench.data.ratings import Ratings
from bench.errors import BenchError, MissingData

TRAIN = "ydata-ymusic-rating-study-v1_0-train.txt"
TEST = "ydata-ymusic-rating-study-v1_0-test.txt"


# --- Yahoo! R3: lines of user, song, rating -------------------------------------------------------------


@pytest.fixture
def yahoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three users, four songs; the manifest knows the small files."""
    expected = yahoo_r3.MANIFEST
    small = [
        replace(file, rows=rows, users=(1, 3), items=(1, 4), sha256="0" * 64)
        for file, rows in ((expected.train, 5), (expected.test, 2))
    ]
    monkeypatch.setattr(
        yahoo_r3, "MANIFEST", replace(expected, n_users=3, n_items=4, train=small[0], test=small[1])
    )
    folder = tmp_path / "yahoo_r3"
    folder.mkdir()
    (folder / TRAIN).write_bytes(b"1\t1\t5\n1\t2\t1\n2\t4\t3\n3\t1\t4\n3\t3\t2\n")
    (folder / TEST).write_bytes(b"1\t3\t4\n2\t1\t1\n")
    return tmp_path


def load_yahoo(root: Path) -> Ratings:
    return yahoo_r3.load(yahoo_r3.Config(name="yahoo_r3"), root)


def test_pairs_are_read_with_ids_from_zero(yahoo: Path) -> None:
    ratings = load_yahoo(yahoo)
    assert ratings.biased.users.tolist() == [0, 0, 1, 2, 2]
    assert ratings.biased.items.tolist() == [0, 1, 3, 0, 2]
    assert ratings.biased.values.tolist() == [5, 1, 3, 4, 2]
    assert ratings.density == 5 / 12


def test_a_file_that_is_not_the_published_one_is_never_compared_with_the_paper(yahoo: Path) -> None:
    ratings = load_yahoo(yahoo)
    assert not ratings.comparable
    assert TRAIN in ratings.source


def test_line_ends_do_not_count_and_values_do(yahoo: Path) -> None:
    before = load_yahoo(yahoo).checksum
    file = yahoo / "yahoo_r3" / TRAIN
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_yahoo(yahoo).checksum == before
    file.write_bytes(file.read_bytes().replace(b"1\t1\t5", b"1\t1\t4"))
    assert load_yahoo(yahoo).checksum != before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"2\t4\t3\n", b"", "expected 5 rows, found 4"),
        (b"2\t4\t3\n", b"2\t4\t6\n", "line 3: expected a rating of 1 to 5, found 6"),
        (b"2\t4\t3\n", b"0\t4\t3\n", "line 3: expected a user of 1 to 3, found 0"),
        (b"2\t4\t3\n", b"2\t5\t3\n", "line 3: expected a song of 1 to 4, found 5"),
        (
            b"2\t4\t3\n",
            b"1\t2\t3\n",
            "line 3: expected a pair that stands once, found user 1 and item 2 as in line 2",
        ),
        (b"2\t4\t3\n", b"2\t4\n", "line 3: expected user (whole number), song (whole number), rating (whole"),
        (b"2\t4\t3\n", b"2 4 3\n", "separated by tabs, found '2 4 3'"),
        (b"2\t4\t3\n", b"2\t4\tx\n", r"line 3: .* found '2\\t4\\tx'"),
        (b"2\t4\t3\n", b"\n", "line 3: .* found an empty line"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_expected_and_found(
    yahoo: Path, old: bytes, new: bytes, said: str
) -> None:
    file = yahoo / "yahoo_r3" / TRAIN
    file.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(BenchError) as raised:
        load_yahoo(yahoo)
    text = str(raised.value)
    pattern = said if "\\" in said or ".*" in said else re.escape(said)
    assert re.search(pattern, text), text
    assert str(file) in text and "replace it by the release's own file" in text
    assert "\n" not in text


def test_absent_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=f"{TRAIN} and {TEST} are missing under .*Webscope"):
        load_yahoo(tmp_path)
    (tmp_path / "yahoo_r3").mkdir()
    (tmp_path / "yahoo_r3" / TRAIN).write_text("")
    with pytest.raises(MissingData, match=f"{TEST} is missing"):
        load_yahoo(tmp_path)


# --- Coat: matrices ---------------------------------------------------------------------------------------


@pytest.fixture
def small_coat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expected = coat.MANIFEST
    small = [
        replace(file, rated=rated, sha256="0" * 64)
        for file, rated in ((expected.train, 3), (expected.test, 2))
    ]
    monkeypatch.setattr(
        coat, "MANIFEST", replace(expected, n_users=2, n_items=3, train=small[0], test=small[1])
    )
    folder = tmp_path / "coat"
    folder.mkdir()
    (folder / "train.ascii").write_text("0 5 1\n2 0 0\n")
    (folder / "test.ascii").write_text("0 0 4\n3 0 0\n")
    return tmp_path


def load_coat(root: Path) -> Ratings:
    return coat.load(coat.Config(name="coat"), root)


def test_rated_cells_of_a_matrix_are_pairs(small_coat: Path) -> None:
    ratings = load_coat(small_coat)
    assert ratings.biased.users.tolist() == [0, 0, 1]
    assert ratings.biased.items.tolist() == [1, 2, 0]
    assert ratings.biased.values.tolist() == [5, 1, 2]
    assert ratings.notes["pairs_in_both"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 5 1\n2 0\n", "line 2: expected 3 ratings of 0 to 5 separated by spaces, found 2 numbers"),
        ("0 5 7\n2 0 0\n", "line 1: expected 3 ratings of 0 to 5 separated by spaces, found '7'"),
        ("0 5 1\n", "expected 2 rows, found 1"),
        ("0 5 1\n0 0 0\n", "expected 3 rated cells, found 2"),
    ],
)
def test_a_wrong_matrix_is_one_sentence(small_coat: Path, text: str, said: str) -> None:
    (small_coat / "coat" / "train.ascii").write_text(text)
    with pytest.raises(BenchError, match=re.escape(said)):
        load_coat(small_coat)


# --- KuaiRec: three sources -------------------------------------------------------------------------------

USERS, VIDEOS = [10, 20, 30], [100, 200, 300, 400]
POSITIVE = {(10, 100), (10, 300), (20, 200), (30, 400)}
TEST_PAIRS = [(10, 100), (10, 200), (20, 300), (20, 400), (30, 100), (30, 400)]


def ratio(pair: tuple[int, int]) -> float:
    return 2.5 if pair in POSITIVE else 0.5


@pytest.fixture
def small_kuairec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expected = kuairec.MANIFEST
    monkeypatch.setattr(
        kuairec,
        "MANIFEST",
        replace(
            expected,
            n_users=3,
            n_items=4,
            user=replace(expected.user, rows=4),
            random=replace(expected.random, rows=6, sha256=""),
            matrix=replace(expected.matrix, rows=12),
            labels=replace(expected.labels, rows=4, sha256=""),
        ),
    )
    (tmp_path / "kuairec").mkdir()
    return tmp_path


def write_random(root: Path) -> Path:
    file = root / "kuairec" / "random.txt"
    file.write_text("".join(f"{u},{v},{ratio((u, v))}\n" for u, v in TEST_PAIRS))
    return file


def write_labels(root: Path) -> Path:
    lines = ["user_id,video_id,in_advinfonce,in_gcdr", *(f"{u},{v},1,0" for u, v in sorted(POSITIVE))]
    file = root / "kuairec" / "small_matrix_watch_ratio_ge2.csv.gz"
    file.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    (root / "kuairec" / "small_matrix_video_ids.txt").write_text("".join(f"{v}\n" for v in VIDEOS))
    return file


def load_kuairec(root: Path, **fields: object) -> Ratings:
    settings = {"n_biased": 4, "unbiased_per_user": 2, **fields}
    return kuairec.load(kuairec.Config(name="kuairec", threshold=2, **settings), root)  # type: ignore[arg-type]


def cells(ratings: Ratings) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    return tuple(  # type: ignore[return-value]
        set(zip(part.users.tolist(), part.items.tolist(), strict=True))
        for part in (ratings.biased, ratings.unbiased)
    )


def test_labels_draw_the_biased_set_outside_the_test_set(small_kuairec: Path) -> None:
    write_random(small_kuairec)
    write_labels(small_kuairec)
    ratings = load_kuairec(small_kuairec)
    biased, unbiased = cells(ratings)
    assert len(biased) == 4 and len(unbiased) == 6 and not biased & unbiased
    for user, item, value in zip(
        ratings.biased.users, ratings.biased.items, ratings.biased.values, strict=True
    ):
        assert (value >= 2) == ((USERS[user], VIDEOS[item]) in POSITIVE)
    assert "simulated selection" in ratings.source and not ratings.comparable
    assert cells(load_kuairec(small_kuairec)) == (biased, unbiased)
    assert any(cells(load_kuairec(small_kuairec, selection_seed=s))[0] != biased for s in range(1, 6))


def test_the_literatures_split_comes_first(small_kuairec: Path) -> None:
    write_random(small_kuairec)
    write_labels(small_kuairec)
    rest = [(10, 300), (20, 100), (30, 200), (30, 300)]
    file = small_kuairec / "kuairec" / "user.txt"
    file.write_text("".join(f"{u},{v},{ratio((u, v))}\n" for u, v in rest))
    ratings = load_kuairec(small_kuairec)
    assert ratings.source.startswith("split")
    assert cells(ratings)[0] == {(0, 2), (1, 0), (2, 1), (2, 2)}
    assert load_kuairec(small_kuairec, source="labels").source.startswith("real labels")


def test_the_matrix_gives_every_user_the_same_number_of_unbiased_ratings(small_kuairec: Path) -> None:
    header = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    rows = [f"{u},{v},1,2,,,,{ratio((u, v))}" for u in USERS for v in VIDEOS]
    file = small_kuairec / "kuairec" / "small_matrix.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    ratings = load_kuairec(small_kuairec)
    biased, unbiased = cells(ratings)
    assert np.bincount(ratings.unbiased.users).tolist() == [2, 2, 2]
    assert len(biased) == 4 and not biased & unbiased
    # The order of the file's rows does not count.
    file.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert load_kuairec(small_kuairec).checksum == ratings.checksum
    file.write_text("\n".join(["user,video", *rows]) + "\n")
    with pytest.raises(BenchError, match="line 1: expected the header 'user_id,video_id"):
        load_kuairec(small_kuairec)


def test_sources_that_are_incomplete_or_contradict_each_other_are_named(small_kuairec: Path) -> None:
    with pytest.raises(MissingData, match=r"user\.txt and random\.txt; or small_matrix\.csv; or"):
        load_kuairec(small_kuairec)
    random = write_random(small_kuairec)
    labels = write_labels(small_kuairec)
    with pytest.raises(BenchError, match="did you mean 'labels'"):
        load_kuairec(small_kuairec, source="label")
    with pytest.raises(BenchError, match="n_biased=7 is more than the 6 cells"):
        load_kuairec(small_kuairec, n_biased=7)
    random.write_text(random.read_text().replace("10,100,2.5", "10,100,1.5"))
    with pytest.raises(BenchError, match=r"random\.txt, line 1: expected a watch ratio that agrees"):
        load_kuairec(small_kuairec)
    write_random(small_kuairec)
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(BenchError, match="expected a whole gzip file, found a damaged one"):
        load_kuairec(small_kuairec)


def test_self_selection_and_boost_shift_what_is_drawn() -> None:
    """kappa = 0, c = 0 is uniform; a boost of c draws positives (1 + c) times as readily."""
    users = np.repeat(np.arange(200), 100)
    labels = np.tile(np.arange(100) < 10, 200)

    def share(strength: float, boost: float) -> float:
        return float(labels[kuairec.select(users, labels, 200, 1000, strength, boost, seed=1)].mean())

    assert share(0, 0) == pytest.approx(0.1, abs=0.03)
    assert share(0, 9) == pytest.approx(10 / 19, abs=0.06)
    picks = kuairec.select(users, labels, 200, 4000, 3.0, 0.0, seed=1)
    of_user = np.array([labels[picks[users[picks] == user]].mean() for user in np.unique(users[picks])])
    assert of_user.std() > 0.3  # some users show only what they like, others only what they do not
