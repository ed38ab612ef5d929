"""The pages hang together: links lead somewhere, and the index leads to every page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, anchors, links, prose

from fastfnn import _version

INDEX = ROOT / "docs" / "index.md"
GENERATED = {ROOT / "docs" / "api" / "index.html"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists() or file in GENERATED, target
        assert not anchor or anchor in anchors(file), target


def test_the_index_leads_to_every_page() -> None:
    reachable = {(INDEX.parent / target.partition("#")[0]).resolve() for target in links(INDEX)}
    assert set(PAGES) - {INDEX} <= reachable


def test_the_readme_leads_to_the_index() -> None:
    assert "docs/index.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_are_of_the_width_of_the_code(page: Path) -> None:
    """But for tables and long links, which cannot be broken."""
    long = [line for line in prose(page).splitlines() if len(line) > 120 and "|" not in line and "](" not in line]
    assert not long


def texts_of(folder: str) -> Iterator[str]:
    """The string constants of a package, those within f-strings included."""
    for path in (ROOT / "fastfnn" / folder).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str)


def test_the_caveats_that_are_explained_are_those_of_the_report() -> None:
    """Quoted in the first column of the table of caveats; an ellipsis stands for numbers and settings."""
    section = prose(ROOT / "docs" / "report.md").partition("## Caveats")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| \"([^\"]+)\" \|", section, re.MULTILINE)
    assert len(quoted) >= 8
    known = "\n".join([*texts_of("analysis"), *texts_of("sweeps"), *texts_of("report")])
    for caveat in quoted:
        for part in caveat.split("…"):
            assert part.strip(" ,;()") in known, caveat


def test_the_changelog_has_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == _version.__version__
    assert _version.__version__ in headings


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([a-z-]+): \"?([^\n\"]+)", text, re.MULTILINE))
    assert {"cff-version", "message", "title", "type"} <= set(fields)
    assert fields["version"] == _version.__version__
    assert re.search(r"^authors:\n {2}- name: ", text, re.MULTILINE)
