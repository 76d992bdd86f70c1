"""What a run's last lines hold its numbers against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.files import CHECKOUT
from bench.records.record import Provenance, Record
from bench.table.beside import beside
from bench.table.csv_files import SEEDS_FILE, TABLE_FILE
from tests.made_records import made_record

PUBLISHED = CHECKOUT / "results" / "published"


def record(method: str, shift: float = 0.0, /, **changes: object) -> Record:
    """A record with the published values of a cell of Coat, shifted."""
    entries = [
        each
        for each in TABLE_FILE.read(PUBLISHED)
        if (each.protocol, each.dataset, each.method) == ("table", "coat", method)
    ]
    values: dict[tuple[str, str], list[float]] = {}
    for seed in SEEDS_FILE.read(PUBLISHED):
        if (seed.protocol, seed.dataset, seed.method) == ("table", "coat", method):
            values.setdefault((seed.metric, seed.no_positive), []).append(seed.value + shift)
    n = len(values["auc", ""])
    made: dict[str, Any] = {
        "digest": entries[0].cell,
        "method": {"name": method},
        "source": entries[0].source,
        "test": {
            "auc": values["auc", ""],
            **{name: {"skip": values[name, "skip"], "one": [0.0] * n} for name in ("ndcg", "recall")},
        },
    }
    return made_record([0.7] * n, **(made | changes))


def test_the_published_cell_is_equal_to_itself() -> None:
    head, *rows = beside(record("ips"))
    assert head.split() == ["here", "published", "paper", "minus", "MF"]
    assert len(rows) == 3  # the cell itself needs no command
    for row in rows:
        here, published = row.split()[1:4], row.split()[4:7]
        assert here == published and "(p = " in row
    assert rows[0].split()[0] == "AUC" and rows[1].split()[0] == "NDCG@5"
    assert " 0.751 " in rows[0]  # as conf/paper/table1.csv has it


def test_another_record_names_the_command_of_the_published_cell() -> None:
    lines = beside(record("ips", 0.01, digest="0" * 20))
    assert lines[-1].endswith(
        "python -m bench protocol=table dataset=coat method=ips +tuned=table/coat/ips seeds=20"
    )
    assert lines[1].split()[1] != lines[1].split()[4]
    assert "0.0" in lines[1]


def test_other_ratings_and_rows_without_a_published_cell_stand_alone(tmp_path: Path) -> None:
    assert beside(record("ips"), tmp_path) == []
    assert beside(record("ips", source="generated, data_seed 0")) == []
    assert beside(record("ips", method={"name": "mine"})) == []
    altered = Provenance(command="python -m bench method=ips dataset=coat dataset.threshold=3")
    assert beside(record("ips", provenance=altered)) == []
    assert len(beside(record("ips"))) == 4


def test_a_damaged_published_table_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / TABLE_FILE.name).write_text("neither;a;table\n")
    assert beside(record("mf"), tmp_path) == []


def test_a_few_seeds_have_no_p() -> None:
    few = record("ips")
    few = replace(
        few,
        seeds=few.seeds[:3],
        test={
            "auc": few.test["auc"][:3],
            "ndcg": {"skip": few.test["ndcg"]["skip"][:3]},
            "recall": {"skip": few.test["recall"]["skip"][:3]},
        },
    )
    lines = beside(few)
    assert lines[1].split()[-1][0] in "+-" and "(p = " not in lines[1]
