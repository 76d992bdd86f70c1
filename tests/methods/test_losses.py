"""The named terms of a loss of several terms: what they are, and that their sum is what is minimised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.methods.small import Whole, built

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far

DOUBLY_ROBUST = {"direct", "correction"}
RESIDUAL = {
    "losses": ("prediction", {"estimate", "unbiased"}),
    "propensity_losses": ("propensity", {"nominal", "consistency", "penalty"}),
}
ULTD = {
    "losses": ("prediction", {"unlearning", "unbiased", "missing"}),
    "pseudo_label_losses": ("pseudo_label", {"error", "penalty"}),
}
# Method → what gives the terms → the part that is trained by them, and their names.
TERMS: dict[str, dict[str, tuple[str, set[str]]]] = {
    "dr": {"losses": ("prediction", DOUBLY_ROBUST)},
    "dr_jl": {"losses": ("prediction", DOUBLY_ROBUST)},
    "escm2_dr": {"losses": ("prediction", {"ctr", "ctcvr", "cvr", "imputation"})},
    **{key: {"losses": ("prediction", DOUBLY_ROBUST)} for key in ("mrdr", "dr_bias", "dr_mse")},
    "esmm": {"losses": ("prediction", {"ctr", "ctcvr"})},
    "multi_ips": {"losses": ("prediction", {"ctr", "cvr"})},
    "escm2_ips": {"losses": ("prediction", {"ctr", "ctcvr", "cvr"})},
    "multi_dr": {"losses": ("prediction", {"ctr", "cvr", "imputation"})},
    "ips_v2": {"losses": ("prediction", {"ctr", "ctcvr", "cvr", "balance"})},
    "dr_v2": {"losses": ("prediction", {"ctr", "ctcvr", "cvr", "imputation", "balance"})},
    "cvib": {"losses": ("prediction", {"observed", "contrast", "confidence"})},
    "cause": {"losses": ("prediction", {"observed", "unbiased", "pull"})},
    "ltd": {"losses": ("prediction", {"direct", "weighted"})},
    "autodebias": {"losses": ("prediction", {"observed", "everywhere"})},
    "res_ips": RESIDUAL,
    "res_dr": {**RESIDUAL, "imputation_losses": ("imputation", {"nominal", "shared", "penalty"})},
    "ultd_jl": ULTD,
    "ultd_tp": ULTD,
    "stable_dr": {"propensity_losses": ("propensity", {"nominal", "balance"})},
    "tdr": {"losses": ("prediction", DOUBLY_ROBUST | {"targeting"})},
    "tdr_jl": {"losses": ("prediction", DOUBLY_ROBUST | {"targeting"})},
    "dt_ips": {"losses": ("prediction", {"weighted", "propensity", "disentangle"})},
    "dt_dr": {"losses": ("prediction", DOUBLY_ROBUST | {"imputation", "propensity", "disentangle"})},
    "rd_dr": {"losses": ("prediction", DOUBLY_ROBUST)},
    "brd_dr": {"losses": ("prediction", DOUBLY_ROBUST)},
}
FIELDS: dict[str, dict[str, Any]] = {
    "ultd_jl": {"unbiased_weight": 0.3, "missing_weight": 0.2},
    "ultd_tp": {"unbiased_weight": 0.3, "missing_weight": 0.2},
    "res_ips": {"beta": 0.3, "gamma": 0.7},
    "res_dr": {"beta": 0.3, "gamma": 0.7},
}


@pytest.mark.parametrize("key", TERMS)
def test_what_is_minimised_is_the_sum_of_the_named_terms(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = built(key, **FIELDS.get(key, {}))
    last: dict[str, dict[str, Tensor]] = {}

    def noting(name: str) -> None:
        given = getattr(method, name)

        def terms(*args: Any) -> dict[str, Tensor]:
            found = given(*args)
            last[name] = {term: value.detach() for term, value in found.items()}
            return found

        monkeypatch.setattr(method, name, terms)

    for name in TERMS[key]:
        noting(name)
    if key == "ultd_tp":
        method.step_pseudo_label(Whole(method))
        method.step_prediction(Whole(method))
    else:
        method.step(Whole(method))
    for name, (part, names) in TERMS[key].items():
        assert set(last[name]) == names
        for term, value in last[name].items():
            assert value.shape == (2,) and bool(value.all()), term
        assert_close(method.parts[part].mean_loss(), sum(last[name].values()), rtol=1e-12, atol=1e-14)
