"""The workflow names what there is: make's targets, the promised Pythons, files that the gate writes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import yaml

from bench.files import CHECKOUT
from bench.gate import quick, tables
from bench.speed import plan_time

WORKFLOW: dict[str, Any] = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
MAKEFILE = (CHECKOUT / "Makefile").read_text()


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]


def targets() -> set[str]:
    """Make's targets that the workflow runs, a matrix of targets written out."""
    found = set(WORKFLOW["jobs"]["slow"]["strategy"]["matrix"]["target"])
    for _, step in steps():
        for words in re.findall(r"\bmake (.*)", step.get("run", "")):
            rest = re.sub(r"-o \S+|\S+=\S+|\$\{\{.*?\}\}", "", words)
            found |= set(rest.split())
    return found


def test_its_targets_are_makes() -> None:
    known = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    assert targets() <= known
    assert {"lint", "test", "gate", "storm", "gate-test", "report-scale"} <= targets()


def test_what_ci_run_does_is_in_the_workflow() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert set(re.findall(r"^make (\S+)", script, re.MULTILINE)) <= targets()


def test_it_tests_the_first_and_the_last_python_that_are_promised() -> None:
    named = re.findall(
        r"Programming Language :: Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.M
    )
    order = sorted(named, key=lambda version: int(version.split(".")[1]))
    after = int(order[-1].split(".")[1]) + 1
    assert PROJECT["requires-python"] == f">={order[0]},<3.{after}"
    assert f"not (3, {order[0].split('.')[1]}) <= sys.version_info < (3, {after})" in MAKEFILE
    assert f"Python {order[0]} to {order[-1]}" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python-version"] == [order[0], order[-1]]


def test_it_may_read_only_and_gives_way_to_a_newer_push() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "cancel-in-progress" in WORKFLOW["concurrency"]
    triggers = WORKFLOW[True]  # YAML reads the key `on` as a boolean
    assert {"push", "pull_request", "schedule"} <= triggers.keys()
    for name, job in WORKFLOW["jobs"].items():
        assert job["timeout-minutes"] <= 120, name


def test_its_artefacts_are_what_the_gate_writes() -> None:
    (upload,) = [step for _, step in steps() if "upload-artifact" in step.get("uses", "")]
    paths = upload["with"]["path"].split()
    assert str(quick.SCRATCH / quick.SUMMARY) in paths
    assert str(quick.SCRATCH / "table1" / "index.html") in paths
    assert tables.cost_file(quick.SCRATCH / "new.csv").match(str(quick.SCRATCH / "*.csv"))


def test_a_sweep_and_its_winners_are_of_the_same_seeds() -> None:
    """Else the winners of another sweep are written, or none."""
    words = ["make", "-n", "-o", "env", "sweep", "publish-sweep", "METHODS=mf", "DATASETS=coat", "SEEDS=7"]
    said = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"-m bench(?:\.tuned)? [^;&]*", said.replace("\\\n", " "))
    assert len(commands) == 3 and all(" seeds=7 " in f"{command} " for command in commands), commands


def test_the_plan_that_is_timed_is_the_one_that_is_swept() -> None:
    words = ["make", "-n", "-o", "env", "sweep", "speed-all", "DATASETS=coat"]
    said = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"-m bench(?: -m|\.speed\.plan_time) ([^;&\n]*)", said.replace("\\\n", " "))
    swept, timed = (set(re.findall(r"\b(?:dataset|sweep|seeds)=\S+", command)) for command in commands)
    assert swept == timed == {"dataset=coat", "sweep=paper", "seeds=20"}
    assert timed & set(plan_time._EVERYTHING) == timed - {"dataset=coat"}  # of all data sets
