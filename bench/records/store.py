"""Records of trained cells, kept by the hash of everything that determines their numbers.

A store is a folder, by default `results/runs`:

    <digest>/record.json     what was measured, and checksums over itself and over arrays.npz
    <digest>/arrays.npz      curves and per-seed values
    failed/                  why a cell could not be trained; never read back as a result
    damaged/                 records that did not match their checksum, moved out of the way
    .tmp-*                   a record being written

A record comes into being by one rename of a complete, fsynced folder, so that a reader sees all of
it or nothing, whoever was killed when. No pickle is ever loaded, and no torch is needed to read.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import socket
import time
import uuid
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError

SCHEMA = 1  # of record.json; a record of another number is trained again

_CHECKOUT = Path(__file__).resolve().parents[2]
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_TEMPORARY = re.compile(r"\.tmp-(?P<pid>\d+)-[0-9a-f]+@(?P<host>.*)")
_DAY = 24 * 60 * 60.0  # seconds

Array = NDArray[Any]


class NoRecord(BenchError, FileNotFoundError):
    """No record of this digest stands in the store."""


class DamagedRecord(BenchError):
    """A record is half-written, altered or of another version."""


# --- Identity -------------------------------------------------------------------------------------


def identity(config: Mapping[str, Any], data_checksum: str, code: str) -> str:
    """The digest of a cell: 20 hex digits of a sha256 over all that determines its numbers.

    Neither the order of keys nor the spelling of a number counts: 1e-4 is 0.0001 and 5 is 5.0.

    Args:
        config: the resolved configuration, without the fields that cannot change a number.
        data_checksum: `Ratings.checksum`.
        code: `code_fingerprint` of the files that can change a number.

    Raises:
        TypeError: a value has no JSON form, or a key is not a string.
    """
    document = {"config": _plain(config), "data": data_checksum, "code": code}
    text = json.dumps(_numbers_alike(document), sort_keys=True, separators=(",", ":"))
    return _sha256(text.encode())[:20]


def _numbers_alike(value: Any) -> Any:
    """Writes whole floats as integers, because a user's `5` and `5.0` mean the same point."""
    if isinstance(value, dict):
        return {key: _numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_numbers_alike(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def code_fingerprint(paths: Iterable[Path]) -> str:
    """A sha256 over Python files that comments, formatting and docstrings do not change.

    Files count by their syntax tree and by their name relative to the checkout (outside it, by the
    file's name alone), so that the order of `paths` and the checkout's place do not matter.

    Raises:
        BenchError: a file cannot be read or parsed.
    """
    entries = {(_name(path), _sha256(_shape(_parse(path)).encode())) for path in paths}
    return _sha256(json.dumps(sorted(entries)).encode())


def _name(path: Path) -> str:
    resolved = path.resolve()
    if resolved.is_relative_to(_CHECKOUT):
        return resolved.relative_to(_CHECKOUT).as_posix()
    return resolved.name


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}, line {line}" if line else str(path)
        raise BenchError(f"{place} is not valid Python: {error.args[0]}.") from error
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}.") from error


