"""The identity of a record: configuration, data and code, as far as they can change a number.

The code of a number is its closure, the files that some entries import, directly or through others. Files
count by what they compute. Where they lie, how their import lines are written, their docstrings, comments
and error sentences do not count, so that a move or a reworded sentence leaves every record valid. What a
name stands for does: `from metrics import ndcg as auc` is another file than `from metrics import auc`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records.plain import numbers_alike, plain, sha256

_DIGITS = 20  # of a digest
_PASSED_ON = 20  # times that a name may be passed on by modules, which may import each other


@dataclass(frozen=True, kw_only=True)
class Identity:
    """All that determines the numbers of a record.

    config: the resolved configuration, without the fields that cannot change a number.
    data: `Ratings.checksum`. code: `code_fingerprint` of what trains.
    """

    config: dict[str, Any]
    data: str
    code: str

    @property
    def digest(self) -> str:
        """The record's name: 20 hex digits of a sha256 over all of it.

        Neither the order of keys nor the spelling of a number counts: 1e-4 is 0.0001 and 5 is 5.0.

        Raises:
            TypeError: a value of the configuration has no JSON form, or a key is not a string.
        """
        document = {"config": plain(self.config), "data": self.data, "code": self.code}
        text = json.dumps(numbers_alike(document), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode())[:_DIGITS]


# --- Code -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """Where a project's code is looked up.

    roots: what is the project's own: folders on the import path, or packages' own folders. Imports found
    under none of them (numpy, torch) are not followed. silent: whether a file can change no number; it is
    left out with what it imports.
    """

    roots: tuple[Path, ...]
    silent: Callable[[Path], bool] = lambda path: False
    _homes: dict[str, list[Path]] = field(default_factory=dict, init=False, repr=False)  # of a top-level name
    _found: dict[tuple[Path, tuple[str, ...]], list[Path]] = field(
        default_factory=dict, init=False, repr=False
    )

    def closure(self, entries: Iterable[Path]) -> set[Path]:
        """The entries and every file that they import, directly or through others.

        The files are read, not run: imports inside functions count, names put together at run time (a
        registry's scan) and imports for type checkers alone do not. A package's `__init__.py` counts when a
        module of it is imported.

        Raises:
            BenchError: a file cannot be read or parsed.
        """
        found: set[Path] = set()
        waiting = [path.resolve() for path in entries]
        while waiting:
            file = waiting.pop()
            if file not in found:
                found.add(file)
                source = _source(file)
                for each in (*source.imports, *self._by_attribute(file, source)):
                    waiting += [path for path in self._files(file, each) if not self.silent(path)]
        return found

    def fingerprint(self, entries: Mapping[str, Path]) -> str:
        """A sha256 over the closure of some files.

        Args:
            entries: role → file, such as the method's: which file plays which role counts.

        Raises:
            BenchError: a file cannot be read or parsed.
        """
        hashes = {path: self._hash(path) for path in self.closure(entries.values())}
        roles = {role: hashes[path.resolve()] for role, path in entries.items()}
        return sha256(json.dumps([sorted(hashes.values()), roles], sort_keys=True).encode())

    def _hash(self, file: Path) -> str:
        """Of what a file computes, and of what the imported names that it uses stand for."""
        source = _source(file)
        in_order = [
            (each.local, self._meaning(file, each))
            for each in (*source.imports, *self._by_attribute(file, source))
            if each.local in source.used
        ]
        names = set(in_order)
        # Where one name stands for several things, in several functions, it matters which comes where.
        locals_ = [local for local, _ in names]
        several = [each for each in in_order if locals_.count(each[0]) > 1]
        return sha256(json.dumps([source.shape, sorted(names), *([several] if several else [])]).encode())

    def _by_attribute(self, file: Path, source: _Source) -> Iterator[_Import]:
        """What a file reaches through a module that it imports: `parts.mf` after `import parts`.

        As the import statement that would say it; without what the module defines itself, whose content is in
        the name's meaning already.
        """
        for each in source.imports:
            dotted = each.module if each.name is None else f"{each.module}.{each.name}".lstrip(".")
            if each.name is None and each.local == _top(each.module):
                dotted = each.local  # `import a.b` binds a
            for chain in source.chains.get(each.local, ()):
                here = dotted
                for name in chain:
                    path = self._module(file, each.level, here)
                    deeper = f"{here}.{name}"
                    if path is None or not (
                        self._passes_on(path, name) or self._module(file, each.level, deeper)
                    ):
                        break
                    yield _Import(each.level, here, name, each.local)
                    here = deeper

    def _meaning(self, file: Path, each: _Import) -> str:
        """What an imported name stands for: its own name, and the content of the file that defines it."""
        if each.name is None:
            path = self._module(file, each.level, each.module)
            return self._content(path) if path else each.module
        inner = f"{each.module}.{each.name}" if each.module else each.name
        path = self._module(file, each.level, inner)
        if path is not None:
            return self._content(path)
        path = self._module(file, each.level, each.module)
        if path is None:
            return inner
        path, name = self._definition(path, each.name)
        return f"{self._content(path) if path else ''}.{name}"

    def _content(self, path: Path) -> str:
        return "" if self.silent(path) else _source(path).shape

    def _definition(self, path: Path, name: str, depth: int = 0) -> tuple[Path | None, str]:
        """The file that defines a module's name, through modules that only pass it on, and its name there.

        (None, dotted name) of what is not the project's own.
        """
        if self.silent(path):
            return path, name
        source = _source(path)
        if name in source.defined or depth > _PASSED_ON:
            return path, name
        for each in reversed(source.imports):
            if each.name is None or each.local not in (name, "*"):
                continue
            inner = name if each.local == "*" else each.name
            module = self._module(path, each.level, each.module)
            if each.local == "*":
                if module is not None and self._defines(module, name):
                    return self._definition(module, name, depth + 1)
                continue
            submodule = self._module(path, each.level, f"{each.module}.{inner}" if each.module else inner)
            if submodule is not None:
                return submodule, ""
            if module is None:
                return None, f"{each.module}.{inner}"
            return self._definition(module, inner, depth + 1)
        return path, name

    def _passes_on(self, path: Path, name: str) -> bool:
        """Whether a module has a name from another one."""
        if self.silent(path) or name in _source(path).defined:
            return False
        return any(each.local in (name, "*") for each in _source(path).imports)

    def _defines(self, path: Path, name: str) -> bool:
        source = _source(path)
        return name in source.defined or any(each.local == name for each in source.imports)

    # --- Where modules lie ---

    def _files(self, file: Path, each: _Import) -> Iterator[Path]:
        """The files that run when something is imported."""
        # `from package import name` may name a module; where it does not, nothing is found.
        parts = [*each.module.split(".")] if each.module else []
        parts += [each.name] if each.name not in (None, "*") else []
        for folder, names in self._places(file, each.level, parts):
            for number in range(1, len(names) + 1):
                yield from self._candidates(folder, names[:number])

    def _module(self, file: Path, level: int, dotted: str) -> Path | None:
        """The file of a module, if it is the project's own."""
        parts = dotted.split(".") if dotted else []
        for folder, names in self._places(file, level, parts):
            for path in self._candidates(folder, names):
                return path
        return None

    def _places(self, file: Path, level: int, parts: list[str]) -> Iterator[tuple[Path, list[str]]]:
        """The folders to look a module up in, and its dotted name there."""
        if level:
            package = file.parents[level - 1]
            yield package.parent, [package.name, *parts]
        elif parts:
            if parts[0] not in self._homes:
                self._homes[parts[0]] = list(self._homes_of(parts[0]))
            for folder in self._homes[parts[0]]:
                yield folder, parts

    def _homes_of(self, top: str) -> Iterator[Path]:
        for root in self.roots:
            root = root.resolve()
            if (root / top).is_dir() or (root / f"{top}.py").is_file():
                yield root
            elif root.name == top:
                yield root.parent

    def _candidates(self, folder: Path, parts: list[str]) -> list[Path]:
        """The file of a module or of a package, if it is there."""
        key = folder, tuple(parts)
        if key not in self._found:
            place = folder.joinpath(*parts)
            choices = (place / "__init__.py", place.with_name(f"{place.name}.py"))
            self._found[key] = [each for each in choices if each.is_file()][:1]
        return self._found[key]


# --- Sources ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Import:
    """One imported name. level: dots of a relative import. name: None of `import module`; local: as used."""

    level: int
    module: str
    name: str | None
    local: str


@dataclass(frozen=True)
class _Source:
    """What the fingerprint needs of a file.

    used: names in its shape. defined: those of its top level. chains: name → the attributes that are asked of
    it, one after the other.
    """

    shape: str  # its sha256
    imports: tuple[_Import, ...]
    used: frozenset[str]
    defined: frozenset[str]
    chains: dict[str, tuple[tuple[str, ...], ...]]


_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_sources: dict[Path, tuple[tuple[int, int], _Source]] = {}  # parsed once in a process


def _source(path: Path) -> _Source:
    try:
        state = path.stat()
        key = (state.st_mtime_ns, state.st_size)
        known = _sources.get(path)
        if known is None or known[0] != key:
            known = _sources[path] = key, _parsed(path.read_bytes(), path)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}.") from error
    return known[1]


