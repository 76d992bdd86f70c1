"""Records of trained cells, kept by the hash of everything that determines their numbers.

A store is a folder, by default `results/runs`:

    <digest>/record.json     what was measured, and checksums over itself and over arrays.npz
    <digest>/arrays.npz      curves and per-seed values
    <digest>/NAME.npz        what a run was asked to keep beside its record, such as scores
    failed/                  why a cell could not be trained; never read back as a result
    damaged/                 records that did not match their checksum, moved out of the way
    .tmp-*                   a record being written

A record comes into being by one rename of a complete, fsynced folder, so that a reader sees all of
it or nothing, whoever was killed when. No pickle is ever loaded, and no torch is needed to read.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import socket
import sys
import time
import uuid
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.records.plain import finite, plain, render, sha256

SCHEMA = 1  # of record.json; a record of another number is trained again

_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_TEMPORARY = re.compile(r"\.tmp-(?P<pid>\d+)-[0-9a-f]+@(?P<host>.*)")
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # of a rename
_WHOSE = "record"  # entry of an archive beside a record: that record's digest
_LEAST_ROOM = 64 * 2**20  # bytes; a cell's record and stacks take some MiB
_DAY = 24 * 60 * 60.0  # seconds

Array = NDArray[Any]


class NoRecord(BenchError, FileNotFoundError):
    """No record of this digest stands in the store."""


class DamagedRecord(BenchError):
    """A record is half-written, altered or of another version."""


# --- Reading --------------------------------------------------------------------------------------


def read(runs: Path, digest: str) -> dict[str, Any]:
    """The record of a digest, checked byte for byte. A null in it was a number that is not finite.

    Raises:
        NoRecord: there is none.
        DamagedRecord: it is half-written, altered or of another version.
        BenchError: the store cannot be read.
    """
    return _load(Path(runs) / digest, digest)[0]


def read_arrays(runs: Path, digest: str, prefixes: tuple[str, ...] = ("",)) -> dict[str, Array]:
    """The arrays of a record whose names begin with one of the prefixes; the file is checked byte for byte.

    Raises:
        NoRecord: there is none.
        DamagedRecord: it is half-written, altered, of another version or holds pickled objects.
        BenchError: the store cannot be read.
    """
    folder = Path(runs) / digest
    content = _load(folder, digest)[1]
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if name.startswith(prefixes)}
    except Exception as error:  # whatever numpy and zipfile raise on a file that is not an archive
        raise _damaged(folder / "arrays.npz", f"is not a plain array archive ({error})") from error


def has_beside(runs: Path, digest: str, name: str) -> bool:
    """Whether an archive of that name stands beside a record; it is not looked into."""
    return _beside(runs, digest, name).is_file()


def read_beside(runs: Path, digest: str, name: str) -> dict[str, Array]:
    """The arrays that `add_beside` has put beside a record.

    Raises:
        NoRecord: there are none.
        DamagedRecord: the archive is damaged, another record's, or holds pickled objects.
    """
    file = _beside(runs, digest, name)
    try:
        with np.load(file, allow_pickle=False) as archive:  # zip archives have a checksum of each entry
            arrays = {entry: archive[entry] for entry in archive.files}
        whose = str(arrays.pop(_WHOSE))
    except FileNotFoundError as error:
        raise NoRecord(f"{file} does not exist; a run with save={name} writes it.") from error
    except Exception as error:  # whatever numpy and zipfile raise on a file that is not an archive
        raise DamagedRecord(
            f"{file} is not a plain array archive ({error}): remove it, and a run with save={name} writes it."
        ) from error
    if whose != digest:
        raise DamagedRecord(f"{file} belongs to the record {whose}: remove it, and save={name} writes it.")
    return arrays


def _beside(runs: Path, digest: str, name: str) -> Path:
    return Path(runs) / digest / f"{name}.npz"


def find(runs: Path, digest: str, report: Callable[[str], None] | None = None) -> dict[str, Any] | None:
    """The record of a digest, or None where it is absent or damaged.

    Args:
        runs: the store's folder.
        digest: the record's digest.
        report: gets the sentence about a damaged record; by default it becomes a warning.

    Raises:
        BenchError: the store cannot be read.
    """
    try:
        return read(runs, digest)
    except NoRecord:
        return None
    except DamagedRecord as error:
        if report is None:
            warnings.warn(str(error), stacklevel=2)
        else:
            report(str(error))
        return None


def digests(runs: Path) -> list[str]:
    """The digests that stand in the store, sorted, unchecked.

    Raises:
        BenchError: the store cannot be read.
    """
    try:
        entries = list(Path(runs).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BenchError(f"{runs} cannot be read: {error.strerror or error}.") from error
    return sorted(entry.name for entry in entries if _DIGEST.fullmatch(entry.name))


def _load(folder: Path, digest: str) -> tuple[dict[str, Any], bytes]:
    """The checked record and the checked bytes of its array archive."""
    file = folder / "record.json"
    if not os.path.lexists(folder):
        raise NoRecord(f"{folder} does not exist; train the cell first.")
    text = _bytes(file)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        version = document["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(file, "is cut off or altered") from error
    if version != SCHEMA:
        raise _damaged(file, f"is of record version {version!r}, not {SCHEMA}")
    try:
        # Comparing the text too, not only the values, also notices a change in white space.
        intact = document["checksum"] == _checksum(document) and text == render(document)
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise _damaged(file, "does not match its checksum")
    if document["digest"] != digest:
        raise _damaged(file, f"is the record of {document['digest']}, not of {digest}")
    content = _bytes(folder / "arrays.npz")
    if sha256(content) != document["arrays"]:
        raise _damaged(folder / "arrays.npz", f"does not match the checksum in {file.name}")
    record: dict[str, Any] = document["record"]
    return record, content


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _damaged(file, "is missing") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}.") from error


def _damaged(file: Path, fault: str) -> DamagedRecord:
    return DamagedRecord(f"{file} {fault}; it will be trained again.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# --- Writing --------------------------------------------------------------------------------------


def write(
    runs: Path,
    digest: str,
    record: Mapping[str, Any],
    arrays: Mapping[str, Array],
    replace: bool = False,
) -> Path:
    """Puts a record into the store and returns its folder.

    Where a valid record of the digest already stands, another process was faster: it is kept and
    ours is dropped. A damaged one is moved to `damaged/`.

    Args:
        runs: the store's folder, made if it is absent.
        digest: the record's digest.
        record: JSON values, NumPy scalars and arrays, and paths. A number that is not finite is
            written as null, because JSON has no form of it.
        arrays: name → array of numbers, booleans or fixed-width strings.
        replace: puts it in the place of a valid one, too. A reader may find none for the moment between two
            renames; a process that is killed there leaves none.

    Raises:
        BenchError: the folder cannot be written or the disk is full; nothing is left behind.
        TypeError: a value has no JSON form, a key is not a string, or an array holds objects.
        ValueError: the digest is not 16 to 64 hex digits.
    """
    runs = Path(runs)
    _check_digest(digest)
    packed = _pack(arrays)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "digest": digest,
        "arrays": sha256(packed),
        "record": finite(plain(record)),
    }
    document["checksum"] = _checksum(document)

    final = runs / digest
    temporary = _temporary(runs)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _write_file(temporary / "arrays.npz", packed)
        _write_file(temporary / "record.json", render(document))
        _sync_folder(temporary)
        _put(temporary, final, replace)
        _sync_folder(runs)
    except OSError as error:
        raise _unwritable(runs, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def add_beside(runs: Path, digest: str, name: str, arrays: Mapping[str, Array]) -> Path:
    """Puts an archive of arrays beside a record that stands, in the place of an earlier one; returns it.

    Raises:
        BenchError: it cannot be written, or no record stands there.
        TypeError: an array holds objects.
    """
    file, temporary = _beside(runs, digest, name), _temporary(Path(runs))
    packed = _pack({**arrays, _WHOSE: np.array(digest)})
    try:
        _write_file(temporary, packed)
        os.replace(temporary, file)
        _sync_folder(file.parent)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def require_room(runs: Path) -> None:
    """Refuses a store that could not be written, before hours of training.

    Raises:
        BenchError: its folder cannot be made or written, or its disk is as good as full.
    """
    runs = Path(runs)
    temporary = _temporary(runs)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        free = shutil.disk_usage(runs).free
    except OSError as error:
        raise _unwritable(runs, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.rmdir()
    if free < _LEAST_ROOM:
        raise BenchError(
            f"{runs} cannot be written: its disk has {free / 2**20:.0f} MiB left; make room, or choose "
            "another results folder."
        )


def write_failure(runs: Path, digest: str, reason: Mapping[str, Any]) -> Path:
    """Notes in `failed/` why a cell could not be trained. The note never counts as a record.

    Raises:
        BenchError: the folder cannot be written.
        TypeError: a value has no JSON form, or a key is not a string.
        ValueError: the digest is not 16 to 64 hex digits.
    """
    _check_digest(digest)
    folder = Path(runs) / "failed"
    moment = time.strftime("%Y%m%dT%H%M%S") + f".{time.time_ns() % 10**9:09d}"
    final = folder / f"{digest}-{moment}-{os.getpid()}.json"
    temporary = final.with_suffix(".tmp")
    content = render({"schema": SCHEMA, "digest": digest, "reason": finite(plain(reason))})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_file(temporary, content)
        os.rename(temporary, final)
        _sync_folder(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return final


def clean(runs: Path) -> None:
    """Removes what killed processes left half-written. Says nothing and fails at nothing."""
    try:
        leftovers = [*Path(runs).glob(".tmp-*"), *Path(runs).glob("failed/*.tmp")]
    except OSError:
        return
    for leftover in leftovers:
        match = _TEMPORARY.fullmatch(leftover.name)
        try:
            old = time.time() - leftover.stat().st_mtime > _DAY
        except OSError:
            continue  # its writer has just finished
        # A process number means something on its own machine only; stores may be shared by many.
        here = match is not None and match["host"] == socket.gethostname()
        if old or (match is not None and here and not _is_alive(int(match["pid"]))):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    leftover.unlink()


def _temporary(runs: Path) -> Path:
    return runs / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:12]}@{socket.gethostname()}"


def _put(temporary: Path, final: Path, replace: bool) -> None:
    """Renames a finished folder into place, unless a valid record stands there that is to stay."""
    for _ in range(100):  # each turn, another process has changed what stands there
        try:
            os.rename(temporary, final)
            return
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        try:
            _load(final, final.name)
        except NoRecord:
            continue
        except DamagedRecord:
            _move_aside(final)
            continue
        if not replace:
            return
        old = _temporary(final.parent)
        try:
            os.rename(final, old)
        except FileNotFoundError:
            continue  # another process has taken it
        try:
            os.rename(temporary, final)
            return
        except OSError as error:
            if error.errno not in _OCCUPIED:
                os.rename(old, final)
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(errno.EBUSY, f"{final} keeps changing")


def _move_aside(final: Path) -> None:
    graveyard = final.parent / "damaged"
    graveyard.mkdir(exist_ok=True)
    number = 1
    while os.path.lexists(aside := graveyard / f"{final.name}-{number}"):
        number += 1
    try:
        os.rename(final, aside)
    except FileNotFoundError:
        return  # another process moved it
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            raise
        return  # another process took the number
    try:
        _load(aside, final.name)
    except DamagedRecord:
        return
    # Between our look and our rename another process had mended the record: give it back. Where
    # yet another one stands by now, this copy may stay aside.
    try:
        os.rename(aside, final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _pack(arrays: Mapping[str, Array]) -> bytes:
    known = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in known.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; only plain arrays are stored.")
    archive = io.BytesIO()
    # Not np.savez: it takes arrays called `file` or `allow_pickle` for its own arguments.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for name, array in known.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # of a fixed date: same arrays, same bytes
            members.writestr(entry, content.getvalue(), compress_type=zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _write_file(file: Path, content: bytes) -> None:
    with open(file, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # which opens no folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _unwritable(folder: Path, error: OSError) -> BenchError:
    reason = error.strerror or str(error)
    return BenchError(
        f"{folder} cannot be written: {reason}; "
        "make room or permit writing there, or choose another results folder."
    )


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # where to ask for a process by a signal is to end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it exists and belongs to someone else, or cannot be asked for
    return True


def _checksum(document: Mapping[str, Any]) -> str:
    return sha256(render({key: document[key] for key in document if key != "checksum"}))


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a record's digest (16 to 64 hex digits).")
