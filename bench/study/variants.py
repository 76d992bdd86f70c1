"""What a study asks and trains: variants of rows, each a command line of `python -m bench`.

A study is a file of `conf/study`: variants, common overrides, and the variants that all others of the same
group are tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from bench import cell as cells
from bench import compose
from bench.command.crew import starting_processes
from bench.errors import BenchError, nearest
from bench.records.metric import METRICS
from bench.records.points import value_text
from bench.records.record import Record

NOT_TRAINED = "not trained yet"
# What moves no training and no validation rating, and so no choice of a point.
_NOT_CHOSEN_BY = frozenset({"protocol.leak_a_stays_in_test"})
_ALL = "all"  # in a group: overrides of all its variants

VariantKey = tuple[str, str]  # group, name


@dataclass(frozen=True)
class PlainControl:
    """The plain model that shows what a variant's change gives by itself: a method as one of the variants."""

    method: str
    variant: str


@dataclass(frozen=True)
class Variant:
    """One line of a study.

    overrides: its command line, the study's and the group's included. point_of: the command line of the
    variant whose chosen point it is trained at, instead of choosing one. control: declared where it is not
    the study's plain model under the variant's own name.
    """

    group: str
    name: str
    title: str
    overrides: tuple[str, ...]
    point_of: tuple[str, ...] = ()
    control: PlainControl | None = None

    @property
    def key(self) -> VariantKey:
        """Group and name: unique in its study."""
        return self.group, self.name

    @property
    def place(self) -> tuple[str, str]:
        """The data set and the method of its command line.

        Raises:
            BenchError: it names none.
        """
        words = dict(word.split("=", 1) for word in self.overrides if "=" in word)
        if not {"dataset", "method"} <= words.keys():
            raise BenchError(f"The variant {self.name} of {self.group} names no data set or no method.")
        return words["dataset"], words["method"]


@dataclass(frozen=True)
class Study:
    """A file of `conf/study`.

    against: names of variants; each other one of their group is tested. order: of the variants' names in the
    file, since a first group need not have them all; by default that of the variants.
    """

    name: str
    title: str
    text: str
    against: tuple[str, ...]
    variants: tuple[Variant, ...]
    order: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str]:
        """The groups' titles, in the order of the file."""
        return list(dict.fromkeys(each.group for each in self.variants))

    @property
    def titles(self) -> dict[str, str]:
        """Name of a variant → its title, in the order of the file."""
        found = {each.name: each.title for each in self.variants}
        return {name: found[name] for name in self.order or found if name in found}

    @property
    def pairs(self) -> bool:
        """Whether every group is a pair: one variant beside the one that it is tested against."""
        return len(self.titles) == 2 and len(self.against) == 1 and len(self.variants) > 2


# --- What is asked ------------------------------------------------------------------------------------


