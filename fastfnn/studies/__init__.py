"""The published studies: every row under their conventions and done properly, with a page for each.

    from fastfnn.studies import STUDIES, run_study, write_study

    results = run_study(STUDIES["study-c"], fastfnn.load_dataset("mnist"), "study-c-runs", seeds=[0])
    write_study(results, "studies", command="python study_c.py")

Importing this package is cheap: what trains and what draws is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastfnn.studies.definitions import STUDIES
from fastfnn.studies.study import Study

if TYPE_CHECKING:
    from fastfnn.studies.results import StudyResults
    from fastfnn.studies.runner import run_study
    from fastfnn.studies.write import write_study

__all__ = ["STUDIES", "Study", "StudyResults", "run_study", "write_study"]

_HOMES = {"StudyResults": "results", "run_study": "runner", "write_study": "write"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fastfnn.studies.{_HOMES[name]}"), name)
