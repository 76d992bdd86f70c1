"""KuaiRec (Gao et al., "KuaiRec: A Fully-observed Dataset", CIKM 2022): 1,411 users x 3,327 videos.

Its small matrix holds a watch ratio for 99.6 % of all pairs; a ratio of at least 2 is a positive
label. The literature's biased set, `user.txt`, was drawn "biasedly according to the watch ratio" by
a rule that was never published. So there are three sources, tried in this order (protocol §2):

split   user.txt (biased) and random.txt (unbiased) of the literature: comparable with the paper.
matrix  small_matrix.csv of the release: 83 rows per user, drawn uniformly, are the unbiased set;
        the biased set is drawn from the other cells by the rule of `select`.
labels  the positives of the small matrix (small_matrix_watch_ratio_ge2.csv.gz) and the ids of its
        videos, with random.txt as the unbiased set; the biased set is drawn by the same rule.

The files may lie in `kuairec/`, in one of its folders, first of all in `FOLDERS`, or in a folder or zip
archive beside it that is called like the release.

For those who read side features, `item_categories.txt` lists each video's categories, of 31. Of users nothing
is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.config import DatasetConfig
from bench.data import release as manifest
from bench.data.ratings import Ids, Interactions, Ratings, SideFeatures
from bench.errors import BenchError, MissingData, nearest
from bench.seeds import stream_seed

FOLDERS = ("", "haoxuanli_split", "derived", "data", "KuaiRec 2.0/data")
_TITLES = ("kuairec",)
REMEDY = (
    "run `make data`, or unpack https://zenodo.org/records/18164998/files/KuaiRec.zip so that "
    "small_matrix.csv lies there"
)
# A video without rows in any table, whose id the release of May 2022 left out (its notes).
_LEFT_OUT = 1225
SIMULATED = "real labels, simulated selection"


@dataclass(kw_only=True)
class Config(DatasetConfig):
    """Where KuaiRec's ratings come from, and the declared rule of the simulated selection.

    The fields below `source` have no influence on `split`.
    """

    source: str = "auto"  # auto | split | matrix | labels
    selection_strength: float = 1.0  # kappa, standard deviation of the users' selection strengths
    positive_boost: float = 5.0  # c, how much likelier than a negative cell a positive one is drawn
    selection_seed: int = 0
    n_biased: int = 201171
    unbiased_per_user: int = 83  # of `matrix`; `labels` has random.txt


_TRIPLE = {"user_id": manifest.WHOLE, "video_id": manifest.WHOLE, "watch_ratio": manifest.REAL}
_MATRIX = {
    "user_id": manifest.WHOLE,
    "video_id": manifest.WHOLE,
    "play_duration": manifest.ANY,
    "video_duration": manifest.ANY,
    "time": manifest.ANY,
    "date": manifest.ANY,
    "timestamp": manifest.ANY,
    "watch_ratio": manifest.REAL,
}
_LABELS = {
    "user_id": manifest.WHOLE,
    "video_id": manifest.WHOLE,
    "in_advinfonce": "[01]",
    "in_gcdr": "[01]",
}


def _file(
    file: str, rows: int, columns: dict[str, str], header: bool = False, last: int = 10727, **hashes: str
) -> manifest.PairFile:
    return manifest.PairFile(
        file=file,
        rows=rows,
        columns=columns,
        value="watch_ratio" if "watch_ratio" in columns else "",
        # Ids are those of the big matrix, of which the small matrix is a part.
        users=(0, 7175),
        items=(0, last),
        values=(0, np.inf),
        header=header,
        **hashes,
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the files hold. Of user.txt only the blob in the literature's repositories is known to us,
    of small_matrix.csv no hash.
    """

    n_users: int
    n_items: int
    user: manifest.PairFile
    random: manifest.PairFile
    matrix: manifest.PairFile
    labels: manifest.PairFile
    video_ids: str  # name of the file that lists the videos of the small matrix
    categories: str  # name of the file with the videos' categories
    n_categories: int
    last_video: int  # largest id of the small matrix


MANIFEST = Manifest(
    n_users=1411,
    n_items=3327,
    user=_file("user.txt", 201171, _TRIPLE, git_blob="257906020db749726b6b20ea7db09e8e7bd49197"),
    random=_file(
        "random.txt",
        117113,
        _TRIPLE,
        sha256="1ee0ae5fb3b8c240cfb036dc761f5206b78b3d391b76d775bd8d59326614203a",
    ),
    # The first release had one id more (`_ids_of_today`).
    matrix=_file("small_matrix.csv", 4676570, _MATRIX, header=True, last=10728),
    labels=_file(
        "small_matrix_watch_ratio_ge2.csv.gz",
        217226,
        _LABELS,
        header=True,
        sha256="a4f924add02f8e81501d009f2b5e7ac76ce000285cc781c3a6a9ecaa9ff853d6",
    ),
    video_ids="small_matrix_video_ids.txt",
    categories="item_categories.txt",
    n_categories=31,
    last_video=10595,
)


