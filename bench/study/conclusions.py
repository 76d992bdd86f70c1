"""What the studies say, each in a few sentences whose numbers and words follow by rule from its CSV files.

A sentence is a template; what it counts, names and calls larger comes from the files, so that a study that is
made anew has the conclusions of its own numbers. A difference is significant where Holm's p is below the
table's level; one that is not is undecided, not zero.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.config import ProtocolConfig
from bench.errors import BenchError
from bench.records.metric import AUC, METRICS
from bench.study.files import Chosen, Difference, Scored, StudyResult
from bench.table.claims import in_words
from bench.table.frame import Frame
from bench.table.lines import ALPHA, TOLERANCE, Line

NAIVE, MERGED, NAIVE_SQUARED = "mf", "mf_combine", "mf_mse"  # variants that others are held against
MERGED_SQUARED, WITHOUT = "mf_combine_mse", "without_unlearning"  # and in study `ultd`
ON_VALIDATION, ON_TEST = "validation", "oracle"  # the variants of study `oracle`
AS_HERE, AS_PUBLIC = "validation", "public"  # those of study `public`
STUDIED = "coat"  # the data set of the studies

VariantPlace = tuple[str, str]  # group, variant


def concluded(frame: Frame, folder: Path, study: str) -> str:
    """A study's conclusion; "" where it has not been run, or none is drawn from it.

    Raises:
        BenchError: a file of the study is not as it was written.
    """
    rule = _RULES.get(study)
    if rule is None or not (folder / f"{study}.csv").is_file():
        return ""
    result = StudyResult.read(folder, study)
    try:
        return rule(frame, result)
    except (KeyError, ValueError) as error:
        raise BenchError(f"Study {study} lacks what its conclusion is drawn from ({error}).") from error


# --- What the files say -------------------------------------------------------------------------------


def means(scores: Iterable[Scored], metric: str = AUC.key) -> dict[VariantPlace, float]:
    """(group, variant) → mean over the seeds."""
    values: dict[VariantPlace, list[float]] = {}
    for score in scores:
        if score.metric == metric:
            values.setdefault((score.group, score.variant), []).append(score.value)
    return {place: float(np.mean(found)) for place, found in values.items()}


def printed_lines(frame: Frame) -> dict[tuple[str, str], Line]:
    """(method, metric) → the table's line, of the studied data set's numbers that can be compared."""
    return {
        (line.row.method, line.metric): line
        for line in frame.lines
        if line.delta is not None and line.dataset.dataset == STUDIED and not line.dataset.repeats
    }


def proposed(frame: Frame) -> list[str]:
    """The paper's own methods."""
    return [row.method for row in frame.manifest.rows if row.proposed]


def unchanged(variant: Chosen) -> bool:
    """Whether a variant is its row as the table has it, but for the points that it was chosen from."""
    for word in shlex.split(variant.command):
        name, _, value = word.lstrip("+~").partition("=")
        if name.startswith("protocol."):
            known = getattr(ProtocolConfig(), name.partition(".")[2], None)
            if not isinstance(known, float) or float(value) != known:
                return False
        elif name.startswith("method.") or name in ("selection", "backbone"):
            return False
    return True


def _significant(each: Difference) -> int:
    return int(np.sign(each.median)) if each.p_holm < ALPHA else 0


def _counts(found: Sequence[Difference]) -> str:
    signs = [_significant(each) for each in found]
    return f"{signs.count(1)} significantly above, {signs.count(-1)} below, {signs.count(0)} undecided"


def _beside(result: StudyResult, against: str, metric: str = AUC.key) -> dict[VariantPlace, Difference]:
    return {
        (each.group, each.variant): each
        for each in result.differences
        if each.against == against and each.metric == metric
    }


def _title(result: StudyResult, place: VariantPlace) -> str:
    return next(each.title for each in result.variants if (each.group, each.variant) == place)


def _names(titles: Sequence[str], most: int = 4) -> str:
    """Some titles in a sentence, of many the first."""
    quoted = [f"“{title}”" for title in dict.fromkeys(titles)]
    if len(quoted) <= most:
        return in_words(quoted)
    return f"{', '.join(quoted[:most])} and {len(quoted) - most} more"


