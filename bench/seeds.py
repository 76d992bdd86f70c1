"""Seeds of independent random streams, derived from what the stream is for."""

from __future__ import annotations

import hashlib
import operator


def stream_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part, their types and their order.

    Streams are named instead of numbered, so that a new stream leaves the draws of the others as
    they are: `stream_seed("split", 3)` is the same for every method and on every machine.
    The seed is the leading 63 bits of the sha256 of the parts' `repr`, joined by "/".

    Raises:
        TypeError: a part is neither an integer nor a string.
    """
    # NumPy's integers repr differently from Python's, and must not start another stream.
    named = (repr(part if isinstance(part, str) else operator.index(part)) for part in parts)
    digest = hashlib.sha256("/".join(named).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
