"""Yahoo! R3 (Marlin and Zemel, "Collaborative Prediction and Ranking with Non-Random Missing Data", 2009).

15,400 users rated songs of their own choice; 5,400 of them also rated 10 songs drawn at random out
of the same 1,000, with 1 to 5 stars. The files lie under Yahoo!'s data sharing agreement: this suite
reads a copy that the user obtained, and never downloads or stores one.

Read are the release's two files, or `user.txt` and `random.txt` as AutoDebias (Chen et al., SIGIR 2021) has
them: the same lines in the same order, separated by commas, with ids that start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Interactions, Ratings
from bench.errors import MissingData

_TITLES = ("yahoo", "webscope", "ydata")
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
    files, root = (expected.train, expected.test), data_dir / "yahoo_r3"
    source = "train and test file of the release"
    try:
        paths = manifest.require(root, [file.file for file in files], REMEDY, _TITLES)
        parts = [manifest.read_pairs(path, file) for path, file in zip(paths, files, strict=True)]
    except MissingData:
        others = [manifest.find(root, file, titles=_TITLES) for file in ("user.txt", "random.txt")]
        found = [path for path in others if path is not None]
        if len(found) < len(others):
            raise
        parts = [_read_from_zero(path, file) for path, file in zip(found, files, strict=True)]
        source = "user.txt and random.txt of AutoDebias"
    biased, unbiased = (Interactions(part.users - 1, part.items - 1, part.values) for part in parts)
    shape = (expected.n_users, expected.n_items)
    return manifest.assemble("yahoo_r3", source, shape, biased, unbiased, files=parts)


def _read_from_zero(path: manifest.Place, release: manifest.PairFile) -> manifest.Pairs:
    """A file whose ids start at 0, as the release has its pairs; its content tells whether it is altered."""
    users, items = ((low - 1, high - 1) for low, high in (release.users, release.items))
    other = replace(release, file=path.name, users=users, items=items, separator=",", sha256="")
    pairs = manifest.read_pairs(path, other)
    columns = (pairs.users + 1, pairs.items + 1, pairs.values.astype(int))
    text = "".join(f"{user}\t{item}\t{stars}\n" for user, item, stars in zip(*columns, strict=True)).encode()
    altered = "" if manifest.is_published(text, release.sha256) else path.name
    return manifest.Pairs(columns[0], columns[1], pairs.values, altered)