def same_code(content: bytes, path: Path) -> bool:
    """Whether a file computes what it did when it had this content.

    Raises:
        BenchError: it cannot be read or parsed.
    """
    now = _source(path)  # first, since it may be gone
    if path.read_bytes() == content:
        return True
    return _parsed(content, path) == now


def _parsed(content: bytes, path: Path) -> _Source:
    try:
        tree = ast.parse(content, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}, line {line}" if line else str(path)
        raise BenchError(f"{place} is not valid Python: {error.args[0]}.") from error
    imports, used, defined = [], set(), set()
    chains: dict[str, set[tuple[str, ...]]] = {}
    counted: list[ast.AST] = []
    text = shape(tree, counted)
    for node in counted:
        if isinstance(node, ast.Import):
            imports += [_Import(0, each.name, None, each.asname or _top(each.name)) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += [
                _Import(node.level, node.module or "", each.name, each.asname or each.name)
                for each in node.names
            ]
        elif isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            chain: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                chain.insert(0, inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                chains.setdefault(inner.id, set()).add(tuple(chain))
    for statement in tree.body:
        if isinstance(statement, _DEFINITIONS):
            defined.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, _DEFINITIONS):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
    return _Source(
        sha256(text.encode()),
        tuple(imports),
        frozenset(used | {"*"}),
        frozenset(defined),
        {name: tuple(sorted(found)) for name, found in chains.items()},
    )


def _top(dotted: str) -> str:
    return dotted.partition(".")[0]


def shape(node: Any, counted: list[ast.AST] | None = None) -> str:
    """A syntax tree as text, without what can change no number.

    Without positions, import statements, statements that are a bare string, what is for type checkers
    alone, and the sentences of errors. Python's `ast.dump` would not do because its text depends on the
    version: newer ones add fields that are empty in older code. Empty fields are therefore left out.

    Args:
        counted: takes the nodes that count, and the import statements, each before what it holds.
    """
    counted = [] if counted is None else counted
    if isinstance(node, ast.AST):
        counted.append(node)
        fields = []
        for name, value in _fields(node):
            text = shape(value, counted)
            if value is not None and text != "[]":
                fields.append(f"{name}={text}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        texts = [(entry, shape(entry, counted)) for entry in node]
        return f"[{','.join(text for entry, text in texts if not isinstance(entry, _IMPORTS))}]"
    return repr(node)


def _fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """A node's fields that count, import statements among them."""
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.Raise):
            if name == "exc" and isinstance(value, ast.Call) and _says_a_sentence(value):
                value = value.func
            elif value is node.cause:
                continue
        elif isinstance(node, ast.Assert) and name == "msg" and value is not None and not _assigns(value):
            continue
        if isinstance(value, list):
            # What stands under `else:` of such an `if` is what runs.
            value = [
                inner
                for entry in value
                for inner in (entry.orelse if _for_checkers(entry) else [entry])
                if not _is_bare_string(inner)
            ]
        yield name, value


# Errors whose arguments are a sentence for people, as are those of functions that make one (`line_error`).
# Others may carry a value to whoever catches them.
_SENTENCES = {
    *("BenchError", "MissingData", "NotApplicable", "DamagedRecord", "NoRecord"),
    *("ValueError", "TypeError", "RuntimeError", "AttributeError", "KeyError", "IndexError", "OSError"),
    *("NotImplementedError", "FileNotFoundError", "AssertionError", "ArithmeticError", "FloatingPointError"),
}


def _says_a_sentence(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return (name in _SENTENCES or name.endswith("_error")) and not _assigns(call)


def _assigns(node: ast.AST) -> bool:
    """Whether an expression gives a name a value by `:=`."""
    return any(isinstance(each, ast.NamedExpr) for each in ast.walk(node))


def _for_checkers(node: Any) -> bool:
    """`if TYPE_CHECKING:`"""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_bare_string(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
