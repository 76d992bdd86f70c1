"""`make data`: archives from a server of our own land whole or not at all."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bench.data import coat, download, kuairec

COAT = {"coat/train.ascii": "0 5 1\n2 0 0\n", "coat/test.ascii": "0 0 4\n0 3 0\n"}
COMPANIONS = {
    "coat/README.txt": "Coat",
    "coat/propensities.ascii": ".1 .2 .3\n.4 .5 .6\n",
    "coat/features.ascii": "not wanted",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a server on this machine that Coat's address points to, and a small Coat."""
    folder = tmp_path / "web"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    train, test = (
        replace(file, rated=rated, sha256="")
        for file, rated in ((coat.MANIFEST.train, 3), (coat.MANIFEST.test, 2))
    )
    anything = replace(coat.MANIFEST.propensities, sha256="")
    small = replace(coat.MANIFEST, n_users=2, n_items=3, train=train, test=test, propensities=anything)
    monkeypatch.setattr(coat, "MANIFEST", small)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        offered = {"coat": {"url": f"{address}/coat.zip"}, "kuairec": {"url": f"{address}/KuaiRec.zip"}}
        for name, fields in offered.items():
            monkeypatch.setitem(download.DOWNLOADS, name, replace(download.DOWNLOADS[name], **fields))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder
        server.shutdown()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def pack(archive: Path, files: dict[str, str]) -> bytes:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for name, text in files.items():
            content.writestr(name, text)
    return archive.read_bytes()


def expect_hash(monkeypatch: pytest.MonkeyPatch, name: str, known_hash: str) -> None:
    monkeypatch.setitem(
        download.DOWNLOADS, name, replace(download.DOWNLOADS[name], known_hash=f"md5:{known_hash}")
    )


def run(folder: Path, *names: str) -> int:
    return download.main(["--data-dir", str(folder), *names])


def lying_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_good_archive_lands_and_is_not_fetched_twice(
    web: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pack(web / "coat.zip", COAT | COMPANIONS)
    assert run(data, "coat") == 0
    source = "train.ascii and test.ascii of the release"
    assert capfd.readouterr() == (f"coat: fetched to {data / 'coat'} ({source}).\n", "")
    kept = ["README.txt", "propensities.ascii", "test.ascii", "train.ascii"]
    assert lying_under(data) == [f"coat/{file}" for file in kept]
    (web / "coat.zip").unlink()
    assert run(data, "coat") == 0
    assert capfd.readouterr().out == f"coat: present under {data / 'coat'} ({source}).\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            COAT | {"coat/train.ascii": "0 5 9\n2 0 0\n"},
            "train.ascii, line 1: expected 3 ratings of 0 to 5 separated by spaces, found '9'; "
            "replace it by the release's own file",
        ),
        ({"coat/train.ascii": COAT["coat/train.ascii"]}, "it holds no test.ascii"),
        (None, "File is not a zip file"),
    ],
)
def test_a_wrong_archive_leaves_nothing(
    web: Path, data: Path, capfd: pytest.CaptureFixture[str], files: dict[str, str] | None, reason: str
) -> None:
    if files is None:
        (web / "coat.zip").write_text("<html>moved</html>")
    else:
        pack(web / "coat.zip", files)
    assert run(data, "coat") == 1
    assert capfd.readouterr() == (
        "",
        f"coat: {download.DOWNLOADS['coat'].url} is not the release ({reason}), so try again later, "
        f"or unpack the release into {data / 'coat'} yourself.\n",
    )
    assert list(data.iterdir()) == []


