"""What a report says about a sweep, worked out once for the terminal, the page and machines."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from fastfnn.analysis import Recommendation, SettingSummary, default_target, recommend, summarise
from fastfnn.sweeps.plan import warnings
from fastfnn.sweeps.store import SweepResults


@dataclass(frozen=True)
class Findings:
    """Results with their histories in memory, one summary a setting, and the recommended setting.

    Attributes:
        target: the validation accuracy whose time is compared; None when no run has one.
    """

    results: SweepResults
    target: float | None
    summaries: tuple[SettingSummary, ...]
    recommendation: Recommendation

    @classmethod
    def of(cls, results: SweepResults) -> Findings:
        """Analyses the results, reading every history once."""
        results = dataclasses.replace(results, read_history=functools.cache(results.read_history))
        target = default_target(results)
        return cls(results, target, tuple(summarise(results, target)), recommend(results, target))

    @property
    def caveats(self) -> list[str]:
        """Everything to print with the recommendation, the sweep's own warnings included."""
        return list(dict.fromkeys([*self.recommendation.caveats, *warnings(self.results.sweep)]))

    def to_dict(self) -> dict[str, Any]:
        """The findings as plain values, for `--json`."""
        results = self.results
        return {
            "data": results.data,
            "axes": list(results.axes),
            "runs": {"planned": len(results.runs) + results.missing, "missing": results.missing} | self.statuses(),
            "target": self.target,
            "settings": [dataclasses.asdict(summary) for summary in self.summaries],
            "recommendation": dataclasses.asdict(self.recommendation) | {"caveats": self.caveats},
            "environment": results.environment,
        }

    def statuses(self) -> dict[str, int]:
        """Number of runs by status."""
        found = [run.status for run in self.results.runs]
        return {status: found.count(status) for status in dict.fromkeys(found)}
