"""Command line and `conf/` → a checked configuration; what is wrong becomes one sentence."""

from bench.compose.compose import (
    CONF,
    composed,
    explain,
    jobs,
    one_sentence,
    read,
    register,
    resolved,
    swept,
)

__all__ = ["CONF", "composed", "explain", "jobs", "one_sentence", "read", "register", "resolved", "swept"]
