"""Generated ratings in which items differ more than tastes, and users alone select.

By the model of `synthetic`, under settings that make a mean over each item hard to beat: preferences vary
mostly between items, users have few ratings, and what selection adds to a user's ratings is the same for all
items. It is a second world beside `synthetic`: what a method gains there it need not gain here.
"""

from __future__ import annotations

from bench.data.synthetic import Config, load

__all__ = ["Config", "load"]