def _shape(node: Any) -> str:
    """A syntax tree as text, without positions and without statements that are a bare string.

    `ast.dump` is not used because its text depends on Python's version: newer ones add fields that
    are empty in older code. Empty fields are therefore left out.
    """
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                value = [entry for entry in value if not _is_bare_string(entry)]
            if value is None or value == []:
                continue
            fields.append(f"{name}={_shape(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_shape, node))}]"
    return repr(node)


def _is_bare_string(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def imported_files(path: Path, roots: Iterable[Path]) -> set[Path]:
    """The Python file and every project file that it imports, directly or through others.

    The files are read, not run: imports inside functions count, names put together at run time
    (a registry's scan) do not. A package's `__init__.py` counts when a module of it is imported.

    Args:
        path: the file to start from; it is part of the result.
        roots: what is the project's own: folders on the import path, or packages' own folders.
            Imports found under none of them (numpy, torch) are left out.

    Raises:
        BenchError: a file cannot be read or parsed.
    """
    bases = [root.resolve() for root in roots]
    found: set[Path] = set()
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for imported in _imports(_parse(file), file, bases):
            waiting.append(imported.resolve())
    return found


def _imports(tree: ast.Module, file: Path, roots: list[Path]) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                for folder in _folders_with(alias.name.split(".")[0], roots):
                    yield from _modules(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            # `from package import name` may name a module; where it does not, nothing is found.
            names = [[*parts, alias.name] for alias in node.names]
            if node.level:
                package = file.parents[node.level - 1]
                yield from _modules(package.parent, [package.name])
                for name in names:
                    yield from _modules(package, name)
            else:
                for folder in _folders_with(parts[0], roots):
                    for name in names:
                        yield from _modules(folder, name)


def _folders_with(top: str, roots: list[Path]) -> Iterator[Path]:
    """The folders to look a top-level name up in."""
    for root in roots:
        yield root.parent if root.name == top and not (root / top).is_dir() else root


def _modules(folder: Path, parts: list[str]) -> Iterator[Path]:
    """The files that run when `parts[0].parts[1]...`, found in `folder`, is imported."""
    for part in parts:
        for candidate in (folder / part / "__init__.py", folder / f"{part}.py"):
            if candidate.is_file():
                yield candidate
                break
        folder = folder / part


# --- Reading --------------------------------------------------------------------------------------


def read(runs: Path, digest: str) -> dict[str, Any]:
    """The record of a digest, checked byte for byte. A null in it was a number that is not finite.

    Raises:
        NoRecord: there is none.
        DamagedRecord: it is half-written, altered or of another version.
        BenchError: the store cannot be read.
    """
    return _load(Path(runs) / digest, digest)[0]


def read_arrays(runs: Path, digest: str) -> dict[str, Array]:
    """The arrays of a record, checked byte for byte.

    Raises:
        NoRecord: there is none.
        DamagedRecord: it is half-written, altered, of another version or holds pickled objects.
        BenchError: the store cannot be read.
    """
    folder = Path(runs) / digest
    content = _load(folder, digest)[1]
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # whatever numpy and zipfile raise on a file that is not an archive
        raise _damaged(folder / "arrays.npz", f"is not a plain array archive ({error})") from error


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
        intact = document["checksum"] == _checksum(document) and text == _render(document)
    except (ValueError, KeyError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise _damaged(file, "does not match its checksum")
    if document["digest"] != digest:
        raise _damaged(file, f"is the record of {document['digest']}, not of {digest}")
    content = _bytes(folder / "arrays.npz")
    if _sha256(content) != document["arrays"]:
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


def write(runs: Path, digest: str, record: Mapping[str, Any], arrays: Mapping[str, Array]) -> Path:
    """Puts a record into the store and returns its folder.

    Where a valid record of the digest already stands, another process was faster: it is kept and
    ours is dropped. A damaged one is moved to `damaged/`.

    Args:
        runs: the store's folder, made if it is absent.
        digest: the record's digest.
        record: JSON values, NumPy scalars and arrays, and paths. A number that is not finite is
            written as null, because JSON has no form of it.
        arrays: name → array of numbers, booleans or fixed-width strings.

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
        "arrays": _sha256(packed),
        "record": _finite(_plain(record)),
    }
    document["checksum"] = _checksum(document)

    final = runs / digest
    temporary = runs / f".tmp-{os.getpid()}-{uuid.uuid4().hex[:12]}@{socket.gethostname()}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _write_file(temporary / "arrays.npz", packed)
        _write_file(temporary / "record.json", _render(document))
        _sync_folder(temporary)
        _put(temporary, final)
        _sync_folder(runs)
    except OSError as error:
        raise _unwritable(runs, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


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
    content = _render({"schema": SCHEMA, "digest": digest, "reason": _finite(_plain(reason))})
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


def _put(temporary: Path, final: Path) -> None:
    """Renames a finished folder into place, unless a valid record stands there."""
    for _ in range(100):  # each turn, another process has changed what stands there
        try:
            os.rename(temporary, final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        try:
            _load(final, final.name)
            return
        except NoRecord:
            continue
        except DamagedRecord:
            _move_aside(final)
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
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; only plain arrays are stored.")
    archive = io.BytesIO()
    # Not np.savez: it takes arrays called `file` or `allow_pickle` for its own arguments.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for name, array in plain.items():
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
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it exists and belongs to someone else, or cannot be asked for
    return True


# --- Text -----------------------------------------------------------------------------------------


def _plain(value: Any, where: str = "the record") -> Any:
    """A value in JSON's own types: dict, list, str, bool, int, float, None.

    Raises:
        TypeError: with the place of the value that has no such form.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"in {where}, the key {key!r} is not a string.")
        return {key: _plain(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    raise TypeError(f"{where} holds a {type(value).__name__}, which has no JSON form.")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _render(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _checksum(document: Mapping[str, Any]) -> str:
    return _sha256(_render({key: document[key] for key in document if key != "checksum"}))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a record's digest (16 to 64 hex digits).")
