"""Everything that is compiled, how it is, and how it is called; what Python calls is below, and needs no Numba."""

from fastfnn.kernels.binding import FirstLayer, bind_rows, functions_of_settings, unbound
from fastfnn.kernels.routines import Routine
from fastfnn.kernels.structures import (
    EVALUATION_BLOCK,
    Buffers,
    Inputs,
    Layout,
    Part,
    Ranges,
    Rows,
    Settings,
    Share,
    Statistics,
    Steps,
    Targets,
)

run_steps, evaluate, logits = (Routine(f"steps.{name}", own=True) for name in ("run_steps", "evaluate", "logits"))
count_others, write_records = Routine("records.count_others"), Routine("records.write_records")
count_others_compressed = Routine("records.count_others_compressed")
write_records_compressed = Routine("records.write_records_compressed")
cut_records = Routine("records.cut")

__all__ = [
    "EVALUATION_BLOCK",
    "Buffers",
    "FirstLayer",
    "Inputs",
    "Layout",
    "Part",
    "Ranges",
    "Rows",
    "Settings",
    "Share",
    "Statistics",
    "Steps",
    "Targets",
    "bind_rows",
    "count_others",
    "count_others_compressed",
    "cut_records",
    "evaluate",
    "functions_of_settings",
    "logits",
    "run_steps",
    "unbound",
    "write_records",
    "write_records_compressed",
]
