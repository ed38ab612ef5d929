"""Time of a training epoch: fastfnn against NumPy float32, interleaved, in one process on one thread.

    python bench/peers.py --batch-size 16,128,1024 --rounds 7 --json result.json

784-20-7-5-10 on MNIST (48,000 rows), plain SGD, float32, reshuffled every epoch. Before anything is timed, both do 20
steps from the same weights in the same order and must arrive at the same costs. The sgemm rate of the same process
says how long the epoch's dense products alone would take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset, load_dataset
from fastfnn.engine import KernelEngine
from fastfnn.parameters import initialise
from fastfnn.streams import epoch_order
from fastfnn.stretch import Stretch

BATCH_SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]
LEARNING_RATE = 0.009
Order = NDArray[np.int64]
Peer = Callable[[Order], float]  # trains on the examples in this order and returns the sum of their losses


def fastfnn_peer(data: Dataset, config: TrainingConfig) -> Peer:
    engine = KernelEngine(data, config)
    keys = np.zeros(len(config.hidden), np.uint32)

    def epoch(order: Order) -> float:
        steps = config.steps_per_epoch(len(order))
        return engine.run(Stretch(order, 0, steps, 0, np.full(steps, config.base_learning_rate), keys)).loss

    return epoch


def numpy_peer(data: Dataset, config: TrainingConfig) -> Peer:
    """As fast as NumPy allows: float rows made once, in-place arithmetic, the rate folded into the gradient."""
    features = data.train.features * np.float32(data.scale)
    labels = data.train.labels
    parameters = initialise(config, data.n_features, data.n_classes, config.seed)
    weights, biases = parameters.weights, parameters.biases
    last = len(weights) - 1

    def step(rows: Order) -> float:
        activations = [features[rows]]
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = activations[-1] @ w
            z += b
            activations.append(np.maximum(z, 0, out=z) if layer < last else z)
        gradient = activations[-1]
        gradient -= gradient.max(axis=1, keepdims=True)
        of_label = gradient[np.arange(len(rows)), labels[rows]]
        np.exp(gradient, out=gradient)
        sums = gradient.sum(axis=1, keepdims=True)
        gradient /= sums
        gradient[np.arange(len(rows)), labels[rows]] -= 1
        gradient *= np.float32(config.base_learning_rate / len(rows))
        for layer in range(last, -1, -1):
            previous = gradient @ weights[layer].T if layer else gradient
            if layer:
                previous *= activations[layer] > 0
            weights[layer] -= activations[layer].T @ gradient
            biases[layer] -= gradient.sum(axis=0)
            gradient = previous
        return float((np.log(sums[:, 0]) - of_label).sum())

    def epoch(order: Order) -> float:
        return sum(step(order[i : i + config.batch_size]) for i in range(0, len(order), config.batch_size))

    return epoch


PEERS = {"fastfnn": fastfnn_peer, "numpy": numpy_peer}


def check_same_computation(data: Dataset, batch_size: int) -> None:
    """Every peer must have the same costs over 20 steps, to 1e-4."""
    config = TrainingConfig(batch_size=batch_size, learning_rate=LEARNING_RATE)
    order = epoch_order(0, 0, data.train.indices, shuffle=True)
    peers = {name: make(data, config) for name, make in PEERS.items()}
    for step in range(min(20, len(order) // batch_size)):
        batch = order[step * batch_size : (step + 1) * batch_size]
        costs = {name: peer(batch) / batch_size for name, peer in peers.items()}
        if max(costs.values()) - min(costs.values()) > 1e-4:
            raise SystemExit(f"batch size {batch_size}, step {step}: the peers compute different things: {costs}")


def sgemm_gflops(size: int = 512, repeats: int = 10) -> float:
    a = np.random.default_rng(0).random((size, size), dtype=np.float32)
    started = time.perf_counter()
    for _ in range(repeats):
        a @ a
    return 2 * repeats * size**3 / (time.perf_counter() - started) / 1e9


def measure(data: Dataset, batch_sizes: list[int], rounds: int) -> dict[str, Any]:
    """Seconds of each epoch by peer and batch size; every round visits all, so that drift hits all."""
    configs = {b: TrainingConfig(batch_size=b, learning_rate=LEARNING_RATE) for b in batch_sizes}
    peers = {(name, b): make(data, configs[b]) for b in batch_sizes for name, make in PEERS.items()}
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in peers}
    rates = []
    for round_number in range(rounds):
        print(f"round {round_number + 1} of {rounds}", file=sys.stderr)
        rates.append(sgemm_gflops())
        order = epoch_order(0, round_number, data.train.indices, shuffle=True)
        for key, peer in peers.items():
            started = time.perf_counter()
            peer(order)
            seconds[key].append(time.perf_counter() - started)
    first, *others = pairwise([data.n_features, 20, 7, 5, data.n_classes])
    # Two operations a weight forward, two for its gradient, and two for that of its input, which the first layer lacks.
    flops = len(data.train) * (4 * first[0] * first[1] + 6 * sum(k * h for k, h in others))
    return {
        "sgemm_gflops": rates,
        "dense_seconds_at_sgemm_rate": flops / max(rates) / 1e9,
        "seconds": {f"{name} {b}": values for (name, b), values in seconds.items()},
    }


def print_table(result: dict[str, Any], batch_sizes: list[int]) -> None:
    limit = result["dense_seconds_at_sgemm_rate"]
    print(f"sgemm {max(result['sgemm_gflops']):.0f} GFLOP/s: dense products of an epoch take {limit * 1e3:.1f} ms")
    print("ms an epoch, minimum (median)")
    print(f"{'batch size':>10}  {'fastfnn':>14}  {'numpy':>14}  {'ratio':>6}  {'of dense limit':>14}")
    for b in batch_sizes:
        ours, theirs = (result["seconds"][f"{name} {b}"] for name in ("fastfnn", "numpy"))
        cells = [f"{min(s) * 1e3:6.1f} ({statistics.median(s) * 1e3:5.1f})" for s in (ours, theirs)]
        ratio, fraction = min(theirs) / min(ours), min(ours) / limit
        print(f"{b:>10}  {cells[0]:>14}  {cells[1]:>14}  {ratio:>5.1f}x  {fraction:>14.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", default=",".join(map(str, BATCH_SIZES)), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write every time measured to this file")
    arguments = parser.parse_args()
    batch_sizes = [int(b) for b in arguments.batch_size.split(",")]
    data = load_dataset("mnist")
    with threadpool_limits(limits=1):
        check_same_computation(data, min(batch_sizes))
        result = measure(data, batch_sizes, arguments.rounds)
    print_table(result, batch_sizes)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
