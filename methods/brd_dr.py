"""BRD-DR (benchmarked robust deconfounder): RD-DR that is to beat DR-JL whatever the confounder does.

    first:  DR-JL, whose prediction f₀ and imputation g₀ become the benchmark
    then:   min_θ  max_w  E(θ, φ, w) − E(θ₀, φ₀, w),    E = mean_D ê + mean_O w · (e − ê)        (G,)

e, ê, the bounds of w and φ's loss are those of `rd_dr.py`. θ's own gradient has nothing of the benchmark: it
is the adversary that looks for weights under which θ loses most to it.

Source: Ding et al., "Addressing Unmeasured Confounder for Recommendation with Sensitivity Analysis", KDD
2022; the authors' code: Dingseewhole/Robust_Deconfounder_master.

Differences from the paper:
1. Those of `rd_dr.py`.
2. The benchmark is trained in the row's own first phase, with the row's own settings; the authors load one.
   As in their code, θ and φ go on from there.
3. The adversary ascends the difference, as the paper's formula has it; the authors' code computes it, and
   ascends E(θ, φ, w) alone.
4. The authors' code limits the prediction's gradients here; Adam's steps are limited as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bench.engine.phase import Phase
from bench.engine.sampling import Batch, Draw
from methods import register
from methods.dr_jl import DRJL
from methods.parts import Factorisation
from methods.rd_dr import RDDR


@register
class BRDDR(RDDR):
    """RD-DR against a benchmark."""

    title = "BRD-DR"

    @dataclass(kw_only=True)
    class Config(RDDR.Config):
        """Fields of BRD-DR."""

    def build(self) -> None:
        """What RD-DR builds, and where the benchmark will stand."""
        super().build()
        self.benchmark = self.part(Factorisation, "benchmark")
        self.benchmark_imputation = self.part(Factorisation, "benchmark_imputation")

    def phases(self) -> list[Phase]:
        """DR-JL, then the robust training."""
        first = Phase(name="benchmark", step=self.step_benchmark, score=self.score, stream="benchmark")
        main = Phase(name="training", step=self.step, score=self.score, begin=self.keep_benchmark)
        return [first, main]

    def step_benchmark(self, draw: Draw) -> None:
        """One step of DR-JL."""
        DRJL.step(self, draw)

    def keep_benchmark(self) -> None:
        """The benchmark is what prediction and imputation are now."""
        for kept, model in (
            (self.benchmark, self.prediction),
            (self.benchmark_imputation, self.imputation),
        ):
            for name, table in kept.tables.items():
                table.copy_(model.tables[name])

    def at_stake(self, observed: Batch, logits: Tensor) -> Tensor:
        """(e − ê) − (e₀ − ê₀), (G, B), given f's logits, fixed."""
        benchmark = self.missed_error(
            observed, self.benchmark.fixed(observed), self.benchmark_imputation.fixed(observed)
        )
        return super().at_stake(observed, logits) - benchmark
