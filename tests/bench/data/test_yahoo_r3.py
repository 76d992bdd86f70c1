"""Yahoo! R3: lines of user, song and rating, separated by tabs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.data import Ratings, yahoo_r3
from bench.errors import MissingData

TRAIN, TEST = yahoo_r3.MANIFEST.train.file, yahoo_r3.MANIFEST.test.file
FILES = {TRAIN: b"1\t1\t5\n1\t2\t1\n2\t4\t3\n3\t1\t4\n3\t3\t2\n", TEST: b"1\t3\t4\n2\t1\t1\n"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with three users and four songs, and a manifest that knows the two files."""
    train, test = (
        replace(
            file,
            rows=FILES[file.file].count(b"\n"),
            users=(1, 3),
            items=(1, 4),
            sha256=hashlib.sha256(FILES[file.file]).hexdigest(),
        )
        for file in (yahoo_r3.MANIFEST.train, yahoo_r3.MANIFEST.test)
    )
    monkeypatch.setattr(yahoo_r3, "MANIFEST", yahoo_r3.Manifest(n_users=3, n_items=4, train=train, test=test))
    (tmp_path / "yahoo_r3").mkdir()
    for name, text in FILES.items():
        (tmp_path / "yahoo_r3" / name).write_bytes(text)
    return tmp_path


def load(root: Path) -> Ratings:
    return yahoo_r3.load(yahoo_r3.Config(name="yahoo_r3"), root)


def test_the_release(real: Callable[..., Ratings]) -> None:
    ratings = real("yahoo_r3")
    assert (ratings.n_users, ratings.n_items) == (15400, 1000)
    assert (len(ratings.biased), len(ratings.unbiased)) == (311704, 54000)
    assert (np.bincount(ratings.unbiased.users) == 10).all()
    assert ratings.unbiased.users.max() == 5399  # the first 5,400 users are those with test ratings
    for part, share_of_3, share_of_4 in (
        (ratings.biased, 0.5589, 0.4013),
        (ratings.unbiased, 0.2318, 0.0879),
    ):
        assert (part.values >= 3).mean() == pytest.approx(share_of_3, abs=5e-5)
        assert (part.values >= 4).mean() == pytest.approx(share_of_4, abs=5e-5)
    assert ratings.notes == {"pairs_in_both": 0}
    assert ratings.comparable


