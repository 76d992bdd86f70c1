"""Where the files of a release are looked for, and what of their form does not count."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bench.data import kuairec, release
from bench.errors import BenchError, MissingData

FILES = {"a.txt": b"1,2\n", "b.txt": b"3,4\n"}
TITLES = ("toy",)


def write(folder: Path, **names: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (names or FILES).items():
        (folder / name).write_bytes(text)


def found(data: Path) -> list[str]:
    """Where the toy's two files are found, relative to the data folder."""
    places = release.require(data / "toy", FILES, "get them", TITLES)
    assert [release.read_text(place) for place in places] == list(FILES.values())
    return [str(place).removeprefix(f"{data}/") for place in places]


@pytest.mark.parametrize(
    "folder", ["toy", "toy/toy", "toy/Toy 2.0/data", "Toy 2.0/data", "toy_release", "TOY/one/two/three"]
)
def test_folders_as_people_unpack_them(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder)
    assert found(tmp_path) == [f"{folder}/{name}" for name in FILES]


def test_the_data_sets_own_folder_comes_first_and_both_files_from_one(tmp_path: Path) -> None:
    write(tmp_path / "toy" / "b")
    write(tmp_path / "toy" / "a", **{"a.txt": b"of another set"})
    assert found(tmp_path) == ["toy/b/a.txt", "toy/b/b.txt"]
    write(tmp_path / "toy")
    assert found(tmp_path) == ["toy/a.txt", "toy/b.txt"]


def test_compressed_files(tmp_path: Path) -> None:
    write(tmp_path / "toy", **{f"{name}.gz": gzip.compress(text) for name, text in FILES.items()})
    assert found(tmp_path) == ["toy/a.txt.gz", "toy/b.txt.gz"]


@pytest.mark.parametrize("place", ["toy.zip", "toy/anything.zip", "Toy 2.0.ZIP"])
@pytest.mark.parametrize("inside", ["", "toy/", "Toy 2.0/data/"])
def test_an_archive_that_was_not_unpacked(tmp_path: Path, place: str, inside: str) -> None:
    archive = tmp_path / place
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as content:
        for name, text in FILES.items():
            content.writestr(f"{inside}{name}", text)
    assert found(tmp_path) == [f"{place}/{inside}{name}" for name in FILES]


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.zip").write_bytes(b"no archive")
    with pytest.raises(
        BenchError, match=r"toy\.zip cannot be read as a zip archive \(File is not a zip file\)"
    ):
        found(tmp_path)


def test_a_sentence_names_what_was_found_without_being_of_use(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"a\.txt and b\.txt are missing under .*/toy: get them\.$"):
        found(tmp_path)
    write(tmp_path / "elsewhere" / "deep")
    with pytest.raises(MissingData) as raised:
        found(tmp_path)
    there = " and ".join(str(tmp_path / "elsewhere" / "deep" / name) for name in FILES)
    said = f"a.txt and b.txt are missing under {tmp_path / 'toy'} (there is {there}): get them."
    assert str(raised.value) == said
    write(tmp_path / "toy" / "one", **{"a.txt": b""})
    write(tmp_path / "toy" / "two", **{"b.txt": b""})
    with pytest.raises(MissingData, match=r"a\.txt and b\.txt do not lie together under .*one/a\.txt and "):
        found(tmp_path)


def test_other_data_sets_names_say_nothing(tmp_path: Path) -> None:
    """user.txt of a stranger is not taken for KuaiRec's."""
    write(tmp_path / "yahooR3", **{"user.txt": b"", "random.txt": b"", "small_matrix.csv": b""})
    with pytest.raises(MissingData, match=r"\(there is \S+small_matrix\.csv\)"):
        kuairec.load(kuairec.Config(name="kuairec", threshold=2), tmp_path)


def test_marks_of_editors_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    for text in (b"1,2\n3,4\n", b"\xef\xbb\xbf1,2\r\n3,4\r\n", b"1,2\n3,4\n\n"):
        file.write_bytes(text)
        assert release.read_text(file) == b"1,2\n3,4\n"
    file.write_bytes(b"1,2\n3,4\n\n\n")
    assert release.read_text(file) == b"1,2\n3,4\n\n"


def test_a_number_beyond_floats_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    """As it is with versions of pandas that take it for no number."""
    file = release.PairFile(
        file="x.csv",
        rows=1,
        columns={"user_id": release.WHOLE, "video_id": release.WHOLE, "ratio": release.REAL},
        value="ratio",
        users=(0, 9),
        items=(0, 9),
        values=(0, float("inf")),
    )
    (tmp_path / "x.csv").write_text("1,2,1e999\n")
    read_csv = pd.read_csv

    def strict(*arguments: object, dtype: object, **fields: object) -> object:
        if dtype is not str:
            raise ValueError("cannot safely convert passed user dtype of float64 for object dtyped data")
        return read_csv(*arguments, dtype=dtype, **fields)  # type: ignore[call-overload]

    for reader in (read_csv, strict):
        monkeypatch.setattr(pd, "read_csv", reader)
        said = refusal(release.read_pairs, tmp_path / "x.csv", file)
        assert ", line 1: expected a ratio of 0 or more, found inf;" in said
