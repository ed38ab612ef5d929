"""Subnormal numbers are zero while kernels run, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import mixed_matrix

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.subnormals import IS_X86, flush_subnormals, restore_subnormals
from fastfnn.network import Network
from fastfnn.parameters import initialise
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


@pytest.mark.skipif(INTERPRETED, reason="nothing is flushed")
@pytest.mark.parametrize("hidden", [(20,), (130, 130)], ids=["narrow", "wide"])
@pytest.mark.parametrize("stored", [np.uint8, np.float32])
def test_weights_near_the_smallest_numbers(stored, hidden):
    """In evaluation and prediction; half of them, so that they are read beside others.

    What is left of them behind their first sixteen bits is subnormal.
    """
    X, labels = mixed_matrix(60, 64).astype(stored), np.arange(60) % 4
    data = Dataset.from_arrays(X, labels, scale=1 / 255, validation=6)
    config = TrainingConfig(hidden=hidden, batch_size=32, input="dense")
    parameters = initialise(config, 64, 4, seed=1)
    for weights in parameters.weights[:-1]:
        weights[np.arange(len(weights)) // 16 % 2 == 1] *= np.float32(1e-33)
    cost, _ = KernelEngine(data, config, parameters).evaluate(data.train)
    found = Network(config, parameters, np.arange(4), data.scale).predict_proba(X[data.train.indices])
    activations = X[data.train.indices] / 255
    for weights, biases in zip(parameters.weights, parameters.biases, strict=True):
        logits = activations @ weights.astype(float) + biases
        activations = np.maximum(logits, 0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    of_labels = expected[np.arange(len(expected)), labels[data.train.indices]]
    assert cost == pytest.approx(-np.log(of_labels).mean(), rel=1e-5)
