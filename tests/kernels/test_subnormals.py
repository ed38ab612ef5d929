"""Subnormal numbers are zero while training runs, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.subnormals import IS_X86, flush_subnormals, restore_subnormals
from fastfnn.training import train

HALF = np.float32(0.5)
SMALLEST_NORMAL = np.finfo(np.float32).tiny


@entry_point
def halve(x):
    """x[i] / 2: the first one as usual, the second one without subnormal numbers, the third one as usual."""
    x[0] *= HALF
    before = flush_subnormals()
    x[1] *= HALF
    restore_subnormals(before)
    x[2] *= HALF


@pytest.mark.skipif(INTERPRETED or not IS_X86, reason="nothing is flushed")
def test_between_the_two_calls():
    x = np.full(3, SMALLEST_NORMAL)
    halve(x)
    assert x.tolist() == [SMALLEST_NORMAL / 2, 0, SMALLEST_NORMAL / 2]


def test_not_after_training():
    X = np.arange(90, dtype=np.uint8).reshape(30, 3)
    train(Dataset.from_arrays(X, np.arange(30) % 2), TrainingConfig(hidden=(3,), batch_size=10, epochs=1))
    halved = np.full(1, SMALLEST_NORMAL) * HALF
    assert halved[0] == SMALLEST_NORMAL / 2 > 0