def read_study(file: Path) -> Study:
    """Reads a study.

    Groups are the product of the file's `groups` (title → overrides) and its variants; without `groups`
    all variants are one. A group may have more overrides for some of its variants (title → name →
    overrides, `all` for those of every variant). A variant may be `like` an earlier one, whose overrides
    come before its own, and be in some groups only: in those whose titles have one of the texts of its
    `only`, and none of its `never`. One that changes nothing that points are chosen by may take the
    `point_of` an earlier one, and is not swept. One with a `control` (method and variant) is held against
    that method's variant on its own data set.

    Raises:
        BenchError: the file is absent or wrong.
    """
    if not file.is_file():
        known = sorted(each.stem for each in file.parent.glob("*.yaml"))
        raise BenchError(f"There is no study '{file.stem}': {nearest(file.stem, known)}")
    try:
        given: Any = OmegaConf.to_container(OmegaConf.load(file))
        groups = {
            group: more if isinstance(more, dict) else {_ALL: more}
            for group, more in (given.get("groups") or {"": []}).items()
        }
        own: dict[str, tuple[str, ...]] = {}
        for each in given["variants"]:
            own[each["name"]] = (*(own[each["like"]] if "like" in each else ()), *each["overrides"])
        if len(own) < len(given["variants"]):
            raise BenchError(f"{file} names a variant twice.")
        found: dict[VariantKey, Variant] = {}
        for group, more in groups.items():
            for each in given["variants"]:
                name = each["name"]
                if not any(text in group for text in each.get("only", [""])) or any(
                    text in group for text in each.get("never", [])
                ):
                    continue
                words = (*given["overrides"], *more.get(_ALL, ()), *own[name], *more.get(name, ()))
                base = found[group, each["point_of"]].overrides if "point_of" in each else ()
                if base and not {word.partition("=")[0] for word in {*words} ^ {*base}} <= _NOT_CHOSEN_BY:
                    raise BenchError(
                        f"{file} has '{name}' at the point of '{each['point_of']}', from which it differs by "
                        f"more than {', '.join(_NOT_CHOSEN_BY)}."
                    )
                control = PlainControl(**each["control"]) if "control" in each else None
                found[group, name] = Variant(group, name, each["title"], words, base, control)
        variants = tuple(found.values())
        strange = next((name for more in groups.values() for name in more if name not in {_ALL, *own}), None)
        if strange is not None:
            raise BenchError(f"{file} has overrides for '{strange}' in a group: none of its variants.")
        study = Study(file.stem, given["title"], given["text"], tuple(given["against"]), variants, tuple(own))
    except (OSError, OmegaConfBaseException, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BenchError(f"{file} is not a study ({error!r}).") from error
    for name in study.against:
        if name not in {each.name for each in variants}:
            raise BenchError(f"{file} compares with '{name}', which is none of its variants.")
    _check_controls(file, variants)
    return study


def _check_controls(file: Path, variants: Sequence[Variant]) -> None:
    """Raises BenchError where a control is none of the variants on the same data set."""
    controlled = [(each, each.control) for each in variants if each.control is not None]
    known = {(*each.place, each.name) for each in variants} if controlled else set()
    for each, control in controlled:
        dataset, _ = each.place
        if (dataset, control.method, control.variant) not in known:
            raise BenchError(
                f"{file} holds '{each.name}' of '{each.group}' against '{control.variant}' of "
                f"{control.method}, which is none of its variants on {dataset}."
            )


# --- What is trained ----------------------------------------------------------------------------------


def trained(
    study: Study, overrides: Sequence[str], jobs: int, store: str = "study/runs", only: str = ""
) -> Iterator[tuple[Variant, Record | str]]:
    """Every variant with its record, or with the sentence that says why there is none, as they come.

    Args:
        store: a folder below `results`, whose records are not trained again.
        only: a text in the titles of the groups that are trained; of the others what is there is read.
    """
    with tqdm(total=len(study.variants), unit="variant", disable=None) as bar:
        # Those at another's point come after all others: two processes would train that one twice.
        for at_a_point in (False, True):
            work = (
                joblib.delayed(_numbered)(place, each, overrides, store, only in each.group)
                for place, each in enumerate(study.variants)
                if bool(each.point_of) == at_a_point
            )
            with starting_processes():
                answers = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(work)
            for place, answer in answers:
                bar.update()
                yield study.variants[place], answer


def _numbered(
    place: int, variant: Variant, overrides: Sequence[str], store: str, train: bool
) -> tuple[int, Record | str]:
    """One variant in a worker process: its place and what came, which may be a sentence."""
    words = (*variant.overrides, *overrides)
    try:
        if variant.point_of:
            base = _record((*variant.point_of, *overrides), store, train)
            if base is None:
                return place, NOT_TRAINED
            words = at_point_of(base, words)
        return place, _record(words, store, train) or NOT_TRAINED
    except BenchError as error:
        return place, str(error)


def _record(words: Sequence[str], store: str, train: bool) -> Record | None:
    """The record of a command line; None where it is not there and not to be trained."""
    if train:
        return cells.find_or_train(words, folder=store)
    compose.register(words)
    config = compose.composed(words)
    return cells.find(cells.prepare(config, cells.load_ratings(config), words), Path(config.results) / store)


def at_point_of(record: Record, words: Sequence[str]) -> tuple[str, ...]:
    """A command line at the point that a record chose, without a sweep; its points count as tried."""
    point = (f"method.{name}={value_text(value)}" for name, value in record.selected.items())
    kept = (each for each in words if not each.startswith("grid."))
    return (*kept, *point, "sweep.stages=[]", f"tuned_points={record.points}")


def metrics_of(records: Mapping[VariantKey, Record]) -> list[str]:
    """The metrics that all records have, in the table's order: the ideal loss on generated data only."""
    return [name for name in METRICS if all(name in record.test for record in records.values())]
