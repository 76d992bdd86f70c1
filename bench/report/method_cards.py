"""A card of each method for the page, from the docstring of its file, which is read and never imported.

`methods/KEY.py` begins, as CONTRIBUTING asks, with a sentence, the loss as an indented formula, "Source:" and
the numbered "Differences from the paper:". Needs neither torch nor data.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from bench.files import CHECKOUT
from bench.table.manifest import Row

METHODS = CHECKOUT / "methods"
_DIFFERENCES = "Differences from the paper:"


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What the page says of a method.

    summary: its first sentence. idea: in a line, from the docstring of its class. formula: lines, as they
    stand there. shared: by file, the formulas of the files that the source names, and of those beside the
    rows that a remark names, as `entire_space.py`. remarks: paragraphs between. source: the paper and where
    in it. year: of the paper, or "". differences: from the paper. file: from the checkout's root.
    """

    row: Row
    summary: str
    idea: str
    formula: str
    shared: dict[str, str]
    remarks: list[str]
    source: str
    year: str
    differences: list[str]
    file: str


def method_card(row: Row, folder: Path = METHODS) -> MethodCard | None:
    """The card of a row; None where its method has no file there or no docstring, as one of one's own may."""
    read = _read(folder / f"{row.method}.py")
    if read is None:
        return None
    tree, text = read
    before, _, after = text.partition(_DIFFERENCES)
    summary, *blocks = before.strip().split("\n\n")
    remarks, source = [], ""
    for block in blocks:
        if block.strip().startswith("Source:"):
            source = _joined(block.strip().removeprefix("Source:"))
        elif not _is_formula(block):
            remarks.append(_joined(block))
    shared = {}
    named = re.findall(r"`(\w+)\.py`", source)
    for name in dict.fromkeys([*named, *re.findall(r"`(\w+)\.py`", " ".join(remarks))]):
        other = _read(folder / f"{name}.py")
        if other is not None and (name in named or not _is_row(other[0])) and _formula(other[1]):
            shared[f"methods/{name}.py"] = _formula(other[1])
    return MethodCard(
        row=row,
        summary=_joined(summary),
        idea=_idea(tree, row.title),
        formula=_formula(text),
        shared=shared,
        remarks=remarks,
        source=source,
        year=next(iter(re.findall(r"\b(?:19|20)\d\d\b", source)), ""),
        differences=[_joined(each) for each in re.split(r"^\d+\.\s+", after, flags=re.M) if each.strip()],
        file=f"methods/{row.method}.py",
    )


def _read(file: Path) -> tuple[ast.Module, str] | None:
    """A file's tree and docstring; None where there is no such thing."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    text = ast.get_docstring(tree)
    return (tree, text) if text else None


def _is_row(tree: ast.Module) -> bool:
    """Whether a file registers a method, which has a card of its own."""
    return any(
        "register" in map(ast.unparse, node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )


def _is_formula(block: str) -> bool:
    return block.startswith("    ")


def _formula(text: str) -> str:
    """The indented blocks before the differences."""
    blocks = text.partition(_DIFFERENCES)[0].strip().split("\n\n")
    return "\n\n".join(_dedented(block) for block in blocks if _is_formula(block))


def _idea(tree: ast.Module, title: str) -> str:
    """The docstring of the class that has the row's title."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and f"title = {title!r}" in map(ast.unparse, node.body):
            return _joined(ast.get_docstring(node) or "")
    return ""


def _dedented(block: str) -> str:
    # Shapes are a note to who reads the code.
    return "\n".join(line.removeprefix("    ").removesuffix("(G,)").rstrip() for line in block.splitlines())


def _joined(text: str) -> str:
    return " ".join(text.split())
