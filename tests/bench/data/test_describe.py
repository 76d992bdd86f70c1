"""`python -m bench.data`: what lies there, in numbers that are counted here by hand."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench import data
from bench.data import coat, yahoo_r3
from bench.data.__main__ import main

TOY = Path(__file__).parents[2] / "extra" / "toy_data.py"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A data folder with files of Coat's form, drawn at random, in the folder of its archive."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "coat" / "coat"
    folder.mkdir(parents=True)
    for name, rated in (("train", 24), ("test", 16)):
        matrix = np.zeros((290, 300), int)
        for row in matrix:
            row[random.choice(300, rated, replace=False)] = random.integers(1, 6, rated)
        text = "\n".join(" ".join(map(str, row)) for row in matrix)
        (folder / f"{name}.ascii").write_text(text + "\n")
    (folder / "README.txt").write_text("Coat")
    return tmp_path / "data"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Name → text of the last data set's lines."""
    out = capsys.readouterr().out
    assert out.isascii()
    pairs = [
        line.strip().split("  ", 1)
        for line in out.splitlines()
        if line.startswith("  ") and "  " in line.strip()
    ]
    return {name: text.strip() for name, text in pairs}


def test_a_release(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(release), "coat"]) == 0
    found = told(capsys)
    assert found["read from"] == str(release / "coat" / "coat" / "test.ascii")
    assert found["there as well"] == str(release / "coat" / "coat" / "README.txt")
    assert found["users x items"] == "290 x 300, of whose pairs 8.00% in O"
    assert found["ratings"] == "6,960 biased (O), 4,640 unbiased (A, validation and test)"
    ratings = coat.load(coat.Config(name="coat"), release)
    shares = [f"{(part.values >= 4).mean():.1%}" for part in (ratings.biased, ratings.unbiased)]
    said = "{} of the biased and {} of the unbiased ones are positive, protocol table"
    assert found["at least 4"] == said.format(*shares)
    assert found["ratings per user"] == "24 to 24, median 24 (biased); 16 to 16, median 16 (unbiased)"
    assert found["users with any"] == "290 biased, 290 unbiased, 290 both, of 290"
    assert found["pairs in both"] == str(ratings.notes["pairs_in_both"])


def test_a_csv_and_a_file_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_registry: None
) -> None:
    (tmp_path / "O.csv").write_text("user,item,rating\na,1,5\nb,1,2\nb,2,2\n")
    (tmp_path / "A.csv").write_text("user,item,rating\na,2,5\nc,1,1\n")
    place = ["--data-dir", str(tmp_path), "csv", "dataset.biased=O.csv", "unbiased=A.csv"]
    assert main([*place, "threshold=3"]) == 0
    found = told(capsys)
    assert found["at least 3"] == "33.3% of the biased and 50.0% of the unbiased ones are positive"
    assert found["users with any"] == "2 biased, 2 unbiased, 1 both, of 3"
    assert found["items with any"] == "2 biased, 2 unbiased, 2 both, of 2"
    assert main([*place, "threshold=6"]) == 1
    assert "all negative at dataset.threshold=6" in capsys.readouterr().err
    assert main([*place, "treshold=3"]) == 1
    assert "csv cannot be configured by" in capsys.readouterr().err
    assert main([str(TOY), "n_users=50"]) == 0
    assert told(capsys)["users x items"].startswith("50 x 30, ")


def test_generated_data_have_true_propensities(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["n_users=40", "n_items=30", "ratings_per_user=8"]
    assert main(["synthetic", *sizes]) == 0
    assert " to 0." in told(capsys)["true propensity"]


def test_what_is_absent_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("absent: ") == 4 and yahoo_r3.REMEDY in out and "csv" not in out.splitlines()
    assert main(["--data-dir", str(tmp_path), "coat"]) == 1
    assert main(["cot"]) == 1
    assert "There is no data set 'cot': did you mean 'coat'?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_an_archive_that_was_copied_here(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    archive, folder = tmp_path / f"copy.{kind}", release / "coat"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as content:
            for file in folder.rglob("*.*"):
                content.write(file, file.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz") as content_:
            content_.add(folder / "coat", "coat")
    elsewhere = tmp_path / "elsewhere"
    assert main(["--data-dir", str(elsewhere), "--from", str(archive)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{archive} is put into {elsewhere / 'coat'}.\ncoat\n")
    lying = sorted(path.relative_to(elsewhere).as_posix() for path in elsewhere.rglob("*") if path.is_file())
    assert lying == ["coat/README.txt", "coat/test.ascii", "coat/train.ascii"]


def test_an_archive_that_is_of_no_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("a.txt", "")
    assert main(["--data-dir", str(tmp_path), "--from", str(archive)]) == 1
    assert (
        "some.zip holds no data set's files (coat: train.ascii and test.ascii; kuairec:"
        in capsys.readouterr().err
    )
    archive.write_bytes(b"nothing")
    assert main(["--data-dir", str(tmp_path), "--from", str(archive)]) == 1
    assert "cannot be read as a zip or tar archive (File is not a zip file)." in capsys.readouterr().err
    assert main(["--data-dir", str(tmp_path), "--from", str(tmp_path / "none.zip")]) == 1
    assert "none.zip cannot be read: No such file or directory." in capsys.readouterr().err
    assert data.names()
