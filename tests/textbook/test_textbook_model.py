"""`L_layer_model` against the naive loop, for every row of the conventions, in the engine and on the functions."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from columns import difference, initial

from fastfnn import textbook as nn
from fastfnn.errors import ConfigError, DataError
from fastfnn.textbook import model, runners

Array = Any
SIZES = [30, 8, 6, 4]
random = np.random.default_rng(0)
X, Y = np.where(random.random((30, 75)) < 0.4, random.normal(size=(30, 75)), 0), np.eye(4)[:, random.integers(0, 4, 75)]
X_validation, Y_validation = random.normal(size=(30, 20)), np.eye(4)[:, random.integers(0, 4, 20)]


def both(epochs: int = 30, *, batch_size: int = 8, use_batchnorm: Any = False, **options: Any) -> tuple[Any, Any]:
    """Our result with its history and the twin's, from one state of the legacy stream."""
    ours, theirs = dict(options), dict(options)
    if isinstance(use_batchnorm, dict):
        theirs["forward"] = {"batchnorm": use_batchnorm, **theirs.get("forward", {})}
    ours.pop("forward", None)
    if "logarithm" in options:
        ours["logarithm"] = nn.Logarithm(**options["logarithm"])
    if "stopping" in options:
        ours["stopping"] = nn.Stopping(**options["stopping"])
    if "first" in options:
        ours["split"] = ours.pop("first")
    for name, value in theirs.get("forward", {}).items():
        if name == "dropout":
            only_gradient = theirs["forward"].get("only_gradient", False)
            ours["dropout"] = nn.Dropout(probability=value, only_gradient=only_gradient)
    batchnorm = nn.Batchnorm(**use_batchnorm) if isinstance(use_batchnorm, dict) else use_batchnorm
    np.random.seed(4)
    mine = nn.L_layer_model(X, Y, SIZES, 0.1, epochs, batch_size, batchnorm, return_history=True, **ours)
    np.random.seed(4)
    return mine, naive.L_layer_model(X, Y, SIZES, 0.1, epochs, batch_size, bool(use_batchnorm), **theirs)


def assert_same(mine: Any, theirs: Any) -> None:
    parameters, costs, curves = mine
    their_parameters, their_costs, checks, accuracies, steps = theirs
    assert difference(parameters, their_parameters) < 1e-10
    np.testing.assert_allclose(costs, their_costs, rtol=1e-10)
    assert curves.iterations == steps
    assert curves.steps == [step for step, _ in checks]
    assert curves.validation_accuracy == pytest.approx(accuracies, abs=1e-12)


BATCHNORM = {
    "course": True,
    "true gradient": {"gradient": "true"},
    "deviation": {"eps_on": "deviation", "eps": 1e-3},
    "deviation, true": {"eps_on": "deviation", "eps": 1e-3, "gradient": "true"},
    "unbiased": {"variance": "unbiased"},
    "unbiased, true": {"variance": "unbiased", "gradient": "true"},
    "axis 0": {"axis": 0},
    "whole, true": {"axis": None, "gradient": "true"},
}
# Statistics of the 3 examples of a short batch are so uncertain that rounding errors grow a thousandfold in ten epochs.
WITHOUT_SHORT_BATCHES = {"batch_size": 25, "epochs": 67}
ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    **{f"batchnorm {name}": {"use_batchnorm": value, **WITHOUT_SHORT_BATCHES} for name, value in BATCHNORM.items()},
    "batchnorm with a short batch": {"use_batchnorm": True},
    "batchnorm and penalty": {"use_batchnorm": True, "lambd": 0.3},
    "batch of one example": {"use_batchnorm": True, "batch_size": 37, "epochs": 20},
    "penalty": {"lambd": 0.3},
    "fixed decay": {"lambd": 0.01, "l2_convention": "fixed"},
    "cost with eps": {"logarithm": {"eps": 1e-3}, "lambd": 0.1},
    "clipped cost": {"logarithm": {"clip": 1e-15}},
    "dropout": {"forward": {"dropout": 0.3}},
    "dropout of gradients": {"forward": {"dropout": 0.3, "only_gradient": True}},
    "dropped last batch": {"last_batch": "drop"},
    "dropped last batch with batchnorm": {"last_batch": "drop", "use_batchnorm": True},
    "reshuffled": {"reshuffle": True},
    "reshuffled functions": {"reshuffle": True, "forward": {"dropout": 0.3}},
    "steps": {"epochs": 123, "count": "steps"},
    "few steps": {"epochs": 4, "count": "steps"},
    "few steps, functions": {"epochs": 4, "count": "steps", "use_batchnorm": {"axis": 0}},
    "large batch": {"batch_size": 100, "epochs": 110},
    "one example": {"batch_size": 1, "epochs": 3},
    "first 80 % train": {"validation": 0.2},
    "first 20 % validation": {"validation": 0.2, "first": "validation"},
    "split and functions": {"validation": 0.2, "use_batchnorm": {"axis": 0}},
    "split and shuffled": {"validation": 0.25, "reshuffle": True},
    "scale": {"scale": lambda n_in, n_out: 1 / n_out},
}


