"""KuaiRec: its three sources, and the rule that draws a biased set where the literature's is absent."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import Interactions, Ratings, kuairec
from bench.data.ratings import side_features
from bench.errors import BenchError, MissingData

USERS, VIDEOS = [10, 20, 30], [100, 200, 300, 400]
POSITIVE = {(10, 100), (10, 300), (20, 200), (30, 400)}
TEST = [(10, 100), (10, 200), (20, 300), (20, 400), (30, 100), (30, 400)]
LITERATURE = [(10, 300), (20, 100), (30, 200), (30, 300)]
MATRIX_HEADER = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
LABELS, VIDEO_IDS = "small_matrix_watch_ratio_ge2.csv.gz", "small_matrix_video_ids.txt"


def ratio(pair: tuple[int, int]) -> float:
    return 2.5 if pair in POSITIVE else 0.5


def triples(pairs: list[tuple[int, int]]) -> str:
    return "".join(f"{user},{video},{ratio((user, video))}\n" for user, video in pairs)


TEXTS = {
    "user.txt": triples(LITERATURE),
    "random.txt": triples(TEST),
    "small_matrix.csv": f"{MATRIX_HEADER}\n"
    + "".join(
        f"{user},{video},99,33,,20200705,,{ratio((user, video))}\n" for user in USERS for video in VIDEOS
    ),
    LABELS: "user_id,video_id,in_advinfonce,in_gcdr\n"
    + "".join(f"{user},{video},1,0\n" for user, video in sorted(POSITIVE)),
    VIDEO_IDS: "".join(f"{video}\n" for video in VIDEOS),
}
SOURCES = {
    "split": ("user.txt", "random.txt"),
    "matrix": ("small_matrix.csv",),
    "labels": (LABELS, VIDEO_IDS, "random.txt"),
}


@pytest.fixture(autouse=True)
def small_manifest(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Three users and four videos, unless the test reads the real files."""
    if "real" in request.fixturenames:
        return
    whole = kuairec.MANIFEST
    user_txt = TEXTS["user.txt"].encode()
    small = replace(
        whole,
        n_users=3,
        n_items=4,
        user=replace(
            whole.user, rows=4, git_blob=hashlib.sha1(b"blob %d\0" % len(user_txt) + user_txt).hexdigest()
        ),
        random=replace(whole.random, rows=6, sha256=hashlib.sha256(TEXTS["random.txt"].encode()).hexdigest()),
        matrix=replace(whole.matrix, rows=12),
        labels=replace(whole.labels, rows=4, sha256=""),
    )
    monkeypatch.setattr(kuairec, "MANIFEST", small)


def write(root: Path, *files: str, folder: str = "") -> None:
    """Write files in the formats of the releases."""
    place = root / "kuairec" / folder
    place.mkdir(parents=True, exist_ok=True)
    for file in files:
        text = TEXTS[file].encode()
        (place / file).write_bytes(gzip.compress(text) if file.endswith(".gz") else text)


def rewrite(root: Path, file: str, old: str, new: str) -> Path:
    """Write a file with a change in its text."""
    text = TEXTS[file].replace(old, new).encode()
    path = root / "kuairec" / file
    path.write_bytes(gzip.compress(text) if file.endswith(".gz") else text)
    return path


def load(root: Path, **fields: object) -> Ratings:
    settings = {"threshold": 2, "n_biased": 4, "unbiased_per_user": 2, **fields}
    return kuairec.load(kuairec.Config(name="kuairec", **settings), root)  # type: ignore[arg-type]


def pairs(part: Interactions) -> set[tuple[int, int]]:
    """The pairs in the files' ids."""
    return {(USERS[user], VIDEOS[item]) for user, item in zip(part.users, part.items, strict=True)}


def test_the_release_by_its_labels(real: Callable[..., Ratings]) -> None:
    ratings = real("kuairec", source="labels", threshold=2)
    assert (ratings.n_users, ratings.n_items) == (1411, 3327)
    assert (len(ratings.biased), len(ratings.unbiased)) == (201171, 117113)
    assert (np.bincount(ratings.unbiased.users) == 83).all()
    assert len(np.unique(ratings.unbiased.items)) == 2519
    assert (ratings.unbiased.values >= 2).sum() == 5801
    assert ratings.notes["pairs_in_both"] == 0
    assert "altered_files" not in ratings.notes
    assert not ratings.comparable


