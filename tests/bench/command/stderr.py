"""What a command says on standard error, whether or not the engine's kernels are on disk already."""

from __future__ import annotations

import re


def of_command(error: str) -> str:
    """The text without the line that the first run on a machine has."""
    return re.sub(r"^Compiling the engine's kernels.*\n", "", error, flags=re.MULTILINE)
