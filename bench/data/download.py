"""Fetch the data sets that may be fetched: `python -m bench.data.download [--data-dir DIR] [NAME ...]`.

On a machine without a network, `python -m bench.data --from ARCHIVE` takes an archive that was copied there.

What is already there is kept. A download is unpacked into a folder of its own, read by the data
set's loader, and moved into place only if every check holds, so that an interrupted run leaves no
half data set. A whole archive is kept until its files are in place; one that is cut off is fetched
again from its start.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.config import DatasetConfig
from bench.data import coat, kuairec, load, yahoo_r3
from bench.data.ratings import Ratings
from bench.errors import BenchError, MissingData, nearest


@dataclass(frozen=True)
class Download:
    """One data set: where its archive is and which of the archive's files are kept.

    known_hash: of the archive, as pooch takes it; None where nobody published one. Whatever is
    known about the archive, the files inside are checked by the loader.
    files: what the loader needs. papers: what else of the release is kept where there is any, its words
        about itself and what single methods may ask for; with the folder that it lies in.
    """

    config: DatasetConfig
    url: str
    known_hash: str | None
    files: tuple[str, ...]
    papers: tuple[str, ...]


DOWNLOADS = {
    "coat": Download(
        coat.Config(name="coat"),
        "https://www.cs.cornell.edu/~schnabts/mnar/coat.zip",
        None,  # no hash of the archive is known; the loader checks the sha256 of the files inside
        ("train.ascii", "test.ascii"),
        (
            *("README.txt", "propensities.ascii"),
            *("user_item_features/user_features.ascii", "user_item_features/item_features.ascii"),
        ),
    ),
    "kuairec": Download(
        # Only the release's own matrix is fetched: the literature's user.txt has no archive.
        kuairec.Config(name="kuairec", source="matrix", threshold=2),
        "https://zenodo.org/records/18164998/files/KuaiRec.zip",
        # Zenodo's own md5, known to us at second hand, from public projects that verify this archive.
        "md5:261550d472c48eff4990fb13c0e5bcf7",
        ("small_matrix.csv",),
        ("LICENSE",),
    ),
}
NOT_FETCHED: dict[str, tuple[DatasetConfig, str]] = {
    "yahoo_r3": (yahoo_r3.Config(name="yahoo_r3"), yahoo_r3.REMEDY)
}
# What is taken out of a copy of an archive: also of those that nobody but their owner may pass on.
ARCHIVES = {
    **DOWNLOADS,
    "yahoo_r3": Download(
        yahoo_r3.Config(name="yahoo_r3"),
        "the archive",
        None,
        (yahoo_r3.MANIFEST.train.file, yahoo_r3.MANIFEST.test.file),
        (),
    ),
}


def fetch(name: str, data_dir: Path) -> Ratings:
    """Download, check and put into place the files of one data set.

    Raises:
        BenchError: pooch is not installed, the download fails, a file is not the release's, or
            nothing can be written under `data_dir`.
    """
    wanted = DOWNLOADS[name]
    with _writing(data_dir):
        archive = _retrieve(wanted, data_dir)
        try:
            ratings = _install(archive, wanted, data_dir)
        except BenchError as error:
            archive.unlink()
            raise BenchError(
                f"{wanted.url} is not the release ({str(error).rstrip('.')}), so try again later, or unpack "
                f"the release into {data_dir / name} yourself."
            ) from error
        archive.unlink()
    return ratings


def install(archive: Path, data_dir: Path) -> tuple[str, Ratings]:
    """Take a data set's files out of a copy of its archive, check them and put them into place.

    Args:
        archive: zip or tar, compressed or not; which data set it is, its files tell.

    Returns:
        The data set's name, and its ratings.

    Raises:
        BenchError: it cannot be read, holds no data set or not a release's files, or nothing can be
            written under `data_dir`.
    """
    names = _names(archive)
    found = [
        name
        for name, wanted in ARCHIVES.items()
        if all(any(_is(member, file) for member in names) for file in wanted.files)
    ]
    if not found:
        known = "; ".join(f"{name}: {' and '.join(wanted.files)}" for name, wanted in ARCHIVES.items())
        raise BenchError(f"{archive} holds no data set's files ({known}).")
    with _writing(data_dir):
        try:
            return found[0], _install(archive, ARCHIVES[found[0]], data_dir)
        except BenchError as error:
            raise BenchError(f"{archive} is not the release ({str(error).rstrip('.')}).") from error


@contextmanager
def _writing(data_dir: Path) -> Iterator[None]:
    """Makes the data folder; what the file system refuses is one sentence."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BenchError(
            f"{error.filename or data_dir} cannot be written ({error.strerror}), so make room for it or "
            "choose another --data-dir."
        ) from error


def _install(archive: Path, wanted: Download, data_dir: Path) -> Ratings:
    """Unpacks the wanted files, reads them as the loader does, and moves them into place if it took them."""
    place = data_dir / wanted.config.name
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".unpacked-") as folder:
        unpacked = Path(folder) / wanted.config.name
        try:
            _unpack(archive, wanted, unpacked)
            ratings = load(wanted.config, unpacked.parent)
        except BenchError as error:
            raise BenchError(str(error).replace(f"{unpacked}{os.sep}", "")) from error
        for path in [path for path in unpacked.rglob("*") if path.is_file()]:
            target = place / path.relative_to(unpacked)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    return ratings


