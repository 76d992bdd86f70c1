"""The words of a command line: which of them are overrides, and what each says by itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from bench.compose.groups import GROUPS, options
from bench.compose.paths import readable
from bench.errors import BenchError, nearest
from bench.files import CONF

_MULTIRUN = ("-m", "--multirun")
# Hydra's options, and those of them that take the next word as their value.
_ALONE = {
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", *_MULTIRUN),
    *("--shell-completion", "-sc"),
}
_OWN_FOLDER = {"--config-dir", "-cd", "--config-path", "-cp"}  # which has groups and names of its own
_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
}


def hydra_words(words: Sequence[str]) -> list[str]:
    """The words of a command line as Hydra is to get them, after a check of each by itself.

    `-m` may stand anywhere; `grid.FIELD=[...]` and `grid={FIELD:[...]}` add a list for any field, which Hydra
    spells with `++`; `save=scores,model` is the list `save=[scores,model]`, never a sweep; paths are taken
    as they stand (`bench.compose.paths`).

    Raises:
        BenchError: a word is no override, or cannot be meant.
    """
    multirun = any(word in _MULTIRUN or word.startswith("hydra.mode=MULTIRUN") for word in words)
    own_folder = any(word.split("=")[0] in _OWN_FOLDER or "hydra.searchpath" in word for word in words)
    flags = [word for word in words if word in _MULTIRUN]
    rest = [readable(_as_list(word)) for word in words if word not in _MULTIRUN]
    for before, word in zip(["", *rest], rest, strict=False):
        if word.startswith("-"):
            if word.split("=")[0] not in _ALONE | _WITH_VALUE:
                raise BenchError(f"There is no option {word}: overrides have no dashes, such as seeds=20.")
        elif before not in _WITH_VALUE:
            _check_word(word, multirun, own_folder)
    return [*flags, *(f"++{word}" if word.startswith(("grid.", "grid={")) else word for word in rest)]


def _as_list(word: str) -> str:
    name, _, value = word.partition("=")
    plain = name == "save" and value != "null" and not value.startswith("[")
    return f"{name}=[{value}]" if plain else word


def told_apart(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Those overrides of one job of a multirun in which its jobs differ, or all of them if none does."""
    given = [parsed(word) for word in words if "=" in word and not word.startswith("-")]
    keys = {override.key_or_group for override in given if override.is_sweep_override()}
    own = [word for word in overrides if parsed(word).key_or_group in keys]
    return [word.removeprefix("++") for word in own or overrides]


def jobs(words: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a multirun, in Hydra's order."""
    choices = []
    for word in words:
        if word.startswith("-") or "=" not in word or word.lstrip("+~").startswith("hydra"):
            continue
        override = parsed(word)
        key, value = override.get_key_element(), override.value()
        if not override.is_sweep_override():
            choices.append([word])
        elif isinstance(value, Glob):
            choices.append([f"{key}={name}" for name in value.filter(options(override.key_or_group))])
        elif override.is_discrete_sweep():
            choices.append([f"{key}={each}" for each in override.sweep_string_iterator()])
    return [list(job) for job in itertools.product(*choices)]


def parsed(word: str) -> Override:
    """A word as Hydra reads it.

    Raises:
        BenchError: it is no override.
    """
    try:
        override = OverridesParser.create().parse_override(readable(word))
    except HydraException as error:
        raise BenchError(
            f"{word} cannot be read: write each override as one word FIELD=VALUE, such as seeds=20, and in "
            "quotation marks where the shell knows its characters."
        ) from error
    if not override.key_or_group:
        raise BenchError(f"{word} names no field: write FIELD=VALUE, such as seeds=20.")
    return override


def _is_group(key: str) -> bool:
    """Whether Hydra looks a value up among files. It has groups of its own, and those of the types."""
    return key.split("/")[0] in ("hydra", "schema") or (CONF / key).is_dir()


def _check_word(word: str, multirun: bool, own_folder: bool) -> None:
    override = parsed(word)
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override() and not multirun:
        raise BenchError(
            f"{word} names several values: add -m to run each of them, or write a list as [a,b]."
        )
    group, _, name = key.partition(".")
    if group in GROUPS and name == "name":
        raise BenchError(f"{key} is not to be set: choose another {group} by {group}={value}.")
    plain = value is None or isinstance(value, bool | int | float)
    if plain and not override.is_delete() and _is_group(key):
        known = options(key) if (CONF / key).is_dir() else []
        known = known or ["one of its files, or leave it out"]
        if value is None:
            raise BenchError(f"{key} is null: choose {'one of ' * (len(known) > 1)}{', '.join(known)}.")
        raise BenchError(f"There is no {key} '{value}': the choices are {', '.join(known)}.")
    if key in GROUPS and override.is_discrete_sweep() and not isinstance(value, Glob) and not own_folder:
        # Hydra would find it out when the jobs before are done.
        for each in override.sweep_string_iterator():
            if each not in options(key):
                raise BenchError(f"There is no {key} '{each}': {nearest(each, options(key))}")
    if isinstance(value, Glob) and key in GROUPS:
        known = options(key)
        if not value.filter(known):
            raise BenchError(f"{word} matches no {key}: the choices are {', '.join(known)}.")
    if key == "results" and value in ("", None):
        raise BenchError("results names no folder: leave it out, or give one.")
