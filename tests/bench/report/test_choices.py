"""What a reader can choose: protocols, data sets and metrics in words, and the part that a choice leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.report.choices import (
    ALL,
    EVERY,
    PAPERS,
    Choice,
    every_choice,
    metric_titles,
    part,
    protocol_titles,
    scope_titles,
    scopes,
)
from bench.table import load_results
from bench.table.frame import Frame
from bench.table.manifest import Dataset
from tests.bench.small_results import make_results


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    return load_results(make_results(tmp_path_factory.mktemp("results")))


def with_another(frame: Frame, paper: str) -> Frame:
    """With a third data set, KuaiRec's lines under another name."""
    other = Dataset(dataset="other", title="Other", k=50, paper=paper)
    lines = [
        replace(line, dataset=other, printed=line.printed if paper else "")
        for line in frame.lines
        if line.dataset.dataset == "kuairec"
    ]
    manifest = replace(frame.manifest, datasets=[*frame.manifest.datasets, other])
    return replace(frame, manifest=manifest, lines=[*frame.lines, *lines])


def test_the_papers_data_sets_are_those_of_which_it_prints_numbers(frame: Frame) -> None:
    assert scopes(frame) == {
        PAPERS: ("coat", "kuairec"),
        "coat": ("coat",),
        "kuairec": ("kuairec",),
    }
    assert scope_titles(frame)[PAPERS] == "all"
    for paper in ("", "coat"):  # one without printed numbers, and one that repeats another's
        more = with_another(frame, paper)
        assert scopes(more)[PAPERS] == ("coat", "kuairec")
        assert scopes(more)[ALL] == ("coat", "kuairec", "other")
        assert scope_titles(more)[PAPERS] == "the paper's"


def test_choices_are_all_combinations_and_in_words(frame: Frame) -> None:
    found = [choice.key for choice in every_choice(frame)]
    assert len(found) == len(set(found)) == 2 * 3 * len(metric_titles(frame))
    assert Choice("table", PAPERS, EVERY).key == "table||"
    assert protocol_titles(frame) == {"table": "as printed (≥ 4)", "text": "as written (≥ 3)"}


def test_a_part_holds_what_is_chosen_and_its_comparisons(frame: Frame) -> None:
    found = part(frame, Choice("table", "coat", "auc"))
    places = {(line.protocol, line.dataset.dataset, line.metric) for line in found.lines}
    assert places == {("table", "coat", "auc")}
    assert {id(each.line) for each in found.comparisons} <= {id(line) for line in found.lines}
    assert len(found.comparisons) == sum(
        (each.line.protocol, each.line.dataset.dataset, each.line.metric) == ("table", "coat", "auc")
        for each in frame.comparisons
    )


def test_a_repeated_data_set_counts_for_itself_where_it_is_alone(frame: Frame) -> None:
    more = with_another(frame, "coat")
    beside, alone = (part(more, Choice("table", scope, EVERY)) for scope in (ALL, "other"))
    assert {line.dataset.repeats for line in beside.lines if line.dataset.dataset == "other"} == {True}
    assert alone.lines and not any(line.dataset.repeats for line in alone.lines)
