"""The textbook functions against plain NumPy: each function, a script's own loop, and `L_layer_model`.

    python bench/textbook.py
    python bench/textbook.py --rounds 20 --json textbook.json

Both are timed in turns in one process with one thread of linear algebra, in float64, on columns given as `X.T` of rows
and on C-ordered X. The NumPy side is the naive twin of the tests. Ratios above 1 say how many times faster fastfnn is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from fastfnn import textbook as nn
from fastfnn.atomic import write_atomically
from fastfnn.data import load_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "textbook"))
import naive

SIZES = [784, 20, 7, 5, 10]
BATCH_SIZE = 128
LIBRARIES = {"fastfnn": nn, "NumPy": naive}
Times = dict[str, list[float]]


def columns(examples: int) -> dict[str, Any]:
    """X in both layouts, by name."""
    rows = load_dataset("mnist").train.features[:examples] / 255
    return {"X.T of rows": rows.T, "C-ordered X": np.ascontiguousarray(rows.T)}


def one_hot(examples: int) -> Any:
    return np.ascontiguousarray(np.eye(10)[load_dataset("mnist").train.labels[:examples]].T)


def parameters() -> dict[str, Any]:
    return nn.initialize_parameters(SIZES, random_state=1)


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> Times:
    """Seconds of each round of each piece of work, in turns after a warm-up."""
    times: Times = {name: [] for name in work}
    for do in work.values():
        do()
    for _ in range(rounds):
        for name, do in work.items():
            started = time.perf_counter()
            do()
            times[name].append(time.perf_counter() - started)
    return times


def calls(library: Any, X: Any, Y: Any) -> dict[str, Callable[[], Any]]:
    """Every function on a batch, as the naive forward pass left it."""
    current = parameters()
    AL, caches = naive.L_model_forward(X, current)
    linear_cache, Z = caches[0]
    dA = np.ones_like(Z)
    grads = naive.L_model_backward(AL, Y, caches)
    return {
        "linear_forward": lambda: library.linear_forward(X, current["W1"], current["b1"]),
        "relu": lambda: library.relu(Z),
        "softmax": lambda: library.softmax(caches[-1][1]),
        "linear_activation_forward": lambda: library.linear_activation_forward(X, current["W1"], current["b1"], "relu"),
        "L_model_forward": lambda: library.L_model_forward(X, current),
        "L_model_forward, batch norm": lambda: library.L_model_forward(X, current, True),
        "compute_cost": lambda: library.compute_cost(AL, Y),
        "compute_cost, L2": lambda: library.compute_cost(AL, Y, current, 0.1),
        "apply_batchnorm": lambda: library.apply_batchnorm(Z),
        "relu_backward": lambda: library.relu_backward(dA, Z),
        "softmax_backward": lambda: library.softmax_backward(AL, caches[-1][1]),
        "Linear_backward": lambda: library.Linear_backward(dA, linear_cache),
        "linear_activation_backward": lambda: library.linear_activation_backward(dA, caches[0], "relu"),
        "L_model_backward": lambda: library.L_model_backward(AL, Y, caches),
        "Update_parameters": lambda: library.Update_parameters(current, grads, 0.0),
        "Predict": lambda: library.Predict(X, Y, current),
    }


def loop(library: Any, X: Any, Y: Any, steps: int) -> None:
    """A script's own loop."""
    current = parameters()
    for step in range(steps):
        begin = step * BATCH_SIZE % (X.shape[1] - BATCH_SIZE + 1)
        x, y = X[:, begin : begin + BATCH_SIZE], Y[:, begin : begin + BATCH_SIZE]
        AL, caches = library.L_model_forward(x, current)
        library.compute_cost(AL, y)
        current = library.Update_parameters(current, library.L_model_backward(AL, y, caches), 0.009)


def measured(name: str, layout: str, times: Times) -> dict[str, Any]:
    """One line of the table, printed as soon as it is known."""
    low = {library: min(values) for library, values in times.items()}
    middle = {library: median(values) for library, values in times.items()}
    ratios = {"minimum": low["NumPy"] / low["fastfnn"], "median": middle["NumPy"] / middle["fastfnn"]}
    shown = "".join(f"{low[library] * 1e6:13.1f}{middle[library] * 1e6:13.1f}" for library in LIBRARIES)
    print(f"{name:34}{layout:14}{shown}{ratios['minimum']:9.2f}{ratios['median']:9.2f}", flush=True)
    return {"name": name, "layout": layout, "times": times, "ratios": ratios}


def of_both(make: Callable[[Any], Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """A piece of work of each library."""
    return {name: make(library) for name, library in LIBRARIES.items()}


def measure_layout(layout: str, X: Any, Y: Any, rounds: int, epochs: int) -> list[dict[str, Any]]:
    """Functions, loop and model on one X."""
    batch = X[:, :BATCH_SIZE], Y[:, :BATCH_SIZE]
    ours, theirs = calls(nn, *batch), calls(naive, *batch)
    results = []
    for name in ours:
        times = interleaved({"fastfnn": ours[name], "NumPy": theirs[name]}, 20 * rounds)
        results.append(measured(name, layout, times))
    times = interleaved(of_both(lambda library: partial(loop, library, X, Y, 100)), rounds)
    results.append(measured("a script's loop, 100 steps", layout, times))
    for batch_size in (16, BATCH_SIZE):
        options = (X, Y, SIZES, 0.009, epochs, batch_size)
        models = of_both(lambda library, options=options: partial(library.L_layer_model, *options))
        times = interleaved(models, max(1, rounds // 5))
        results.append(measured(f"L_layer_model, {epochs} epochs of {batch_size}", layout, times))
    return results


def measure(rounds: int, epochs: int, examples: int) -> list[dict[str, Any]]:
    """Everything, one after the other."""
    header = "".join(f"{f'{library} min':>13}{'median':>13}" for library in LIBRARIES)
    print(f"{'microseconds':34}{'layout':14}{header}{'ratio':>9}{'median':>9}")
    Y, results = one_hot(examples), []
    for layout, X in columns(examples).items():
        results += measure_layout(layout, X, Y, rounds, epochs)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=10, help="of L_layer_model")
    parser.add_argument("--examples", type=int, default=48_000)
    parser.add_argument("--json", type=Path, help="where to write every time")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        results = measure(arguments.rounds, arguments.epochs, arguments.examples)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(results, indent=1).encode())


if __name__ == "__main__":
    main()
