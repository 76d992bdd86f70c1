"""What is known of worlds of ratings, as `bench.study.worlds` writes it: one line each, and what they say.

Needs neither torch nor data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench.files import read_csv, write_csv

WORLDS_FILE = "worlds.csv"
COMMAND = "python -m bench.study.worlds"
AT_RANDOM = "_at_random"  # ends the name of a world that has another one's labels, without its selection


@dataclass(frozen=True, kw_only=True)
class World:
    """One world of ratings: where its labels vary, what selection does to item means, and who ranks how.

    world: its name; title: as the report calls it. data_seed: of generated data, and of a draw of O.
    ratings_per_user, ratings_per_item: medians over O.
    users, items, rest: shares of the variance of the labels of all pairs: between users, between items, and
        within both (tastes and chance).
    item_correlation: Spearman's, of the items' means over O with those over all pairs.
    *_auc, *_ndcg: means over seeds on the unbiased ratings, of the item mean, of plain MF at the data set's
        default point, and of MF re-weighted by the true propensities; NaN where these are not known.
    """

    world: str
    title: str
    data_seed: int
    ratings_per_user: float
    ratings_per_item: float
    users: float
    items: float
    rest: float
    item_correlation: float
    item_mean_auc: float
    mf_auc: float
    oracle_auc: float
    item_mean_ndcg: float
    mf_ndcg: float
    oracle_ndcg: float


_TEXTS = ("world", "title")
_HEADER = [each.name for each in fields(World)]


def write_worlds(file: Path, worlds: Iterable[World]) -> Path:
    """Writes the lines; numbers to six digits, those that are not known empty.

    Raises:
        BenchError: the file cannot be written.
    """
    return write_csv(file, _HEADER, ([_word(value) for value in asdict(each).values()] for each in worlds))


def _word(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def read_worlds(file: Path) -> list[World]:
    """The lines of a file that was written.

    Raises:
        BenchError: it cannot be read, or is not as it was written.
    """
    worlds = []
    for row in read_csv(file, _HEADER, COMMAND):
        numbers = {name: float(row[name] or "nan") for name in _HEADER if name not in _TEXTS}
        seed = int(numbers.pop("data_seed"))
        worlds.append(World(world=row["world"], title=row["title"], data_seed=seed, **numbers))
    return worlds


def described(worlds: Sequence[World]) -> str:
    """A table of the worlds, each the mean over its data seeds, and what follows from it."""
    names = list(dict.fromkeys(each.world for each in worlds))
    means = {name: _mean([each for each in worlds if each.world == name]) for name in names}
    rows = [
        [
            each.title,
            f"{each.ratings_per_user:.0f}, {each.ratings_per_item:.0f}",
            " / ".join(f"{share:.0%}" for share in (each.users, each.items, each.rest)),
            f"{each.item_correlation:.2f}",
            *(
                f"{getattr(each, f'{row}_auc'):.3f} / {getattr(each, f'{row}_ndcg'):.3f}"
                if not math.isnan(getattr(each, f"{row}_auc"))
                else ""
                for row in ("item_mean", "mf", "oracle")
            ),
        ]
        for each in means.values()
    ]
    header = [
        *("World", "Ratings per user, item", "Users / items / rest", "Item means"),
        *("Item mean: AUC / NDCG", "MF", "MF, true propensities"),
    ]
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
    said = [_sentence(each) for each in means.values()]
    said += [
        _beside(means[name], means[f"{name}{AT_RANDOM}"]) for name in names if f"{name}{AT_RANDOM}" in means
    ]
    return f"{table}\n\n" + "\n".join(said)


def _mean(lines: Sequence[World]) -> World:
    numbers = {
        name: float(np.mean([getattr(each, name) for each in lines]))
        for name in _HEADER
        if name not in (*_TEXTS, "data_seed")
    }
    first = lines[0]
    return World(world=first.world, title=first.title, data_seed=first.data_seed, **numbers)


def _sentence(world: World) -> str:
    """What a world can tell and what not."""
    item, mf, oracle = (
        [getattr(world, f"{row}_{metric}") for metric in ("auc", "ndcg")]
        for row in ("item_mean", "mf", "oracle")
    )
    metrics: dict[bool, list[str]] = {True: [], False: []}  # above, below
    for name, one, other in zip(("AUC", "NDCG"), item, mf, strict=True):
        metrics[one > other].append(name)
    if metrics[True] and metrics[False]:
        place = f"above MF in {metrics[True][0]} and below in {metrics[False][0]}"
    else:
        place = "above MF" if metrics[True] else "below MF"
    said = (
        f"- {world.title}: the item mean is {place}. Between items is {world.items:.0%} of the labels' "
        f"variance, and items' means over O and over all pairs correlate by {world.item_correlation:.2f}."
    )
    if math.isnan(oracle[0]):
        return said
    gains = [after - before for after, before in zip(oracle, mf, strict=True)]
    return f"{said} True propensities move MF by {gains[0]:+.3f} in AUC and {gains[1]:+.3f} in NDCG."


def _beside(ruled: World, at_random: World) -> str:
    """Whether the item mean owes its place in the ranking to the rule of selection."""
    with_rule, without = (each.item_mean_ndcg - each.mf_ndcg for each in (ruled, at_random))
    same = (with_rule > 0) == (without > 0)
    cause = "not the rule's doing" if same else "the rule's doing"
    return (
        f"- {ruled.title} beside {at_random.title}: in NDCG the item mean is {with_rule:+.3f} from MF with "
        f"the rule and {without:+.3f} without any selection, so its place is {cause}."
    )
