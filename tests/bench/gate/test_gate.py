"""The gate on small tables: what fails, what it says and to whom, and what it refuses to read."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench import gate
from bench.gate import tables
from bench.gate.compare import compare, compare_files
from bench.table import csv_files

HEADER = list(csv_files.TABLE_FILE.header)
# Mean and standard deviation over 4 seeds: 2 standard errors are the standard deviation.
LINES: dict[tuple[str, str, str, str], tuple[str, str]] = {
    ("synthetic", "mf", "auc", ""): ("0.700000", "0.002000"),  # below the floor of .004
    ("synthetic", "mf", "ndcg", "skip"): ("0.500000", "0.010000"),
    ("synthetic", "mf", "recall", "skip"): ("0.600000", "0.010000"),
    ("synthetic", "mf", "ideal_loss", ""): ("0.650000", "0.010000"),
    ("synthetic", "ips", "auc", ""): ("0.710000", "0.020000"),
    ("coat", "mf", "auc", ""): ("0.760000", "0.010000"),
    ("coat", "ips", "auc", ""): ("", ""),  # a cell without numbers
}


@pytest.fixture(autouse=True)
def not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "BENCH_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def written(file: Path, change: dict[tuple[str, str, str, str], Any] | None = None) -> Path:
    """LINES with some means changed, as a table; None leaves a line out, and "" its numbers."""
    rows = []
    for key, numbers in {**LINES, **{key: ("", "") for key in change or {} if key not in LINES}}.items():
        mean, std = numbers
        if change and key in change:
            if change[key] is None:
                continue
            mean, std = (f"{change[key]:.6f}", std or "0.01") if change[key] != "" else ("", "")
        dataset, method, metric, rule = key
        row = dict.fromkeys(HEADER, "") | {"protocol": "table", "dataset": dataset, "method": method}
        row |= {"metric": metric, "k": "5" if rule else "", "no_positive": rule, "mean": mean, "std": std}
        rows.append(row | {"n": "4" if mean else "0"})
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def verdicts(folder: Path, change: dict[tuple[str, str, str, str], Any]) -> tuple[int, dict[str, str]]:
    """Exit status, and the verdicts on the lines that are shown by default."""
    old, new = written(folder / "old.csv"), written(folder / "new.csv", change)
    found = compare_files(old, new)
    status = gate.main([str(old), str(new)])
    return status, {f"{each.path} {each.metric}": each.verdict for each in found.shown}


def test_the_same_table_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdicts(tmp_path, {}) == (0, {})
    said = capsys.readouterr()
    assert said.out.startswith("6 lines compared: 0 moved") and "The gate passes." in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        (("synthetic", "mf", "auc", ""), 0.696, 0.6959),  # the floor
        (("synthetic", "mf", "ndcg", "skip"), 0.49, 0.4899),  # two standard errors
        (("synthetic", "mf", "recall", "skip"), 0.59, 0.5899),
        (("synthetic", "mf", "ideal_loss", ""), 0.66, 0.6601),  # less is better
        (("synthetic", "ips", "auc", ""), 0.69, 0.6899),
    ],
)
def test_worse_than_the_tolerance_fails(
    tmp_path: Path, key: tuple[str, str, str, str], inside: float, outside: float
) -> None:
    assert verdicts(tmp_path, {key: inside}) == (0, {})
    status, found = verdicts(tmp_path, {key: outside})
    assert status == 1 and list(found.values()) == ["worse"]


@pytest.mark.parametrize(
    ("key", "value"), [(("synthetic", "mf", "auc", ""), 0.75), (("synthetic", "mf", "ideal_loss", ""), 0.6)]
)
def test_better_passes_but_not_where_it_is_strict(
    tmp_path: Path, key: tuple[str, str, str, str], value: float
) -> None:
    status, found = verdicts(tmp_path, {key: value})
    assert status == 0 and list(found.values()) == ["better"]
    files = [str(tmp_path / "old.csv"), str(tmp_path / "new.csv")]
    assert gate.main([*files, "--strict"]) == 1
    assert gate.main([files[0], files[0], "--strict"]) == 0


@pytest.mark.parametrize("value", ["", None])
def test_a_line_that_is_gone_fails(tmp_path: Path, value: str | None) -> None:
    status, found = verdicts(tmp_path, {("synthetic", "ips", "auc", ""): value})
    assert (status, found) == (1, {"table/synthetic/ips auc": "gone"})


def test_a_new_line_is_told(tmp_path: Path) -> None:
    status, found = verdicts(tmp_path, {("coat", "ips", "auc", ""): 0.7})
    assert (status, found) == (0, {"table/coat/ips auc": "new"})
    status, found = verdicts(tmp_path, {("synthetic", "dr", "auc", ""): 0.7})
    assert (status, found) == (0, {"table/synthetic/dr auc": "new"})


@pytest.mark.parametrize("value", ["", None])
def test_a_data_set_that_is_absent_fails_unless_it_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert verdicts(tmp_path, {("coat", "mf", "auc", ""): value}) == (1, {})
    said = capsys.readouterr().out
    assert "Missing: table/coat is not compared: it has no numbers here." in said
    assert "--allow-missing" in said and "The gate fails." in said
    assert "::error title=missing::table/coat is not compared: it has no numbers here." in said
    files = [str(tmp_path / "old.csv"), str(tmp_path / "new.csv")]
    assert gate.main([*files, "--allow-missing"]) == 0
    said = capsys.readouterr().out
    assert "::warning title=missing::table/coat is not compared: it has no numbers here." in said
    assert "1 of the baseline's data sets and protocols was not compared. The gate passes." in said
    assert gate.main([str(tmp_path / "new.csv"), str(tmp_path / "old.csv")]) == 0
    assert "table/coat is not compared: the baseline lacks it." in capsys.readouterr().out
    nothing = dict.fromkeys(LINES, value)
    assert gate.main([str(tmp_path / "old.csv"), str(written(tmp_path / "new.csv", nothing))]) == 2


def test_a_new_spread_does_not_widen_the_tolerance(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old.csv"), written(tmp_path / "new.csv")
    new.write_text(new.read_text().replace("0.700000,0.002000", "0.650000,0.300000"))
    assert gate.main([str(old), str(new)]) == 1


@given(st.floats(0.0, 0.2), st.integers(1, 20), st.floats(-0.2, 0.2))
def test_the_tolerance_by_its_formula(std: float, n: int, difference: float) -> None:
    key = ("table", "synthetic", "mf", "auc", "", "")
    old, new = (tables.Mean(0.5 + move, std / n**0.5) for move in (0, difference))
    (change,) = compare({key: old}, {key: new}).changes
    assert change.tolerance == pytest.approx(max(0.004, 2 * std / n**0.5))
    if abs(difference) > change.tolerance + 1e-6:
        assert change.verdict == ("better" if difference > 0 else "worse")
    elif abs(difference) < change.tolerance - 1e-6:
        assert change.verdict in ("same", "within")


def test_most_seeds_that_shift_fail_where_it_is_strict(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old.csv"), written(tmp_path / "new.csv")

    def seeds(file: Path, *values: float) -> None:
        lines = [f"table,synthetic,ips,{seed},auc,,{value!r}" for seed, value in enumerate(values)]
        tables.seeds_file(file).write_text("\n".join([",".join(csv_files.SEEDS_FILE.header), *lines]) + "\n")

    seeds(old, 0.70, 0.71, 0.72, 0.73)
    for values, strict in (
        ((0.70, 0.71, 0.72, 0.73), 0),
        ((0.70, 0.71, 0.74, 0.71), 0),  # half of them
        ((0.70, 0.70, 0.74, 0.72), 1),
        ((0.7009, 0.7109, 0.7209, 0.7309), 0),  # rounding
    ):
        seeds(new, *values)
        assert gate.main([str(old), str(new)]) == 0 and not compare_files(old, new).shown
        assert gate.main([str(old), str(new), "--strict"]) == strict
    seeds(new, 0.70, 0.70, 0.74, 0.72)
    (found,) = compare_files(old, new, strict=True).failing
    assert (found.path, found.metric, found.verdict) == ("table/synthetic/ips", "auc", "shifted")
    tables.seeds_file(new).write_text(
        ",".join(csv_files.SEEDS_FILE.header) + "\ntable,synthetic,ips,0,auc,,x\n"
    )
    assert gate.main([str(old), str(new), "--strict"]) == 2


# --- What it says -------------------------------------------------------------------------------------

TWO = {("synthetic", "mf", "auc", ""): 0.6, ("synthetic", "ips", "auc", ""): 0.65}
THREE = {**TWO, ("synthetic", "mf", "ndcg", "skip"): 0.501}


def out(capsys: pytest.CaptureFixture[str], folder: Path, *flags: str) -> str:
    old, new = written(folder / "old.csv"), written(folder / "new.csv", THREE)
    assert gate.main([str(old), str(new), *flags]) == 1
    return capsys.readouterr().out


def test_the_columns_of_dvc_the_worst_line_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, tmp_path).splitlines()
    assert said[0].split() == ["Path", "Metric", "old", "new", "Change", "Tolerance", "Verdict"]
    first = ["table/synthetic/mf", "auc", "0.70000", "0.60000", "-0.10000", "0.00400", "worse"]
    assert said[1].split() == first
    assert said[2].split()[0] == "table/synthetic/ips" and said[3] == ""
    assert said[4].startswith("6 lines compared: 3 moved, 2 of them for the worse and 0 for the better")


def test_all_shows_what_did_not_move(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, tmp_path, "--all")
    assert "ndcg@5/skip" in said and "within" in said and "same" in said
    assert len(said.split("\n\n")[0].splitlines()) == 7


def test_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = out(capsys, tmp_path, "--md").splitlines()
    assert said[0].replace(" ", "") == "|Path|Metric|old|new|Change|Tolerance|Verdict|"
    assert set(said[1]) <= set("|-:") and said[2].count("|") == 8


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")  # annotations must not break the document
    document = json.loads(out(capsys, tmp_path, "--json"))
    assert document["regressions"] == 2
    entry = document["diff"]["table/synthetic/mf"]["auc"]
    assert (entry["old"], entry["new"], entry["verdict"]) == (0.7, 0.6, "worse")
    assert entry["diff"] == pytest.approx(-0.1)
    assert "ndcg@5/skip" in json.loads(out(capsys, tmp_path, "--json", "--all"))["diff"]["table/synthetic/mf"]


def test_github_gets_annotations_and_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "::" not in out(capsys, tmp_path)
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    said = [line for line in out(capsys, tmp_path).splitlines() if line.startswith("::")]
    assert said[0] == (
        "::error file=methods/mf.py,line=1,title=table/synthetic/mf auc::table/synthetic/mf auc: "
        "0.70000 -> 0.60000, worse by more than the tolerance 0.00400"
    )
    assert len(said) == 2
    text = summary.read_text()
    assert text.startswith("before\n## Gate\n") and "| table/synthetic/mf " in text


def test_what_is_better_or_new_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    change = {("synthetic", "mf", "auc", ""): 0.8, ("coat", "ips", "auc", ""): 0.8}
    assert verdicts(tmp_path, change)[0] == 0
    said = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert said == ["::warning", "::warning"]
    assert gate.main([str(tmp_path / "old.csv"), str(tmp_path / "new.csv"), "--strict"]) == 1
    said = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert said == ["::error", "::warning"]


def test_github_is_told_the_ten_worst_and_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [("synthetic", f"odd,{number}:%", "auc", "") for number in range(12)]
    old = written(tmp_path / "old.csv", dict.fromkeys(names, 0.7))
    new = written(tmp_path / "new.csv", {key: 0.6 - 0.01 * place for place, key in enumerate(names)})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert gate.main([str(old), str(new)]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::error")]
    assert len(said) == 10
    assert "title=table/synthetic/odd%2C11%3A%25 auc::table/synthetic/odd,11:%25 auc:" in said[0]


# --- Costs --------------------------------------------------------------------------------------------


def test_costs_warn_and_never_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = written(tmp_path / "old.csv"), written(tmp_path / "new.csv")
    cells = [("table", "synthetic", name) for name in ("mf", "ips", "dr")]

    def costs(file: Path, *numbers: tuple[float, float]) -> None:
        found = {
            cell: tables.Cost(seconds, seconds, memory)
            for cell, (seconds, memory) in zip(cells, numbers, strict=True)
        }
        tables.write_costs(tables.cost_file(file), found)

    costs(old, (10, 300), (10, 300), (10, 300))
    costs(new, (19, 300), (19, 390), (25, 300))  # a slower machine; memory that grew a little
    assert gate.main([str(old), str(new)]) == 0
    assert "Warning" not in capsys.readouterr().out
    costs(new, (10, 300), (26, 300), (10, 500))
    assert gate.main([str(old), str(new)]) == 0
    said = capsys.readouterr().out
    assert "table/synthetic/ips took 26.0 s of the processor, before 10.0 s" in said
    assert "table/synthetic/dr needed 500 MiB, before 300 MiB." in said and said.count("Warning") == 2
    costs(new, (30, 300), (30, 300), (30, 300))
    assert gate.main([str(old), str(new)]) == 0
    assert "3.0 times the baseline's time" in capsys.readouterr().out


# --- What it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("0.700000", "o.7", "line 2: mean is 'o.7', but a number is expected"),
        ("0.700000", "nan", "line 2: mean is 'nan'"),
        ("0.002000,4", "0.002000,0", "line 2: n is 0"),
        (",metric,", ",measure,", "has no column 'metric'"),
        (
            ",auc,",
            ",rmse,",
            "line 2: metric is 'rmse', but the gate knows auc, ndcg, recall, ideal_loss only",
        ),
        ("synthetic,,ips", "synthetic,,mf", "line 6: table synthetic mf auc is there twice"),
        ("0.650000,", "", f"line 5: expected {len(HEADER)} columns"),
    ],
)
def test_a_wrong_file_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, said: str
) -> None:
    old, new = written(tmp_path / "old.csv"), written(tmp_path / "new.csv")
    assert right in new.read_text()
    new.write_text(new.read_text().replace(right, wrong))
    for arguments in ([str(old), str(new)], [str(new), str(old)]):
        assert gate.main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and str(new) in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "has no column 'protocol'"),
        (b"\xff\xfe\x00\x00,\x80", "is not UTF-8 text (byte 0), so save it as UTF-8."),
        (",".join(HEADER).replace(",", ";").encode(), "it has semicolons in place of commas."),
        ((",".join(HEADER) + "\n").encode(), "has no lines below its header"),
    ],
)
def test_what_is_no_table_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    old, new = written(tmp_path / "old.csv"), tmp_path / "new.csv"
    if content is not None:
        new.write_bytes(content)
    assert gate.main([str(old), str(new)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert gate.main([str(old), str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_it_needs_no_torch(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old.csv"), written(tmp_path / "new.csv", TWO)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['hydra'] = None; from bench import gate; "
        f"raise SystemExit(gate.main([{str(old)!r}, {str(new)!r}]))"
    )
    root = Path(bench.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 1 and "worse" in done.stdout and done.stderr == ""


def test_the_committed_tables_can_be_compared() -> None:
    results = Path(bench.__file__).parents[1] / "results"
    file = str(results / "published" / "table1.csv")
    assert gate.main([file, file]) == 0
    baseline = tables.read_table(results / "gate" / "baseline.csv")
    assert {key[1] for key, value in baseline.items() if value} >= {"synthetic"}
    assert tables.read_costs(tables.cost_file(results / "gate" / "baseline.csv"))
