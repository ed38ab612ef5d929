"""Figures, pages and the index."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastfnn.studies.figures.series import PROPER_LABEL, PUBLISHED_LABEL, TEXTBOOK_LABEL, _gathered, _spread
from fastfnn.studies.pages import conventions_text, study_figures
from fastfnn.studies.results import StudyResults
from fastfnn.studies.study import Conventions
from fastfnn.studies.write import write_study


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """How figures become files is tested with the other reports."""
    monkeypatch.setattr("fastfnn.studies.write.render", lambda figure, kind: b"drawn")


@pytest.fixture(scope="module")
def figures(results: StudyResults) -> dict[str, Figure]:
    return study_figures(results)


def labelled(figure: Figure, label: str) -> list[int]:
    """Points of the lines of this label, panel by panel."""
    return [sum(len(line.get_xdata()) for line in panel.lines if line.get_label() == label) for panel in figure.axes]


def test_every_section_has_its_figure(figures: dict[str, Figure]) -> None:
    assert list(figures) == ["sizes", "categories", "grid", "curves", "weights"]


def test_every_run_is_a_dot(figures: dict[str, Figure]) -> None:
    for panel in figures["sizes"].axes:
        dots = [line for line in panel.lines if line.get_marker() == "o"]
        assert sorted(len(line.get_xdata()) for line in dots) == [4, 4]  # 2 sizes, 2 seeds, each way


def test_medians_and_published_numbers_are_drawn(figures: dict[str, Figure]) -> None:
    assert labelled(figures["sizes"], PROPER_LABEL) == [2, 2]
    assert labelled(figures["sizes"], TEXTBOOK_LABEL) == [2, 2]
    assert labelled(figures["sizes"], PUBLISHED_LABEL) == [1, 1]
    assert labelled(figures["categories"], PUBLISHED_LABEL) == [1, 1]


def test_curves_show_both_splits_and_measures(figures: dict[str, Figure]) -> None:
    assert len(figures["curves"].axes) == 4
    for panel in figures["curves"].axes:
        styles = [line.get_linestyle() for line in panel.lines]
        # Each way: two seeds and a median of the validation split, a median of the training split.
        assert (styles.count("-"), styles.count("--")) == (6, 2)


def test_weights_have_a_panel_a_layer(figures: dict[str, Figure]) -> None:
    assert [panel.get_title(loc="left") for panel in figures["weights"].axes] == ["layer 1", "layer 2", "layer 3"]


def test_accuracies_are_spread_by_the_error() -> None:
    accuracies = np.array([0.1, 0.5, 0.9, 0.99])
    np.testing.assert_allclose(_gathered(_spread(accuracies)), accuracies)
    steps = np.diff(_spread(np.array([0.0, 0.9, 0.99])))
    assert steps[0] == pytest.approx(steps[1])


def test_conventions_in_words() -> None:
    plateau = conventions_text(Conventions(epochs=250, tolerance=1e-5))
    assert "when the validation cost changes by less than 1e-05 between two checks, with a check every 100" in plateau
    patient = conventions_text(Conventions(epochs=100, tolerance=1e-5, rule="improvement"))
    assert "has not improved by 1e-05 for 100 steps" in patient


def test_page_and_index(results: StudyResults, tmp_path: Path) -> None:
    written = write_study(results, tmp_path, "fastfnn sweep --preset study-tiny")
    assert all(path.exists() for path in written)
    page = (tmp_path / "study-tiny.md").read_text()
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings == [
        "What came out",
        "Every published row",
        *("Batch size", "Categories", "Penalties"),
        "Does batch norm lose?",
        "Learning curves",
        "Shapes",
        "Weights with and without L2",
        "Seeds that learn little, and why",
        "Machine and versions",
    ]
    links = re.findall(r"\]\((study-tiny/[^)]*)\)", page)
    assert len(links) == 2 * 5
    assert all((tmp_path / link).exists() for link in links)
    assert "range over 2 seeds" in page
    assert "nan" not in page

    index = (tmp_path / "README.md").read_text()
    assert "| [A tiny study](study-tiny.md) | 2 | 1 of 2 | 1 of 2 | 0 | " in index


def test_the_index_has_all_that_is_there(results: StudyResults, tmp_path: Path) -> None:
    other = tmp_path / "fast-98"
    other.mkdir()
    (other / "summary.json").write_text(json.dumps({"name": "fast-98", "title": "Best", "text": "In no time."}))
    write_study(results, tmp_path, "command")
    index = (tmp_path / "README.md").read_text()
    assert "## [Best](fast-98.md)\n\nIn no time." in index
    assert "study-tiny.md" in index
