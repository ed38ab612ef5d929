"""Every row of the conventions in which projects differ, function by function, against the naive twin."""

from __future__ import annotations

import itertools
from typing import Any

import naive
import numpy as np
import pytest
from columns import difference, initial

from fastfnn import textbook as nn
from fastfnn.errors import ConfigError

Array = Any
SIZES = [30, 8, 6, 4]
random = np.random.default_rng(0)
X, Y = random.normal(size=(30, 21)), np.eye(4)[:, random.integers(0, 4, 21)]

STATISTICS = [
    {"axis": axis, "eps_on": eps_on, "variance": variance, "eps": 1e-3 if eps_on == "deviation" else 1e-8}
    for axis, eps_on, variance in itertools.product([1, 0, None], ["variance", "deviation"], ["biased", "unbiased"])
]
each_statistics = pytest.mark.parametrize("statistics", STATISTICS, ids=lambda s: " ".join(map(str, s.values())))


@each_statistics
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_batchnorm(statistics: dict[str, Any], layout: Any) -> None:
    A = np.maximum(random.normal(size=(7, 13)), 0)
    ours = nn.apply_batchnorm(layout(A), nn.Batchnorm(**statistics))
    np.testing.assert_allclose(ours, naive.apply_batchnorm(A, **statistics), rtol=1e-12, atol=1e-14)


@each_statistics
@pytest.mark.parametrize("gradient", ["course", "true"])
def test_batchnorm_in_models(statistics: dict[str, Any], gradient: str) -> None:
    options, parameters = {**statistics, "gradient": gradient}, initial(SIZES)
    AL, caches = nn.L_model_forward(X, parameters, nn.Batchnorm(**options))
    theirs, their_caches = naive.L_model_forward(X, parameters, True, options)
    np.testing.assert_allclose(AL, theirs, rtol=1e-10)
    assert difference(nn.L_model_backward(AL, Y, caches), naive.L_model_backward(theirs, Y, their_caches)) < 1e-10


@pytest.mark.parametrize("eps_on", ["variance", "deviation"])
def test_the_true_gradient_is_true(eps_on: str) -> None:
    """Central differences of the cost."""
    batchnorm, parameters = nn.Batchnorm(gradient="true", eps_on=eps_on, eps=1e-3), initial(SIZES)
    AL, caches = nn.L_model_forward(X, parameters, batchnorm)
    gradient = nn.L_model_backward(AL, Y, caches)["dW1"][2, 3]

    def cost_at(change: float) -> float:
        changed = {name: array.copy() for name, array in parameters.items()}
        changed["W1"][2, 3] += change
        return nn.compute_cost(nn.L_model_forward(X, changed, batchnorm)[0], Y)

    assert (cost_at(1e-5) - cost_at(-1e-5)) / 2e-5 == pytest.approx(gradient, rel=1e-5)


def test_dead_units_have_no_gradient_through_batchnorm() -> None:
    parameters = initial(SIZES)
    parameters["b1"][2] = -1e3
    for eps_on in ("variance", "deviation"):
        AL, caches = nn.L_model_forward(X, parameters, nn.Batchnorm(gradient="true", eps_on=eps_on))
        grads = nn.L_model_backward(AL, Y, caches)
        assert all(np.isfinite(array).all() for array in grads.values())
        assert not grads["dW1"][2].any()


