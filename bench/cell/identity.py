"""What a cell's digest is made of: the fields, the data and the code that can change its numbers."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import methods
from bench import data
from bench.cell import loaded
from bench.cell.spec import Setting
from bench.config import DATASET_LISTS
from bench.data.ratings import side_features
from bench.engine.members import Member
from bench.engine.method import MethodConfig
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.records.fingerprint import Code, Identity

_HERE = Path(__file__).parent
# Rooms and files of `bench` and `methods` whose code can change no number: a new version of them leaves all
# records valid. What the configuration says is in the identity itself; data sets' and methods' own files are
# entries of the closure, so that the registries that find them need not be in it.
_SILENT = (
    *("bench.records", "bench.command", "bench.compose"),
    *("bench.config", "bench.errors", "bench.files", "bench.outside"),
    "bench.cell.identity",
    *("bench.__init__", "bench.cell.__init__", "bench.data.__init__", "methods.__init__"),
)
_OWN = ("methods", "bench/data")  # where the suite's own methods and data sets lie
# Entries of the closure beside the method and the data set: of a stack of trainings, and of a whole cell.
_STACK = {"trainer": _HERE / "trainer.py"}
_CELL = {"search": _HERE / "search.py", "record": _HERE / "record.py"}

_UNSEEN = ("device", "threads", "memory_gib")  # fields of the engine that change no number
# Fields of a data set that say where it lies (its content is the identity's data) or what to try, not what a
# training comes to.
_NOT_OF_TRAININGS = (
    *("extra", "biased", "unbiased"),
    *("title", "paper", "note", "untuned_sweep", "screening_seeds", "selection_seeds"),
    *DATASET_LISTS,
)


def of_cell(setting: Setting, choices: dict[str, Any], points: Sequence[MethodConfig]) -> Identity:
    """The identity of a cell's record.

    Args:
        choices: what a cell has beside its setting: its configured point, plan, seeds, rule of selection.
        points: of which each listed value is in one, for the files and side features that the method reads.

    Raises:
        MissingData: a point reads side features, and their files are absent.
        BenchError: a file of the code or one that the method names cannot be read or parsed.
    """
    return Identity(
        config={**_configuration(setting), **choices, **_files(setting, points)},
        data=_data(setting, points),
        code=fingerprint(_CELL, setting.method, setting.dataset.name),
    )


def stack_code(setting: Setting) -> str:
    """Fingerprint of the code that trains stacks.

    Raises:
        BenchError: a file of the code cannot be read or parsed.
    """
    return fingerprint(_STACK, setting.method, setting.dataset.name)


def of_stack(
    setting: Setting, code: str, members: Sequence[Member], look_at_test: bool, users: bool
) -> Identity:
    """The identity of a stack of trainings.

    Args:
        code: see `stack_code`.
        look_at_test, users: see `Trainer.train_stack`: a stack without those numbers is another one.
    """
    points = [{"seed": member.seed, "config": vars(member.config)} for member in members]
    return Identity(
        config={
            **_configuration(setting),
            "members": points,
            "look_at_test": look_at_test,
            "users": users,
            **_files(setting, [member.config for member in members]),
        },
        data=_data(setting, [member.config for member in members]),
        code=code,
    )


def _data(setting: Setting, points: Sequence[MethodConfig]) -> str:
    """Checksum of what is trained on; side features are in it only where a point reads them."""
    ratings = setting.ratings
    if all(point.backbone != "features" for point in points):
        return ratings.checksum
    return f"{ratings.checksum} {side_features(ratings).checksum}"


def _configuration(setting: Setting) -> dict[str, Any]:
    """The fields that can change what a training comes to."""
    dataset, engine = vars(setting.dataset), vars(setting.engine)
    return {
        "protocol": vars(setting.protocol),
        "dataset": {name: value for name, value in dataset.items() if name not in _NOT_OF_TRAININGS},
        "method": setting.method,
        "engine": {name: value for name, value in engine.items() if name not in _UNSEEN},
    }


def _files(setting: Setting, points: Sequence[MethodConfig]) -> dict[str, Any]:
    """The contents of the files that the method reads at some points: file → sha256."""
    kind = methods.get(setting.method)
    files = sorted({Path(file) for point in points for file in kind.files(point)})
    return {"files": {str(file): _content(file, setting.method) for file in files}} if files else {}


_contents: dict[Path, tuple[tuple[int, int], str]] = {}  # file → its age and size, and what it holds


def _content(file: Path, method: str) -> str:
    place = file.absolute()
    try:
        known = file.stat()
        state = known.st_mtime_ns, known.st_size
        if place not in _contents or _contents[place][0] != state:
            with open(file, "rb") as stream:
                _contents[place] = state, hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(
            f"{method} reads {file}, which cannot be read: {error.strerror or error}."
        ) from error
    return _contents[place][1]


# --- Code -------------------------------------------------------------------------------------------


def fingerprint(entries: dict[str, Path], method: str, dataset: str) -> str:
    """Of the code that some entries, a method and a data set run.

    Raises:
        BenchError: a file of it cannot be read or parsed, or was changed since this process loaded it.
    """
    code, roles = _code(method, dataset), _roles(entries, method, dataset)
    loaded.require_unchanged(code.closure(roles.values()))
    return code.fingerprint(roles)


def closure(method: str, dataset: str) -> set[Path]:
    """The files that can change a number of a cell."""
    return _code(method, dataset).closure(_roles(_CELL, method, dataset).values())


def _code(method: str, dataset: str) -> Code:
    files = (_file(method), data.file_of(dataset))
    guests = [
        file for file, home in zip(files, _OWN, strict=True) if not file.is_relative_to(CHECKOUT / home)
    ]
    # What is from outside may have helpers of its own wherever Python finds them.
    elsewhere = loaded.own_places() if guests else ()
    return Code((CHECKOUT, files[0].parent, *(file.parent for file in guests), *elsewhere), is_silent)


def _roles(entries: dict[str, Path], method: str, dataset: str) -> dict[str, Path]:
    return {**entries, "method": _file(method), "dataset": data.file_of(dataset)}


def _file(method: str) -> Path:
    module = sys.modules[methods.get(method).__module__]
    assert module.__file__ is not None
    return Path(module.__file__)


def is_silent(path: Path) -> bool:
    """Whether a file of the suite can change no number."""
    if not path.is_relative_to(CHECKOUT):
        return False
    module = ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
    return any(module == name or module.startswith(f"{name}.") for name in _SILENT)
