"""Every command and every snippet of the README and the documentation, in the order of its page, in an empty folder."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from doc_pages import PAGES, ROOT, Block, blocks, has_a_test_of_its_own

from fastfnn.cli import main
from fastfnn.config import Config, SweepConfig, TrainingConfig
from fastfnn.errors import ConfigError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SHOWN = {"text", "html", ""}  # languages of blocks that are only looked at
OPTIONAL = {"torch"}  # too large to be required of everyone who runs the tests
EXTRA = re.compile(r"\[([\w,]+)\]")


def run_fastfnn(words: Sequence[str], slow: bool) -> None:
    """Runs a command; of a slow one, only the plan of a sweep, or the options of another."""
    arguments = list(words[1:])
    if slow:
        arguments.append("--dry-run" if arguments[:1] == ["sweep"] else "--help")
    assert main(arguments) == 0, words


def check_make(words: Sequence[str], slow: bool) -> None:
    """Targets are those of the Makefile; assignments are left out."""
    assert {word for word in words[1:] if "=" not in word} <= TARGETS, words


def check_pip(words: Sequence[str], slow: bool) -> None:
    """Extras are those of the project."""
    extras = [name for word in words for found in EXTRA.findall(word) for name in found.split(",")]
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"]), words


def check_python(words: Sequence[str], slow: bool) -> None:
    """A script, or a module that is installed for tests, with the files it is given."""
    if words[1] == "-m":
        check_tool(words[2:], slow)
    else:
        assert (ROOT / words[1]).is_file(), words


def check_tool(words: Sequence[str], slow: bool) -> None:
    """A tool of the development group, and paths that exist."""
    tools = str([PROJECT["dependency-groups"], PROJECT["project"]["dependencies"]])
    assert {"lint-imports": "import-linter"}.get(words[0], words[0]) in tools, words
    for word in words[1:]:
        assert "/" not in word or (ROOT / word.partition("::")[0]).exists(), words


def nothing_to_check(words: Sequence[str], slow: bool) -> None:
    """A command of the system."""


COMMANDS: dict[str, Callable[[Sequence[str], bool], None]] = {
    "fastfnn": run_fastfnn,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
    **dict.fromkeys(("pytest", "ruff", "mypy", "lint-imports"), check_tool),
    **dict.fromkeys(("git", "cd"), nothing_to_check),
}


def run_commands(block: Block) -> None:
    for words in block.commands():
        program = [word.removeprefix(".venv/bin/") for word in words if not re.match(r"[A-Z_]+=", word)]
        assert program[0] in COMMANDS, f"no test knows what to do with {words}"
        COMMANDS[program[0]](program, block.slow)


def check_toml(block: Block) -> None:
    """A block of TOML is the configuration of a run or of a sweep, or a part of pyproject.toml."""
    if "[project" in block.text or "[tool" in block.text:
        assert tomllib.loads(block.text)
        return
    errors = [error for kind in (SweepConfig, TrainingConfig) if (error := problem(kind, block.text))]
    assert len(errors) < 2, errors


def problem(kind: type[Config], text: str) -> str | None:
    try:
        kind.from_toml(text)
    except ConfigError as error:
        return str(error)
    return None


def run_python(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Runs a snippet, as far as it needs nothing that is not installed; tracebacks show the line of the page."""
    code = "\n" * (block.line - 1) + block.text
    try:
        exec(compile(code, str(page), "exec"), names)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # a page may train for few epochs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.elsewhere:
            assert has_a_test_of_its_own(page), f"{page.name}:{block.line}: no test runs this"
        elif block.language == "python":
            run_python(block, page, names)
        elif block.language == "sh":
            run_commands(block)
        elif block.language == "toml":
            check_toml(block)
        else:
            assert block.language in SHOWN, f"{page.name}:{block.line}: no test knows {block.language}"


def test_the_readme_shows_the_main_things() -> None:
    """So that what is tested here is what people read first."""
    readme = blocks(ROOT / "README.md")
    assert sum(block.language == "python" for block in readme) >= 3
    commands = {words[1] for block in readme for words in block.commands() if words[0] == "fastfnn"}
    assert {"sweep", "report", "train", "data", "bench"} <= commands