# --- Study by study -----------------------------------------------------------------------------------


def _of_naive(frame: Frame, result: StudyResult) -> str:
    printed = {metric: line for (method, metric), line in printed_lines(frame).items() if method == NAIVE}
    if not printed:
        return ""
    found = {metric: means(result.scores, metric) for metric in printed}
    farthest = {
        place: max(abs(found[metric][place] - float(line.paper)) for metric, line in printed.items())
        for place in next(iter(found.values()))
    }
    inside = [place for place, distance in farthest.items() if round(distance, 6) <= TOLERANCE]
    nearest = min(farthest, key=lambda place: farthest[place])
    row = max(abs(line.delta or 0.0) for line in printed.values())
    said = (
        f"{len(inside)} of {len(farthest)} ways to train MF come within ±{TOLERANCE:g} of the paper's MF in "
        "all of "
        f"{in_words(METRICS[metric].title for metric in printed)}"
        + (f": {_names([_title(result, place) for place in inside])}. " if inside else ". ")
        + f"The nearest is “{_title(result, nearest)}”, whose farthest metric is {farthest[nearest]:.3f} "
        "away; the "
        f"table's row is up to {row:.3f} away. "
    )
    if len(inside) > 1:
        said += "More than one fits, so that the printed numbers do not tell which of them was trained. "
    return said + "How the paper trained and tuned its MF is not known."


def _of_ultd(frame: Frame, result: StudyResult) -> str:
    own = proposed(frame)
    readings = {(each.group, each.variant) for each in result.variants if each.method in own}
    method = {(each.group, each.variant): each.method for each in result.variants}
    auc = means(result.scores)
    found = [place for place in auc if place in readings]
    if not found:
        return ""
    best = max(found, key=lambda place: auc[place])
    printed = {key: line for key, line in printed_lines(frame).items() if key[0] in own and key[1] == AUC.key}
    parts = []
    if printed:
        gaps = {
            place: auc[place] - float(printed[method[place], AUC.key].paper)
            for place in found
            if (method[place], AUC.key) in printed
        }
        near = min(gaps, key=lambda place: abs(gaps[place]))
        within = sum(round(abs(gap), 6) <= TOLERANCE for gap in gaps.values())
        parts.append(
            f"Of {len(gaps)} readings and parts of ULTD, {within} come within ±{TOLERANCE:g} of the AUC "
            "that the "
            f"paper prints for their row; the nearest, “{_title(result, near)}”, is {gaps[near]:+.3f} away."
        )
    parts.append(f"The highest AUC is that of “{_title(result, best)}”, {auc[best]:.3f}.")
    for base in (NAIVE_SQUARED, NAIVE, MERGED, MERGED_SQUARED, WITHOUT):
        tests = [each for place, each in _beside(result, base).items() if place in readings]
        if tests:
            title = next(each.title for each in result.variants if each.variant == base)
            parts.append(f"Beside “{title}”, {_counts(tests)}.")
    parts.append(
        "What is tried here is a reading of what the paper leaves open: another reading may do better."
    )
    return " ".join(parts)


def _of_bounds(frame: Frame, result: StudyResult) -> str:
    own = proposed(frame)
    groups = list(dict.fromkeys(each.group for each in result.variants))
    names = [each.variant for each in result.variants if each.group == groups[0] and each.method in own]
    parts = []
    for base in (MERGED, NAIVE):
        tests = _beside(result, base)
        titles = {each.variant: each.title for each in result.variants}
        for name in names:
            mine = [tests[group, name] for group in groups if (group, name) in tests]
            if mine:
                parts.append(
                    f"{titles[name]} beside {titles[base]} over {len(mine)} shares: {_counts(mine)}, medians "
                    f"{min(each.median for each in mine):+.4f} to {max(each.median for each in mine):+.4f}."
                )
    merged = [
        each.median
        for group in groups
        for place, each in _beside(result, NAIVE).items()
        if place == (group, MERGED)
    ]
    if merged:
        grows = "grows with the share" if list(merged) == sorted(merged) else "does not simply grow with it"
        parts.append(
            f"What the same ratings bring to plain MF, {', '.join(f'{each:+.4f}' for each in merged)}, "
            f"{grows}; "
            "each share has points of its own, and their choice moves a mean, too."
        )
    return " ".join(parts)


