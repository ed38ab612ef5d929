"""Markdown as the studies' pages need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastfnn.analysis import Estimate
from fastfnn.report.formatting import MISSING


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are numbers."""
    rule = ["---", *["---:"] * (len(headers) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (headers, rule, *rows))


def interval(of: Estimate, text: Callable[[float], str]) -> str:
    """The median with what the seeds give around it: `93.41 (93.20 to 93.66)`; one value alone has nothing around."""
    if of.n == 0:
        return MISSING
    return text(of.median) if of.n == 1 else f"{text(of.median)} ({text(of.low)} to {text(of.high)})"


def figure(name: str, text: str) -> str:
    """A figure, as PNG, which links to its SVG."""
    return f"[![{text}]({name}.png)]({name}.svg)\n"


def bullets(sentences: Sequence[str]) -> str:
    """A list of sentences."""
    return "".join(f"- {sentence}\n" for sentence in sentences)
