"""The pages tell the truth: commands exist, links lead somewhere, lists are complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli import app
from posttrain.spec import load

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("data/*.md")])
NAMES = [str(page.relative_to(PROJECT)) for page in PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CHEAP = ("schema", "plan", "init")


def _blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def _commands() -> list[tuple[str, list[str]]]:
    """Every line of every bash block: its page and its words, without variables set in front and comments behind."""
    found = []
    for name, page in zip(NAMES, PAGES, strict=True):
        for block in _blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words and words[0] not in ("export", "cd"):
                    found.append((name, words))
    return found


def _is_posttrain(words: list[str]) -> bool:
    return Path(words[0]).name == "posttrain"


COMMANDS = _commands()
POSTTRAIN = [(page, words) for page, words in COMMANDS if _is_posttrain(words)]
MAKE = [(page, words) for page, words in COMMANDS if words[0] == "make"]


def test_the_pages_show_commands() -> None:
    assert len(POSTTRAIN) >= 8
    assert len(MAKE) >= 5
    known = {"make", "posttrain"}
    assert {Path(words[0]).name for _, words in COMMANDS} <= known, "teach this test the new command"


@pytest.mark.parametrize(("page", "words"), POSTTRAIN, ids=[" ".join(words[1:]) for _, words in POSTTRAIN])
def test_every_posttrain_command_parses_and_its_files_exist(page: str, words: list[str]) -> None:
    group = typer.main.get_command(app)
    context = group.make_context("posttrain", words[1:], resilient_parsing=True)
    name, command, rest = group.resolve_command(context, words[1:])  # type: ignore[attr-defined]
    assert command is not None
    command.make_context(name, rest, parent=context)  # refuses unknown options and missing arguments
    for word in rest:
        if word.endswith((".yaml", ".gz", ".jsonl")) and "--out" not in rest[max(0, rest.index(word) - 1)]:
            assert (PROJECT / word).exists(), f"{page}: {word}"


@pytest.mark.parametrize(("page", "words"), MAKE, ids=[" ".join(words) for _, words in MAKE])
def test_every_make_target_exists(page: str, words: list[str]) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in words[1:]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"


@pytest.mark.parametrize("words", [words for page, words in POSTTRAIN if page == "README.md" and words[1] in CHEAP])
def test_the_cheap_commands_of_the_readme_run(words: list[str], tmp_path: Path) -> None:
    for name in ("data", "pipelines"):
        (tmp_path / name).symlink_to(PROJECT / name)
    posttrain = str(Path(sys.executable).parent / "posttrain")
    done = subprocess.run([posttrain, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in _anchors(found), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_in_backquotes_exist(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    places = ("posttrain/", "flows/", "tasks/", "tests/", "pipelines/", "expectations/", "docs/", "benchmarks/")
    for name in re.findall(r"`([\w./-]+)`", text):
        if name.startswith(places) and "<" not in name:
            assert (PROJECT / name).exists(), f"{page.name}: {name}"


def test_the_readme_is_short() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "make run" in text
    assert "make test" in text


def test_the_spec_of_the_readme_is_one(tmp_path: Path) -> None:
    (block,) = _blocks(PROJECT / "README.md", "yaml")
    assert len(block.splitlines()) <= 10
    path = tmp_path / "spec.yaml"
    path.write_text(block, encoding="utf-8")
    assert load(path, tmp_path).spec.name == yaml.safe_load(block)["name"]


def test_the_python_of_the_pages_compiles() -> None:
    for page in PAGES:
        for block in _blocks(page, "python"):
            compile(block, page.name, "exec")


def test_dependencies_are_all_explained() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {}
    for requirement in declared["dependencies"]:
        name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
        wanted[name] = bounds
    page = (PROJECT / "docs/dependencies.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w-]+)` \| `([^`]+)` \|", page, re.MULTILINE))
    assert told == wanted
    for requirement in declared["optional-dependencies"]["dev"]:
        name = re.split(r"[^\w-]", requirement)[0]
        assert f"`{name}`" in page


def test_no_figure_was_left_open() -> None:
    for page in PAGES:
        assert "TODO" not in page.read_text(encoding="utf-8"), page.name
