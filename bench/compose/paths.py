"""Overrides that name files: their values are taken as they stand, whatever signs a path has.

Hydra's grammar gives `=`, `(`, `#`, `,`, quotes and letters outside ASCII a meaning or none at all. In
quotation marks they are signs of a text.
"""

from __future__ import annotations

import os

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

# Fields that are a path each, never swept over by a comma, and those that are lists of paths.
_PATHS = ("results", "data_dir", "dataset.biased", "dataset.unbiased")
_LISTS = ("methods.extra", "dataset.extra")
_QUOTES = ("'", '"')


def readable(word: str) -> str:
    """An override as Hydra can read it: a path in quotation marks, `~` as the home folder.

    Other words stay as they are, and so does what is in quotation marks already or has an interpolation.
    """
    key, equals, value = word.partition("=")
    field = key.lstrip("+")
    if not equals or value in ("", "null") or "${" in value:
        return word
    if field in _PATHS:
        return f"{key}={_quoted(value)}"
    if field in _LISTS and not _is_read(word):
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        return f"{key}=[{','.join(_quoted(each.strip()) for each in inner.split(','))}]" if inner else word
    if any(sign in value for sign in (os.sep, "/")) and not _is_read(word):
        return f"{key}={_quoted(value)}"
    return word


def _quoted(path: str) -> str:
    if path[:1] in _QUOTES and len(path) > 1 and path.endswith(path[0]):
        return path
    return QuotedString(os.path.expanduser(path), Quote.single).with_quotes()


def _is_read(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True
