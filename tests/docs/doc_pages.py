"""Pages of documentation as data: which there are, and the blocks of code, the headings and the links of each.

A block of shell commands may be marked as slow (three backquotes and `sh slow`): it takes longer, or needs more, than
a test may. Then its options and values are checked, and nothing is run. A snippet that is marked `script=NAME` has a
test of its own (`tests/**/test_*_page.py`), which gives it the data that it speaks of.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]

FENCE = re.compile(r"^```(?P<language>\w*)(?P<marks>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the number of the line on which that begins, from 1, and its marks."""

    language: str
    text: str
    line: int
    marks: tuple[str, ...]

    @property
    def slow(self) -> bool:
        """Whether its commands are checked only."""
        return "slow" in self.marks

    @property
    def elsewhere(self) -> bool:
        """Whether another test runs it."""
        return any(mark.startswith("script=") for mark in self.marks)

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a shell block; a backslash at the end of a line continues it."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["text"], text[: m.start("text")].count("\n") + 1, tuple(m["marks"].split()))
        for m in FENCE.finditer(text)
    ]


def has_a_test_of_its_own(page: Path) -> bool:
    """Whether a test of pages other than these reads it."""
    return any(page.name in path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*_page.py"))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """The targets of the links and images of a page."""
    return [match["target"] for match in LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """What `#` may be followed by in links to a page: its headings in lower case, with hyphens for spaces."""
    titles = (match["title"].lower() for match in HEADING.finditer(prose(page)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