def load(config: Config, data_dir: Path) -> Ratings:
    """Read KuaiRec from `data_dir/kuairec`, from the first source whose files are all there.

    Raises:
        MissingData: no source (or not the one asked for) is complete.
        BenchError: a file is not as published, or a field of the configuration is out of range.
    """
    _check(config)
    root, expected = data_dir / "kuairec", MANIFEST
    sources = {
        "split": (expected.user.file, expected.random.file),
        "matrix": (expected.matrix.file,),
        "labels": (expected.labels.file, expected.video_ids, expected.random.file),
    }
    if config.source not in ("auto", *sources):
        raise BenchError(
            f"dataset.source={config.source} is not known: {nearest(config.source, ['auto', *sources])}"
        )
    tried = list(sources) if config.source == "auto" else [config.source]
    found = {name: [manifest.find(root, file, FOLDERS, _TITLES) for file in sources[name]] for name in tried}
    for name, candidates in found.items():
        paths = [path for path in candidates if path is not None]
        if len(paths) == len(candidates):
            read = {"split": _split, "matrix": _matrix, "labels": _labels}[name]
            return read(config, expected, root, paths)
    wanted = "; or ".join(
        " and ".join(file for file, path in zip(sources[name], found[name], strict=True) if path is None)
        for name in tried
    )
    there = manifest.found_of(root, dict.fromkeys(file for name in tried for file in sources[name]), _TITLES)
    raise MissingData(
        f"KuaiRec is incomplete under {root}, where there should also be {wanted}{there}: {REMEDY}."
    )


def select(
    users: Ids, labels: NDArray[np.bool_], n_users: int, size: int, strength: float, boost: float, seed: int
) -> Ids:
    """Draw `size` cells without replacement, each user following its own selection strength.

    A cell's probability is proportional to exp(kappa_u (2 r - 1)) (1 + c r), kappa_u ~ N(0, kappa^2)
    (protocol §2). Drawn by the Gumbel trick: the largest `size` of log-weight + Gumbel noise.

    Args:
        users, labels: (N,) of the candidate cells, which must exclude the unbiased ones.
        n_users: number of users.
        size: number of cells to draw.
        strength, boost: kappa and c. seed: fixes the draw bit for bit.

    Returns:
        (size,) int64, positions in `users`, ascending.

    Raises:
        BenchError: there are fewer candidates than `size`.
    """
    if size > len(users):
        raise BenchError(f"dataset.n_biased={size} is more than the {len(users)} cells that can be drawn.")
    random = np.random.Generator(np.random.PCG64(stream_seed("kuairec", "selection", seed)))
    kappa = strength * random.standard_normal(n_users)
    log_weight = np.where(labels, kappa[users] + np.log1p(boost), -kappa[users])
    keys = log_weight + random.gumbel(size=len(users))
    return np.sort(np.argpartition(keys, len(keys) - size)[len(keys) - size :]).astype(np.int64)


def _check(config: Config) -> None:
    for name in ("selection_strength", "positive_boost"):
        value = getattr(config, name)
        if not (np.isfinite(value) and value >= 0):
            raise BenchError(f"dataset.{name} must be a finite number of at least 0, but it is {value}.")
    for name in ("n_biased", "unbiased_per_user"):
        if getattr(config, name) < 1:
            raise BenchError(f"dataset.{name} must be at least 1, but it is {getattr(config, name)}.")


def _split(config: Config, expected: Manifest, root: Path, paths: list[manifest.Place]) -> Ratings:
    """The literature's split; ids become positions in the sorted ids of both files."""
    files = (expected.user, expected.random)
    parts = [manifest.read_pairs(path, file) for path, file in zip(paths, files, strict=True)]
    known = []
    for what, ids, n in (
        ("users", [part.users for part in parts], expected.n_users),
        ("videos", [part.items for part in parts], expected.n_items),
    ):
        known.append(np.unique(np.concatenate(ids)))
        # A video without a rating in either file is possible; it is an id that nothing refers to.
        if len(known[-1]) > n or what == "users":
            manifest.check_count(paths[0], f"{what} in it and in {paths[1].name}", n, len(known[-1]))
    biased, unbiased = (_interactions(part, known[0], known[1]) for part in parts)
    notes: dict[str, float | str] = {"videos_without_rating": expected.n_items - len(known[1])}
    source = "split: user.txt and random.txt of the literature"
    shape = (expected.n_users, expected.n_items)
    ratings = manifest.assemble("kuairec", source, shape, biased, unbiased, files=parts, notes=notes)
    return replace(ratings, features=_features(expected, root, known[1]))


