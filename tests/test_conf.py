"""`conf/README.md` knows every group and every list, and its commands are understood."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex

import pytest

import methods
from bench import compose
from bench.config import DatasetConfig
from bench.files import CONF

TEXT = (CONF / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`python -m bench ([^`]+)`", TEXT)


def test_every_group_is_on_it() -> None:
    folders = {each.name for each in CONF.iterdir() if each.is_dir()}
    assert set(re.findall(r"^\| `(\w+)/`", TEXT, re.MULTILINE)) == folders


def test_every_list_of_a_stage_is_on_it() -> None:
    of_dataset = {each.name for each in dataclasses.fields(DatasetConfig) if each.name.endswith("_grid")}
    assert set(re.findall(r"^\| `(\w+_grid)`", TEXT, re.MULTILINE)) == of_dataset | {"own_grid", "long_grid"}
    used = set(re.findall(r"\b\w+_grid\b", "".join(file.read_text() for file in CONF.glob("sweep/*.yaml"))))
    assert used <= of_dataset | {"own_grid", "long_grid"}


def test_conf_holds_values_only() -> None:
    assert not list(CONF.rglob("*.py"))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command: str) -> None:
    words = shlex.split(command, comments=True)
    compose.register(words)
    for job in compose.jobs(compose.hydra_words(words)):
        assert compose.composed(job)


def test_it_has_commands() -> None:
    assert len(COMMANDS) > 5


# --- Methods' own lists -------------------------------------------------------------------------------

OWN_POINTS = 16  # that a row with parameters of its own can be given
ROWS = (
    *("ltd", "ltd_ips", "res_ips", "res_dr", "autodebias", "ultd_jl", "ultd_tp"),
    *("bal_ips", "bal_dr", "invpref"),
    *("mrdr", "dr_bias", "dr_mse", "cvib", "esmm", "multi_ips", "multi_dr", "escm2_ips", "ips_v2", "dr_v2"),
    *("stable_dr", "tdr", "tdr_jl", "dt_ips", "dt_dr", "rd_ips", "rd_dr", "brd_dr"),
)
# What the papers and the authors' code use or try.
RES = {"beta": {0.1, 0.01, 0.001}, "gamma": {0.1, 0.001, 0.00001}}
ULTD = {
    "gamma": {0.1} | {digit * 10**-power for digit in (1, 5) for power in range(2, 7)},
    "penalty": {1e-4, 1e-3, 1e-2, 1e-1, 1},
}
CVIB = {"contrast_weight": {0.0001, 0.001, 0.01, 0.1, 0.5, 1, 2}, "confidence_weight": {0.001, 0.01, 0.1, 1}}
ESCM2_IPS = {"cvr_weight": {0.1, 0.5}, "propensity_weight_decay": {1e-4, 1e-5}}
MULTI_DR = {"propensity_weight_decay": {1e-4, 1e-5}, "imputation_weight_decay": {1e-4, 1e-2}}
ESMM = {"ctr_weight": {1, 2}, "propensity_weight_decay": {1e-3, 1e-6}}
# Of a sum over n pairs beside the square of one: 100 · 384 and 1000 · 40,960, rounded up.
STABLE_DR = {"balance_weight": {40_000, 40_000_000}, "imputation_weight_decay": {5e-5, 5e-6, 1e-5}}
IPS_V2 = {
    "ctcvr_weight": {1},
    "cvr_weight": {1, 5, 10},
    "balance_weight": {0.01, 0.05, 0.5},
    "propensity_weight_decay": {5e-4, 1e-3, 0.1},
}
DR_V2 = {
    "ctcvr_weight": {1},
    "cvr_weight": {1, 2, 10},
    "balance_weight": {0.05, 0.1, 1},
    "propensity_weight_decay": {1e-4, 1, 5},
    "imputation_weight_decay": {0, 1e-6},
}
DR_BIAS = {"imputation_weight_decay": {1e-3, 1e-4}}
BAL = {
    "balance_weight": {1},
    "balance_learning_rate": {0.001, 0.005},
    "balance_weight_decay": {0.1, 0.01, 0.001},
}
INVPREF = {"environments": {2, 4, 5, 6}, "interval": {5, 20, 30}, "variant_weight": {1, 4}, "reversal": {1}}
PUBLISHED = {
    **{"bal_ips": BAL, "bal_dr": BAL, "invpref": INVPREF},
    **{"res_ips": RES, "res_dr": RES, "ultd_jl": ULTD, "ultd_tp": ULTD},
    **{
        "cvib": CVIB,
        "ips_v2": IPS_V2,
        "dr_v2": DR_V2,
        "dr_bias": DR_BIAS,
        "dr_mse": {"bias_share": {0.25, 0.5}, **DR_BIAS},
    },
    "mrdr": {"imputation_weight_decay": {1e-3}},
    "tdr": {"imputation_weight_decay": {1e-4, 1e-5}},
    "tdr_jl": {"imputation_weight_decay": {1e-4, 1e-5, 5e-5}},
    **{
        "escm2_ips": ESCM2_IPS,
        "multi_dr": MULTI_DR,
        "esmm": ESMM,
        "stable_dr": STABLE_DR,
    },
    "multi_ips": {"propensity_weight_decay": {1e-4, 1e-2}},
    "dt_ips": {"propensity_weight": {0.5}, "propensity_weight_decay": {1e-2, 1e-3, 1e-4}},
    "dt_dr": {"propensity_weight_decay": {1e-2, 1e-3}, "imputation_weight_decay": {0.1, 0.01, 1e-4}},
    **{"rd_ips": {"gamma": {25, 10}}, "rd_dr": {"gamma": {3, 10}}, "brd_dr": {"gamma": {2.5, 10}}},
}


@pytest.mark.parametrize("key", methods.names())
def test_weight_decay_is_swept_with_the_learning_rate_and_in_no_list_of_a_method(key: str) -> None:
    compose.register()
    found = compose.composed([f"method={key}", "dataset=coat"]).method
    assert "weight_decay" not in {*found.grid, *found.long_grid}


@pytest.mark.parametrize("key", ROWS)
def test_a_rows_own_lists_are_long_enough_and_hold_what_it_starts_from(key: str) -> None:
    compose.register()
    found = vars(compose.composed([f"method={key}", "dataset=coat"]).method)
    lists = found["long_grid"]
    assert math.prod(map(len, lists.values())) >= OWN_POINTS
    for name, values in lists.items():
        assert found[name] in values, name
    for name, values in PUBLISHED.get(key, {}).items():
        assert {float(f"{value:.6g}") for value in values} <= set(lists[name]), name