def test_the_literatures_split_comes_first(tmp_path: Path) -> None:
    write(tmp_path, *TEXTS)
    ratings = load(tmp_path)
    assert ratings.source == "split: user.txt and random.txt of the literature"
    assert ratings.comparable
    assert pairs(ratings.biased) == set(LITERATURE)
    assert pairs(ratings.unbiased) == set(TEST)
    assert ratings.unbiased.values.tolist() == [2.5, 0.5, 0.5, 0.5, 0.5, 2.5]
    assert load(tmp_path, selection_seed=5, positive_boost=1.0).checksum == ratings.checksum


def test_another_split_than_the_literatures_is_not_compared_with_the_paper(tmp_path: Path) -> None:
    write(tmp_path, *SOURCES["split"])
    rewrite(tmp_path, "user.txt", "10,300,2.5", "10,300,2.25")
    ratings = load(tmp_path)
    assert not ratings.comparable
    assert ratings.source.endswith("altered: user.txt")


def test_the_matrix_comes_next_and_gives_every_user_as_many_unbiased_ratings(tmp_path: Path) -> None:
    write(tmp_path, *SOURCES["matrix"], *SOURCES["labels"])
    ratings = load(tmp_path)
    assert ratings.source == "real labels, simulated selection (small_matrix.csv)"
    assert not ratings.comparable
    assert np.bincount(ratings.unbiased.users).tolist() == [2, 2, 2]
    assert len(pairs(ratings.biased)) == 4
    assert not pairs(ratings.biased) & pairs(ratings.unbiased)
    for part in (ratings.biased, ratings.unbiased):
        known = {pair for pair, value in zip(sorted(pairs(part)), part.values, strict=True) if value >= 2}
        assert known == pairs(part) & POSITIVE


def test_the_order_of_the_matrixs_rows_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, "small_matrix.csv")
    before = load(tmp_path)
    header, *rows = TEXTS["small_matrix.csv"].splitlines()
    (tmp_path / "kuairec" / "small_matrix.csv").write_text("\n".join([header, *reversed(rows)]))
    assert load(tmp_path).checksum == before.checksum


def test_labels_come_last_and_draw_outside_the_test_set(tmp_path: Path) -> None:
    write(tmp_path, *SOURCES["labels"])
    ratings = load(tmp_path)
    assert ratings.source == "real labels, simulated selection (labels of the small matrix, random.txt)"
    assert not ratings.comparable
    assert pairs(ratings.unbiased) == set(TEST)
    assert len(pairs(ratings.biased)) == 4
    assert not pairs(ratings.biased) & set(TEST)
    for user, item, value in zip(*vars(ratings.biased).values(), strict=True):
        assert value == (2 if (USERS[user], VIDEOS[item]) in POSITIVE else 0)


@pytest.mark.parametrize("source", SOURCES)
def test_line_ends_do_not_count(tmp_path: Path, source: str) -> None:
    write(tmp_path, *SOURCES[source])
    before = load(tmp_path, source=source)
    for file in SOURCES[source]:
        rewrite(tmp_path, file, "\n", "\r\n")
    after = load(tmp_path, source=source)
    assert (after.checksum, after.comparable) == (before.checksum, before.comparable)


@pytest.mark.parametrize("source", ["matrix", "labels"])
def test_the_rule_is_part_of_the_checksum_and_of_the_notes(tmp_path: Path, source: str) -> None:
    write(tmp_path, *SOURCES[source])
    rules = [{}, {"selection_seed": 1}, {"positive_boost": 9.0}, {"selection_strength": 0.1}, {"n_biased": 3}]
    drawn = [load(tmp_path, **rule) for rule in rules]
    assert len({ratings.checksum for ratings in drawn}) == len(rules)
    assert load(tmp_path).checksum == drawn[0].checksum
    assert drawn[1].notes["selection_seed"] == 1


@pytest.mark.parametrize("folder", kuairec.FOLDERS)
def test_files_may_lie_in_the_folders_of_the_releases(tmp_path: Path, folder: str) -> None:
    write(tmp_path, "small_matrix.csv", folder=folder)
    assert load(tmp_path).n_items == 4


