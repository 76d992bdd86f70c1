"""One cell, method × data set × protocol, from its configuration to its record."""

from bench.cell.train import Cell, load, prepare, run

__all__ = ["Cell", "load", "prepare", "run"]