@pytest.mark.parametrize("options", ROWS.values(), ids=ROWS.keys())
def test_rows(options: dict[str, Any]) -> None:
    assert_same(*both(**options))


STOPPING = {
    "plateau": {"rule": "plateau", "tol": 3e-3, "every": 10},
    "improvement in steps": {"rule": "improvement", "tol": 1e-3, "every": 5, "patience": 20, "patience_in": "steps"},
    "improvement in checks": {"rule": "improvement", "tol": 1e-3, "every": 7, "patience": 3, "patience_in": "checks"},
    "accuracy": {
        "rule": "improvement",
        "tol": 0.0,
        "every": 10,
        "patience": 4,
        "patience_in": "checks",
        "metric": "validation_accuracy",
    },
}


@pytest.mark.parametrize("stopping", STOPPING.values(), ids=STOPPING.keys())
@pytest.mark.parametrize("use_batchnorm", [False, True])
@pytest.mark.parametrize("validation", [0.2, (X_validation, Y_validation)], ids=["fraction", "arrays"])
def test_stopping(stopping: dict[str, Any], use_batchnorm: bool, validation: Any) -> None:
    mine, theirs = both(200, stopping=stopping, use_batchnorm=use_batchnorm, validation=validation, lambd=0.2)
    assert_same(mine, theirs)
    assert mine[2].stop_reason == "stopped"
    assert mine[2].iterations < 200 * 8
    if stopping.get("metric") is None:
        np.testing.assert_allclose(mine[2].validation_cost, [cost for _, cost in theirs[2]], rtol=1e-10)


def test_the_defaults_of_stopping_are_the_studies() -> None:
    assert nn.Stopping() == nn.Stopping(rule="plateau", tol=1e-4, every=100, metric="validation_cost")
    assert (nn.Stopping().patience, nn.Stopping().patience_in) == (100, "steps")


def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's stretches and the functions."""
    options: dict[str, Any] = {"use_batchnorm": True, "lambd": 0.1, "validation": 0.2, "random_state": 3}
    in_engine = nn.L_layer_model(X, Y, SIZES, 0.1, 30, 8, return_history=True, **options)
    monkeypatch.setattr(model, "can_run_in_engine", lambda arithmetic: False)
    by_functions = nn.L_layer_model(X, Y, SIZES, 0.1, 30, 8, return_history=True, **options)
    assert difference(in_engine[0], by_functions[0]) < 1e-10
    assert in_engine[2].train_accuracy == by_functions[2].train_accuracy
    np.testing.assert_allclose(in_engine[2].validation_cost, by_functions[2].validation_cost, rtol=1e-10)


def test_pixels_in_both_layouts(pixels: tuple[Array, Array]) -> None:
    """Columns of X.T and of C-ordered X, as fractions of 255 and raw."""
    X, Y = pixels[0][:, :700], pixels[1][:, :700]
    for matrix, rate in ((X, 0.1), (X * 255, 1e-6)):
        np.random.seed(0)
        expected = naive.L_layer_model(matrix, Y, [784, 20, 10], rate, 3, 16)
        for layout in (np.asfortranarray, np.ascontiguousarray):
            assert isinstance(runners._rows([layout(matrix)])[0][0][0, 0], np.uint8)
            parameters, costs = nn.L_layer_model(layout(matrix), Y, [784, 20, 10], rate, 3, 16, random_state=0)
            assert difference(parameters, expected[0]) < 1e-10
            np.testing.assert_allclose(costs, expected[1], rtol=1e-10)


