"""The report's section on unlearning rates, against the published file of rates read by hand."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from bench.files import CHECKOUT
from bench.study.report import published_findings
from bench.study.unlearning import unlearning

PUBLISHED = CHECKOUT / "results" / "published"


def test_quantiles_and_correlations_are_those_of_the_published_rates() -> None:
    frame = published_findings(CHECKOUT / "results").frame
    section = unlearning(frame, PUBLISHED)
    lines = [line for line in section.splitlines() if line.startswith("| ULTD")]
    assert len(lines) == 2 * 4  # rows, data sets
    cell = next(
        line.cell.digest
        for line in frame.lines
        if (line.protocol, line.dataset.dataset, line.row.method) == ("table", "synthetic", "ultd_jl")
    )
    with gzip.open(PUBLISHED / "rates.csv.gz", "rt", encoding="utf-8") as text:
        rates = {row["statistic"]: row for row in csv.DictReader(text) if row["cell"] == cell}
    low, median, high = map(float, rates["quantile"]["alpha"].split())
    line = next(line for line in lines if line.startswith("| ULTD-JL, Synthetic"))
    assert f"{low:.3f} / {median:.3f} / {high:.3f}" in line
    assert f"{float(rates['kappa']['rho']):+.2f}" in line
    assert f"by {high / low - 1:.0%} at most (ULTD-JL, Synthetic)" in section
    # A bar in a title ends no column.
    header = next(line for line in section.splitlines() if line.startswith("| Row"))
    assert header.replace("\\|", "").count("|") == line.count("|")


def test_without_rates_there_is_no_section(tmp_path: Path) -> None:
    assert unlearning(published_findings(CHECKOUT / "results").frame, tmp_path) == ""
