"""One cell, method × data set × protocol, from its configuration to its record.

configuration → prepare → Cell → Search: stages of points × seeds → Trainer: stacks → evaluation → Record
"""

from bench.cell.lookup import clean, find, reason, record_of, tell
from bench.cell.preparation import load, prepare
from bench.cell.progress import Progress, describe, silent, trainings
from bench.cell.spec import Cell
from bench.cell.train import run

__all__ = [
    "Cell",
    "Progress",
    "clean",
    "describe",
    "find",
    "load",
    "prepare",
    "reason",
    "record_of",
    "run",
    "silent",
    "tell",
    "trainings",
]
