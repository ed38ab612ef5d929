"""Everything that is compiled, and nothing else; Python calls `run_steps`, `evaluate` and `logits`."""

from fastfnn.kernels.panels import bind_rows
from fastfnn.kernels.steps import EVALUATION_BLOCK, evaluate, logits, run_steps
from fastfnn.kernels.structures import Buffers, DenseRows, Inputs, Layout, Settings, SparseRows, Steps

__all__ = [
    "EVALUATION_BLOCK",
    "Buffers",
    "DenseRows",
    "Inputs",
    "Layout",
    "Settings",
    "SparseRows",
    "Steps",
    "bind_rows",
    "evaluate",
    "logits",
    "run_steps",
]