def test_files_of_the_releases_size_take_no_time(tmp_path: Path) -> None:
    """Generated files are not the published ones, so that every check of their rows runs as well.

    It takes about .1 s on one core; the bound leaves room for a busy machine.
    """
    random = np.random.default_rng(0)
    (tmp_path / "yahoo_r3").mkdir()
    for name, n_users, rows in ((TRAIN, 15400, 311704), (TEST, 5400, 54000)):
        pairs = np.unique(random.integers(0, n_users * 1000, 2 * rows))
        pairs = np.sort(random.permutation(pairs)[:rows])
        columns = [pairs // 1000 + 1, pairs % 1000 + 1, random.integers(1, 6, rows)]
        pd.DataFrame(np.stack(columns, 1)).to_csv(
            tmp_path / "yahoo_r3" / name, sep="\t", header=False, index=False
        )
    start = time.process_time()
    ratings = load(tmp_path)
    assert time.process_time() - start < 3
    assert (len(ratings.biased), len(ratings.unbiased)) == (311704, 54000)
    assert not ratings.comparable


def test_ids_start_at_zero(root: Path) -> None:
    ratings = load(root)
    assert ratings.biased.users.tolist() == [0, 0, 1, 2, 2]
    assert ratings.biased.items.tolist() == [0, 1, 3, 0, 2]
    assert ratings.biased.values.tolist() == [5, 1, 3, 4, 2]
    assert ratings.density == 5 / 12
    assert ratings.comparable
    kinds = [array.dtype for array in vars(ratings.biased).values()]
    assert kinds == [np.int64, np.int64, np.float32]


def test_line_ends_do_not_count(root: Path) -> None:
    before = load(root)
    for name, text in FILES.items():
        (root / "yahoo_r3" / name).write_bytes(text.replace(b"\n", b"\r\n"))
    after = load(root)
    assert after.checksum == before.checksum
    assert after.comparable


def test_another_file_than_the_published_one_is_marked(root: Path) -> None:
    before = load(root)
    (root / "yahoo_r3" / TRAIN).write_bytes(FILES[TRAIN].replace(b"1\t1\t5", b"1\t1\t4"))
    altered = load(root)
    assert altered.checksum != before.checksum
    assert not altered.comparable
    assert altered.source.endswith(f"altered: {TRAIN}")


COLUMNS = "user (whole number), song (whole number), rating (whole number) separated by tabs"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", ": expected 5 rows, found 4;"),
        (b"2\t4\t3\n2\t3\t3\n", ": expected 5 rows, found 6;"),
        (b"2\t4\t6\n", ", line 3: expected a rating of 1 to 5, found 6;"),
        (b"2\t4\t0\n", ", line 3: expected a rating of 1 to 5, found 0;"),
        (b"0\t4\t3\n", ", line 3: expected a user of 1 to 3, found 0;"),
        (b"2\t5\t3\n", ", line 3: expected a song of 1 to 4, found 5;"),
        (b"1\t2\t3\n", ", line 3: expected a pair that stands once, found user 1 and item 2 as in line 2;"),
        (b"2\t4\n", f", line 3: expected {COLUMNS}, found '2\\t4';"),
        (b"2 4 3\n", f", line 3: expected {COLUMNS}, found '2 4 3';"),
        (b"2\t4\tx\n", f", line 3: expected {COLUMNS}, found '2\\t4\\tx';"),
        (b"-2\t4\t3\n", f", line 3: expected {COLUMNS}, found '-2\\t4\\t3';"),
        (b"\n", f", line 3: expected {COLUMNS}, found an empty line;"),
    ],
)
def test_a_wrong_line(root: Path, refusal: Callable[..., str], line: bytes, said: str) -> None:
    file = root / "yahoo_r3" / TRAIN
    file.write_bytes(FILES[TRAIN].replace(b"2\t4\t3\n", line))
    assert refusal(load, root) == f"{file}{said} replace it by the release's own file."


def test_a_file_that_was_cut_off_in_a_line(root: Path, refusal: Callable[..., str]) -> None:
    (root / "yahoo_r3" / TRAIN).write_bytes(FILES[TRAIN][:-4])
    assert f", line 5: expected {COLUMNS}, found '3\\t'" in refusal(load, root)


def test_absent_files_say_where_to_get_them(root: Path) -> None:
    (root / "yahoo_r3" / TEST).unlink()
    with pytest.raises(MissingData, match=f"{TEST} is missing under .*{TRAIN}.: request dataset R3 from"):
        load(root)
    with pytest.raises(MissingData, match=f"{TRAIN} and {TEST} are missing under .*Webscope"):
        load(root / "elsewhere")


def test_autodebias_files_are_the_same_data(root: Path) -> None:
    """Ids from 0 and commas; told from altered ones by their content."""
    before = load(root)
    elsewhere = root / "autodebias" / "yahooR3"
    elsewhere.mkdir(parents=True)
    for name, text in ((TRAIN, "user.txt"), (TEST, "random.txt")):
        rows = [map(int, line.split(b"\t")) for line in FILES[name].splitlines()]
        lines = [f"{user - 1},{song - 1},{stars}\n" for user, song, stars in rows]
        (elsewhere / text).write_text("".join(lines))
    after = load(elsewhere.parent)
    assert (after.checksum, after.comparable) == (before.checksum, True)
    assert after.source == "user.txt and random.txt of AutoDebias"
    (elsewhere / "user.txt").write_text((elsewhere / "user.txt").read_text().replace("0,0,5", "0,0,4"))
    altered = load(elsewhere.parent)
    assert not altered.comparable and altered.notes["altered_files"] == "user.txt"
