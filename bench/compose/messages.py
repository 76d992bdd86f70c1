"""What Hydra and OmegaConf say about an error, as one sentence: what, where and what to do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from bench.compose.groups import options
from bench.errors import BenchError, nearest


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns Hydra's and OmegaConf's errors into a BenchError that says where and what to do."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise BenchError(explain(error)) from error


def explain(error: BaseException) -> str:
    """One sentence about an error of the configuration, with the nearest name where one is misspelt."""
    chain: list[BaseException] = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
        chain.append(deeper)
    for each in chain:
        if isinstance(each, ConfigKeyError | ConfigAttributeError) and each.key is not None:
            full = str(each.full_key or each.key)
            holder, _, field = full.rpartition(".")
            if holder.endswith("grid"):
                return _no_list(holder, field)
            known = [name for name in _siblings(each) if name not in ("hydra", "schema", "name")]
            if known:
                return f"There is no field '{full}'{_whose(each)}: {nearest(str(each.key), known)}"
    twice = re.search(r"Multiple values for schema/(\w+)@", str(error))
    if twice:
        return f"{twice[1]} is given twice or as a list: choose one, or give several as -m {twice[1]}=A,B."
    # What no cell has by default, such as a tuned point or a profile.
    added = re.search(r"Could not override '[^']+'\.[^\n]*\n.*?(\+[\w@/]+=\S+)", str(error), re.DOTALL)
    if added:
        return f"{added[1][1:]} is laid over the configuration: write it with a +, as {added[1]}."
    group = re.search(r"(?:In '[^']*': )?Could not find '([^']+)/([^'/]*)'", str(error))
    if group:
        known = re.findall(r"^\t(\S+)$", str(error), re.MULTILINE)
        known = known or options(group[1])  # Hydra lists none of a group that has no default
        if not known:
            return f"There is no conf/{group[1]}/{group[2]}.yaml, nor another file beside it."
        return f"There is no {group[1]} '{group[2]}': {nearest(group[2], known)}"
    for each in reversed(chain):
        if isinstance(each, OmegaConfBaseException) and each.full_key:
            key = str(each.full_key)
            if key.endswith("grid"):
                return f"{key} takes lists of values by field, such as {key}.learning_rate=[0.01,0.05]."
            return f"{key} {demand(str(each))}."
    return _first(error)


def _no_list(holder: str, field: str) -> str:
    """Of a mapping from fields to lists, which takes no new field by an ordinary override."""
    if holder == "method.grid":
        return f"There is no field '{holder}.{field}': write grid.{field}=[...] instead."
    return (
        f"{holder} has no list for '{field}': add one by +{holder}.{field}=[...], or write "
        f"grid.{field}=[...], which stands above all lists."
    )


# What OmegaConf says about a value → what is to be done. Its own words name classes of its own.
DEMANDS = (
    (r"Value '(.*)' of type '\w+' could not be converted to Float", r"must be a number, but it is '\1'"),
    (
        r"Value '(.*)' of type '\w+' could not be converted to Integer",
        r"must be a whole number, but it is '\1'",
    ),
    (r"Value '(.*)' is not a valid bool.*", r"must be true or false, but it is '\1'"),
    (r"field '.*' is not Optional", "needs a value, but it is null"),
    (r"Incompatible value 'None' for field of type .*", "needs a value, but it is null"),
    (r"Invalid type assigned: NoneType is not a subclass of .*", "needs a value, but it is null"),
    (r"Key .* \(\w+\) is incompatible with \(str\)", "is no field's name"),
    (
        r"Value .* is incompatible with type hint 'typing\.List.*"
        r"|Invalid value assigned: \w+ is not a ListConfig.*|Cannot merge DictConfig with ListConfig",
        "must be a list, such as [0.01,0.05]",
    ),
    (
        r"Invalid type assigned: \w+ is not a subclass of .*|Merge error: \w+ is not a subclass of .*"
        r"|Cannot assign \w+ to Dict.*",
        "has fields of its own: set one of those",
    ),
)


def demand(text: str) -> str:
    """What a field must be, out of OmegaConf's words about the value that it got."""
    line = text.splitlines()[0].rstrip(". ")
    for pattern, wanted in DEMANDS:
        found = re.fullmatch(pattern, line)
        if found:
            return found.expand(wanted)
    return f"cannot be set: {line}"


def _siblings(error: OmegaConfBaseException) -> list[str]:
    """The fields that stand where an unknown one was asked for."""
    node = error.parent_node
    if isinstance(node, DictConfig):
        return [str(key) for key in node]
    return [f.name for f in dataclasses.fields(error.object_type)] if error.object_type else []


def _whose(error: OmegaConfBaseException) -> str:
    """Which method or data set an unknown field was asked of, since others may have it."""
    node = error.parent_node
    group = str(error.full_key).split(".")[0]
    if not isinstance(node, DictConfig) or group not in ("method", "dataset"):
        return ""
    return f" with {group}={node._get_node('name')}"


def _first(error: BaseException) -> str:
    """The first line of an error's text, as a sentence."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0].rstrip(". ") if lines else type(error).__name__) + "."
