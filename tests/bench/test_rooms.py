"""The rooms of `bench/`: what imports what, what is called how, and what outsiders may rely on."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
import methods
from bench.files import CHECKOUT

FILES = sorted(
    file for top in ("bench", "methods") for file in (CHECKOUT / top).rglob("*.py") if file.is_file()
)

# The rooms, each of which imports only those before it.
ORDER = (
    *("bench.errors", "bench.seeds", "bench.config", "bench.files"),
    *("bench.outside", "bench.conventions"),
    *("bench.records", "bench.metrics"),
    *("bench.data", "bench.engine", "methods", "bench.compose", "bench.cell", "bench.command"),
    *("bench.table", "bench.report", "bench.tuned", "bench.reproduce"),
    *("bench.score", "bench.export", "bench.new", "bench.gate", "bench"),
    *("bench.__main__", "bench.study", "bench.speed"),
)
APART = ("bench.study", "bench.speed")  # which nothing imports


def module(file: Path) -> str:
    name = ".".join(file.relative_to(CHECKOUT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def room(name: str) -> str:
    """The first two parts of a module's name; all of `methods` is one."""
    parts = name.split(".")
    return parts[0] if parts[0] == "methods" else ".".join(parts[:2])


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


MODULES = {module(file) for file in FILES}


def imported(file: Path) -> Iterator[str]:
    """The project's modules that a file names in an import, wherever in it that stands."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports name the whole module"
            every = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in every]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("bench", "methods"))


# --- Arrows -------------------------------------------------------------------------------------------


def test_every_room_has_its_place() -> None:
    assert {room(name) for name in MODULES} == set(ORDER)


def test_no_import_runs_back_up() -> None:
    place = {name: number for number, name in enumerate(ORDER)}
    wrong = [
        f"{module(file)} imports {name}"
        for file in FILES
        for name in imported(file)
        if room(name) != room(module(file)) and place[room(name)] >= place[room(module(file))]
    ]
    assert wrong == []


def test_nothing_imports_the_studies_or_the_stopwatch() -> None:
    wrong = [
        f"{module(file)} imports {name}"
        for file in FILES
        for name in imported(file)
        if room(name) in APART and room(name) != room(module(file))
    ]
    assert wrong == []


def test_no_two_modules_import_each_other() -> None:
    arrows = {module(file): {name for name in imported(file) if name in MODULES} for file in FILES}
    # A package's own __init__ re-exports its modules.
    circles = {
        tuple(sorted((one, other)))
        for one, others in arrows.items()
        for other in others
        if one in arrows.get(other, ()) and one != other and not one.startswith(f"{other}.")
        if not other.startswith(f"{one}.")
    }
    assert circles == set()


def test_no_module_needs_one_that_some_system_lacks() -> None:
    """Of Python's own, those that Windows has not: a function that can do without may import one."""
    absent = {"resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline"}
    for file in FILES:
        for node in tree(file).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not absent & set(names), f"{file} cannot be imported on Windows"


# --- Words --------------------------------------------------------------------------------------------


def test_the_map_has_every_room_and_every_file_of_the_root() -> None:
    """`bench.__doc__`, one line for each; in the order of the imports."""
    on_it = re.findall(r"^    (\w+(?:\.py|/)) +\S", bench.__doc__ or "", re.MULTILINE)
    there = [name.removeprefix("bench.") for name in ORDER if name not in ("bench", "methods")]
    assert [name.removesuffix(".py").removesuffix("/") for name in on_it] == there
    root = CHECKOUT / "bench"
    for name in on_it:
        assert (root / name).is_dir() if name.endswith("/") else (root / name).is_file(), name


# Deliberate: a command's `main`, a `Config` of whatever has one, what every data set has, and `bench.load`,
# which loads models.
OF_MANY = {"main", "Config", "load"}
OF_DATA_SETS = {"load", "MANIFEST", "Manifest", "REMEDY"}


# What outsiders import, and what the identity of every record is made of: renamed with the
# next code that changes numbers, if at all. The list may only shrink.
ALIKE_BEFORE = {"AnyPart", "Array", "Floats", "Pairs", "Validation", "find", "require"}


def public_names(file: Path) -> Iterator[str]:
    """What a module defines at its top, but for what begins with an underscore."""
    for node in tree(file).body:
        found: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = [node.target.id]
        yield from (name for name in found if not name.startswith("_"))


def test_no_two_public_names_are_alike() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for file in FILES:
        name = module(file)
        for each in public_names(file) if room(name) != "methods" else ():
            of_data_set = each in OF_DATA_SETS and room(name) == "bench.data"
            owners[each].add("a data set" if of_data_set else name)
    alike = {name: sorted(found) for name, found in owners.items() if len(found) > 1}
    assert {name: alike[name] for name in alike.keys() - OF_MANY - ALIKE_BEFORE} == {}
    assert alike.keys() >= ALIKE_BEFORE


def test_no_method_is_named_outside_the_studies_and_the_stopwatch() -> None:
    """What the suite does with a method follows from what the method says of itself."""
    keys = {file.stem for file in FILES if room(module(file)) == "methods"} & set(methods.names())
    wrong = []
    for file in FILES:
        if room(module(file)) in (*APART, "methods"):
            continue
        nodes = list(ast.walk(tree(file)))
        prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            words: set[str] = set()
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                words = set(re.findall(r"\w+", node.value))
            elif isinstance(node, ast.Name):
                words = {node.id}
            wrong += [f"{module(file)}: {key}" for key in sorted(words & keys)]
    assert wrong == []


# --- What outsiders may rely on -----------------------------------------------------------------------

COMMANDS = (
    *("bench", "bench.gate", "bench.report", "bench.reproduce", "bench.speed", "bench.study", "bench.table"),
    "bench.tuned",
)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `python -m COMMAND --help` does it, in this process."""
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    assert not left.value.code
    assert capsys.readouterr().out.strip()


IMPORTS = {
    "bench.config": ("DatasetConfig",),
    "bench.data": ("Interactions", "Ratings"),
    "bench.data.manifest": ("Pairs",),
    "bench.engine.bilevel": ("hypergradient", "virtual_step"),
    "bench.engine.part": ("Part", "minimise"),
    "bench.engine.phase": ("Phase",),
    "bench.engine.sampling": ("Batch", "Draw", "Pairs", "TrainingData", "generator"),
    "bench.errors": ("BenchError", "MissingData", "NotApplicable"),
    "bench.metrics": ("evaluate",),
    "methods": ("register",),
    "methods.base": ("Method", "MethodConfig", "Shared", "one_of", "require"),
    "methods.parts": (
        *("MF", "TwinMF", "LogLinear", "MLP", "Heads"),
        *("LabelWeights", "PairWeights", "naive_bayes", "logistic", "normalised", "weight_diagnostics"),
    ),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_works(name: str) -> None:
    found = importlib.import_module(name)
    assert [each for each in IMPORTS[name] if not hasattr(found, each)] == []
