"""One cell, method × data set × protocol, from its configuration to its record.

configuration → prepare → Cell → Search: stages of points × seeds → Trainer: stacks → evaluation → Record
"""

from bench.cell.lookup import clean_runs, find, find_or_train, reason, to_stderr
from bench.cell.preparation import load_ratings, prepare
from bench.cell.progress import Progress, describe, silent, trainings
from bench.cell.spec import Cell
from bench.cell.train import train_and_store

__all__ = [
    "Cell",
    "Progress",
    "clean_runs",
    "describe",
    "find",
    "find_or_train",
    "load_ratings",
    "prepare",
    "reason",
    "silent",
    "to_stderr",
    "train_and_store",
    "trainings",
]