def _of_oracle(frame: Frame, result: StudyResult) -> str:
    tests = {group: each for (group, name), each in _beside(result, ON_VALIDATION).items() if name == ON_TEST}
    if not tests:
        return ""
    auc = means(result.scores)
    gains = {group: auc[group, ON_TEST] - auc[group, ON_VALIDATION] for group in tests}
    most = max(gains, key=lambda group: gains[group])
    sure = [group for group, each in tests.items() if _significant(each) > 0]
    said = (
        f"Choosing on the test ratings adds {gains[most]:.4f} to the mean AUC at most ({most}), "
        f"{np.median(list(gains.values())):.4f} in the median over {len(gains)} rows; significantly for "
        f"{in_words(sure) if sure else 'none'}. "
    )
    own = {each.group: each.method for each in result.variants if each.method in proposed(frame)}
    printed = printed_lines(frame)
    short = {
        group: -(printed[method, AUC.key].delta or 0.0)
        for group, method in own.items()
        if (method, AUC.key) in printed and group in gains
    }
    if short:
        explained = [group for group, gap in short.items() if gains[group] >= gap - TOLERANCE]
        said += (
            f"For {in_words(f'{group} it adds {gains[group]:+.4f}' for group in short)}; the printed AUC "
            "minus "
            f"the table's is {in_words(f'{gap:+.3f}' for gap in short.values())}: "
            + (
                "it does not explain the distance."
                if not explained
                else f"for {in_words(explained)} it is enough to come within ±{TOLERANCE:g}."
            )
        )
    return said.strip()


def _of_public(frame: Frame, result: StudyResult) -> str:
    tests = {group: each for (group, name), each in _beside(result, AS_HERE).items() if name == AS_PUBLIC}
    if not tests:
        return ""
    signs = {group: _significant(each) for group, each in tests.items()}
    parts = [
        f"Of {len(tests)} differences, {list(signs.values()).count(1)} raise a row's AUC significantly and "
        f"{list(signs.values()).count(-1)} lower it; {list(signs.values()).count(0)} are undecided."
    ]
    for sign, word in ((1, "Higher"), (-1, "Lower")):
        some = [f"{group} ({tests[group].median:+.4f})" for group in tests if signs[group] == sign]
        if some:
            parts.append(f"{word} with {'; '.join(some)}.")
    auc, printed = means(result.scores), printed_lines(frame)
    method = {each.group: each.method for each in result.variants}
    towards = []
    for group in tests:
        line = printed.get((method[group], AUC.key))
        if line is None:
            continue
        here, public = (abs(auc[group, name] - float(line.paper)) for name in (AS_HERE, AS_PUBLIC))
        if round(here, 6) > TOLERANCE >= round(public, 6):
            towards.append(group)
    parts.append(
        f"Into ±{TOLERANCE:g} of the printed AUC, from outside of it, come {len(towards)}"
        + (f": {'; '.join(towards)}." if towards else ".")
    )
    parts += [
        f"“{one}” and “{other}” have the same values to the last digit: what they differ in does nothing "
        "here."
        for one, other in _twins(result)
    ]
    return " ".join(parts)


def _twins(result: StudyResult) -> list[tuple[str, str]]:
    """Groups of one method whose public variants have the same values."""
    values: dict[str, tuple[float, ...]] = {}
    for score in sorted(result.scores, key=lambda each: (each.metric, each.seed)):
        if score.variant == AS_PUBLIC:
            values[score.group] = (*values.get(score.group, ()), score.value)
    groups = list(values)
    return [
        (one, other)
        for place, one in enumerate(groups)
        for other in groups[place + 1 :]
        if values[one] == values[other]
    ]


_RULES: Mapping[str, Callable[[Frame, StudyResult], str]] = {
    "naive": _of_naive,
    "ultd": _of_ultd,
    "bounds": _of_bounds,
    "oracle": _of_oracle,
    "public": _of_public,
}
