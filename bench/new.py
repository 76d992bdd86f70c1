"""The two files of a method of one's own, from the example: `python -m bench.new METHOD [--folder DIR]`.

METHOD.py     the example's class under that name, to be changed
METHOD.yaml   its defaults and its grid

Without `--folder` they go to the suite's own methods, `methods/` and `conf/method/`; with it beside each
other into any folder, from where `methods.extra=[DIR/METHOD.py]` reads both.
"""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Sequence
from pathlib import Path

from bench.command.main import main as run_command
from bench.errors import BenchError
from bench.files import CHECKOUT, CONF, write_text

EXAMPLE = CHECKOUT / "tests" / "extra" / "toy_method.py"
_YAML = """\
defaults:
  - /schema/method@_here_: {key}
  - _self_

power: 0.3

grid:
  power: [0.0, 0.3, 1.0]
"""


def new_files(key: str) -> tuple[str, str]:
    """The texts of the two files.

    Raises:
        BenchError: the key is no name of a Python file, or the example is not there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or keyword.iskeyword(key):
        raise BenchError(
            f"'{key}' cannot be a method's key: it needs small letters, digits and _, a letter first."
        )
    try:
        text = EXAMPLE.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{EXAMPLE} cannot be read: {error.strerror or error}.") from error
    words = key.split("_")
    text = text.replace("ToyMethod", "".join(word.capitalize() for word in words))
    return text.replace('"Toy"', f'"{" ".join(word.capitalize() for word in words)}"'), yaml_of(key)


def yaml_of(key: str) -> str:
    """The example's defaults and grid, for a method of that key."""
    return _YAML.format(key=key)


def write_new(key: str, folder: Path | None) -> list[Path]:
    """Writes the two files and returns them.

    Args:
        folder: for both; None for the suite's own places.

    Raises:
        BenchError: see `new_files`; or there is a file or a method of that name, or one cannot be written.
    """
    texts = new_files(key)
    if (CHECKOUT / "methods" / f"{key}.py").exists():
        raise BenchError(f"There is methods/{key}.py already: take another name.")
    places = [(folder or CHECKOUT / "methods") / f"{key}.py", (folder or CONF / "method") / f"{key}.yaml"]
    for file in places:
        if file.exists():
            raise BenchError(f"There is {file} already, which is left as it is: take another name.")
    return [write_text(file, text) for file, text in zip(places, texts, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.new", description="Writes the two files of a method of one's own."
    )
    parser.add_argument("method", metavar="METHOD", help="its key: my_method")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="outside the checkout: both go here")

    def work(given: argparse.Namespace) -> None:
        source, values = write_new(given.method, given.folder)
        outside = "" if given.folder is None else f" 'methods.extra=[{source.resolve()}]'"
        print(source)
        print(values)
        print("Change them; then:")
        print(f"  python -m pytest tests/test_contract.py --extra-method {source}")
        print(f"  python -m bench method={given.method} dataset=coat{outside}")
        print(f"  python -m bench.reproduce --datasets coat --methods {given.method}{outside}")

    return run_command(parser, work, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
