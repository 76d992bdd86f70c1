"""CONTRIBUTING's example is a method that works from outside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cell as cells
from bench import compose, new
from bench.compose import groups

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests" / "extra" / "toy_method.py"


def block(language: str) -> str:
    """The only block of a language in CONTRIBUTING."""
    _, found = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"```{language}\n")
    return found.split("```")[0]


def test_the_example_is_the_file_that_is_tried() -> None:
    assert block("python") == TOY.read_text(encoding="utf-8")
    assert block("yaml") == new.yaml_of("toy_method")


def test_the_examples_yaml_sets_its_default_and_its_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(compose.CONF, conf)
    (conf / "method" / "toy_method.yaml").write_text(block("yaml"), encoding="utf-8")
    monkeypatch.setattr(groups, "CONF", conf)
    words = [f"methods.extra=[{TOY}]", "method=toy_method", "dataset=synthetic"]
    compose.register(words)
    config = compose.composed(words)
    assert config.method.power == 0.3
    assert cells.prepare(config, cells.load_ratings(config)).plan.stages[0].lists["power"] == [0.0, 0.3, 1.0]


def test_a_file_from_anywhere_is_a_row(tmp_path: Path) -> None:
    mine = tmp_path / "toy_method.py"
    mine.write_text(TOY.read_text(encoding="utf-8"), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "bench", f"methods.extra=[{mine}]", "method=toy_method"),
        *("dataset=synthetic", "dataset.n_users=60", "seeds=2", "engine.max_epochs=2", f"results={tmp_path}"),
        *("grid.learning_rate=[0.05]", "grid.weight_decay=[0.0]", "grid.power=[0.0,1.0]"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "toy_method on synthetic" in done.stdout and "power=" in done.stdout
    assert "2 points" in done.stdout


# What the example must not become → where its text changes, and the contract's test that says so.
FAULTS = {
    "mixes_members": (("(weight * error)", "(weight * error * error.detach().mean())"), "nobody_notices"),
    "reads_the_first_only": (('column("power")', "power[0]"), "nobody_notices"),
    "spreads_a_nan": (("(weight * error)", "(weight * error * (1 + 0 * error.sum().detach()))"), "is_lost"),
    "has_its_own_dice": (("(weight * error)", "(weight * error * torch.rand(1))"), "repeats"),
    "hides_what_it_knows": (
        ("(weight * error)", "(weight * error * draw.unbiased().labels.mean(-1, keepdim=True))"),
        "it_uses_of_the_unbiased",
    ),
    "claims_what_it_does_not_know": (("year = 2026", "year = 2026\n    uses_unbiased = 'yes'"), "it_uses_of"),
    "predicts_logits": (
        (
            "    def step",
            "    def score(self, pairs):\n        return self.prediction(pairs)\n\n    def step",
        ),
        "predicts_probabilities",
    ),
    "draws_nothing": (("draw.observed()", "draw.everywhere()"), "it_trains"),
    "trains_nothing": (
        ("minimise(self.prediction, (weight * error).mean(-1))", "self.prediction.leaves = []"),
        "it_trains",
    ),
    "checks_nothing": (
        ("# 0: plain MF", "# 0: plain MF\n\n        def check(self):\n            pass"),
        "cannot_be_are_refused",
    ),
    "talks": (("draw.observed()", "draw.observed()\n        print('step')"), "its_file_holds"),
    "owns_an_optimiser": (
        ("minimise(self.prediction", "torch.optim.Adam\n        minimise(self.prediction"),
        "its_file_holds",
    ),
    "says_nothing": (("Differences from the paper", "Notes"), "says_what_it_is"),
    "has_no_member_axis": (
        (
            "self.counts = Shared(counts.clamp_min(1).to(self.data.labels))",
            "self.counts = Shared(counts.clamp_min(1)"
            ".to(self.data.labels))\n        self.total = counts.sum()",
        ),
        "have_the_member_axis",
    ),
}


def contract(*files: Path, chosen: str) -> subprocess.CompletedProcess[str]:
    """`pytest tests/test_contract.py -k chosen` on some files."""
    extra = [word for file in files for word in ("--extra-method", str(file))]
    command = [sys.executable, "-m", "pytest", "-q", "-rfp", "--tb=no", "-p", "no:cacheprovider"]
    command += ["tests/test_contract.py", "-k", chosen, *extra]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_contract_passes_the_example_and_catches_each_fault(tmp_path: Path) -> None:
    text = TOY.read_text(encoding="utf-8")
    files = [TOY]
    chosen = ["toy_method and not measured and not misspelt"]
    for name, ((right, wrong), test) in FAULTS.items():
        assert text.count(right) == 1, right
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(text.replace(right, wrong), encoding="utf-8")
        chosen.append(f"{name} and {test}")
    done = contract(*files, chosen=" or ".join(f"({each})" for each in chosen))
    assert done.returncode == 1, done.stdout
    ends: dict[str, dict[str, set[str]]] = {file.stem: {"FAILED": set(), "PASSED": set()} for file in files}
    for end, test, key in re.findall(r"^(\w+) \S+::(\w+)\[(\w+)", done.stdout, re.MULTILINE):
        ends[key][end].add(test)
    of_the_example = ends.pop("toy_method")
    assert of_the_example["FAILED"] == set()
    for name, (_, test) in FAULTS.items():
        assert any(test in each for each in of_the_example["PASSED"]), test
        assert any(test in each for each in ends[name]["FAILED"]), f"{name}: {ends[name]}"


def test_the_contract_names_a_file_that_is_no_method() -> None:
    done = contract(Path("nowhere.py"), chosen="toy_method")
    assert done.returncode == 4  # pytest's usage error
    assert "ERROR: --extra-method names nowhere.py, where there is no file." in done.stderr
