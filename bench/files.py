"""Text and CSV files, written whole or not at all, and read back. Needs neither torch nor data."""

from __future__ import annotations

import csv
import gzip
import io
import os
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError

CHECKOUT = Path(__file__).resolve().parents[1]
CONF = CHECKOUT / "conf"


def write_text(file: Path, text: str) -> Path:
    """Writes a file (UTF-8, "\\n") by one rename, so that readers see all of it or nothing; returns it.

    A name that ends in ".gz" is compressed; such a file stays as it is where its text is the same, since
    another zlib may make other bytes of it.

    Raises:
        BenchError: it cannot be written; what stood there before stays.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".gz":
            if file.is_file() and _unpacked(file) == text:
                return file
            temporary.write_bytes(_packed(text))
        else:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, file)
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _packed(text: str) -> bytes:
    """A gzip file without a name or a time in it, so that the same text gives the same bytes."""
    content = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=content, compresslevel=9, mtime=0) as stream:
        stream.write(text.encode())
    return content.getvalue()


def _unpacked(file: Path) -> str | None:
    """The text of a gzip file; None where it is damaged."""
    try:
        return gzip.decompress(file.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A CSV file's text: a line of column names, then the rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Writes a CSV file whole or not at all.

    Raises:
        BenchError: it cannot be written.
    """
    return write_text(file, csv_text(header, rows))


def text_of(file: Path) -> str:
    """The text of a file (UTF-8, with or without a byte-order mark; ".gz": compressed), its line ends kept.

    Raises:
        BenchError: it cannot be read, or is no such text.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BenchError(f"{file} is damaged: it cannot be unpacked.") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{file} is not UTF-8 text (byte {error.start}), so save it as UTF-8.") from error


def read_csv(file: Path, columns: Iterable[str] = (), writer: str = "") -> list[dict[str, str]]:
    """The rows of a CSV file (".gz": compressed), column → text.

    Args:
        columns: that it must have.
        writer: the command that writes it, for the error's sentence.

    Raises:
        BenchError: it cannot be read, is no CSV file, lacks a column, or a row has another length than the
            header.
    """
    as_written = f" as `{writer}` writes it" if writer else ""
    try:
        reader = csv.DictReader(io.StringIO(text_of(file), newline=""), strict=True)
        rows = list(reader)
        header = reader.fieldnames or []
    except csv.Error as error:
        raise BenchError(f"{file} is not a CSV file{as_written} ({error}).") from error
    if len(header) == 1 and ";" in header[0]:
        raise BenchError(f"{file} is not{as_written or ' a CSV file'}: it has semicolons in place of commas.")
    missing = [name for name in columns if name not in header]
    if missing:
        raise BenchError(f"{file} is not{as_written or ' complete'}: it has no column '{missing[0]}'.")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise BenchError(f"{file}, line {number}: expected {len(header)} columns.")
    return rows


def write_all(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Writes files (name → text) into a folder, each whole or not at all; returns their paths.

    Raises:
        BenchError: one cannot be written.
    """
    return [write_text(folder / name, text) for name, text in texts.items()]
