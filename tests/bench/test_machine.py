"""The rates of a core. That they are rates at all can be told; how high they are cannot."""

from __future__ import annotations

import numpy as np
import pytest

from fastfnn.benchmarks import machine


def test_products_take_no_less_than_their_multiplications() -> None:
    sgemm, peak = machine.sgemm_gflops(size=256, repeats=3), machine.fma_peak_gflops(repeats=3)
    assert sgemm > 0
    assert peak >= 0.5 * sgemm  # a bound with room for a core that is disturbed in one of the two


@pytest.mark.parametrize("vector_bytes", [64, 32])
def test_the_chains_do_every_multiplication(vector_bytes: int) -> None:
    lanes = vector_bytes // 4
    values = np.linspace(0.1, 0.9, 16, dtype=np.float32)
    sums = np.empty(machine.SUMS * lanes, np.float32)
    machine._CHAINS[vector_bytes](values, sums, 10)
    expected = values[: machine.SUMS, None] + 10 * values[0] * values[:lanes]
    np.testing.assert_allclose(sums.reshape(machine.SUMS, lanes), expected, rtol=1e-6)