@pytest.mark.parametrize("only_gradient", [False, True])
@pytest.mark.parametrize("stream", ["legacy", "generator"])
@pytest.mark.parametrize("use_batchnorm", [False, True])
def test_dropout(only_gradient: bool, stream: str, use_batchnorm: bool) -> None:
    parameters = initial(SIZES)
    np.random.seed(3)
    generator = None if stream == "legacy" else np.random.default_rng(3)
    dropout = nn.Dropout(probability=0.4, only_gradient=only_gradient, random_state=generator)
    AL, caches = nn.L_model_forward(X, parameters, use_batchnorm, dropout=dropout)
    np.random.seed(3)
    again = None if stream == "legacy" else np.random.default_rng(3)
    forward = naive.L_model_forward(X, parameters, use_batchnorm, None, 0.4, only_gradient, again)
    np.testing.assert_allclose(AL, forward[0], rtol=1e-12)
    assert difference(nn.L_model_backward(AL, Y, caches), naive.L_model_backward(forward[0], Y, forward[1])) < 1e-10
    for (ours, _), (theirs, _) in zip(caches[:-1], forward[1], strict=False):
        np.testing.assert_array_equal(ours["mask"], theirs["D"])


@pytest.mark.parametrize("logarithm", [{}, {"eps": 1e-8}, {"eps": 1e-3}, {"clip": 1e-15}, {"clip": 0.2}], ids=str)
@pytest.mark.parametrize("l2_convention", ["per_batch", "fixed"])
def test_costs(logarithm: dict[str, float], l2_convention: Any) -> None:
    AL, parameters = naive.softmax(random.normal(size=(4, 21)) * 4)[0], initial(SIZES)
    ours = nn.compute_cost(AL, Y, parameters, 0.3, logarithm=nn.Logarithm(**logarithm), l2_convention=l2_convention)
    theirs = naive.compute_cost(AL, Y, parameters, 0.3, **logarithm, l2_convention=l2_convention)
    assert ours == pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("l2_convention", ["per_batch", "fixed"])
def test_gradient_of_the_penalty(l2_convention: Any) -> None:
    parameters = initial(SIZES)
    AL, caches = nn.L_model_forward(X, parameters)
    ours = nn.L_model_backward(AL, Y, caches, lambd=0.7, l2_convention=l2_convention)
    assert difference(ours, naive.L_model_backward(AL, Y, caches, 0.7, l2_convention)) < 1e-12


@pytest.mark.parametrize("first", ["train", "validation"])
@pytest.mark.parametrize("stream", ["legacy", "generator"])
def test_validation_sets(first: Any, stream: str) -> None:
    np.random.seed(3)
    given = None if stream == "legacy" else np.random.default_rng(3)
    Xt, Yt, Xv, Yv = nn.split_validation(X, Y, first=first, random_state=given)
    np.random.seed(3)
    order = (np.random if stream == "legacy" else np.random.default_rng(3)).permutation(21)
    train, held_out = (order[:16], order[16:]) if first == "train" else (order[4:], order[:4])
    for ours, theirs in ((Xt, X[:, train]), (Yt, Y[:, train]), (Xv, X[:, held_out]), (Yv, Y[:, held_out])):
        np.testing.assert_array_equal(ours, theirs)


MISTAKES = {
    "axis": lambda: nn.Batchnorm(axis=2),
    "eps": lambda: nn.Batchnorm(eps=-1),
    "eps_on": lambda: nn.Batchnorm(eps_on="mean"),
    "variance": lambda: nn.Batchnorm(variance="some"),
    "gradient": lambda: nn.Batchnorm(gradient="false"),
    "probability": lambda: nn.Dropout(probability=1),
    "clip": lambda: nn.Logarithm(clip=float("nan")),
    "rule": lambda: nn.Stopping(rule="never"),
    "patience": lambda: nn.Stopping(patience=0),
    "scale": lambda: nn.initialize_parameters([2, 2], "hee"),
    "layer_dims": lambda: nn.initialize_parameters([2]),
    "fraction": lambda: nn.split_validation(X, Y, 1.5),
    "first": lambda: nn.split_validation(X, Y, first="test"),
    "l2_convention": lambda: nn.compute_cost(Y, Y, initial(SIZES), 1.0, l2_convention="none"),
}


@pytest.mark.parametrize(("name", "mistake"), MISTAKES.items(), ids=MISTAKES.keys())
def test_mistakes(name: str, mistake: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: expected .*, found"):
        mistake()
