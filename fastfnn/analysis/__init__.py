"""From stored results to numbers: pure functions, which read histories and never train or draw."""

from fastfnn.analysis.intervals import Estimate, PairedComparison, compare_paired, estimate
from fastfnn.analysis.recommendation import Recommendation, recommend
from fastfnn.analysis.summary import SettingSummary, describe_settings, summarise
from fastfnn.analysis.targets import Reached, TimeToTarget, default_target, first_reached, time_to_target

__all__ = [
    "Estimate",
    "PairedComparison",
    "Reached",
    "Recommendation",
    "SettingSummary",
    "TimeToTarget",
    "compare_paired",
    "default_target",
    "describe_settings",
    "estimate",
    "first_reached",
    "recommend",
    "summarise",
    "time_to_target",
]