def test_float32_pixels_are_promoted(pixels: tuple[Array, Array]) -> None:
    """Their values are not those of float64 pixels, to 8 digits."""
    X, Y = pixels[0][:, :300].astype(np.float32), pixels[1][:, :300]
    np.random.seed(0)
    expected = naive.L_layer_model(X, Y, [784, 8, 10], 0.1, 3, 16)[0]
    assert difference(nn.L_layer_model(X, Y, [784, 8, 10], 0.1, 3, 16, random_state=0)[0], expected) < 1e-10


def test_given_parameters_are_not_changed() -> None:
    start = initial(SIZES)
    kept = {name: array.copy() for name, array in start.items()}
    trained, _ = nn.L_layer_model(X, Y, SIZES, 0.1, 1, 8, parameters=start)
    assert difference(start, kept) == 0
    assert difference(trained, kept) > 1e-3


def test_no_iterations() -> None:
    parameters, costs = nn.L_layer_model(X, Y, SIZES, 0.1, 0, 8, random_state=1)
    assert difference(parameters, initial(SIZES)) == 0
    assert costs == []


def test_a_seed_is_the_legacy_stream_and_a_generator_is_taken() -> None:
    np.random.seed(9)
    expected = nn.L_layer_model(X, Y, SIZES, 0.1, 2, 8, validation=0.2, reshuffle=True)[0]
    again = nn.L_layer_model(X, Y, SIZES, 0.1, 2, 8, validation=0.2, reshuffle=True, random_state=9)[0]
    assert difference(again, expected) == 0
    options: dict[str, Any] = {"validation": 0.2, "reshuffle": True}
    new = [nn.L_layer_model(X, Y, SIZES, 0.1, 2, 8, random_state=np.random.default_rng(1), **options)[0] for _ in "12"]
    assert difference(*new) == 0
    assert difference(new[0], expected) > 1e-3


@pytest.mark.parametrize("dropout", [None, nn.Dropout(probability=0.1)], ids=["engine", "functions"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_is_an_error(dropout: Any) -> None:
    with pytest.raises(ConfigError, match="learning_rate: the cost was no longer finite within"):
        nn.L_layer_model(X * 1e150, Y, SIZES, 1e150, 40, 8, dropout=dropout, random_state=0)


MISTAKES = {
    "layers_dims": {"layers_dims": [31, 4]},
    "layer_dims": {"layers_dims": [30, 0, 4]},
    "count": {"count": "batches"},
    "last_batch": {"last_batch": "pad"},
    "num_iterations": {"num_iterations": -1},
    "batch_size": {"batch_size": 0},
    "learning_rate": {"learning_rate": 0},
    "stopping": {"stopping": nn.Stopping()},
    "fraction": {"validation": 1.0},
    "l2_convention": {"l2_convention": "none", "lambd": 1.0},
}


@pytest.mark.parametrize(("name", "options"), MISTAKES.items(), ids=MISTAKES.keys())
@pytest.mark.parametrize("dropout", [None, nn.Dropout(probability=0.1)], ids=["engine", "functions"])
def test_mistakes(name: str, options: dict[str, Any], dropout: Any) -> None:
    arguments = {"layers_dims": SIZES, "num_iterations": 1, "batch_size": 8, "dropout": dropout, **options}
    with pytest.raises(ConfigError, match=f"^{name}: "):
        nn.L_layer_model(X, Y, **arguments)


ARRAYS = {
    "not one-hot": (X, Y * 0.5, r"Y: expected one-hot columns, found \[.*0.5.*\] in column 0"),
    "two classes at once": (X, np.maximum(Y, np.roll(Y, 1, axis=0)), "Y: expected one-hot columns"),
    "columns": (X[:, :-1], Y, r"X, Y: expected as many columns of both.*\(30, 74\) and \(4, 75\)"),
    "no examples": (X[:, :0], Y[:, :0], "X, Y: expected as many columns of both, and some"),
    "labels": (X, Y.argmax(axis=0), "Y: expected a matrix"),
    "NaN": (np.where(X[3, 3] == X, np.nan, X), Y, "X: "),
}


@pytest.mark.parametrize(("matrix", "answers", "message"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_that_do_not_fit(matrix: Array, answers: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        nn.L_layer_model(matrix, answers, SIZES, 0.1, 1, 8)


def test_parameters_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"parameters: expected W2 of shape \(6, 8\), found none"):
        nn.L_layer_model(X, Y, SIZES, 0.1, 1, 8, parameters=initial([30, 8]))