COLUMNS = "user_id (whole number), video_id (whole number), watch_ratio (number) separated by commas"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("user.txt", "10,300,2.5\n", "", ": expected 4 rows, found 3;"),
        ("user.txt", "300,2.5", "300,-0.5", ", line 1: expected a watch_ratio of 0 or more, found -0.5;"),
        ("user.txt", "300,2.5", "300,1e999", ", line 1: expected a watch_ratio of 0 or more, found inf;"),
        ("user.txt", "300,2.5", "300,nan", f", line 1: expected {COLUMNS}, found '10,300,nan';"),
        ("user.txt", "10,300", "9999,300", ", line 1: expected a user_id of 0 to 7175, found 9999;"),
        ("user.txt", "10,300", "10,10728", ", line 1: expected a video_id of 0 to 10727, found 10728;"),
        ("user.txt", "10,300", "10,555", ": expected 4 videos in it and in random.txt, found 5;"),
        ("user.txt", "10,300", "11,300", ": expected 3 users in it and in random.txt, found 4;"),
        (
            "user.txt",
            "30,200",
            "20,100",
            ", line 3: expected a pair that stands once, found user 20 and item 100 as in line 2;",
        ),
        (
            "small_matrix.csv",
            MATRIX_HEADER,
            "user_id,video_id",
            f", line 1: expected the header '{MATRIX_HEADER}', found 'user_id,video_id';",
        ),
        ("small_matrix.csv", "20,200,99,", "20,200,", ", line 7: expected user_id (whole number), "),
        (
            "small_matrix.csv",
            "20,200,",
            "20,100,",
            ", line 7: expected a pair that stands once, found user 20 and item 100 as in line 6;",
        ),
        ("small_matrix.csv", "10,400", "40,400", ": expected 3 users, found 4;"),
        ("small_matrix.csv", "10,400", "10,500", ": expected 4 videos, found 5;"),
        (LABELS, "20,200", "20,250", f", line 4: expected a video_id of {VIDEO_IDS}, found 250;"),
        (LABELS, "20,200", "25,200", None),
        (VIDEO_IDS, "200", "99999", ", line 2: expected a video_id of 0 to 10727, found 99999;"),
        (VIDEO_IDS, "200", "two", ", line 2: expected a video_id of 0 to 10727, found 'two';"),
        (VIDEO_IDS, "200", "100", ": expected 4 different ids, found 3;"),
    ],
)
def test_a_wrong_file(
    tmp_path: Path, refusal: Callable[..., str], file: str, old: str, new: str, said: str | None
) -> None:
    write(tmp_path, *next(files for files in SOURCES.values() if file in files))
    path = rewrite(tmp_path, file, old, new)
    sentence = refusal(load, tmp_path)
    if said is None:  # a user that only the labels have: random.txt is the file that should know it
        path, said = path.with_name("random.txt"), f": expected 3 users in it and in {file}, found 4;"
    assert sentence.startswith(f"{path}{said}")
    assert sentence.endswith("replace it by the release's own file.")


@pytest.mark.parametrize(("text", "found"), [(b"", "an empty file"), (MATRIX_HEADER.encode(), None)])
def test_a_matrix_without_rows(
    tmp_path: Path, refusal: Callable[..., str], text: bytes, found: str | None
) -> None:
    write(tmp_path, "small_matrix.csv")
    (tmp_path / "kuairec" / "small_matrix.csv").write_bytes(text)
    assert (f"found {found};" if found else "expected 12 rows, found 0;") in refusal(load, tmp_path)


def test_labels_that_contradict_the_test_set(tmp_path: Path, refusal: Callable[..., str]) -> None:
    write(tmp_path, *SOURCES["labels"])
    path = rewrite(tmp_path, "random.txt", "10,100,2.5", "10,100,1.5")
    assert refusal(load, tmp_path) == (
        f"{path}, line 1: expected a watch ratio that agrees with the positives of {LABELS}, "
        "found a watch ratio of 1.5; replace it by the release's own file."
    )


def test_a_gzip_file_that_was_cut_off(tmp_path: Path, refusal: Callable[..., str]) -> None:
    write(tmp_path, *SOURCES["labels"])
    path = tmp_path / "kuairec" / LABELS
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:-1], whole[:5], b"user_id,video_id\n"):
        path.write_bytes(damaged)
        sentence = refusal(load, tmp_path)
        assert sentence.startswith(f"{path}: expected a whole gzip file, found a damaged one (")
        assert sentence.endswith("; replace it by the release's own file.")


def test_absent_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingData) as raised:
        load(tmp_path)
    assert str(raised.value) == (
        f"KuaiRec is incomplete under {tmp_path / 'kuairec'}, where there should also be "
        f"user.txt and random.txt; or small_matrix.csv; or {LABELS} and {VIDEO_IDS} and random.txt: "
        f"{kuairec.REMEDY}."
    )
    write(tmp_path, "random.txt", "small_matrix.csv")
    with pytest.raises(MissingData, match=r"also be user\.txt \(there is .*random\.txt\): run `make data`"):
        load(tmp_path, source="split")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "label"}, "dataset.source=label is not known: did you mean 'labels'?"),
        ({"n_biased": 7}, "dataset.n_biased=7 is more than the 6 cells that can be drawn."),
        ({"n_biased": 0}, "dataset.n_biased must be at least 1, but it is 0."),
        (
            {"positive_boost": -1.0},
            "dataset.positive_boost must be a finite number of at least 0, but it is -1.0.",
        ),
        (
            {"unbiased_per_user": 5},
            "dataset.unbiased_per_user=5 is more than the 4 ratings that one of the users has.",
        ),
        (
            {"source": "labels", "threshold": 1},
            "KuaiRec's label file holds watch ratios of at least 2, so dataset.threshold=1 "
            "needs small_matrix.csv or dataset.threshold=2.",
        ),
    ],
)
def test_a_field_out_of_range(
    tmp_path: Path, refusal: Callable[..., str], fields: dict[str, object], said: str
) -> None:
    write(tmp_path, *SOURCES["matrix"], *SOURCES["labels"])
    assert refusal(load, tmp_path, **fields) == said


