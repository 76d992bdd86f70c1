"""Contrast of the page's colours, light and dark, by WCAG 2.1: 4.5 : 1 for text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bench

STYLE = (Path(bench.__file__).parent / "report" / "assets" / "style.css").read_text(encoding="utf-8")
Colour = tuple[float, float, float]


def schemes() -> dict[str, dict[str, str]]:
    """The variables of both schemes; dark takes from light what it does not say itself."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    light, dark = (dict(re.findall(r"--(\w+): ([^;]+);", block)) for block in blocks[:2])
    return {"light": light, "dark": {**light, **dark}}


def colour(text: str) -> Colour:
    if text.startswith("#"):
        digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
        red, green, blue = (int(digits[i : i + 2], 16) for i in (0, 2, 4))
    else:
        red, green, blue = map(int, text.split(","))
    return float(red), float(green), float(blue)


def over(colour_: Colour, alpha: float, back: Colour) -> Colour:
    red, green, blue = (alpha * c + (1 - alpha) * b for c, b in zip(colour_, back, strict=True))
    return red, green, blue


def luminance(colour_: Colour) -> float:
    parts = [c / 255 for c in colour_]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_twenty_one() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast(colour("#777"), colour("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_everything_that_it_stands_on(scheme: str) -> None:
    known = schemes()[scheme]
    back, panel = colour(known["back"]), colour(known["panel"])
    grounds = {"back": back, "panel": panel}
    for name in ("text", "soft", "link", "mark", "other"):
        for ground, behind in grounds.items():
            if (name, ground) != ("other", "panel"):
                assert contrast(colour(known[name]), behind) >= 4.5, (name, ground)
    # The heat map at its darkest, and the same under the pointer.
    darkest = 0.08 + float(known["tint"])
    assert "calc(.08 + var(--tint) * var(--s))" in STYLE
    for name in ("low", "high"):
        cell = over(colour(known[name]), darkest, back)
        assert contrast(colour(known["text"]), cell) >= 4.5, name
        assert contrast(colour(known["text"]), over(colour(known["high"]), 0.18, cell)) >= 4.5, name
