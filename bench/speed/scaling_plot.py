"""The curves of `bench/speed/scaling.py` as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.speed.curves import ADAMS, PER_USER

_COLOURS = {"dense": "#0072B2", "rows": "#D55E00"}  # of Okabe and Ito's palette, apart for all kinds of eyes
_NAMES = {"dense": "dense Adam", "rows": "row-wise Adam"}
_MARKS = {"dense": ("o", "-"), "rows": ("s", "--")}
_AXES = {
    "members": "members",
    "users": f"users, {PER_USER} ratings each",
    "ratings": "ratings",
    "batch": "batch size",
}


def plot(lines: Sequence[Mapping[str, str]], file: Path) -> None:
    """Time and memory along the four curves, as an SVG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("svg")
    # The same file from the same numbers, with its text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "scaling", "svg.fonttype": "none"})
    from matplotlib import pyplot

    shown = {curve: label for curve, label in _AXES.items() if any(line["curve"] == curve for line in lines)}
    if not shown:
        return
    figure, axes = pyplot.subplots(
        2, len(shown), figsize=(13, 6), sharey="row", layout="constrained", squeeze=False
    )
    for column, (curve, label) in enumerate(shown.items()):
        for adam in ADAMS:
            mine = [line for line in lines if (line["curve"], line["adam"]) == (curve, adam)]
            size = [float(line["size"]) for line in mine]
            mark, style = _MARKS[adam]
            for row, name in enumerate(("seconds_per_member_step", "peak_mib")):
                values = [float(line[name]) * (1e3 if row == 0 else 1) for line in mine]
                axes[row, column].plot(
                    size, values, marker=mark, linestyle=style, color=_COLOURS[adam], label=_NAMES[adam]
                )
        for row in range(2):
            axes[row, column].set(xscale="log", yscale="log")
            axes[row, column].grid(True, alpha=0.3)
        axes[1, column].set_xlabel(label)
    axes[0, 0].set_ylabel("CPU ms per member-step")
    axes[1, 0].set_ylabel("MiB beyond the process's own")
    axes[0, 0].legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