def _matrix(config: Config, expected: Manifest, root: Path, paths: list[manifest.Place]) -> Ratings:
    """The release's small matrix; both sets are drawn from its cells."""
    cells = manifest.read_pairs(paths[0], expected.matrix)
    known_users, known_items = np.unique(cells.users), np.unique(cells.items)
    manifest.check_count(paths[0], "users", expected.n_users, len(known_users))
    manifest.check_count(paths[0], "videos", expected.n_items, len(known_items))
    rated = _interactions(cells, known_users, known_items)
    # The draws must not depend on the order of the file's rows.
    rated = _take(rated, np.lexsort((rated.items, rated.users)))

    per_user = np.bincount(rated.users, minlength=expected.n_users)
    if per_user.min() < config.unbiased_per_user:
        raise BenchError(
            f"dataset.unbiased_per_user={config.unbiased_per_user} is more than the {per_user.min()} ratings "
            "that one of the users has."
        )
    seed = stream_seed("kuairec", "unbiased", config.selection_seed)
    random = np.random.Generator(np.random.PCG64(seed)).random(len(rated))
    shuffled = np.lexsort((random, rated.users))
    rank = np.arange(len(rated)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    in_unbiased = np.zeros(len(rated), dtype=np.bool_)
    in_unbiased[shuffled[rank < config.unbiased_per_user]] = True

    rest = _take(rated, np.flatnonzero(~in_unbiased))
    drawn = _draw(config, rest.users, rest.values >= config.threshold, expected.n_users)
    parameters = {"unbiased_per_user": config.unbiased_per_user, **_rule(config)}
    source = f"{SIMULATED} (small_matrix.csv)"
    unbiased = _take(rated, np.flatnonzero(in_unbiased))
    ratings = manifest.assemble(
        "kuairec",
        source,
        (expected.n_users, expected.n_items),
        _take(rest, drawn),
        unbiased,
        files=[cells],
        comparable=False,
        parameters=parameters,
    )
    return replace(ratings, features=_features(expected, root, _ids_of_today(known_items, expected)))


def _ids_of_today(videos: Ids, expected: Manifest) -> Ids:
    """Ids (I,) as all other files have them: the first release's are larger by one from `_LEFT_OUT` on."""
    is_first = videos[-1] == expected.last_video + 1
    return np.where(is_first & (videos > _LEFT_OUT), videos - 1, videos)


def _labels(config: Config, expected: Manifest, root: Path, paths: list[manifest.Place]) -> Ratings:
    """The small matrix as labels only: a cell that is not listed as positive counts as negative.

    Three positives are missing from the list, and the 0.4 % of the cells that nobody rated cannot
    be told from negatives.
    """
    if config.threshold != 2:
        raise BenchError(
            f"KuaiRec's label file holds watch ratios of at least 2, so dataset.threshold={config.threshold} "
            "needs small_matrix.csv or dataset.threshold=2."
        )
    positives = manifest.read_pairs(paths[0], expected.labels)
    known_items = _read_ids(paths[1], expected)
    test = manifest.read_pairs(paths[2], expected.random)
    known_users = np.unique(np.concatenate([test.users, positives.users]))
    manifest.check_count(paths[2], f"users in it and in {paths[0].name}", expected.n_users, len(known_users))
    for path, pairs, first_line in ((paths[0], positives, 2), (paths[2], test, 1)):
        unknown = np.flatnonzero(~np.isin(pairs.items, known_items))
        if len(unknown):
            item = f"{pairs.items[unknown[0]]}"
            wanted = f"a video_id of {paths[1].name}"
            raise manifest.line_error(path, int(unknown[0]) + first_line, wanted, item)

    shape = (expected.n_users, expected.n_items)
    label = np.zeros(shape, dtype=np.bool_)
    listed = _interactions(positives, known_users, known_items)
    label[listed.users, listed.items] = True
    unbiased = _interactions(test, known_users, known_items)
    contradictions = np.flatnonzero(
        label[unbiased.users, unbiased.items] != (unbiased.values >= config.threshold)
    )
    if len(contradictions):
        row = int(contradictions[0])
        ratio = f"a watch ratio of {unbiased.values[row]:g}"
        wanted = f"a watch ratio that agrees with the positives of {paths[0].name}"
        raise manifest.line_error(paths[2], row + 1, wanted, ratio)

    free = np.ones(shape, dtype=np.bool_)
    free[unbiased.users, unbiased.items] = False
    users, items = np.nonzero(free)
    drawn = _draw(config, users, label[free], expected.n_users)
    users, items = users[drawn].astype(np.int64), items[drawn].astype(np.int64)
    biased = Interactions(users, items, np.where(label[users, items], 2.0, 0.0).astype(np.float32))
    notes: dict[str, float | str] = {"values_of_biased": "2 for a watch ratio of at least 2, else 0"}
    source = f"{SIMULATED} (labels of the small matrix, random.txt)"
    ratings = manifest.assemble(
        "kuairec",
        source,
        shape,
        biased,
        unbiased,
        files=[positives, test],
        comparable=False,
        parameters=_rule(config),
        notes=notes,
    )
    return replace(ratings, features=_features(expected, root, known_items))


def _features(expected: Manifest, root: Path, videos: Ids) -> Callable[[], SideFeatures]:
    """Reads the videos' categories, (I, 31); a video in several has several ones.

    Args:
        videos: ids of the items, ascending; items beyond them have no rating and no id, so no category.
    """

    @cache
    def read() -> SideFeatures:
        path = manifest.find(root, expected.categories, FOLDERS, _TITLES)
        if path is None:
            raise MissingData(
                f"{expected.categories} is missing under {root}: put the file of that name there, which "
                "lists the categories of each video of the release."
            )
        text = manifest.read_text(path)
        bad = manifest.first_bad_line(text, r"\d{1,9}\t\d{1,9}(?:\|\d{1,9})*")
        if bad:
            wanted = "a video_id, a tab and its categories separated by |"
            raise manifest.line_error(path, bad[0], wanted, manifest.quote(bad[1]))
        place = {int(video): row for row, video in enumerate(videos)}
        found = np.zeros((expected.n_items, expected.n_categories), np.float32)
        for number, line in enumerate(text.decode().splitlines(), 1):
            video, _, listed = line.partition("\t")
            categories = [int(each) for each in listed.split("|")]
            if max(categories) >= expected.n_categories:
                wanted = f"categories of 0 to {expected.n_categories - 1}"
                raise manifest.line_error(path, number, wanted, f"{max(categories)}")
            if int(video) in place:
                found[place[int(video)], categories] = 1
        without = np.flatnonzero(found[: len(videos)].sum(1) == 0)
        if len(without):
            raise BenchError(f"{path} has no categories of video {videos[without[0]]}; {manifest.REMEDY}.")
        return SideFeatures(None, found, manifest.checksum(found))

    return read


def _draw(config: Config, users: Ids, labels: NDArray[np.bool_], n_users: int) -> Ids:
    strength, boost, seed = config.selection_strength, config.positive_boost, config.selection_seed
    return select(users, labels, n_users, config.n_biased, strength, boost, seed)


def _rule(config: Config) -> dict[str, float]:
    """The parameters of `select`."""
    return {
        "selection_strength": config.selection_strength,
        "positive_boost": config.positive_boost,
        "selection_seed": config.selection_seed,
        "n_biased": config.n_biased,
        "threshold": config.threshold,
    }


def _interactions(pairs: manifest.Pairs, known_users: Ids, known_items: Ids) -> Interactions:
    return Interactions(
        manifest.zero_based(pairs.users, known_users),
        manifest.zero_based(pairs.items, known_items),
        pairs.values,
    )


def _take(interactions: Interactions, rows: Ids) -> Interactions:
    return Interactions(interactions.users[rows], interactions.items[rows], interactions.values[rows])


def _read_ids(path: manifest.Place, expected: Manifest) -> Ids:
    """The videos of the small matrix: a file of one id per line, ascending or not."""
    text = manifest.read_text(path)
    low, high = expected.random.items
    wanted = f"a video_id of {low} to {high}"
    bad = manifest.first_bad_line(text, manifest.WHOLE)
    if bad:
        raise manifest.line_error(path, bad[0], wanted, manifest.quote(bad[1]))
    ids = np.array(text.split(), dtype=np.int64)
    wrong = np.flatnonzero((ids < low) | (ids > high))
    if len(wrong):
        raise manifest.line_error(path, int(wrong[0]) + 1, wanted, f"{ids[wrong[0]]}")
    known = np.unique(ids)
    manifest.check_count(path, "different ids", expected.n_items, len(known))
    return known
