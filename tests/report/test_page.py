"""The page and the folder it is written to."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fastfnn.report import Findings, write_report
from fastfnn.report.page import CAPTIONS, html_page
from fastfnn.sweeps.store import SweepResults


class Collector(HTMLParser):
    """Every tag with its attributes, and the tags left open."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(results: SweepResults) -> tuple[str, Collector]:
    """The page with placeholders for figures, and what is in it."""
    text = html_page(Findings.of(results), dict.fromkeys(CAPTIONS, b"<svg/>"), "fastfnn report my-sweep")
    collector = Collector()
    collector.feed(text)
    return text, collector


def test_the_page_needs_nothing_else(results: SweepResults) -> None:
    text, page = page_of(results)
    assert page.open == []
    assert [link[:26] for link in page.links] == ["data:image/svg+xml;base64,"] * 4
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_escapes_what_it_is_given(two_axes: SweepResults) -> None:
    text, _ = page_of(two_axes)
    assert "<data>" not in text
    assert "synthetic &lt;data&gt;" in text
    assert "MemoryError: &lt;no room&gt;" in text
    assert "Test &amp; Sons CPU" in text


def test_the_page_has_the_answer_and_every_run(results: SweepResults) -> None:
    text, _ = page_of(results)
    assert text.index("Recommendation") < text.index("Before you trust it") < text.index("Summary")
    assert all(run.run_id in text for run in results.runs)
    assert "fastfnn report my-sweep" in text
    assert 'class="marked"' in text


def test_nothing_to_recommend_is_said(all_diverged: SweepResults) -> None:
    assert "No recommendation" in page_of(all_diverged)[0]


def test_everything_is_written(single: SweepResults, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    written = write_report(single, folder)
    figures = {f"figures/{name}.{kind}" for name in CAPTIONS for kind in ("png", "svg")}
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"results.csv", "report.html"} | figures == {str(path.relative_to(folder)) for path in written}
    assert (folder / "figures/curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_report_is_replaced(
    results: SweepResults, two_axes: SweepResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastfnn.report.write.render", lambda figure, kind: b"<svg/>")
    for each in (results, two_axes):
        write_report(each, tmp_path)
        rows = (tmp_path / "results.csv").read_text().splitlines()
        assert len(rows) == 1 + len(each.runs)
        assert each.runs[-1].run_id in (tmp_path / "report.html").read_text()
