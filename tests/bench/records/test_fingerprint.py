"""The fingerprint of code: what can change a number changes it, and nothing else does."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cell import identity
from bench.errors import BenchError
from bench.records import fingerprint
from bench.records.fingerprint import Code, Identity, shape

# --- Identity ---------------------------------------------------------------------------------------


def digest(config: dict[str, object], data: str = "d", code: str = "c") -> str:
    return Identity(config=config, data=data, code=code).digest


def test_spelling_does_not_change_the_identity_and_values_do() -> None:
    assert digest({"a": 1e-4, "b": 5}) == digest({"b": 5.0, "a": 0.0001})
    different = [
        digest({"a": 1e-3, "b": 5}),
        digest({"a": 1e-4, "b": 5}, data="e"),
        digest({"a": 1e-4, "b": 5}, code="f"),
        digest({"a": 1e-4, "b": 5}),
    ]
    assert len(set(different)) == 4


# --- A project of one's own -------------------------------------------------------------------------

METHOD = '''"""A method."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from own.losses import squared
from own.silent import say

if TYPE_CHECKING:
    from own.types import Batch


class Method:
    """Its docstring."""

    clip: float = 5.0

    def step(self, batch: Batch, power: int) -> float:
        """What it does."""
        # why it does so
        if power < 0:
            raise ValueError(f"power={power} is below 0.") from None
        assert power < 9, "too large"
        say("step")
        return squared(batch) + math.exp(-power)
