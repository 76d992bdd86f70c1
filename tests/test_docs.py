"""The pages: commands parse, in zsh too; paths, pages, targets and options that they name are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.files import CHECKOUT

PAGES = sorted(
    [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "conf/README.md", "results/README.md")]
    + list((CHECKOUT / "docs").glob("*.md"))
)
COMMAND = re.compile(r"(?:\.venv/bin/)?(?:make|python|pip|PYTHONPATH=\S* python)\b")
TARGETS = set(
    re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)
TOP = {"bench", "methods", "conf", "results", "tests", "docs"}
# What a run of one's own makes, and what a reader is told to write.
MADE = re.compile(r"own|results/(runs|table1|export)|my_|toy_method\.(py|yaml)|[A-Z]{4,}|NAME|DIR")


def commands(page: Path) -> list[str]:
    """The command lines of a page: in indented and in bash blocks, and within the text."""
    text = page.read_text(encoding="utf-8")
    plain = re.sub(r"```python.*?```|```yaml.*?```", "", text, flags=re.DOTALL)
    found = [line.strip() for line in plain.splitlines() if line.startswith("    ")]
    found += [
        line for block in re.findall(r"```bash\n(.*?)```", plain, re.DOTALL) for line in block.splitlines()
    ]
    found += [each.replace("\n", " ") for each in re.findall(r"`([^`]+)`", plain)]
    return [each for each in found if COMMAND.match(each)]


CASES = [(page, command) for page in PAGES for command in commands(page)]


def test_there_are_commands() -> None:
    assert len(CASES) > 40 and {page.parent.name for page in PAGES} >= {"docs", "conf", "results"}


@pytest.mark.parametrize(("page", "command"), CASES, ids=lambda value: getattr(value, "name", None))
def test_a_command_runs_in_any_shell_as_it_stands(page: Path, command: str) -> None:
    # What zsh would take for file names or a comment, or what would end the line.
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
    assert not re.search(r"[\[\]*?#{}<>();&!]", bare), command
    words = shlex.split(command)
    assert shlex.split(command, comments=True) == words
    if words[0] == "make":
        # In a sentence "make" may be followed by capitals that stand for something: KEY=value.
        assert {word for word in words[1:] if "=" not in word} <= TARGETS, command
    if "-m" in words[:4] and "python" in command:
        after = words[words.index("-m") + 1 :]
        spec = importlib.util.find_spec(after[0])
        assert spec is not None and spec.origin is not None, command
        arguments = after[1:]
        if after[0] == "bench":
            given = [word for word in arguments if word != "-m" and not word.startswith("--")]
            OverridesParser.create().parse_overrides(given)
        elif after[0].startswith("bench"):
            origin = Path(spec.origin)
            sources = [origin] if origin.name != "__init__.py" else list(origin.parent.glob("*.py"))
            code = "".join(source.read_text(encoding="utf-8") for source in sources)
            for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(arguments)):
                known = f'"{option}"' in code or f'"{option[2:]}"' in code or option == "--help"
                assert known, f"{command}: {option}"


@pytest.mark.skipif(
    shutil.which("zsh") is None, reason="there is no zsh, which is no Python package: apt install zsh"
)
def test_zsh_reads_them() -> None:
    script = "\n".join(command for _, command in CASES)
    done = subprocess.run(["zsh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Where GitHub, which shows README.md below blob/main, lists what a repository's Pages workflow has published.
ON_GITHUB = "../../deployments/github-pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z][a-z0-9-]*)", text.replace("\n", " ")):
        assert target in TARGETS, target
    for named in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert named.startswith("http") or named == ON_GITHUB or (page.parent / named).exists(), named
    for words in re.findall(r"`([^`\n]+)`", text):
        for word in words.split():
            path = word.rstrip(",.:;/")
            if path.split("/")[0] in TOP and "/" in path and "=" not in path and not MADE.search(path):
                assert (CHECKOUT / path).exists() or list(CHECKOUT.glob(path)), f"{page.name}: {path}"


def test_every_data_set_is_on_the_page_of_data() -> None:
    page = (CHECKOUT / "docs" / "data.md").read_text(encoding="utf-8")
    for file in (CHECKOUT / "conf" / "dataset").glob("*.yaml"):
        (title,) = re.findall(r"^title: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert title in page, title


def test_every_committed_folder_of_results_has_its_line() -> None:
    words = ["git", "ls-files", "results/*/*"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("no git checkout")
    page = (CHECKOUT / "results" / "README.md").read_text(encoding="utf-8")
    folders = {line.split("/")[1] for line in done.stdout.splitlines()}
    assert {name for name in folders if f"`{name}/`" not in page} == set()


def test_the_front_page_is_short_and_claims_nothing_without_its_measure() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    generated = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    assert len(generated.splitlines()) <= 125
    assert not re.search(r"(?i)\b(the reference|best in|state.of.the.art|fairly|fastest|novel)\b", generated)
    assert not re.search(r"±\s?[\d.]+|\d+ %|\d+ of \d+", generated)  # figures come from a command


def test_the_versions_of_python_are_the_same_everywhere() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, end = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    last = f"3.{end - 1}"
    for page in ("README.md", "docs/faq.md"):
        assert f"3.{first} to {last}" in (CHECKOUT / page).read_text(encoding="utf-8"), page
    assert f"(3, {first}) <= sys.version_info < (3, {end})" in (CHECKOUT / "Makefile").read_text("utf-8")
    workflow = (CHECKOUT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f'["3.{first}", "{last}"]' in workflow


def test_the_report_says_why_one_pair_may_have_two_marks() -> None:
    report = (CHECKOUT / "results" / "published" / "REPORT.md").read_text(encoding="utf-8")
    assert "the same pair has another p in another table or study, whose family is another" in report
