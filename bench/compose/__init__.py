"""Command line and `conf/` → a checked configuration; what is wrong becomes one sentence."""

from bench.compose.compose import composed, resolved
from bench.compose.groups import CONF, register
from bench.compose.messages import explain, one_sentence
from bench.compose.words import jobs, read, swept

__all__ = ["CONF", "composed", "explain", "jobs", "one_sentence", "read", "register", "resolved", "swept"]
