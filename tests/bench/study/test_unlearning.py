"""The report's section on unlearning rates, against the published file of rates read by hand."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from bench.files import CHECKOUT
from bench.report.traces import Rates, Traces
from bench.study import unlearning as module
from bench.study.unlearning import unlearning
from tests.bench.study.published import published_frame

PUBLISHED = CHECKOUT / "results" / "published"


def test_quantiles_and_correlations_are_those_of_the_published_rates() -> None:
    frame = published_frame()
    section = unlearning(frame, PUBLISHED)
    lines = [line for line in section.splitlines() if line.startswith("| ULTD")]
    assert len(lines) % 2 == 0 and len(lines) >= 2 * 4  # rows, data sets
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
    spreads = [
        float(cells[-1]) - float(cells[0]) for cells in (line.split("|")[3].split("/") for line in lines)
    ]
    assert f"of {max(spreads):.3f} at most" in section
    # Of a statistic that some users lack it says how many have it.
    yahoo = next(line for line in lines if line.startswith("| ULTD-JL, Yahoo! R3"))
    assert "(5,369 users)" in yahoo and "users)" not in line
    # A bar in a title ends no column.
    header = next(line for line in section.splitlines() if line.startswith("| Row"))
    assert header.replace("\\|", "").count("|") == line.count("|")


def test_without_rates_there_is_no_section(tmp_path: Path) -> None:
    assert unlearning(published_frame(), tmp_path) == ""


def test_a_rate_of_0_is_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users without a rating in A, where they are not unlearned at all."""
    frame = published_frame()
    cell = next(line.cell.digest for line in frame.lines if line.row.method == "ultd_jl")
    rates = Rates(users=3, quantiles=(0.0, 0.0, 0.25), scatters={})
    monkeypatch.setattr(module, "read_traces", lambda folder: {cell: Traces((), rates)})
    section = unlearning(frame, PUBLISHED)
    assert "0.000 / 0.000 / 0.250" in section and "of 0.250 in the median row" in section