def _retrieve(wanted: Download, folder: Path) -> Path:
    """The archive's path, after downloading it unless it is there already."""
    try:
        import pooch
    except ImportError as error:
        raise BenchError("Downloading needs pooch, so run `pip install -e '.[data]'` first.") from error
    pooch.get_logger().setLevel("WARNING")  # it would advise programmers on hashes
    try:
        found = pooch.retrieve(
            wanted.url,
            known_hash=wanted.known_hash,
            fname=f".{wanted.config.name}.zip",
            path=folder,
            progressbar=sys.stderr.isatty(),
        )
    # requests' errors are OSErrors; pooch raises ValueError for a wrong hash or a missing tqdm.
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:  # of the file system: a full disk, for instance
            raise
        response = getattr(error, "response", None)
        status = f" {response.status_code}" if response is not None else ""
        reason = "wrong hash" if "hash" in str(error) else f"{type(error).__name__}{status}"
        raise BenchError(
            f"{wanted.url} could not be downloaded ({reason}), so run `make data` again where there is a "
            f"network, or unpack a copy of the archive into {folder / wanted.config.name}."
        ) from error
    return Path(found)


# zipfile raises RuntimeError for an encrypted member or an unknown compression.
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, lzma.LZMAError)


def _names(archive: Path) -> list[str]:
    """Names of an archive's files.

    Raises:
        BenchError: it is absent, damaged, or neither zip nor tar.
    """
    try:
        with _opened(archive) as content:
            return _members(content)
    except OSError as error:
        raise BenchError(f"{archive} cannot be read: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise BenchError(f"{archive} cannot be read as a zip or tar archive ({error}).") from error


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return tarfile.open(archive) if tarfile.is_tarfile(archive) else zipfile.ZipFile(archive)


def _members(content: zipfile.ZipFile | tarfile.TarFile) -> list[str]:
    return content.namelist() if isinstance(content, zipfile.ZipFile) else content.getnames()


def _is(member: str, file: str) -> bool:
    """Whether a file of an archive is a wanted one, whatever folder it lies in."""
    return f"/{member}".endswith(f"/{file}")


def _unpack(archive: Path, wanted: Download, folder: Path) -> None:
    """Write the archive's wanted files into a new folder."""
    folder.mkdir()
    try:
        with _opened(archive) as content:
            for member in _members(content):
                for file in (*wanted.files, *wanted.papers):
                    source = _member(content, member) if _is(member, file) else None
                    if source is not None:
                        (folder / file).parent.mkdir(exist_ok=True)
                        with source, (folder / file).open("wb") as target:
                            shutil.copyfileobj(source, target)
    except _DAMAGED as error:
        raise BenchError(f"{error}") from error
    absent = [file for file in wanted.files if not (folder / file).is_file()]
    if absent:
        raise BenchError(f"it holds no {' and no '.join(absent)}")


def _member(content: zipfile.ZipFile | tarfile.TarFile, name: str) -> IO[bytes] | None:
    """A file of an archive; None where it is something else."""
    if isinstance(content, zipfile.ZipFile):
        return content.open(name)
    return content.extractfile(name)


def _present(config: DatasetConfig, data_dir: Path) -> Ratings | None:
    """The data set as it lies there, or None; files that lie there but are wrong are an error."""
    try:
        return load(config, data_dir)
    except MissingData:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Fetch what is missing; the exit status is 1 if a data set that may be fetched is not there."""
    parser = argparse.ArgumentParser(prog="python -m bench.data.download", description="Fetch the data sets.")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("BENCH_DATA") or "data"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="coat, kuairec, yahoo_r3; default: all")
    options = parser.parse_args(arguments)
    data_dir: Path = options.data_dir
    choices = [*DOWNLOADS, *NOT_FETCHED]
    status = 0
    for name in options.names or choices:
        try:
            if name not in choices:
                raise BenchError(f"'{name}' is not a data set with files: {nearest(name, choices)}")
            print(f"{name}: {_describe(name, data_dir)}")
        except BenchError as error:
            if os.environ.get("BENCH_DEBUG") == "1":
                raise
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("Stopped; what was fetched whole is kept.", file=sys.stderr)
            return 130
    return status


def _describe(name: str, data_dir: Path) -> str:
    """Fetch one data set if need be, and say in one sentence how it stands."""
    if name in NOT_FETCHED:
        own, remedy = NOT_FETCHED[name]
        if _present(own, data_dir) is None:
            return f"not fetched, because it may not be passed on: {remedy} ({data_dir / name})."
        return f"present under {data_dir / name}."
    config: DatasetConfig = DOWNLOADS[name].config
    if name == "kuairec":
        config = kuairec.Config(name=name, threshold=2)  # any source will do
    present = _present(config, data_dir)
    if present is not None:
        return f"present under {data_dir / name} ({present.source})."
    return f"fetched to {data_dir / name} ({fetch(name, data_dir).source})."


if __name__ == "__main__":
    sys.exit(main())
