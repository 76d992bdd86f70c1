"""A trained row as a model again: `bench.load(record).score(users, items)`.

What `build` makes of the data is made anew, what training has made of it is read from beside the record.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import methods
from bench import data
from bench.cell import identity
from bench.cell.evaluation import scores_of
from bench.cell.preparation import load_ratings
from bench.cell.spec import Setting, point_of
from bench.cell.splits import Seeds
from bench.cell.state import restore
from bench.config import Config, EngineConfig, ProtocolConfig
from bench.engine import kernels
from bench.engine.device import device_of, dtype_of
from bench.engine.members import Member
from bench.engine.method import Method
from bench.errors import BenchError
from bench.records.record import Record

_Fields = TypeVar("_Fields")


class Model:
    """The final runs of a record, one model for each seed.

    Attributes:
        record: of the cell. n_users, n_items: ids are below these.
        methods: seed → the method with its parameters, a stack of one member.
    """

    def __init__(self, record: Record, setting: Setting, methods_: Mapping[int, Method]) -> None:
        self.record, self._setting, self.methods = record, setting, dict(methods_)
        self.n_users, self.n_items = setting.ratings.n_users, setting.ratings.n_items

    def score(self, users: ArrayLike, items: ArrayLike, seed: int = 0) -> NDArray[Any]:
        """Predicted probability of a positive label of each pair, as training measured it.

        Args:
            users, items: (N,) from 0, as in the saved scores.
            seed: of the final run.

        Returns:
            (N,), of the engine's precision.

        Raises:
            BenchError: there is no such seed, user or item, or the lengths differ.
        """
        if seed not in self.methods:
            raise BenchError(f"The record {self.record.digest} has no seed {seed}: {sorted(self.methods)}.")
        method = self.methods[seed]
        pairs = [np.atleast_1d(np.asarray(each)) for each in (users, items)]
        if pairs[0].ndim != 1 or pairs[0].shape != pairs[1].shape:
            raise BenchError("users and items must be lists of one length, an entry for each pair.")
        for name, ids, n in zip(("users", "items"), pairs, (self.n_users, self.n_items), strict=True):
            if len(ids) and not (np.issubdtype(ids.dtype, np.integer) and 0 <= ids.min() <= ids.max() < n):
                raise BenchError(f"{name} must be whole numbers from 0 to {n - 1}.")
        indices = [torch.from_numpy(each.astype(np.int64)).to(method.device) for each in pairs]
        with torch.no_grad():
            return scores_of(method, *indices).cpu().numpy()


def model_of(record: Record, data_dir: Path) -> Model:
    """The models of a record's final runs.

    Raises:
        NoRecord: no model was saved with it (`save=model`).
        MissingData: the data set's files are absent.
        BenchError: the data set's files are others than it was trained on, or what was saved is damaged.
    """
    states = record.parameters()
    name = record.method["name"]
    dataset = _of(data.config_class(record.dataset["name"]), record.dataset)
    engine = _of(EngineConfig, record.engine)
    if engine.kernels == "numba":
        engine.device = "cpu"
    setting = Setting(
        protocol=_of(ProtocolConfig, record.protocol),
        dataset=dataset,
        method=name,
        engine=engine,
        ratings=load_ratings(Config(dataset=dataset, data_dir=str(data_dir))),
        seeds=len(record.seeds),
    )
    _require_same(record, setting)
    fields = {each.name for each in dataclasses.fields(methods.get(name).Config)}
    config = point_of(name, {key: value for key, value in record.method.items() if key in fields})
    seeds = Seeds.of(setting, device_of(engine), dtype_of(engine))
    found = {}
    for seed in record.seeds:
        training, _ = seeds.of_members([Member(0, seed, config)])
        with kernels.using(kernels.make(kernels.name_for(engine), engine.threads or kernels.cpus())):
            method = methods.get(name)([config], [seed], training)
        try:
            restore(method, states[seed])
        except KeyError as error:
            raise BenchError(
                f"The model of {record.digest} has no {error}, which {name} has today: train it again with "
                "again=true save=model."
            ) from error
        found[seed] = method
    return Model(record, setting, found)


def _require_same(record: Record, setting: Setting) -> None:
    known = record.identity
    if known is None:
        return
    if known.data != setting.ratings.checksum:
        raise BenchError(
            f"The record {record.digest} was trained on other ratings than those of {setting.dataset.name} "
            "here: give their folder (bench.load(record, data_dir=...))."
        )
    if known.code != identity.of_cell(setting, {}, ()).code:
        warnings.warn(
            f"The record {record.digest} was trained by other code than today's: its scores may be others.",
            stacklevel=3,
        )


def _of(kind: type[_Fields], values: Mapping[str, Any]) -> _Fields:
    """A configuration of a record's fields; those that this version does not know are passed over."""
    known = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in known})
