"""Every file of the table is read back as it was written, and a wrong one is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import table
from bench.errors import BenchError
from bench.table import csv_files
from bench.table.csv_files import CsvFile
from bench.table.frame import Frame, load_frame
from bench.table.lines import HERE, PUBLISHED
from bench.table.manifest import Dataset, Listed, Row, TableManifest
from tests.bench.small_results import make_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def frame(results: Path) -> Frame:
    return table.load_results(results)


def entries(frame: Frame) -> Iterator[tuple[CsvFile[Any], list[Any]]]:
    yield csv_files.TABLE_FILE, list(csv_files.table_entries(frame.lines))
    yield csv_files.SEEDS_FILE, list(csv_files.seed_entries(frame.lines))
    yield csv_files.COLUMNS_FILE, list(csv_files.column_entries(frame.lines))
    yield csv_files.COMPARISONS_FILE, list(csv_files.comparison_entries(frame.comparisons))
    yield csv_files.USERS_FILE, list(csv_files.user_entries(frame.users))
    yield csv_files.PROVENANCE_FILE, list(csv_files.provenance_entries(frame.lines))


def test_what_is_written_is_read_back(frame: Frame, tmp_path: Path) -> None:
    for file, written in entries(frame):
        (tmp_path / file.name).write_text(file.text(written), encoding="utf-8")
        read = file.read(tmp_path)
        assert len(read) == len(written) > 0, file.name
        for one, other in zip(read, written, strict=True):
            for name in file.header:
                value, expected = getattr(one, name), getattr(other, name)
                if isinstance(expected, float):  # printed with six digits or more
                    expected = pytest.approx(expected, rel=1e-5, abs=1e-6)
                assert value == expected and type(value) is type(getattr(other, name)), (file.name, name)
        assert file.text(read) == file.text(written), file.name


def test_values_and_users_are_read_back_exactly(frame: Frame, tmp_path: Path) -> None:
    for file, written in entries(frame):
        if file in (csv_files.SEEDS_FILE, csv_files.USERS_FILE):
            (tmp_path / file.name).write_text(file.text(written), encoding="utf-8")
            read = file.read(tmp_path)
            names = ("value",) if file is csv_files.SEEDS_FILE else ("mean", "low", "high", "p_value")
            for name in names:
                assert [getattr(x, name) for x in read] == [getattr(x, name) for x in written]


def test_a_file_of_before_a_column_is_read(frame: Frame, tmp_path: Path) -> None:
    """The tables of earlier commits have no `tuning_std`, those before them no `origin`: all published."""
    lines = csv_files.TABLE_FILE.text(csv_files.table_entries(frame.lines)).splitlines()
    assert lines[0].endswith(",origin,tuning_std") and lines[1].endswith(f",{HERE},")
    for origin in (HERE, PUBLISHED):
        lines = [line.rpartition(",")[0] for line in lines]
        (tmp_path / "table1.csv").write_text("\n".join([*lines, ""]))
        read = csv_files.TABLE_FILE.read(tmp_path)
        assert {entry.origin for entry in read if entry.cell} == {origin}
        assert {entry.tuning_std for entry in read} == {None}


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        (csv_files.SEEDS_FILE, ",auc,,", ",auc,,x", "line 2, is not as"),
        (csv_files.SEEDS_FILE, "seed,metric", "seed_,metric", "no column 'seed'"),
        (csv_files.COLUMNS_FILE, "True", "yes", "comparable is 'yes'"),
        (csv_files.TABLE_FILE, "table,coat", "table,coat,coat", "expected 20 columns"),
    ],
)
def test_a_wrong_file_is_named(
    frame: Frame, tmp_path: Path, file: CsvFile[Any], right: str, wrong: str, said: str
) -> None:
    text = next(each.text(written) for each, written in entries(frame) if each is file)
    assert right in text
    (tmp_path / file.name).write_text(text.replace(right, wrong, 1))
    with pytest.raises(BenchError, match=said):
        file.read(tmp_path)


def test_the_list_of_cells_is_read_back(tmp_path: Path) -> None:
    written = TableManifest(
        protocols=["table", "text"],
        datasets=[Dataset(dataset="coat", title="Coat", k=5)],
        rows=[
            Row(method="mf", title="MF", uses_unbiased=False),
            Row(method="mine", title="Mine", uses_unbiased="yes", control=True, baseline=False, guest=True),
        ],
        reference="mf",
        cells={("table", "coat", "mf"): Listed("0" * 20), ("text", "coat", "mf"): Listed(None, "No data.")},
    )
    written.write(tmp_path)
    assert TableManifest.read(tmp_path) == written


def _without_last(text: str) -> str:
    return "\n".join(text.splitlines()[:-1]) + "\n"


def _semicolons(text: str) -> str:
    return text.replace(",", ";")


def _another_value(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:-1], f"{lines[-1].rpartition(',')[0]},0.123"]) + "\n"


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        # Cut off at the end of a line, the last cell would have a mean over fewer seeds.
        ("seeds.csv", _without_last, "do not belong together: seeds.csv has other values of"),
        ("seeds.csv", _another_value, "do not belong together: seeds.csv has other values of"),
        (
            "seeds.csv",
            lambda text: text[:-30],
            "expected 7 columns|other values|not as `python -m bench.table`",
        ),
        ("table1.csv", lambda text: text[: len(text) // 2], "table1.csv, line .*expected 20 columns"),
        ("cells.json", lambda text: text[:-9], r"cells.json is not a list .* \(line \d+ is no JSON\)"),
        ("cells.json", lambda text: "[]", r"cells.json is not a list .* \(a field is of another kind\)"),
        ("cells.json", lambda text: text.replace('"rows"', '"row"'), r"\(it lacks 'rows'\)"),
        ("table1.csv", lambda text: text.encode("utf-16"), r"table1.csv is not UTF-8 text \(byte 0\)"),
        ("cells.json", lambda text: text.encode("utf-16"), r"cells.json is not UTF-8 text \(byte 0\)"),
        ("columns.csv", _semicolons, "columns.csv is not .*: it has semicolons in place of commas"),
        ("users.csv", lambda text: text.replace("0.", "\0.", 1), r"users.csv, line .* is '.*\\x00"),
        ("cells.json", None, "cells.json does not exist"),
        ("seeds.csv", None, "do not belong together: .* is in table1.csv alone"),
    ],
)
@pytest.mark.parametrize("folder", ["table1", "published"])
def test_damaged_files_end_with_what_to_do(
    results: Path,
    tmp_path: Path,
    folder: str,
    name: str,
    damage: Callable[[str], str | bytes] | None,
    said: str,
) -> None:
    """Files without the records that they were made from, as a clone has them."""
    here = tmp_path / folder
    here.mkdir()
    for text_name, text in table.build(results).items():
        (here / text_name).write_text(text, encoding="utf-8")
    shutil.copyfile(results / "table1" / "cells.json", here / "cells.json")
    load_frame(here, None)
    text = (here / name).read_text(encoding="utf-8")
    if damage is None:
        (here / name).unlink()
    else:
        damaged = damage(text)
        (here / name).write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    way = (
        f"`git checkout {here}` brings the published ones back"
        if folder == "published"
        else "`make table1` writes it"
    )
    with pytest.raises(BenchError, match=said) as error:
        load_frame(here, None)
    # Own files may be the only copy of some numbers: nobody is told to remove them.
    assert way in str(error.value) and "remove" not in str(error.value) and len(str(error.value)) < 600


def test_a_byte_order_mark_does_no_harm(results: Path, tmp_path: Path) -> None:
    for name, text in table.build(results).items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    listed = (results / "table1" / "cells.json").read_text(encoding="utf-8")
    (tmp_path / "cells.json").write_text(listed, encoding="utf-8-sig")
    assert len(load_frame(tmp_path, None).lines) == len(
        load_frame(results / "table1", results / "runs").lines
    )
