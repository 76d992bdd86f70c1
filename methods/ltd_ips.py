"""LTD on the IPS loss: the other variant of `ltd.py`.

    lower:  E_IPS = mean_O w · e        (G,)

Source: as `ltd.py`.

Differences from the paper:
1. Those of `ltd.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from methods import register
from methods.ltd import LTD


@register
class LTDIPS(LTD):
    """An extra row beside LTD."""

    title = "LTD-IPS"

    @dataclass(kw_only=True)
    class Config(LTD.Config):
        """Fields of LTD-IPS."""

        base: str = "ips"