def test_selection_is_uniform_boosted_or_by_the_users_own_taste() -> None:
    users = np.repeat(np.arange(200), 100)
    labels = np.tile(np.arange(100) < 10, 200)

    def drawn(size: int, strength: float, boost: float) -> np.ndarray:
        rows = kuairec.select(users, labels, 200, size, strength, boost, seed=1)
        assert (np.diff(rows) > 0).all() and len(rows) == size
        return rows

    assert labels[drawn(1000, 0, 0)].mean() == pytest.approx(0.1, abs=0.03)
    # A positive cell is drawn 1 + c times as readily: the odds 1 : 9 become 10 : 9.
    assert labels[drawn(1000, 0, 9)].mean() == pytest.approx(10 / 19, abs=0.06)
    own = drawn(4000, 3, 0)
    shares = np.bincount(users[own], labels[own], 200) / np.maximum(np.bincount(users[own], minlength=200), 1)
    assert np.nanstd(shares) > 0.3  # some users show what they like, others what they do not


# --- Side features ----------------------------------------------------------------------------------


def test_the_releases_categories(real: Callable[..., Ratings]) -> None:
    found = side_features(real("kuairec", source="labels", threshold=2))
    assert found.users is None and found.items is not None
    assert found.items.shape == (3327, 31)
    assert (found.items.sum(1) >= 1).all() and (found.items.sum(1) <= 4).all()


@pytest.mark.parametrize("source", SOURCES)
def test_categories_are_those_of_the_videos(tmp_path: Path, source: str) -> None:
    write(tmp_path, *SOURCES[source])
    place = tmp_path / "kuairec" / "gcdr"
    place.mkdir()
    (place / "item_categories.txt").write_text("7\t3\n100\t30\n400\t0\n300\t2|5\n200\t1\n")
    found = side_features(load(tmp_path, source=source)).items
    assert found is not None
    assert [np.flatnonzero(row).tolist() for row in found] == [[30], [1], [2, 5], [0]]


def test_the_first_releases_ids_are_those_of_today_but_for_one(tmp_path: Path) -> None:
    """It counted a video 1225 without rows; without it, ratings and categories are the same."""
    today = {100: 100, 200: 1225, 300: 1226, 400: 10595}
    first = {100: 100, 200: 1226, 300: 1227, 400: 10596}
    found = []
    for ids in (today, first):
        place = tmp_path / str(ids[400])
        write(place, "small_matrix.csv")
        text = TEXTS["small_matrix.csv"]
        for old, new in ids.items():
            text = text.replace(f",{old},99,", f",{new},99,")
        (place / "kuairec" / "small_matrix.csv").write_text(text)
        (place / "kuairec" / "item_categories.txt").write_text(
            "100\t3\n1225\t4\n1226\t5\n1227\t6\n10595\t7\n"
        )
        found.append(load(place, source="matrix"))
    assert found[0].checksum == found[1].checksum
    for ratings in found:
        items = side_features(ratings).items
        assert items is not None and items.argmax(1).tolist() == [3, 4, 5, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100\t1\n200 3\n", "line 2: expected a video_id, a tab and its categories separated by |, found"),
        ("100\t31\n", "line 1: expected categories of 0 to 30, found 31"),
        ("100\t1\n200\t1\n300\t1\n", "has no categories of video 400"),
    ],
)
def test_other_categories_are_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, *SOURCES["split"])
    (tmp_path / "kuairec" / "item_categories.txt").write_text(text)
    with pytest.raises(BenchError, match=re.escape(message)):
        side_features(load(tmp_path))


def test_absent_categories_are_missing_data(tmp_path: Path) -> None:
    write(tmp_path, *SOURCES["split"])
    with pytest.raises(MissingData, match=r"^item_categories.txt is missing under .*: put the file"):
        side_features(load(tmp_path))
