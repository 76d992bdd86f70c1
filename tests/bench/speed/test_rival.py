"""A public script is timed by its own `fit`, without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.files import read_csv
from bench.speed import rival
from bench.speed.workload import Workload

# The interface of the public script: fit on arrays, `.cuda()` wherever a tensor is made.
SCRIPT = """
import torch
class MF(torch.nn.Module):
    fits = []
    def __init__(self, num_users, num_items, batch_size, embedding_k=4, *args, **kwargs):
        super().__init__()
        self.users = torch.nn.Embedding(num_users, embedding_k)
        self.size = batch_size
    def fit(self, x, y, num_epoch=1000, lr=0.05):
        assert num_epoch == 1 and x.shape == (len(y), 2)
        self.cuda()
        for start in range(0, len(y) - self.size, self.size):
            rows = self.users(torch.LongTensor(x[start : start + self.size, 0]).cuda())
            rows.sum().backward()
        self.fits.append(len(y))
        print("not to be seen")
class MF_DR_JL(MF):
    def fit(self, *args, **kwargs):
        assert generate_total_sample(2, 3).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
        super().fit(*args, **kwargs)
def generate_total_sample(num_user, num_item):
    raise AssertionError("slow")
"""
TINY = Workload(users=30, items=20, ratings=120, batch_size=16, embedding_size=4, unbiased=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / rival.SCRIPT_FILE).write_text(SCRIPT)
    return tmp_path


def test_both_rows_are_timed_against_stacks_of_each_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rival, "_SHAPES", (("tiny", TINY, (1, 3)),))
    monkeypatch.setattr(rival, "_TURN_SECONDS", 0.0)
    output = tmp_path / "rival.csv"
    assert rival.main([str(folder), "--turns", "1", "--output", str(output)]) == 0
    lines = read_csv(output)
    assert [(line["row"], line["members"]) for line in lines] == [
        *(("mf", "1"), ("mf", "3")),
        *(("dr_jl", "1"), ("dr_jl", "3")),
    ]
    for line in lines:
        assert float(line["ratio"]) == pytest.approx(float(line["rival"]) / float(line["suite"]), abs=0.06)
    assert "not to be seen" not in capsys.readouterr().out


def test_a_folder_without_the_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"has no matrix_factorization_DT.py"):
        rival.public_script(tmp_path)
    (tmp_path / rival.SCRIPT_FILE).write_text("class MF: pass")
    with pytest.raises(BenchError, match="cannot be used"):
        rival.public_script(tmp_path)
