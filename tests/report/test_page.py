"""The page and the folder it is written to."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from fastfnn.report import write_report
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


def read_page(folder: Path) -> tuple[str, Collector]:
    text = (folder / "report.html").read_text()
    collector = Collector()
    collector.feed(text)
    return text, collector


def test_the_page_needs_nothing_else(results: SweepResults, tmp_path: Path) -> None:
    write_report(results, tmp_path)
    text, page = read_page(tmp_path)
    assert page.open == []
    assert [link[:26] for link in page.links] == ["data:image/svg+xml;base64,"] * 4
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_escapes_what_it_is_given(two_axes: SweepResults, tmp_path: Path) -> None:
    write_report(two_axes, tmp_path)
    text, _ = read_page(tmp_path)
    assert "<data>" not in text
    assert "synthetic &lt;data&gt;" in text
    assert "MemoryError: &lt;no room&gt;" in text
    assert "Test &amp; Sons CPU" in text


def test_the_page_has_the_answer_and_every_run(results: SweepResults, tmp_path: Path) -> None:
    write_report(results, tmp_path)
    text, _ = read_page(tmp_path)
    assert text.index("Recommendation") < text.index("Before you trust it") < text.index("Summary")
    assert all(run.run_id in text for run in results.runs)
    assert f"fastfnn report {tmp_path.name}" in text
    assert 'class="marked"' in text


def test_nothing_to_recommend_is_said(all_diverged: SweepResults, tmp_path: Path) -> None:
    write_report(all_diverged, tmp_path)
    text, _ = read_page(tmp_path)
    assert "No recommendation" in text


def test_everything_is_written_and_replaced(results: SweepResults, single: SweepResults, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    written = write_report(single, folder)
    before = (folder / "results.csv").read_text()
    assert write_report(results, folder) == written
    assert (folder / "results.csv").read_text() != before
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {
        f"figures/{name}.{kind}" for name in ("accuracy", "target", "runtime", "curves") for kind in ("png", "svg")
    }
    assert names == {"results.csv", "report.html"} | figures == {str(path.relative_to(folder)) for path in written}
