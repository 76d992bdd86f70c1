"""Text for terminals that cannot show every sign: the nearest sign of ASCII stands for it.

A table or a sentence must not end in a traceback because a log file is in ASCII.
"""

from __future__ import annotations

import codecs
import io
import sys

# What an encoding without these signs shows instead.
ASCII = {
    **{"∪": "u", "±": "+-", "×": "x", "–": "-", "−": "-", "≥": ">=", "≤": "<=", "²": "2", "…": "."},
    **{"†": "+", "‡": "#", "°": "o", "§": "$", "✓": "v", "“": '"', "”": '"', "·": "-"},
    **{"α": "alpha", "κ": "kappa", "τ": "tau", "√": "sqrt"},
}
_NAME = "bench-ascii"


def _nearest_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = "".join(ASCII.get(sign, "?") for sign in error.object[error.start : error.end])
    return found, error.end


codecs.register_error(_NAME, _nearest_signs)


def accept_any_terminal() -> None:
    """Lets this process's output show the nearest sign where it cannot show one."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAME)
