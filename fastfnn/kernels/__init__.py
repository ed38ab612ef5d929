"""Everything that is compiled, and nothing else; Python calls `run_steps`, `evaluate` and `logits`."""

from fastfnn.kernels.binding import bind_activation, bind_rows
from fastfnn.kernels.steps import EVALUATION_BLOCK, evaluate, logits, run_steps
from fastfnn.kernels.structures import Buffers, Inputs, Layout, Part, Ranges, Rows, Settings, Share, Steps, Targets

__all__ = [
    "EVALUATION_BLOCK",
    "Buffers",
    "Inputs",
    "Layout",
    "Part",
    "Ranges",
    "Rows",
    "Settings",
    "Share",
    "Steps",
    "Targets",
    "bind_activation",
    "bind_rows",
    "evaluate",
    "logits",
    "run_steps",
]
