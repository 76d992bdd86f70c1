"""A data set of one's own as two CSV files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import Ratings, csv
from bench.errors import MissingData

O = "user,item,rating\nann,9,5\nann,10,1\nbob,2,3\n"  # noqa: E741
A = "user,item,rating\nbob,10,4\ncid,9,2\n"


def load(folder: Path, biased: str | bytes = O, unbiased: str | bytes = A, **fields: str) -> Ratings:
    for name, text in (("O.csv", biased), ("A.csv", unbiased)):
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return csv.load(csv.Config(name="csv", biased="O.csv", unbiased="A.csv", **fields), folder)  # type: ignore[arg-type]


def rows(ratings: Ratings) -> list[tuple[float, ...]]:
    arrays = vars(ratings.biased).values()
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def test_ids_of_both_files_are_numbered_in_their_order(tmp_path: Path) -> None:
    ratings = load(tmp_path)
    assert (ratings.n_users, ratings.n_items) == (3, 3)  # ann, bob, cid and 2, 9, 10
    assert rows(ratings) == [(0, 1, 5), (0, 2, 1), (1, 0, 3)]
    assert ratings.unbiased.users.tolist() == [1, 2] and ratings.unbiased.items.tolist() == [2, 1]
    assert not ratings.comparable and ratings.source == "O.csv and A.csv"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + O,
        O.replace("\n", "\r\n") + "\r\n",
        O.replace(",", "\t"),
        O.replace(",", ";").replace(";5", ";5,0"),
        O.replace("user,item,rating", "User_ID, itemId ,Rating"),
        "time,rating,user,item\n1,5,ann,9\n2,1,ann,10\n3,3,bob,2\n",
        'user,item,rating\n"ann","9",5\nann ,10,1e0\nbob,2,3.0',
    ],
)
def test_forms_that_are_the_same_data(tmp_path: Path, text: str) -> None:
    known = load(tmp_path)
    assert load(tmp_path, text).checksum == known.checksum
    assert load(tmp_path, O.replace(",3", ",4")).checksum != known.checksum


def test_compressed_and_with_other_names(tmp_path: Path) -> None:
    known = load(tmp_path)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(O.replace("rating", "how much").encode()))
    (tmp_path / "y.csv").write_text(A.replace("rating", "how much"))
    config = csv.Config(name="csv", biased=str(tmp_path / "x.csv.gz"), unbiased="y.csv", rating="How Much")
    assert csv.load(config, tmp_path).checksum == known.checksum


def test_ids_that_are_no_numbers_stay_apart(tmp_path: Path) -> None:
    ratings = load(tmp_path, "user,item,rating\n1,a,5\n01,a,1\nNA,b,3\n", "user,item,rating\n1,b,4\n")
    assert (ratings.n_users, ratings.n_items) == (3, 2)
    assert rows(ratings) == [(1, 0, 5), (0, 0, 1), (2, 1, 3)]  # in the order of their text


def test_pairs_in_both_files(tmp_path: Path, refusal: Callable[..., str]) -> None:
    both = A + "ann,10,1\n"
    said = refusal(load, tmp_path, O, both)
    assert "1 pairs stand in" in said and "(the first is user ann, item 10)" in said
    kept = load(tmp_path, O, both, pairs_in_both="keep")
    assert (len(kept.biased), kept.notes["pairs_in_both"]) == (3, 1)
    left = load(tmp_path, O, both, pairs_in_both="drop")
    assert rows(left) == [(0, 1, 5), (1, 0, 3)] and left.notes["pairs_left_out"] == 1
    said = refusal(load, tmp_path, O, both, pairs_in_both="kep")
    assert said == "dataset.pairs_in_both=kep is not known: did you mean 'keep'?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "ann,9,5\nann,10,1\n",
            "line 1: expected a header with the columns user, item and rating, separated by",
        ),
        ("user,item,how much\nann,9,5\n", "which has no rating: name them there, or by dataset.user,"),
        ("", "line 1: expected a header"),
        ("user,item,rating\n", "O.csv has a header and no rating below it."),
        (O + "cid,3,nan\n", "O.csv, line 5: expected a finite rating, found 'nan'."),
        (O + "cid,3,1e300\n", "O.csv, line 5: expected a finite rating, found '1e300'."),
        (O + "cid,3,good\n", "O.csv, line 5: expected a finite rating, found 'good'."),
        (O + ",3,1\n", "O.csv, line 5: expected a user, found none."),
        (O + "cid,3\n", "O.csv, line 5: expected a rating, found none."),
        (O + "\ncid,3,1\n", "O.csv, line 5: expected a user, found none."),
        (O + "cid,3,1,7,8\n", "O.csv cannot be read as a table (Expected 3 fields in line 5, saw 5)."),
        (
            O + "bob,2,1\n",
            "line 5: expected a pair that stands once, found user bob and item 2 as in line 4.",
        ),
        (
            "user,item,rating\nann,9,5,\nann,10,1,\n",
            "O.csv, line 2: expected 3 fields as in the header, found more.",
        ),
        (O.encode("utf-16"), "O.csv is not UTF-8 text (byte 0), so save it as UTF-8."),
    ],
)
def test_a_wrong_file(tmp_path: Path, refusal: Callable[..., str], text: str | bytes, said: str) -> None:
    assert said in refusal(load, tmp_path, text)


def test_absent_files(tmp_path: Path, refusal: Callable[..., str]) -> None:
    said = refusal(csv.load, csv.Config(name="csv"), tmp_path)
    assert said == "dataset.biased names no file: give a CSV file with columns user, item and rating."
    with pytest.raises(MissingData, match=r"dataset.biased=x.csv names no file, neither here nor under "):
        csv.load(csv.Config(name="csv", biased="x.csv"), tmp_path)
