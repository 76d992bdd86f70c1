"""A data set in numbers, for whoever looks at what lies there: `python -m bench.data`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import data
from bench.config import DatasetConfig
from bench.data import release
from bench.data.download import ARCHIVES
from bench.data.ratings import Interactions, Ratings
from bench.errors import BenchError
from bench.files import CONF

# Files of the releases that no ratings are read from.
_BESIDE = {
    "coat": ARCHIVES["coat"].papers,
    "kuairec": ("item_categories.txt", "item_categories.csv", "user_features.csv", "social_network.csv"),
}


def configured(name: str, changes: Sequence[str] = ()) -> tuple[DatasetConfig, dict[float, list[str]]]:
    """A data set's configuration, and its thresholds: each with the names of the protocols that have it.

    Args:
        changes: FIELD=VALUE of the data set.

    Raises:
        BenchError: there is no such data set, or a change does not fit a field.
    """
    kind = data.config_class(name)
    protocols = {file.stem: OmegaConf.load(file) for file in sorted((CONF / "protocol").glob("*.yaml"))}
    thresholds: dict[float, list[str]] = {}
    for protocol, declared in protocols.items():
        try:
            node = OmegaConf.merge(kind, _values_of(name, kind), OmegaConf.from_dotlist([*changes]))
            both: Any = OmegaConf.create({"protocol": declared, "dataset": node})
            OmegaConf.resolve(both)
            config: Any = OmegaConf.to_object(both.dataset)
        except (OmegaConfBaseException, ValueError) as error:
            said = str(error).splitlines()[0].rstrip(".")
            raise BenchError(
                f"{name} cannot be configured by {' '.join(changes) or 'its file'}: {said}."
            ) from error
        thresholds.setdefault(config.threshold, []).append(protocol)
    return config, thresholds


def _values_of(name: str, kind: type[DatasetConfig]) -> dict[str, Any]:
    """A data set's values in `conf/`, or those that it has without a file there."""
    file = CONF / "dataset" / f"{name}.yaml"
    if not file.is_file():
        return values_without_file(name, kind)
    values: Any = OmegaConf.to_container(OmegaConf.load(file))
    merged: dict[str, Any] = {}
    for each in values.pop("defaults"):
        if isinstance(each, str) and each != "_self_":  # another data set's file, on which this one builds
            merged |= _values_of(each, kind)
    return merged | values


def values_without_file(name: str, kind: type[DatasetConfig]) -> dict[str, Any]:
    """What a data set without a YAML leaves open in its dataclass: as for a CSV file of one's own."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / "dataset" / "csv.yaml"))
    values |= {"name": name, "title": name}
    own: Any = OmegaConf.structured(kind)
    shared = [each.name for each in fields(DatasetConfig) if each.name in values]
    return {field: values[field] for field in shared if OmegaConf.is_missing(own, field) or own[field] == {}}


def lines(
    ratings: Ratings,
    read: Iterable[release.Place],
    thresholds: Mapping[float, Sequence[str]],
    data_dir: Path,
) -> list[str]:
    """What is to be known of ratings, one line each.

    Args:
        read: the files that they come from. thresholds: see `configured`.
    """
    o, a = ratings.biased, ratings.unbiased
    found = list(dict.fromkeys(map(str, read)))
    pairs = [
        (
            "source",
            ratings.source + ("" if ratings.comparable else "; not comparable with the paper's numbers"),
        ),
        *(("read from", path) for path in found),
        *(("there as well", path) for path in map(str, _beside(ratings.name, data_dir)) if path not in found),
        (
            "users x items",
            f"{ratings.n_users:,} x {ratings.n_items:,}, of whose pairs {ratings.density:.2%} in O",
        ),
        ("ratings", f"{len(o):,} biased (O), {len(a):,} unbiased (A, validation and test)"),
    ]
    for threshold, protocols in sorted(thresholds.items()):
        shares = " and ".join(
            f"{(part.values >= threshold).mean():.1%} of the {what}" for what, part in _named(o, a)
        )
        whose = f", protocol {' and '.join(protocols)}" if len(thresholds) > 1 else ""
        pairs.append((f"at least {threshold:g}", f"{shares} ones are positive{whose}"))
    pairs += [
        ("values", "; ".join(f"{what} {_values(part.values)}" for what, part in _named(o, a))),
        ("ratings per user", _both(o, a, "users", ratings.n_users)),
        ("ratings per item", _both(o, a, "items", ratings.n_items)),
        ("users with any", _with_any(o, a, "users", ratings.n_users)),
        ("items with any", _with_any(o, a, "items", ratings.n_items)),
        ("pairs in both", f"{release.pairs_in_both(o, a, ratings.n_items):,}"),
    ]
    for what, known in (
        ("true", ratings.truth.propensity if ratings.truth is not None else None),
        ("released", ratings.released_propensity),
    ):
        if known is not None:
            of_o = known[o.users, o.items]
            spread = f"{known.min():.2g} to {known.max():.2g}, {of_o.min():.2g} to {of_o.max():.2g} in O"
            pairs.append((f"{what} propensity", spread))
    pairs += [
        (name.replace("_", " "), str(value))
        for name, value in ratings.notes.items()
        if name != "pairs_in_both"
    ]
    pairs.append(("checksum", ratings.checksum[:20]))
    width = max(len(name) for name, _ in pairs)
    return [f"  {name:<{width}}  {text}" for name, text in pairs]


def _named(o: Interactions, a: Interactions) -> list[tuple[str, Interactions]]:
    return [("biased", o), ("unbiased", a)]


def _beside(name: str, data_dir: Path) -> list[release.Place]:
    found = [release.find(data_dir / name, file, titles=(name,)) for file in _BESIDE.get(name, ())]
    return [path for path in found if path is not None]


def _values(values: NDArray[np.float32]) -> str:
    known, counts = np.unique(values, return_counts=True)
    if len(known) > 10:
        return f"{values.min():g} to {values.max():g}, median {np.median(values):.3g}"
    return " ".join(
        f"{value:g}: {count / len(values):.1%}" for value, count in zip(known, counts, strict=True)
    )


def _both(o: Interactions, a: Interactions, what: str, n: int) -> str:
    """Of those that have any rating: the range and the median of their numbers of ratings."""
    texts = []
    for name, part in _named(o, a):
        counts = np.bincount(getattr(part, what), minlength=n)
        counts = counts[counts > 0]
        texts.append(f"{counts.min():,} to {counts.max():,}, median {np.median(counts):g} ({name})")
    return "; ".join(texts)


def _with_any(o: Interactions, a: Interactions, what: str, n: int) -> str:
    biased, unbiased = (np.unique(getattr(part, what)) for part in (o, a))
    both = len(np.intersect1d(biased, unbiased))
    return f"{len(biased):,} biased, {len(unbiased):,} unbiased, {both:,} both, of {n:,}"
