"""Command line and `conf/` → a checked configuration; what is wrong becomes one sentence."""

from bench.compose.compose import composed, resolved
from bench.compose.groups import CONF, register
from bench.compose.messages import explain, one_sentence
from bench.compose.swept import swept_over
from bench.compose.words import hydra_words, jobs, told_apart

__all__ = [
    "CONF",
    "composed",
    "explain",
    "hydra_words",
    "jobs",
    "one_sentence",
    "register",
    "resolved",
    "swept_over",
    "told_apart",
]
