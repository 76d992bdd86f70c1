"""Studies: variants of rows beside each other, tuned alike and paired: `python -m bench.study NAME`.

Every variant is swept with the same plan and trained with the same seeds, so that what differs is what its
command line says. Writes to `results/study/own/` the CSV files of `bench/study/files.py` and NAME.md, the
same to read; where every group is a pair of variants, one line for each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import joblib

from bench.command.main import main as command
from bench.errors import BenchError
from bench.files import CONF, write_text
from bench.records.record import Record
from bench.study.comparisons import result_of
from bench.study.page import study_page
from bench.study.variants import NOT_TRAINED, VariantKey, read_study, trained

_STUDIES = CONF / "study"

_RESULTS = Path("results/study/own")  # not committed, as what stands beside it is


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.study", description="Variants of rows beside each other, tuned alike."
    )
    parser.add_argument("name", help="a file of conf/study, without its ending")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="variants trained at once")
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="train groups with this in their titles",
    )
    parser.add_argument("--output", type=Path, default=_RESULTS, metavar="DIR")
    parser.add_argument("overrides", nargs="*", help="of the configuration, for every variant")
    return command(
        parser,
        _work,
        arguments,
        "Stopped; the variants that were trained are kept, and the same command goes on from them.",
    )


def _work(given: argparse.Namespace) -> int:
    study = read_study(_STUDIES / f"{given.name}.yaml")
    records: dict[VariantKey, Record] = {}
    missing: dict[VariantKey, str] = {}
    for variant, answer in trained(study, given.overrides, given.jobs, only=given.only):
        if isinstance(answer, str):
            missing[variant.key] = answer
            if answer != NOT_TRAINED:
                print(f"{variant.title}: {answer}", file=sys.stderr)
        else:
            records[variant.key] = answer
            print(f"{len(records)} of {len(study.variants)}: {variant.title}", flush=True)
    if not records:
        raise BenchError("No variant could be trained.")
    found = result_of(study, records)
    found.write(given.output, study.name)
    print(write_text(given.output / f"{study.name}.md", study_page(study, records, found, missing)))
    return 1 if set(missing.values()) - {NOT_TRAINED} else 0
