"""A study's conclusion follows its numbers: other numbers, other words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.files import write_csv
from bench.records.points import Points, Training
from bench.speed import plan_time
from bench.study.conclusions import concluded, unchanged
from bench.study.files import Chosen, Difference, Scored, StudyResult
from bench.study.limits import limits
from bench.table.frame import Frame
from tests.bench.study.test_paper_report import found

Values = dict[tuple[str, str, str], float]  # group, variant, method → AUC of both seeds


def write(folder: Path, name: str, values: Values, tests: dict[tuple[str, str, str], float]) -> None:
    """tests: (group, variant, against) → median; significant where it is not 0."""
    StudyResult(
        scores=[
            Scored(group=group, variant=variant, method=method, metric=metric, seed=seed, value=value)
            for (group, variant, method), value in values.items()
            for metric in ("auc", "ndcg", "recall")
            for seed in range(2)
        ],
        variants=[
            Chosen(
                group=group,
                variant=variant,
                title=variant.upper(),
                method=method,
                points=24,
                validation_auc=0.7,
                held_out_auc=0.9,
                alpha_mean=None,
                selected={},
                training_seconds=1.0,
                commit="",
                command=f"python -m bench method={method}",
            )
            for group, variant, method in values
        ],
        differences=[
            Difference(
                group=group,
                variant=variant,
                against=against,
                metric="auc",
                n=2,
                median=median,
                low=median,
                high=median,
                p_value=0.01,
                p_holm=0.01 if median else 1.0,
            )
            for (group, variant, against), median in tests.items()
        ],
    ).write(folder, name)


@pytest.fixture
def frame() -> Frame:
    """Everything printed is 0.7; MF is 0.72, ULTD-JL 0.66 here."""
    shifts = {"mf": 0.02, "ips": 0.0, "ultd_jl": -0.04}
    return found(*(shifts for _ in range(3))).frame


def test_choosing_on_the_test_ratings(frame: Frame, tmp_path: Path) -> None:
    values = {
        ("MF", "validation", "mf"): 0.700,
        ("MF", "oracle", "mf"): 0.704,
        ("JL", "validation", "ultd_jl"): 0.66,
        ("JL", "oracle", "ultd_jl"): 0.661,
    }
    tests = {("MF", "oracle", "validation"): 0.004, ("JL", "oracle", "validation"): 0.0}
    write(tmp_path, "oracle", values, tests)
    said = concluded(frame, tmp_path, "oracle")
    assert "adds 0.0040 to the mean AUC at most (MF), 0.0025 in the median over 2 rows" in said
    assert "significantly for MF." in said and said.endswith("it does not explain the distance.")
    write(tmp_path, "oracle", {**values, ("JL", "oracle", "ultd_jl"): 0.695}, tests)
    said = concluded(frame, tmp_path, "oracle")
    assert "at most (JL)" in said and said.endswith("for JL it is enough to come within ±0.01.")


def test_ways_to_train_mf(frame: Frame, tmp_path: Path) -> None:
    write(tmp_path, "naive", {("", "a", "mf"): 0.71, ("", "b", "mf"): 0.712}, {})
    said = concluded(frame, tmp_path, "naive")
    assert (
        said.startswith("1 of 2 ways to train MF come within ±0.01") and ": “A”. The nearest is “A”" in said
    )
    assert "More than one fits" not in said
    write(tmp_path, "naive", {("", "a", "mf"): 0.71, ("", "b", "mf"): 0.70}, {})
    said = concluded(frame, tmp_path, "naive")
    assert "“A” and “B”" in said and "The nearest is “B”" in said and "More than one fits" in said


def test_readings_of_ultd(frame: Frame, tmp_path: Path) -> None:
    values = {("", "mf", "mf"): 0.72, ("", "x", "ultd_jl"): 0.66, ("", "y", "ultd_jl"): 0.70}
    write(tmp_path, "ultd", values, {("", "x", "mf"): -0.06, ("", "y", "mf"): 0.0})
    said = concluded(frame, tmp_path, "ultd")
    assert "Of 2 readings and parts of ULTD, 1 come within" in said and "“Y”, is +0.000 away" in said
    assert "Beside “MF”, 0 significantly above, 1 below, 1 undecided." in said and "UNLEARNING" not in said
    values |= {("", "without_unlearning", "ultd_jl"): 0.68, ("", "mf_combine_mse", "mf_combine"): 0.68}
    tests = {("", name, base): 0.02 for name, base in (("y", "without_unlearning"), ("x", "mf_combine_mse"))}
    write(tmp_path, "ultd", values, {**tests, ("", "x", "without_unlearning"): -0.02})
    said = concluded(frame, tmp_path, "ultd")
    assert "Beside “MF_COMBINE_MSE”, 1 significantly above, 0 below, 0 undecided." in said
    assert "Beside “WITHOUT_UNLEARNING”, 1 significantly above, 1 below, 0 undecided." in said


def test_shares_of_unbiased_ratings(frame: Frame, tmp_path: Path) -> None:
    values = {(group, variant, variant): 0.7 for group in "ab" for variant in ("mf", "mf_combine", "ultd_jl")}
    tests = {(group, "ultd_jl", "mf_combine"): -0.01 for group in "ab"}
    tests |= {("a", "mf_combine", "mf"): 0.01, ("b", "mf_combine", "mf"): 0.02}
    write(tmp_path, "bounds", values, tests)
    said = concluded(frame, tmp_path, "bounds")
    assert "over 2 shares: 0 significantly above, 2 below, 0 undecided, medians -0.0100 to -0.0100" in said
    assert "+0.0100, +0.0200, grows with the share" in said
    write(tmp_path, "bounds", values, {**tests, ("b", "mf_combine", "mf"): -0.02})
    assert "does not simply grow" in concluded(frame, tmp_path, "bounds")


def test_differences_of_public_code(frame: Frame, tmp_path: Path) -> None:
    values = {
        ("MF: x", "validation", "mf"): 0.72,
        ("MF: x", "public", "mf"): 0.71,
        ("IPS: y", "validation", "ips"): 0.70,
        ("IPS: y", "public", "ips"): 0.69,
        ("IPS: z", "validation", "ips"): 0.70,
        ("IPS: z", "public", "ips"): 0.69,
    }
    tests = {("MF: x", "public", "validation"): -0.01, ("IPS: y", "public", "validation"): 0.0}
    write(tmp_path, "public", values, tests)
    said = concluded(frame, tmp_path, "public")
    assert "Of 2 differences, 0 raise a row's AUC significantly and 1 lower it; 1 are undecided." in said
    assert "Lower with MF: x (-0.0100)." in said and "come 1: MF: x." in said
    assert "“IPS: y” and “IPS: z” have the same values" in said


def test_what_is_not_there_is_not_concluded(frame: Frame, tmp_path: Path) -> None:
    assert concluded(frame, tmp_path, "oracle") == ""
    (tmp_path / "oracle.csv").write_text("group,variant\n")
    with pytest.raises(BenchError):
        concluded(frame, tmp_path, "oracle")


def test_a_variant_with_settings_of_its_own_is_another_row(frame: Frame, tmp_path: Path) -> None:
    write(tmp_path, "naive", {("", "a", "mf"): 0.71}, {})
    (variant,) = StudyResult.read(tmp_path, "naive").variants
    for words, same in {
        "": True,
        "grid.weight_decay=[0.1,0.2]": True,
        "protocol.unbiased_train=0.05": True,
        "protocol.unbiased_train=0.1": False,
        "method.loss=mse": False,
        "selection=oracle_test": False,
    }.items():
        command = f"{variant.command} {words}"
        assert unchanged(Chosen(**{**vars(variant), "command": command})) is same, words


def test_the_limits_measure_the_choice_of_a_point(frame: Frame, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    write(tmp_path / "study", "naive", {("", "a", "mf"): 0.65}, {})
    text = "\n".join(limits(frame, tmp_path, ("naive", "ultd")))
    assert (
        "1 rows on coat were tuned more than once" in text
        and "0.720 (1 points) and 0.650 (24 points)" in text
    )
    assert "232 ratings" in text and "is not known here" in text and "Item mean" not in text


def test_the_limits_say_where_rows_read_side_features(frame: Frame, tmp_path: Path) -> None:
    def said(of: Frame) -> str:
        return limits(of, tmp_path, ())[-1]

    assert "side features" not in said(frame)
    other = replace(frame.manifest.datasets[0], dataset="more", title="Coat, more", paper="coat")
    manifest = replace(frame.manifest, datasets=[*frame.manifest.datasets, other])
    assert "(reading side features, too, on Coat, more)" in said(replace(frame, manifest=manifest))


def test_the_limits_count_winners_at_the_ends_of_their_lists(frame: Frame, tmp_path: Path) -> None:
    def sweep(row: str, best: float, name: str = "learning_rate") -> None:
        trainings = [
            Training(
                stage="rates",
                point=(rate, 8),
                seed=0,
                validation_auc=0.8,
                held_out_auc=0.8 - abs(rate - best),
                epoch=1.0,
                seconds=1.0,
            )
            for rate in (0.05, 0.005, 0.01)
        ]
        points = Points((name, "embedding_size"), tuple(trainings))
        points.write(tmp_path / "sweep" / "table" / "coat" / f"{row}.csv")

    def said() -> str:
        return "\n".join(limits(frame, tmp_path, ()))

    sweep("mf", 0.01)
    assert "Ends of lists" not in said()
    sweep("mf", 0.0)
    assert "coat (1 rows): learning rate 1 the smallest." in said()  # one embedding size is no list
    sweep("ips", 0.05)
    assert "coat (2 rows): learning rate 1 the largest and 1 the smallest." in said()
    # A row's own parameters are named, where a list has more than two values.
    sweep("ips", 0.05, "clip")
    assert f"of their own, {frame.title('ips')}'s `clip` (0.05, the largest)" in said()
    sweep("ips", 0.01, "clip")
    assert "of their own" not in said()


def test_the_limits_say_what_larger_embeddings_would_take(frame: Frame, tmp_path: Path) -> None:
    def line(data: str, row: str, hours: str, wide: str) -> list[str]:
        return [data, row, "10", "20", hours, "", "", "", "16 128", "20", wide]

    lines = [line("coat", "mf", "0.25", "1.5"), line("coat", "ips", "0.5", "2.0"), line("all", "", "9", "99")]
    write_csv(tmp_path / "speed" / "wide.csv", [*plan_time.COLUMNS, *plan_time.WIDE], lines)
    text = "\n".join(limits(frame, tmp_path, ()))
    assert "of 2 rows" in text and "coat with 16 and 128: 3.5 hours of one core instead of 0.8." in text


def test_the_limits_name_a_control_above_every_row(tmp_path: Path) -> None:
    frame = found({"mf": 0.0, "ips": 0.01, "item_mean": 0.02}).frame
    for line in frame.lines:
        if line.row.method == "item_mean":
            object.__setattr__(line.row, "control", True)
    text = "\n".join(limits(frame, tmp_path, ()))
    assert "In 1 of 1 columns the best of the paper's rows is worse than “item_mean”" in text
    assert "AUC 0.720 against 0.710" in text
