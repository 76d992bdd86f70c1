"""Yahoo! R3 (Marlin and Zemel, "Collaborative Prediction and Ranking with Non-Random Missing Data", 2009).

15,400 users rated songs of their own choice; 5,400 of them also rated 10 songs drawn at random out
of the same 1,000, with 1 to 5 stars. The files lie under Yahoo!'s data sharing agreement: this suite
reads a copy that the user obtained, and never downloads or stores one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Interactions, Ratings

REMEDY = (
    "request dataset R3 from Yahoo! Webscope "
    "(https://webscope.sandbox.yahoo.com/catalog.php?datatype=r&did=3) and put its two files there, "
    "since its terms forbid anybody else to pass them on"
)
_COLUMNS = {"user": manifest.WHOLE, "song": manifest.WHOLE, "rating": manifest.WHOLE}


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Yahoo! R3 has no fields of its own."""


def _file(part: str, rows: int, sha256: str) -> manifest.PairFile:
    return manifest.PairFile(
        file=f"ydata-ymusic-rating-study-v1_0-{part}.txt",
        rows=rows,
        columns=_COLUMNS,
        user="user",
        item="song",
        value="rating",
        users=(1, 15400),
        items=(1, 1000),
        values=(1, 5),
        separator="\t",
        sha256=sha256,
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the release holds."""

    n_users: int
    n_items: int
    train: manifest.PairFile
    test: manifest.PairFile


MANIFEST = Manifest(
    n_users=15400,
    n_items=1000,
    train=_file("train", 311704, "85538b3c4a93eafc4f0ce2d39a6cd178e32a6b615ce775b9d635f7995706269d"),
    test=_file("test", 54000, "f27a73bef8c7ccedb17576fe2d4cc52b80c2d5fa60f13529596f003ffd0d8533"),
)


def load(config: Config, data_dir: Path) -> Ratings:
    """Read Yahoo! R3 from `data_dir/yahoo_r3`; its ids start at 1, ours at 0.

    Raises:
        MissingData: a file is absent.
        BenchError: a file is not the release's.
    """
    expected = MANIFEST
    files = (expected.train, expected.test)
    paths = manifest.require(data_dir / "yahoo_r3", [file.file for file in files], REMEDY)
    parts = [manifest.read_pairs(path, file) for path, file in zip(paths, files, strict=True)]
    biased, unbiased = (Interactions(part.users - 1, part.items - 1, part.values) for part in parts)
    shape = (expected.n_users, expected.n_items)
    source = "train and test file of the release"
    return manifest.assemble("yahoo_r3", source, shape, biased, unbiased, files=parts)
