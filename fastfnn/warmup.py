"""The first start on a machine: compiling with two processes, since the compiler uses one core of each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastfnn import kernels
from fastfnn.config import NetworkConfig
from fastfnn.kernels.compilation import nothing_is_compiled
from fastfnn.kernels.memory import read_only
from fastfnn.packing import PackedNetwork, settings_of
from fastfnn.parameters import initialise
from fastfnn.rows import identity_order


@contextmanager
def evaluation_compiled_beside(dtype: str) -> Iterator[None]:
    """While the body compiles the steps, another process compiles the evaluation and leaves it in the cache.

    Only where the cache is empty. Should the other process fail, the evaluation is compiled here when it is needed.
    """
    if not nothing_is_compiled():
        yield
        return
    command = [sys.executable, "-c", f"from fastfnn.warmup import compile_evaluation; compile_evaluation({dtype!r})"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield


def compile_evaluation(dtype: str) -> None:
    """Compiles `kernels.evaluate` by evaluating no examples on a tiny network."""
    config = NetworkConfig(hidden=(1,), dtype=dtype)
    network = PackedNetwork(initialise(config, 1, 2, seed=0), config, identity_order(1, dense=True), block=1)
    nothing = read_only(np.empty(0, np.int64))
    words = np.zeros(6, np.int64)
    inputs = kernels.Inputs(words, words, words, words, words, words, np.empty(0, dtype))
    settings = settings_of(config, 1.0, training=False)
    targets = kernels.Targets(nothing, read_only(np.empty(0)), False)
    kernels.evaluate(inputs, targets, nothing, network.layout, network.buffers, settings, np.zeros(1, np.uint32))