'''
LOSSES = "def squared(x):\n    return x * x\n\n\ndef absolute(x):\n    return abs(x)\n"


class Project:
    """A package `own` with a method that imports a loss, and its fingerprint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.method = "own/method.py"
        for name, text in {
            "own/__init__.py": '"""A package."""\n',
            self.method: METHOD,
            "own/losses.py": LOSSES,
            "own/other.py": "def squared(x):\n    return 2 * x\n",
            "own/faces.py": "from own.losses import absolute, squared\n",
            "own/types.py": "class Batch:\n    size = 3\n",
            "own/silent.py": "def say(text):\n    print(text)\n",
        }.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def move(self, old: str, new: str) -> None:
        self.write(new, (self.root / old).read_text())
        (self.root / old).unlink()

    def code(self) -> Code:
        return Code((self.root,), lambda path: path.stem == "silent")

    def names(self) -> set[str]:
        found = self.code().closure([self.root / self.method])
        return {path.relative_to(self.root).as_posix() for path in found}

    def fingerprint(self) -> str:
        return self.code().fingerprint({"method": self.root / self.method})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def _moved(project: Project) -> None:
    project.move("own/losses.py", "own/deep/down/terms.py")
    project.change(project.method, "from own.losses", "from own.deep.down.terms")
    project.change("own/faces.py", "from own.losses", "from own.deep.down.terms")


def _moved_entry(project: Project) -> None:
    project.move(project.method, "own/row.py")
    project.method = "own/row.py"


def _moved_project(project: Project) -> None:
    project.root = project.root.rename(project.root.with_name(f"{project.root.name}-elsewhere"))


def _package(project: Project) -> None:
    project.move("own/losses.py", "own/losses/__init__.py")


SAME: dict[str, Callable[[Project], None]] = {
    "docstring": lambda p: p.change(p.method, '"""What it does."""', '"""What it does, in other words."""'),
    "no docstring": lambda p: p.change(p.method, '    """Its docstring."""\n\n', ""),
    "comment": lambda p: p.change(p.method, "# why it does so", "# why"),
    "error sentence": lambda p: p.change(p.method, "is below 0.", "must not be negative."),
    "cause of an error": lambda p: p.change(p.method, " from None", ""),
    "sentence of an assertion": lambda p: p.change(p.method, "too large", "larger than 8"),
    "white space": lambda p: p.change("own/losses.py", "x * x", "(x\n        * x)"),
    "order of imports": lambda p: p.change(
        p.method,
        "from own.losses import squared\nfrom own.silent import say",
        "from own.silent import say\nfrom own.losses import squared",
    ),
    "relative import": lambda p: p.change(p.method, "from own.losses", "from .losses"),
    "unused name": lambda p: p.change(p.method, "import squared", "import absolute, squared"),
    "import inside": lambda p: (
        p.change(p.method, "from own.losses import squared\n", ""),
        p.change(p.method, "        return", "        from own.losses import squared\n\n        return"),
    )[0],
    "types": lambda p: p.change("own/types.py", "size = 3", "size = 4"),
    "silent file": lambda p: p.change("own/silent.py", "print(text)", "print(text, text)"),
    "moved silent file": lambda p: (
        p.move("own/silent.py", "own/quiet/silent.py"),
        p.change(p.method, "own.silent", "own.quiet.silent"),
    )[0],
    "file that is not imported": lambda p: p.change("own/other.py", "2 * x", "3 * x"),
    "moved file": _moved,
    "moved entry": _moved_entry,
    "package instead of a module": _package,
    "moved project": _moved_project,
}


@pytest.mark.parametrize("what", SAME)
def test_what_can_change_no_number_keeps_the_fingerprint(project: Project, what: str) -> None:
    before = project.fingerprint()
    SAME[what](project)
    assert project.fingerprint() == before


def _swapped(project: Project) -> None:
    """Two functions import another thing by the same name."""
    project.change("own/several.py", "squared as loss", "X as loss")
    project.change("own/several.py", "absolute as loss", "squared as loss")
    project.change("own/several.py", "X as loss", "absolute as loss")


# Files in which something is hidden from whoever reads names and import lines alone.
HIDING = {
    "own/reached.py": "def cubed(x):\n    return 3 * x\n",
    "own/passing.py": "from own.losses import squared\n",
    "own/several.py": (
        "def one(x):\n    from own.losses import squared as loss\n\n    return loss(x)\n\n\n"
        "def other(x):\n    from own.losses import absolute as loss\n\n    return loss(x)\n"
    ),
}
ERRORS = """

class Found(Exception):
    pass


def search():
    raise Found(1)


def step(power):
    try:
        raise ValueError(power := 1)
    except ValueError:
        return power
"""
USES = """

def through():
    return own.reached.cubed(3) + passing.squared(2) + several.one(2)
"""


OTHER: dict[str, Callable[[Project], None]] = {
    "literal": lambda p: p.change(p.method, "5.0", "5.5"),
    "kind of a literal": lambda p: p.change(p.method, "5.0", "5"),
    "operator": lambda p: p.change("own/losses.py", "x * x", "x + x"),
    "comparison": lambda p: p.change(p.method, "power < 0", "power <= 0"),
    "kind of an error": lambda p: p.change(p.method, "raise ValueError", "raise KeyError"),
    "default": lambda p: p.change(p.method, "power: int)", "power: int = 2)"),
    "imported file": lambda p: p.change("own/losses.py", "abs(x)", "abs(x) + 1"),
    # The files are the same, and so is every line but the import.
    "other function by the same name": lambda p: p.change(
        p.method, "import squared", "import absolute as squared"
    ),
    "function of another library": lambda p: p.change(p.method, "import math", "import cmath as math"),
    "value that an error carries": lambda p: p.change("own/losses.py", "Found(1)", "Found(2)"),
    "name given in an error's sentence": lambda p: p.change("own/losses.py", "power := 1", "power := 2"),
    "module that is reached through its package": lambda p: p.change("own/reached.py", "3 * x", "4 * x"),
    "function that is reached through a module that passes it on": lambda p: p.change(
        "own/passing.py", "own.losses import squared", "own.losses import absolute as squared"
    ),
    "which of two functions takes which": _swapped,
    "package's own code": lambda p: p.write("own/__init__.py", "import math\n\nmath.tau = 6\n"),
}


@pytest.mark.parametrize("what", OTHER)
def test_what_can_change_a_number_changes_the_fingerprint(project: Project, what: str) -> None:
    for name, text in HIDING.items():
        project.write(name, text)
    project.write("own/losses.py", LOSSES + ERRORS)
    project.write(project.method, METHOD.replace("import math", "import math\nimport own") + USES)
    project.change(project.method, "from own.silent", "from own import passing, several\nfrom own.silent")
    before = project.fingerprint()
    OTHER[what](project)
    assert project.fingerprint() != before


def test_a_name_counts_by_where_it_is_defined_not_by_who_passes_it_on(project: Project) -> None:
    project.change(project.method, "import squared", "import squared\nfrom own import faces, other")
    before = project.fingerprint()
    project.change(project.method, "own.losses import squared", "own.faces import squared")
    assert project.fingerprint() == before
    project.change(project.method, "own.faces import squared", "own.other import squared")
    assert project.fingerprint() != before


def test_an_attribute_of_a_local_name_called_like_a_module_is_none_of_it(project: Project) -> None:
    project.change(project.method, "import math", "import math\nfrom own import other")
    before = project.fingerprint()
    file = project.root / project.method
    assert not list(project.code()._by_attribute(file, fingerprint._source(file)))
    project.write(project.method, file.read_text() + "\n\ndef of(other):\n    return other.squares(2)\n")
    assert not list(project.code()._by_attribute(file, fingerprint._source(file)))
    assert project.fingerprint() != before


def test_names_that_are_passed_on_by_a_star_are_found(project: Project) -> None:
    project.change(project.method, "import squared", "import squared\nimport own.faces")
    project.change("own/faces.py", "from own.losses import absolute, squared", "from own.losses import *")
    before = project.fingerprint()
    project.change(project.method, "own.losses import squared", "own.faces import squared")
    assert project.fingerprint() == before


def test_the_closure_follows_relative_and_nested_imports(project: Project) -> None:
    assert project.names() == {"own/__init__.py", "own/method.py", "own/losses.py"}
    project.change("own/losses.py", "return x * x", "from . import other\n\n    return x * x")
    assert project.names() == {"own/__init__.py", "own/method.py", "own/losses.py", "own/other.py"}


def test_which_file_plays_which_role_counts(project: Project) -> None:
    files = [project.root / "own" / name for name in ("losses.py", "other.py")]
    one = project.code().fingerprint(dict(zip(("method", "dataset"), files, strict=True)))
    other = project.code().fingerprint(dict(zip(("dataset", "method"), files, strict=True)))
    assert one != other


def test_a_file_is_parsed_once_and_again_when_it_has_changed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    really = fingerprint._parsed

    def counted(content: bytes, path: Path) -> object:
        parsed.append(path.name)
        return really(content, path)

    monkeypatch.setattr(fingerprint, "_parsed", counted)
    before = project.fingerprint()
    assert sorted(parsed) == ["__init__.py", "losses.py", "method.py"]
    assert project.fingerprint() == before and len(parsed) == 3
    file = project.root / "own" / "losses.py"
    state = file.stat()
    project.change("own/losses.py", "x * x", "x + x")  # of the same size
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert project.fingerprint() != before and parsed[3:] == ["losses.py"]


def test_a_file_that_is_no_python_is_named(project: Project) -> None:
    project.write("own/losses.py", "def squared(x:\n")
    with pytest.raises(BenchError, match=r"losses\.py, line 1 is not valid Python"):
        project.fingerprint()


# --- The suite's own code ---------------------------------------------------------------------------

METHODS = ("mf", "ips", "escm2_dr", "res_dr", "ultd_jl")
FILES = sorted(set().union(*(identity.closure(key, "kuairec") for key in METHODS)))


def _mutable(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes whose change must be noticed: all but import lines, docstrings and error sentences."""
    if isinstance(node, ast.Raise):
        if isinstance(node.exc, ast.Call):
            yield from _mutable(node.exc.func)
        return
    if isinstance(node, ast.Assert):
        yield from _mutable(node.test)
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _mutable(child)


def _mutations(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Fields of a node, and what to put there instead."""
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield "value", not value
        elif isinstance(value, int | float):
            yield "value", value + 1 if value + 1 != value else 2 * value  # 1 is nothing beside 1e30
            yield "value", str(value)
        elif isinstance(value, str):
            yield "value", value + "x"
        else:
            yield "value", 0
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        yield "op", ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    elif isinstance(node, ast.UnaryOp):
        yield "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub()
    elif isinstance(node, ast.BoolOp):
        yield "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Compare):
        yield "ops", [ast.Gt() if isinstance(each, ast.Lt) else ast.Lt() for each in node.ops]
    elif isinstance(node, ast.Name):
        yield "id", node.id + "_"
    elif isinstance(node, ast.Attribute):
        yield "attr", node.attr + "_"
    elif isinstance(node, ast.Call) and node.args:
        yield "args", node.args[:-1]


def _missed(node: ast.AST, counted: list[int]) -> Iterator[str]:
    """Mutations inside a node that its shape does not show.

    Each is looked for in the smallest expression or statement around it: the shape of a node holds those of
    its parts as they are, which is asserted on the way down.
    """
    if not _mutable_here(node):
        return
    whole = shape(node)
    for name, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, ast.AST) or isinstance(part, ast.Import | ast.ImportFrom):
                continue
            if isinstance(node, ast.Raise | ast.Assert) and part not in _mutable(node):
                continue
            if any(isinstance(inner, ast.stmt) for inner in ast.walk(part)):
                assert not _mutable_here(part) or shape(part) in whole
                yield from _missed(part, counted)
                continue
            before = shape(part)
            assert before in whole
            for inner in _mutable(part):
                yield from _unseen(inner, part, before, counted, name)
    yield from _unseen(node, node, whole, counted, "")


def _mutable_here(node: ast.AST) -> bool:
    return next(_mutable(node), None) is not None and not _for_checkers(node)


def _for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _unseen(node: ast.AST, around: ast.AST, before: str, counted: list[int], field: str) -> Iterator[str]:
    for name, value in _mutations(node):
        kept = getattr(node, name)
        setattr(node, name, value)
        if shape(around) == before:
            yield f"{field} {ast.unparse(around)}"
        setattr(node, name, kept)
        counted.append(1)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_literal_operator_and_name_of_the_code_counts(file: Path) -> None:
    counted: list[int] = []
    assert list(_missed(ast.parse(file.read_bytes()), counted)) == []
    assert counted or file.stem == "__init__" or file.stat().st_size < 1000


def test_a_mutation_that_the_shape_does_not_show_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would fail if, say, a `return` did not count."""
    really = fingerprint._fields

    def blind(node: ast.AST) -> Iterator[tuple[str, object]]:
        return ((name, value) for name, value in really(node) if not isinstance(node, ast.Return))

    monkeypatch.setattr(fingerprint, "_fields", blind)
    with pytest.raises(AssertionError):
        list(_missed(ast.parse("def loss(x):\n    return x * 2\n"), []))


def test_the_closure_has_what_trains_and_not_what_tells() -> None:
    root = Path(identity.__file__).parents[2]
    names = {file.relative_to(root).as_posix() for file in identity.closure("ips", "synthetic")}
    counted = [
        *("bench/metrics.py", "bench/conventions.py", "bench/seeds.py"),
        *("bench/engine/training.py", "bench/engine/adam.py", "bench/engine/method.py"),
        *("bench/data/synthetic.py", "bench/data/split.py", "methods/ips.py", "methods/parts.py"),
        *(f"bench/cell/{name}.py" for name in ("search", "plan", "selection", "spec", "record")),
        *(f"bench/cell/{name}.py" for name in ("trainer", "trained", "splits", "evaluation")),
    ]
    assert set(counted) <= names
    rooms = {name.split("/")[1] for name in names if name.startswith("bench/")}
    assert not rooms & {"records", "command", "compose", "table", "report", "gate", "study", "speed"}
    assert not names & {
        *("bench/config.py", "bench/errors.py", "bench/files.py", "methods/__init__.py"),
        *("bench/data/coat.py", "methods/mf.py"),
        *(f"bench/cell/{name}.py" for name in ("train", "progress", "provenance", "preparation")),
        *(f"bench/cell/{name}.py" for name in ("lookup", "identity", "__init__")),
    }
