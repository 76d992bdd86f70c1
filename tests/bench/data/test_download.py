"""`make data`: a good archive lands, a wrong one leaves nothing, Yahoo! R3 is explained."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bench.data import coat, download

pooch = pytest.importorskip("pooch")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive that a request for Coat is answered with."""
    archive = tmp_path / "served.zip"

    def retrieve(url: str, known_hash: str | None, fname: str, path: Path, progressbar: bool) -> str:
        assert url.endswith("coat.zip")
        (Path(path) / fname).write_bytes(archive.read_bytes())
        return str(Path(path) / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return archive


def pack(archive: Path, train: str, test: str = "0 0 4\n3 0 0\n") -> None:
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("coat/train.ascii", train)
        content.writestr("coat/test.ascii", test)
        content.writestr("coat/propensities.ascii", "not wanted")


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    expected = coat.MANIFEST
    parts = [replace(f, rated=n, sha256="") for f, n in ((expected.train, 3), (expected.test, 2))]
    monkeypatch.setattr(
        coat, "MANIFEST", replace(expected, n_users=2, n_items=3, train=parts[0], test=parts[1])
    )


def run(folder: Path, *names: str) -> int:
    return download.main(["--data-dir", str(folder), *names])


def test_a_good_archive_lands_and_is_not_fetched_twice(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small(monkeypatch)
    pack(served, "0 5 1\n2 0 0\n")
    folder = tmp_path / "data"
    assert run(folder, "coat") == 0
    assert sorted(path.name for path in folder.rglob("*")) == ["coat", "test.ascii", "train.ascii"]
    served.unlink()
    assert run(folder, "coat") == 0
    assert "coat" in capsys.readouterr().out


def test_a_wrong_archive_is_one_sentence_and_leaves_nothing(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small(monkeypatch)
    folder = tmp_path / "data"
    for content in ("0 5 9\n2 0 0\n", None):
        if content is None:
            served.write_bytes(b"this is no zip file")
        else:
            pack(served, content)
        assert run(folder, "coat") == 1
        error = capsys.readouterr().err
        assert "is not the release" in error and error.count("\n") == 1
        assert list(folder.rglob("*")) == []


def test_no_network_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    assert run(tmp_path, "coat") == 1
    error = capsys.readouterr().err
    assert "could not be downloaded" in error and "make data" in error and error.count("\n") == 1


def test_yahoo_is_explained_and_never_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "yahoo_r3")
    said = capsys.readouterr()
    assert "Webscope" in said.out + said.err
    assert list(tmp_path.rglob("*")) == []


def test_an_unknown_name_gets_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "cot") == 1
    assert "did you mean 'coat'" in capsys.readouterr().err
