"""The regression gate: `python -m bench.gate BASELINE.csv NEW.csv`. Needs neither torch nor data."""

from bench.gate.tell import main

__all__ = ["main"]
