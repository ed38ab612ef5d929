"""Sweeps over configurations and seeds: the plan, the store that survives, the runner.

Only `run_sweep` needs the compiled kernels; it is imported on first use, so that reading a store does not.
"""

from typing import TYPE_CHECKING, Any

from fastfnn.sweeps.axes import parse_axis
from fastfnn.sweeps.plan import PlannedRun, notes, plan_runs, warnings
from fastfnn.sweeps.presets import list_presets, load_preset
from fastfnn.sweeps.store import RunRecord, Store, SweepResults

if TYPE_CHECKING:
    from fastfnn.sweeps.runner import run_sweep

__all__ = [
    "PlannedRun",
    "RunRecord",
    "Store",
    "SweepResults",
    "list_presets",
    "load_preset",
    "notes",
    "parse_axis",
    "plan_runs",
    "run_sweep",
    "warnings",
]


def __getattr__(name: str) -> Any:
    if name == "run_sweep":
        from fastfnn.sweeps.runner import run_sweep

        return run_sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