def test_a_damaged_byte_leaves_nothing(web: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = bytearray(pack(web / "coat.zip", COAT))
    for place in range(46, 58, 3):  # the packed text of the first file
        damaged = whole.copy()
        damaged[place] ^= 255
        (web / "coat.zip").write_bytes(damaged)
        assert run(data, "coat") == 1
        error = capfd.readouterr().err
        assert "is not the release (" in error and error.count("\n") == 1
        assert list(data.iterdir()) == []


def test_a_wrong_hash_is_refused_and_the_right_one_accepted(
    web: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = pack(web / "coat.zip", COAT)
    expect_hash(monkeypatch, "coat", "0" * 32)
    assert run(data, "coat") == 1
    error = capfd.readouterr().err
    assert "could not be downloaded (wrong hash), so run `make data` again" in error
    assert error.count("\n") == 1
    assert list(data.iterdir()) == []
    expect_hash(monkeypatch, "coat", hashlib.md5(archive).hexdigest())
    assert run(data, "coat") == 0


def test_a_whole_archive_of_an_interrupted_run_is_used_and_a_part_of_one_is_not(
    web: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(web / "coat.zip", COAT)
    expect_hash(monkeypatch, "coat", hashlib.md5(archive).hexdigest())
    data.mkdir()
    (data / ".coat.zip").write_bytes(archive[:99])
    assert run(data, "coat") == 0
    (data / "coat" / "test.ascii").unlink()
    (data / ".coat.zip").write_bytes(archive)
    (web / "coat.zip").unlink()
    assert run(data, "coat") == 0
    assert lying_under(data) == ["coat/test.ascii", "coat/train.ascii"]


def test_kuairec_comes_as_the_releases_matrix(web: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(kuairec.MANIFEST.matrix, rows=6)
    monkeypatch.setattr(kuairec, "MANIFEST", replace(kuairec.MANIFEST, n_users=1, n_items=6, matrix=small))
    header = ",".join(small.columns)
    rows = "".join(f"7,{video},99,33,,20200705,,{video % 2 * 3}.0\n" for video in range(6))
    archive = pack(web / "KuaiRec.zip", {"KuaiRec 2.0/data/small_matrix.csv": f"{header}\n{rows}"})
    expect_hash(monkeypatch, "kuairec", hashlib.md5(archive).hexdigest())
    wanted = download.DOWNLOADS["kuairec"]
    few = kuairec.Config(name="kuairec", source="matrix", threshold=2, n_biased=3, unbiased_per_user=3)
    monkeypatch.setitem(download.DOWNLOADS, "kuairec", replace(wanted, config=few))
    data.mkdir()
    assert download.fetch("kuairec", data).source.endswith("(small_matrix.csv)")
    assert lying_under(data) == ["kuairec/small_matrix.csv"]


def test_no_archive_there(web: Path, data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(data, "coat") == 1
    assert capfd.readouterr().err == (
        f"coat: {download.DOWNLOADS['coat'].url} could not be downloaded (HTTPError 404), so run "
        f"`make data` again where there is a network, or unpack a copy of the archive into {data / 'coat'}.\n"
    )


def test_no_network(
    web: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = replace(download.DOWNLOADS["coat"], url="http://127.0.0.1:9/coat.zip")
    monkeypatch.setitem(download.DOWNLOADS, "coat", nobody)
    assert run(data, "coat") == 1
    error = capfd.readouterr().err
    assert "could not be downloaded (ConnectionError), so run `make data` again" in error
    assert error.count("\n") == 1


def test_no_pooch(data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert run(data, "coat") == 1
    assert "needs pooch, so run `pip install" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written(
    web: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pack(web / "coat.zip", COAT)
    (tmp_path / "file").write_text("in the way")
    assert run(tmp_path / "file" / "data", "coat") == 1
    assert "cannot be written (Not a directory), so make room" in capfd.readouterr().err


def test_wrong_files_that_lie_there_are_kept_and_named(
    web: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (data / "coat").mkdir(parents=True)
    for name, text in COAT.items():
        (data / name).write_text(text.replace("5", "9"))
    assert run(data, "coat") == 1
    assert "train.ascii, line 1: expected 3 ratings of 0 to 5" in capfd.readouterr().err
    assert lying_under(data) == ["coat/test.ascii", "coat/train.ascii"]


def test_yahoo_r3_is_explained_and_never_fetched(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(data, "yahoo_r3") == 0
    said = capfd.readouterr().out
    assert said.startswith("yahoo_r3: not fetched, because it may not be passed on: request dataset R3 from")
    assert "Webscope" in said and str(data / "yahoo_r3") in said and said.count("\n") == 1
    assert not data.exists()


def test_one_data_set_that_fails_does_not_stop_the_others(
    web: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pack(web / "coat.zip", COAT)
    assert run(data) == 1
    said = capfd.readouterr()
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["coat", "yahoo_r3"]
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["kuairec"]


def test_the_exit_status_of_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.data.download", "--data-dir", str(tmp_path), "yahoo_r3", "cot"]
    root = Path(download.__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith("yahoo_r3: not fetched")
    assert done.stderr == "cot: 'cot' is not a data set with files: did you mean 'coat'?\n"
