"""Small charts as inline SVG, coloured by the page's style sheet. Coordinates are in CSS pixels."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] to pixels [start, end]; what lies outside is drawn on the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value; the middle where the range is empty."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return self.start + share * (self.end - self.start)


def svg(width: float, height: float, body: str, label: str = "", kind: str = "") -> str:
    """An `svg` element; without a label it is decoration that a screen reader passes over."""
    spoken = f'role="img" aria-label="{html.escape(label)}"' if label else 'aria-hidden="true"'
    named = f' class="{kind}"' if kind else ""
    return f'<svg{named} viewBox="0 0 {width:g} {height:g}" {spoken}>{body}</svg>'


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """A text; anchor: start | middle | end."""
    named = f' class="{kind}"' if kind else ""
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}{anchored}>{html.escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A circle; the title shows under the pointer."""
    inner = f"<title>{html.escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">{inner}</circle>'


def dots(points: Iterable[tuple[float, float]], kind: str) -> str:
    """Many dots as one path of lines without length, a tenth of the bytes of so many circles."""
    places = dict.fromkeys(f"M{x:.0f},{y:.0f}h0" for x, y in points)
    return f'<path d="{"".join(places)}" class="{kind}"/>'


def path(xs: ArrayLike, ys: ArrayLike, x_of: Scale, y_of: Scale, kind: str) -> str:
    """A polyline through the points whose y is finite."""
    points = [
        f"{x_of(x):.1f},{y_of(y):.1f}"
        for x, y in zip(np.asarray(xs, float), np.asarray(ys, float), strict=True)
        if np.isfinite(y)
    ]
    return f'<polyline points="{" ".join(points)}" class="{kind}"/>' if points else ""


def thinned(length: int, most: int) -> list[int]:
    """At most `most` indices of a sequence, spread evenly, the first and the last among them."""
    if length <= most:
        return list(range(length))
    return sorted({round(i * (length - 1) / (most - 1)) for i in range(most)})


def spread(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """The range of values with a margin on either side."""
    low, high = min(values), max(values)
    room = (high - low) * margin or 1e-3
    return low - room, high + room
