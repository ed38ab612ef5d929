"""The processor that kernels are compiled for, as far as they and their callers depend on it.

Neither this nor anything else that a run needs once its kernels are compiled imports Numba, which takes longer to
import than many a run takes. So its settings are read here from its environment variables.
"""

from __future__ import annotations

import ctypes
import os
import sys

from llvmlite import binding

INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
CPU_NAME = os.environ.get("NUMBA_CPU_NAME")
CPU_FEATURES = os.environ.get("NUMBA_CPU_FEATURES")
REQUEST_MATRICES = (158, 0x1023, 18)  # arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
SIDE = 16  # rows of a matrix register, and 32-bit words of each
VECTOR_BYTES = 64  # one cache line, and the widest registers there are


def features() -> str:
    """What the processor has, as LLVM writes it: names with a plus or a minus, divided by commas."""
    if CPU_FEATURES is not None:
        return CPU_FEATURES
    return "" if (CPU_NAME or "").lower() == "generic" else str(binding.get_host_cpu_features().flatten())


def target() -> tuple[str, str, str]:
    """What machine code is made for: system, processor and its features."""
    return binding.get_process_triple(), CPU_NAME or binding.get_host_cpu_name(), features()


def registers() -> tuple[int, int]:
    """How wide the registers are, in bytes, for which code is compiled, and how many there are."""
    present = features().split(",")
    if "+avx512f" in present:
        return 64, 32
    if "+avx" in present:
        return 32, 16
    return 16, 32 if "+neon" in present else 16


def has_matrices() -> bool:
    """Whether there are matrix registers, and the system lets this process use them, which it must be asked for."""
    present = features().split(",")
    if not sys.platform.startswith("linux") or not {"+avx512f", "+amx-tile", "+amx-bf16"} <= set(present):
        return False
    return int(ctypes.CDLL(None).syscall(*map(ctypes.c_long, REQUEST_MATRICES))) == 0


REGISTER_BYTES, REGISTERS = registers()
HAS_RECIPROCALS = "+avx512f" in features().split(",")  # of 16 float32, approximately
ROOMY = REGISTER_BYTES * REGISTERS >= 2048  # room for a grid of 20 vectors and its factors
MATRICES = has_matrices()
HAS_BYTE_PRODUCTS = {"+avx512f", "+avx512vnni"} <= set(features().split(","))  # of four bytes, summed in a word
