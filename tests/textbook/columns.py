"""What the tests of the textbook functions have in common."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np

from fastfnn import textbook as nn

Array = Any
SIZES = [784, 20, 7, 5, 10]


def difference(ours: dict[str, Array], theirs: dict[str, Array]) -> float:
    """The largest difference of any array, relative to its largest value."""
    assert set(ours) == set(theirs)
    return max(np.abs(ours[name] - array).max() / max(np.abs(array).max(), 1e-3) for name, array in theirs.items())


def initial(sizes: Any = SIZES, seed: int = 1) -> dict[str, Array]:
    return nn.initialize_parameters(sizes, random_state=seed)


def loop(
    X: Array, Y: Array, steps: int, parameters: dict[str, Array], forward: Any = nn, backward: Any = nn, **options: Any
) -> tuple[dict[str, Array], list[float]]:
    """A script's own loop: forward and cost of one library, backward and step of one."""
    costs = []
    for step in range(steps):
        begin = step * 128 % X.shape[1]
        x, y = X[:, begin : begin + 128], Y[:, begin : begin + 128]
        AL, caches = forward.L_model_forward(x, parameters, **options)
        costs.append(forward.compute_cost(AL, y))
        grads = backward.L_model_backward(AL, y, caches)
        parameters = backward.Update_parameters(parameters, grads, 0.05)
    return parameters, costs


def sparse_normal(shape: tuple[int, int], density: float, seed: int = 0) -> Array:
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < density, random.normal(size=shape), 0.0)


LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "slice of rows": lambda A: np.hstack((A, A))[:, : A.shape[1]],
    "slice of columns": lambda A: np.hstack((A.T, A.T)).T[: A.shape[0]],
    "every other": lambda A: np.repeat(np.repeat(A, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda A: np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1],
}

__all__ = ["LAYOUTS", "SIZES", "difference", "initial", "loop", "naive", "sparse_normal"]
