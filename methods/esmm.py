"""ESMM, entire-space multi-task model: conversion is learned from "rated and positive" over all pairs.

    L = α · click(D) + joint(D)        (G,)

Terms and towers are those of `entire_space.py`. Conversion has no loss of its own: nothing is weighed by a
propensity.

Source: Ma et al., "Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click
Conversion Rate", SIGIR 2018; public code: haoxuanli-pku/ICDE24-MNAR, `ESMM.py`.

Differences from the paper:
1. Ids only, so the towers are heads on an element-wise product instead of MLPs. `shared: false` gives two
   MFs, as public ports have it.
2. α is 1 in the paper; public code tries others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from bench.engine.part import minimise
from bench.engine.sampling import Draw
from methods import register
from methods.base import at_least, total
from methods.entire_space import EntireSpace, EntireSpaceConfig, Scored


@register
class ESMM(EntireSpace):
    """ESCM² without its third task."""

    title = "ESMM"
    paper = "Ma et al., Entire Space Multi-Task Model, SIGIR 2018"
    year = 2018
    group: ClassVar[str] = "further"

    @dataclass(kw_only=True)
    class Config(EntireSpaceConfig):
        """Fields of ESMM."""

        ctr_weight: float = field(default=1.0, metadata=at_least(0))  # α

    def step(self, draw: Draw) -> None:
        """One step of both towers; no term is of O."""
        everywhere = self.scored_batch(draw.everywhere())
        minimise(tuple(self.parts.values()), total(self.losses(everywhere, everywhere)))

    def losses(self, observed: Scored, everywhere: Scored) -> dict[str, Tensor]:
        """The loss's terms by name, (G,) each."""
        return {
            "ctr": self.config.ctr_weight * self.click_loss(everywhere),
            "ctcvr": self.joint_loss(everywhere),
        }
