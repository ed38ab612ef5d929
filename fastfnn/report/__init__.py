"""From results to what people look at: figures, tables, one HTML page. Never trains; never imports Numba.

Importing this package is cheap: the figures' and the page's libraries are imported when something is made.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastfnn.report.findings import Findings
    from fastfnn.report.write import write_report

__all__ = ["Findings", "write_report"]


def __getattr__(name: str) -> Any:
    if name == "Findings":
        from fastfnn.report.findings import Findings

        return Findings
    if name == "write_report":
        from fastfnn.report.write import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
