"""Data sets of one's own, from their files to a record: no file of the suite knows of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bench
from bench import cell as cells
from bench import compose, data
from bench.cell import identity
from bench.compose import groups
from bench.errors import BenchError
from bench.files import CHECKOUT
from bench.records.record import Record

TOY = CHECKOUT / "tests" / "extra" / "toy_data.py"
QUICK = ("method=item_mean", "sweep=none", "seeds=2")

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return Path(shutil.copy(TOY, tmp_path / "shop.py"))


def run(tmp_path: Path, *words: str) -> Record:
    return bench.run([*QUICK, f"results={tmp_path / 'results'}", *words])


def test_a_data_set_from_outside_needs_no_yaml(tmp_path: Path, toy: Path) -> None:
    words = ("dataset=shop", f"dataset.extra=[{toy}]")
    record = run(tmp_path, *words)
    assert record.cell == ("table", "shop", "item_mean")
    assert min(record.metric("auc").values()) > 0.6
    # Its own defaults, then those of a CSV file, whatever the place of the file.
    assert (record.dataset["n_users"], record.dataset["threshold"], record.dataset["title"]) == (
        40,
        1,
        "shop",
    )
    assert record.dataset["batch_size"] == compose.composed(["dataset=csv"]).dataset.batch_size
    assert run(tmp_path, *words, "dataset.n_users=50").digest != record.digest
    assert "shop" in groups.options("dataset")


def test_its_file_and_what_it_imports_count_and_its_place_does_not(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_helper.py").write_text("SHARE = 0.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    toy.write_text(toy.read_text().replace("< 0.3", "< SHARE") + "\n\nfrom shop_helper import SHARE\n")
    words = ("dataset=shop", f"dataset.extra=[{toy}]")
    record = run(tmp_path, *words)
    found = identity.closure("item_mean", "shop")
    assert {toy, tmp_path / "shop_helper.py"} <= found
    assert CHECKOUT / "bench" / "data" / "coat.py" not in found
    toy.write_text(toy.read_text().replace("% 2 == 0", "% 2 == 1"))
    assert run(tmp_path, *words).digest != record.digest


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("shop", "import nothing_of_that_name\n", "cannot be imported (ModuleNotFoundError: No module"),
        ("shop", "x = 1\n", "defines no data set: it needs a dataclass Config(DatasetConfig) and a function"),
        ("coat", "x = 1\n", "dataset.extra: the suite has a data set 'coat' already, so rename "),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    with pytest.raises(BenchError) as raised:
        compose.register([f"dataset.extra=[{file}]"])
    assert said in str(raised.value)
    assert name not in data._from_outside


def test_its_ratings_are_checked(tmp_path: Path, toy: Path) -> None:
    toy.write_text(toy.read_text().replace("config.n_users, 30, o", "config.n_users, 29, o"))
    with pytest.raises(BenchError, match=r"Data set shop, biased ratings: items must lie in 0 to 28"):
        run(tmp_path, "dataset=shop", f"dataset.extra=[{toy}]")


def test_two_csv_files_make_a_cell(tmp_path: Path) -> None:
    drawn = data.load(_toy_config(), tmp_path)
    for name, part in (("O", drawn.biased), ("A", drawn.unbiased)):
        lines = zip(*(array.tolist() for array in vars(part).values()), strict=True)
        text = "".join(f"user {user},{item},{value}\n" for user, item, value in lines)
        (tmp_path / f"{name}.csv").write_text("user,item,rating\n" + text)
    words = ("dataset=csv", f"data_dir={tmp_path}", "dataset.threshold=1")
    record = run(tmp_path, *words, "dataset.biased=O.csv", "dataset.unbiased=A.csv")
    assert min(record.metric("auc").values()) > 0.6
    (tmp_path / "O.csv").rename(tmp_path / "other.csv")  # its content is what counts
    again = run(tmp_path, *words, "dataset.biased=other.csv", "dataset.unbiased=A.csv")
    assert again.digest == record.digest
    lines = (tmp_path / "other.csv").read_text().splitlines()[:-1]
    (tmp_path / "shorter.csv").write_text("\n".join(lines))
    other = run(tmp_path, *words, "dataset.biased=shorter.csv", "dataset.unbiased=A.csv")
    assert other.digest != record.digest


def _toy_config() -> data.DatasetConfig:
    data.load_extra(TOY)
    return data.config_class("toy_data")(name="toy_data")


def test_ratings_are_read_once_and_again_where_a_file_has_changed(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only methods and sweeps read changes no ratings."""
    loads: list[str] = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda config, place: loads.append(config.name) or load(config, place))

    def load_ratings(*words: str) -> data.Ratings:
        compose.register([f"dataset.extra=[{toy}]"])
        return cells.load_ratings(compose.composed(list(words)))

    small = ("dataset=synthetic", "dataset.n_users=31", "dataset.n_items=30", "dataset.ratings_per_user=8")
    one = load_ratings(*small)
    assert load_ratings(*small, "method=ips", "dataset.learning_rate=0.3", "seeds=2") is one
    assert load_ratings(*small, "dataset.quick_grid={learning_rate:[0.1]}", "dataset.k=3") is one
    assert load_ratings(*small, "dataset.rank=3") is not one and loads == ["synthetic"] * 2
    first = load_ratings("dataset=shop")
    assert load_ratings("dataset=shop", "method=ips") is first
    toy.write_text(toy.read_text().replace("% 2 == 0", "% 3 == 0"))
    assert load_ratings("dataset=shop").checksum != first.checksum
    files = ("dataset=csv", "dataset.biased=O.csv", "dataset.unbiased=A.csv", f"data_dir={tmp_path}")
    (tmp_path / "A.csv").write_text("user,item,rating\n1,1,5\n1,2,1\n")
    for text in ("1,3,4\n2,1,1\n", "1,3,1\n2,1,5\n2,2,5\n"):
        (tmp_path / "O.csv").write_text(f"user,item,rating\n{text}")
        assert len(load_ratings(*files).biased) == text.count("\n")
