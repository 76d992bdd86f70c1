"""The report's section on ULTD's unlearning rates: how far they differ between users, and with what.

Everything comes from the published rates (`rates.csv.gz`, `bench/report/traces.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench.records.metric import AUC
from bench.report.traces import STATISTICS, Rates, read_traces
from bench.table.claims import in_words
from bench.table.frame import Frame
from bench.table.lines import Line

_TEXT = """## Whom ULTD unlearns

The rate α_u is the weight of the pseudo-labels in a user's loss, here its mean over the seeds; the ratings
have the rest. ρ is Spearman's correlation over users of α_u with what a user is known for. By the paper's
second equation α_u grows with the loss on the user's unbiased ratings: ρ with that loss says how far this
holds on average over seeds, and not whom it finds. Coat's users all gave equally many ratings, which has no
ρ; κ is known of generated ratings alone. Rows at their published points, first protocol.
"""
_SHOWN = ("n_observed", "unbiased_loss", "kappa")  # what is a user's own, not the model's
_TRUTH = "kappa"


def unlearning(frame: Frame, folder: Path) -> str:
    """The section, from its heading on; "" of a table without such rates.

    Args:
        folder: the published one, of `rates.csv.gz`.

    Raises:
        BenchError: the file of rates is not as it was written.
    """
    traces = read_traces(folder)
    found: list[tuple[Line, Rates]] = []
    for column in frame.columns(frame.manifest.protocols[0]):
        if column.metric is AUC:
            for line in column.lines:
                rates = traces[line.cell.digest].rates if line.cell.digest in traces else None
                if rates is not None:
                    found.append((line, rates))
    if not found:
        return ""
    shown = [name for name in _SHOWN if any(_known(rates, name) for _, rates in found)]
    table = [
        [
            f"{line.row.title}, {line.dataset.title}",
            f"{rates.users:,}",
            " / ".join(f"{value:.3f}" for value in rates.quantiles),
            *(_correlation(rates, name) for name in shown),
        ]
        for line, rates in found
    ]
    titles = (STATISTICS[name][0].replace("|", "\\|") for name in shown)  # no column's end
    header = ["Row", "Users", "α: 10 / 50 / 90 % of the users", *(f"ρ, {title}" for title in titles)]
    lines = tabulate(table, header, tablefmt="github", disable_numparse=True)
    return f"{_TEXT}\n{lines}\n\n{_sentences(found)}"


def _correlation(rates: Rates, name: str) -> str:
    """ρ, and of how many users where they are not all."""
    if not _known(rates, name):
        return ""
    scatter = rates.scatters[name]
    return f"{scatter.rho:+.2f}" + (f" ({scatter.users:,} users)" if scatter.users != rates.users else "")


def _known(rates: Rates, name: str) -> bool:
    return name in rates.scatters and math.isfinite(rates.scatters[name].rho)


def _sentences(found: Sequence[tuple[Line, Rates]]) -> str:
    spreads = {
        f"{line.row.title}, {line.dataset.title}": rates.quantiles[-1] - rates.quantiles[0]
        for line, rates in found
    }
    widest = max(spreads, key=lambda name: spreads[name])
    median = np.median(list(spreads.values()))
    said = (
        f"Between the 10 % and the 90 % quantile of the users lies a difference in α of {median:.3f} in the "
        f"median row and of {spreads[widest]:.3f} at most ({widest})."
    )
    truths = [
        f"{rates.scatters[_TRUTH].rho:+.2f} ({line.row.title})"
        for line, rates in found
        if _known(rates, _TRUTH)
    ]
    if truths:
        said += (
            " The paper's hypothesis is that users who select more are unlearned more. Where their selection "
            f"is known, ρ with |κ| is {in_words(truths)}; at default points, with intervals over users, "
            "[known truth](../synthetic/known_truth.md) has it."
        )
    return said
