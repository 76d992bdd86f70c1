"""How NDCG and Recall count a test user without a positive rating. Needs neither torch nor data."""

from __future__ import annotations

# Convention → what such a user counts in (NDCG, Recall): nothing at all, 1 and 0, or 0 in both.
NO_POSITIVE: dict[str, tuple[float, float] | None] = {"skip": None, "one": (1.0, 0.0), "zero": (0.0, 0.0)}
