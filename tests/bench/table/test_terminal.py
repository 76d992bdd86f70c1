"""The table in the terminal: its numbers, its width, and a stream that shows ASCII alone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from bench import table
from bench.table import terminal
from bench.table.frame import Frame
from tests.bench.small_results import make_results
from tests.bench.table.test_own_rows import both, shifted

SIGNS = "MF on O ∪ A, ESCM²-DR, −1 ± 2 × 3 ≥ 4"


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    """MF and a row of one's own were trained here; MF's AUC on Coat moved by .1."""
    return table.load_results(both(tmp_path_factory.mktemp("results"), shifted(0.1, "mf")))


def rows(text: str, title: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines() if line.startswith(f"{title} ")]


def test_here_published_and_paper_stand_side_by_side(frame: Frame) -> None:
    text = terminal.text(frame, 80)
    coat, kuairec, literal = rows(text, "MF")
    assert coat == ["0.850*", "0.750", "0.747", *["0.520"] * 2, "0.513", *["0.562"] * 2, "0.550"]
    assert kuairec == ["0.827"] * 2 + ["0.588"] * 2 + ["0.887"] * 2  # the paper's cannot be compared
    assert literal[0] == "0.850*"  # under the other protocol
    assert rows(text, "Mine")[0] == ["0.810", "-", "-", "0.550", "-", "-", "0.600", "-", "-"]
    assert rows(text, "IPS")[0][:3] == ["-", "0.744", "0.751"]
    assert rows(text, "JL")[0] == ["-"] * 9
    assert "*: differs from the published" in text and re.search(r"AUC +N@5 +R@5", text)


def test_blocks_have_rules_between_them(frame: Frame) -> None:
    lines = terminal.text(frame, 80).splitlines()
    block = lines[lines.index("Protocol table") + 2 :][:12]
    assert [i for i, line in enumerate(block) if line.startswith("---")] == [3, 8, 10]


WIDTHS = [(300, 2), (130, 2), (80, 3), (66, 3), (61, 5), (48, 5), (40, 9)]


@pytest.mark.parametrize(("width", "blocks"), WIDTHS)
def test_the_width_is_respected(frame: Frame, width: int, blocks: int) -> None:
    text = terminal.text(frame, width)
    assert max(map(len, text.splitlines()[:-4])) <= width
    assert len(rows(text, "Method")) == blocks


def test_a_narrow_terminal_shows_the_same_numbers(frame: Frame) -> None:
    wide, narrow = (terminal.text(frame, width) for width in (300, 48))
    numbers = [sorted(re.findall(r"\.\d{3}\*?", text)) for text in (wide, narrow)]
    assert numbers[0] == numbers[1] and "0.850" not in narrow


def test_a_title_may_lose_its_end(tmp_path: Path) -> None:
    frame = table.load_results(make_results(tmp_path))
    object.__setattr__(frame.manifest.rows[0], "title", "Matrix factorisation, plain")
    assert "Matrix factorisation, plain" in terminal.text(frame, 120)
    text = terminal.text(frame, 60).split("Protocol text")[0]
    assert "Matrix fact" in text and "plain" not in text and "…" in text
    assert max(map(len, text.splitlines())) <= 60


def test_the_agreement_is_counted(frame: Frame) -> None:
    said = terminal.agreement(frame)
    n = len(frame.both)
    assert f"Of {n} numbers" in said and f"{n - 2} are equal" in said and f"{n - 2} agree" in said
    assert "MF on Coat, AUC +0.100" in said


def test_without_anything_published_there_is_nothing_to_agree(tmp_path: Path) -> None:
    frame = table.load_results(make_results(tmp_path))
    assert "No number" in terminal.agreement(frame)
    text = terminal.text(frame, 80)
    assert "publ  " not in text and "here" in text


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def test_a_stream_without_the_signs_gets_ascii() -> None:
    assert terminal.printable(SIGNS, stream("utf-8")) == SIGNS
    assert terminal.printable("MF", stream("ascii")) == "MF"
    assert terminal.printable(SIGNS, stream("ascii")) == "MF on O u A, ESCM2-DR, -1 +- 2 x 3 >= 4"
    assert terminal.printable("一", stream("ascii")) == "?"
