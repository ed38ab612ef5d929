"""The first start on a machine: compiling with two processes, since the compiler uses one core of each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastfnn import kernels
from fastfnn.config import NetworkConfig
from fastfnn.kernels import Inputs, Part, Rows, Settings, Steps, Targets
from fastfnn.kernels.compilation import steps_are_not_compiled
from fastfnn.kernels.memory import read_only
from fastfnn.packing import PackedNetwork, settings_of
from fastfnn.parameters import initialise
from fastfnn.rows import identity_order, whole_share


@contextmanager
def others_compiled_beside(rows: Rows, units: int, dtype: str) -> Iterator[None]:
    """While the body compiles the steps, another process compiles the rest that a run needs and leaves it in the cache.

    That is the first layer for such rows and so many units, and the evaluation. Only where the cache is empty. Should
    the other process fail, they are compiled here when they are needed.
    """
    if not steps_are_not_compiled():
        yield
        return
    kind = (rows.columns.dtype.name, rows.values.dtype.name, rows.dense > 0, rows.records)
    command = f"from fastfnn import warmup; warmup.compile_others({kind!r}, {units}, {dtype!r})"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        yield


def compile_others(kind: tuple[str, str, bool, int], units: int, dtype: str) -> None:
    """Compiles the first layer for a kind of rows, and the evaluation, for a tiny network."""
    columns, values, has_dense, records = kind
    dense = 16 if has_dense else 0
    config = NetworkConfig(hidden=(units,), dtype=dtype)
    network = PackedNetwork(initialise(config, 16, 2, seed=0), config, identity_order(16, dense=has_dense), block=1)
    rows = Rows(np.zeros(2, np.int64), np.empty(0, columns), np.empty(0, values), dense, records, dense)
    network.bind(rows, whole_share(rows), training=True)
    compile_evaluation(network, settings_of(config, 1.0, training=False))


def compile_steps(part: Part, targets: Targets, network: PackedNetwork, settings: Settings) -> None:
    """Compiles `kernels.run_steps`, or loads it from the cache, by doing no steps."""
    steps = Steps(_nothing(), 0, 0, 0, np.empty(0), _no_keys(network))
    alone = part._replace(threads=1)
    kernels.run_steps(alone, _unbound(network), targets, steps, network.layout, network.buffers, settings)


def compile_evaluation(network: PackedNetwork, settings: Settings) -> None:
    """Compiles `kernels.evaluate`, or loads it from the cache, by evaluating no examples."""
    targets = Targets(_nothing(), read_only(np.empty(0)), False)
    unbound, keys = _unbound(network), _no_keys(network)
    kernels.evaluate(unbound, targets, _nothing(), network.layout, network.buffers, settings, keys)


def _unbound(network: PackedNetwork) -> Inputs:
    """Inputs without rows or functions."""
    words = np.zeros(6, np.int64)
    return Inputs(words, words, words, words, words, words, np.empty(0, network.dtype))


def _nothing() -> np.ndarray:
    return read_only(np.empty(0, np.int64))


def _no_keys(network: PackedNetwork) -> np.ndarray:
    return np.zeros(len(network.layout.units) - 2, np.uint32)
