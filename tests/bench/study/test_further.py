"""The report's section on further methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import table
from bench.errors import BenchError
from bench.study.further import further_methods
from tests.bench.small_results import ROWS, make_results

PAPER_ROWS = tuple(row[0] for row in ROWS)


def test_there_is_none_without_them(tmp_path: Path) -> None:
    assert further_methods(table.load_results(make_results(tmp_path))) == ""


def test_it_counts_what_the_table_tests(tmp_path: Path) -> None:
    frame = table.load_results(make_results(tmp_path, methods=(*PAPER_ROWS, "newer", "newest")))
    text = further_methods(frame)
    for method, title in (("newer", "Newer"), ("newest", "Newest")):
        counts = []
        for against in ("reference", "best baseline", "best row"):
            signs = [
                each.sign
                for each in frame.comparisons
                if (each.line.row.method, each.against, each.line.protocol) == (method, against, "table")
            ]
            assert len(signs) == 3  # metrics of Coat
            counts.append(f"{signs.count(1)} / {signs.count(-1)} of 3")
        line = next(line for line in text.splitlines() if line.startswith(f"| {title} "))
        assert [cell.strip() for cell in line.strip("|").split("|")] == [title, *counts]
    assert "Better than MF in every comparison: Newer." in text
    assert "Better than the best row in every comparison: " in text


def test_it_says_what_known_truth_says(tmp_path: Path) -> None:
    frame = table.load_results(make_results(tmp_path, methods=(*PAPER_ROWS, "newer", "newest")))
    file = tmp_path / "known_truth.csv"
    assert "Where every label is known" not in further_methods(frame, file)
    lines = [
        "method,metric,median_difference,p_holm,median_difference_best,p_holm_best",
        "mf,auc,,,,",
        "newer,auc,0.02,0.01,0.01,0.01",
        "newest,auc,0.02,0.2,0.01,0.01",  # of these the first is not significant
        "newer,ideal_loss,0.02,0.01,-0.02,0.2",  # more is worse
        "newest,ideal_loss,-0.02,0.01,0.02,0.01",
    ]
    file.write_text("\n".join(lines) + "\n")
    text = further_methods(frame, file)
    best = "the paper's row with the best mean there"
    auc, ideal_loss = text.rpartition("in AUC ")[2].split("; in ideal loss ")
    naive = "1 of 2 better (Newer) and 0 worse than MF"
    assert auc == f"{naive}, 2 of 2 better (Newer and Newest) and 0 worse than {best}"
    assert ideal_loss == f"1 of 2 better (Newest) and 1 worse than MF, 0 of 2 better and 1 worse than {best}."
    file.write_text("\n".join(lines[:2]) + "\n")
    assert "Where every label is known" not in further_methods(frame, file)
    file.write_text("\n".join(lines).replace(",auc,", ",acu,") + "\n")
    with pytest.raises(BenchError, match=r"known_truth\.csv is not as it was written"):
        further_methods(frame, file)
    file.write_text("\n".join(lines) + "\n")
    file.write_text(file.read_text().replace("0.2", "some", 1))
    with pytest.raises(BenchError, match=r"known_truth\.csv is not as it was written"):
        further_methods(frame, file)
