"""What generated and simulated ratings can tell: `python -m bench.study.worlds [--jobs N] [OVERRIDE ...]`.

Of both generated worlds, and of KuaiRec with O drawn by the declared rule and at random: where the labels of
all pairs vary (users, items, the rest), what selection does to the items' means, and how a mean over each
item, plain MF and, where they are known, MF with the true propensities rank unbiased ratings. No row is
tuned: each is trained at its data set's default point. Writes `results/worlds/own/worlds.csv`.

A rule that adds the same to the logit of every label of a user, as KuaiRec's does and as generated users do,
moves no user's ranking; a rule that differs by item does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from bench import cell as cells
from bench import compose
from bench.command.main import main as command
from bench.config import Config
from bench.data import kuairec, release
from bench.data.ratings import Ratings
from bench.errors import BenchError, MissingData
from bench.records.record import Record
from bench.study.variants import Study, Variant, VariantKey, trained
from bench.study.world_table import AT_RANDOM, WORLDS_FILE, World, described, write_worlds

_ROWS = {"item_mean": "item_mean", "mf": "mf", "oracle": "ips_oracle"}
_COMMON = ("protocol=table", "sweep=none")
_RULE = ("dataset=kuairec", "dataset.source=labels")


@dataclass(frozen=True)
class _Asked:
    """A world: name, title, overrides, the field that draws it anew, and whether propensities are known."""

    name: str
    title: str
    overrides: tuple[str, ...]
    seed: str
    known: bool


WORLDS = (
    _Asked("synthetic", "Generated, items select", ("dataset=synthetic",), "data_seed", True),
    _Asked(
        "synthetic_item_effects",
        "Generated, items differ and users select",
        ("dataset=synthetic_item_effects",),
        "data_seed",
        True,
    ),
    _Asked("kuairec", "KuaiRec, O by the rule", _RULE, "selection_seed", False),
    _Asked(
        f"kuairec{AT_RANDOM}",
        "KuaiRec, O at random",
        (*_RULE, "dataset.selection_strength=0", "dataset.positive_boost=0"),
        "selection_seed",
        False,
    ),
)


def study_of_worlds(worlds: Sequence[_Asked], data_seeds: Sequence[int]) -> Study:
    """Every row in every world, drawn with each data seed; the variants' groups are worlds and data seeds."""
    variants = [
        Variant(
            f"{world.name} {data_seed}",
            name,
            f"{world.title}: {key}",
            (*_COMMON, *world.overrides, f"dataset.{world.seed}={data_seed}", f"method={key}"),
        )
        for world in worlds
        for data_seed in data_seeds
        for name, key in _ROWS.items()
        if name != "oracle" or world.known
    ]
    return Study("worlds", "Worlds of ratings", "", (), tuple(variants))


def shares(labels: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Shares of the variance of labels (U, I) between users, between items, and within both; they add to 1.

    The two-way analysis of variance of a full table: variance of rows' means, of columns', and the rest.
    """
    whole = labels.mean() * (1 - labels.mean())
    users, items = (float(labels.mean(axis).var() / whole) for axis in (1, 0))
    return users, items, 1 - users - items


def item_correlation(ratings: Ratings, labels: NDArray[np.bool_], threshold: float) -> float:
    """Spearman's, of items' shares of positives in O with those of all pairs, over the items that O has."""
    counts = np.bincount(ratings.biased.items, minlength=ratings.n_items)
    positive = np.bincount(
        ratings.biased.items, weights=ratings.biased.values >= threshold, minlength=ratings.n_items
    )
    rated = counts > 0
    return float(spearmanr(positive[rated] / counts[rated], labels.mean(0)[rated]).statistic)


def all_labels(config: Config, ratings: Ratings) -> NDArray[np.bool_]:
    """The labels of all pairs, (U, I): generated ones, or KuaiRec's listed positives.

    Raises:
        MissingData: KuaiRec's list is absent.
        BenchError: it is not the published one.
    """
    if ratings.truth is not None:
        return ratings.truth.labels.astype(np.bool_)
    expected, root = kuairec.MANIFEST, Path(config.data_dir) / "kuairec"
    places = [
        release.find(root, file, kuairec.FOLDERS) for file in (expected.labels.file, expected.video_ids)
    ]
    listed, videos = places
    if listed is None or videos is None:
        raise MissingData(f"{expected.labels.file} or {expected.video_ids} is missing under {root}.")
    pairs = release.read_pairs(listed, expected.labels)
    known = np.unique(np.array(release.read_text(videos).split(), np.int64))
    labels = np.zeros((expected.n_users, expected.n_items), np.bool_)
    # Users without a positive come last: no mean asks which users they are.
    rows = np.unique(pairs.users, return_inverse=True)[1]
    labels[rows, release.zero_based(pairs.items, known)] = True
    return labels


def line(asked: _Asked, data_seed: int, overrides: Sequence[str], records: dict[str, Record]) -> World:
    """What is known of a world. records: by row.

    Raises:
        BenchError: the ratings are absent or wrong.
    """
    words = (*_COMMON, *asked.overrides, f"dataset.{asked.seed}={data_seed}", *overrides)
    config = compose.composed(words)
    ratings = cells.load_ratings(config)
    labels = all_labels(config, ratings)
    users, items, rest = shares(labels)
    metrics = {
        f"{row}_{metric}": records[row].mean(metric) if row in records else math.nan
        for metric in ("auc", "ndcg")
        for row in _ROWS
    }
    return World(
        world=asked.name,
        title=asked.title,
        data_seed=data_seed,
        ratings_per_user=float(np.median(np.bincount(ratings.biased.users, minlength=ratings.n_users))),
        ratings_per_item=float(np.median(np.bincount(ratings.biased.items, minlength=ratings.n_items))),
        users=users,
        items=items,
        rest=rest,
        item_correlation=item_correlation(ratings, labels, config.dataset.threshold),
        **metrics,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study.worlds", description="What generated and simulated ratings can tell."
    )
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count())
    parser.add_argument("--worlds", default="", help=f"some of {','.join(each.name for each in WORLDS)}")
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("results/worlds/own"), metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration: seeds=3")
    return command(parser, _work, arguments)


def _work(given: argparse.Namespace) -> None:
    compose.register(given.overrides)
    asked = [each for each in WORLDS if not given.worlds or each.name in given.worlds.split(",")]
    if not asked:
        known = ", ".join(each.name for each in WORLDS)
        raise BenchError(f"--worlds {given.worlds} names none of the worlds: {known}.")
    overrides = given.overrides or ["seeds=3"]
    records: dict[VariantKey, Record] = {}
    for variant, answer in trained(study_of_worlds(asked, given.data_seeds), overrides, given.jobs, "runs"):
        if isinstance(answer, str):
            raise BenchError(f"{variant.title}: {answer}")
        records[variant.key] = answer
    worlds = []
    for each in asked:
        for data_seed in given.data_seeds:
            group = f"{each.name} {data_seed}"
            own = {name: record for (of, name), record in records.items() if of == group}
            worlds.append(line(each, data_seed, overrides, own))
    print(write_worlds(given.output / WORLDS_FILE, worlds))
    print(described(worlds))


if __name__ == "__main__":
    raise SystemExit(main())
