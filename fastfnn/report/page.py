"""The report as one HTML file that needs nothing else: figures are inside, no script, no font, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader

from fastfnn._version import __version__
from fastfnn.report.findings import Findings
from fastfnn.report.formatting import settings_text
from fastfnn.report.tables import run_table, summary_table

TEMPLATE = "page.html"

CAPTIONS = {
    "accuracy": (
        "Accuracy on the test set, after the last step of each run. A dot is one run (one seed); the line or dash "
        "is the median over seeds, the band the interval that the summary names. Where bands overlap, these "
        "seeds hardly tell the settings apart. Red marks at the foot are runs that did not end as planned."
    ),
    "target": (
        "How soon each run was first seen at the target accuracy on the validation set, in steps and in training time. "
        "Lower is better. Open triangles are runs that never got there; the median counts them as infinite."
    ),
    "runtime": (
        "Training time without evaluation and compilation, on logarithmic axes. The left panel depends on when runs "
        "stop; the right one is the speed alone. Runs that diverged or failed are left out."
    ),
    "curves": (
        "Accuracy and cost while training, against epochs (equal data), steps (equal updates) and time (equal "
        "patience). Thin lines are single runs, thick ones the median over seeds as far as all of them go."
    ),
}
"""How to read each figure, by its name and in the order of the page."""


def html_page(findings: Findings, figures: Mapping[str, bytes], command: str) -> str:
    """The page.

    Args:
        findings: what is reported.
        figures: SVG of each figure of `CAPTIONS`.
        command: what makes the page again.
    """
    environment = Environment(
        loader=PackageLoader("fastfnn.report", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    results = findings.results
    return environment.get_template(TEMPLATE).render(
        title=f"fastfnn sweep: {results.data.get('name', 'unnamed data')}",
        version=__version__,
        recommendation=findings.recommendation,
        recommended=_recommended(findings),
        caveats=findings.caveats,
        interval=_interval_label(findings),
        target=findings.target,
        summary=summary_table(findings),
        figures=[(name, _data_uri(figures[name]), text) for name, text in CAPTIONS.items()],
        runs=run_table(results),
        sweep=results.sweep.to_toml(),
        facts={
            "Data": dict(_flat(results.data)),
            "Environment": dict(_flat(results.environment)),
        },
        command=command,
    )


def _recommended(findings: Findings) -> str | None:
    settings = findings.recommendation.settings
    return None if settings is None else settings_text(settings, findings.results.axes or None)


def _interval_label(findings: Findings) -> str:
    """What the intervals of the table are; settings with fewer measured seeds have an interval of their own."""
    labels = [summary.validation_accuracy for summary in findings.summaries if summary.validation_accuracy.n > 1]
    return max(labels, key=lambda estimate: estimate.n).label if labels else ""


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested tables as `outer.inner` and text; lists on one line."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(item)


def _plain(item: Any) -> str:
    if isinstance(item, list | tuple):
        return ", ".join(map(_plain, item))
    if isinstance(item, Mapping):
        return " ".join(_plain(part) for part in item.values())
    return "-" if item is None else f"{item:.4g}" if isinstance(item, float) else str(item)
