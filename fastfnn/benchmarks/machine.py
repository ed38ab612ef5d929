"""What one core of this machine can do at most, measured: the scale against which training is judged.

Two rates. That of the fused multiply-add units is the ceiling of any arithmetic; that of the product of large matrices
is what a good library makes of it, the fair yardstick for the dense products of an epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.processor import REGISTER_BYTES
from fastfnn.kernels.simd import fma_grid, repeat, splat_grid, store_grid, zeros

# Two units with a latency of four or five cycles need eight to ten sums in flight; twelve and two operands fit the
# sixteen registers of AVX2.
SUMS = 12
FMA_ROUNDS = 200_000  # about a millisecond, long enough for the clock and short enough to fit between interruptions


def sgemm_gflops(size: int = 512, dtype: str = "float32", repeats: int = 20) -> float:
    """The rate of NumPy's product of two matrices on one thread.

    Args:
        size: rows and columns of both matrices.
        dtype: "float32" or "float64" (then it is dgemm's rate).
        repeats: the fastest of so many products counts.

    Returns:
        10**9 operations a second, where a product takes 2 * size**3.
    """
    generator = np.random.default_rng(0)
    a, b = (generator.random((size, size)).astype(dtype) for _ in range(2))
    product = np.empty_like(a)
    with threadpool_limits(limits=1, user_api="blas"):
        np.matmul(a, b, out=product)  # wakes the library and the pages of the result
        return 2 * size**3 / _fastest(lambda: np.matmul(a, b, out=product), repeats) / 1e9


def fma_peak_gflops(dtype: str = "float32", repeats: int = 20) -> float:
    """The rate of fused multiply-adds of one core, with all operands in registers.

    Measured with registers of 64 bytes and of 32; the better counts, since a vector wider than the processor's
    registers is split in two, and then not all sums fit.

    Args:
        dtype: "float32" or "float64".
        repeats: the fastest of so many runs counts, after one that compiles.

    Returns:
        10**9 operations a second, where a fused multiply-add of one lane is two.
    """
    return max(_fma_gflops(size, dtype, repeats) for size in _CHAINS)


def fma_work(rounds: int, dtype: str = "float32", vector_bytes: int = max(REGISTER_BYTES, 32)) -> Callable[[], None]:
    """A function that does fused multiply-adds with all operands in registers, and nothing else.

    Args:
        rounds: of twelve vectors each.
        dtype: "float32" or "float64".
        vector_bytes: the size of the vectors, 64 or 32.

    Returns:
        The function, compiled; it may run in several threads, one of its own for each.
    """
    chains, lanes = _CHAINS[vector_bytes], vector_bytes // np.dtype(dtype).itemsize
    values = np.linspace(0.1, 0.9, max(SUMS, lanes), dtype=dtype)
    sums = np.empty(SUMS * lanes, dtype)
    chains(values, sums, 0)
    return lambda: chains(values, sums, rounds)


def _fma_gflops(vector_bytes: int, dtype: str, repeats: int) -> float:
    seconds = _fastest(fma_work(FMA_ROUNDS, dtype, vector_bytes), repeats)
    return 2 * SUMS * (vector_bytes // np.dtype(dtype).itemsize) * FMA_ROUNDS / seconds / 1e9


def _chains_of(vector_bytes: int) -> Callable[..., None]:
    """Compiles chains of fused multiply-adds on vectors of a size."""

    def chains(values: Any, sums: Any, rounds: int) -> None:
        """Adds one product to each of the sums, so often; they begin apart, lest the compiler make one of them."""
        like = zeros(values, vector_bytes)
        grid = splat_grid(values, 0, 1, repeat(repeat(like, SUMS), 1))
        for _ in range(rounds):
            grid = fma_grid(values, 0, 0, values, 0, 0, grid)
        store_grid(grid, sums, 0, 0, len(like))

    compiled: Callable[..., None] = entry_point(chains)
    return compiled


_CHAINS = {size: _chains_of(size) for size in (64, 32)}


def _fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
