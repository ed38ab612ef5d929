"""The dictionary of gradients looks complete from wherever one looks at it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from columns import initial

from fastfnn import textbook as nn
from fastfnn.textbook.gradients import Gradients

NAMES = {"dW1", "db1", "dA0"}


@pytest.fixture
def grads() -> Gradients:
    return Gradients({"dW1": np.ones((1, 1)), "db1": np.ones((1, 1))}, lambda: np.full((1, 1), 7.0))


def updated(plain: dict[str, Any], grads: Gradients) -> dict[str, Any]:
    plain.update(grads)
    return plain


LOOKS: dict[str, Callable[[Gradients], Any]] = {
    "item": lambda grads: NAMES if grads["dA0"][0, 0] == 7 else None,
    "get": lambda grads: NAMES if grads.get("dA0") is not None else None,
    "in": lambda grads: NAMES if "dA0" in grads and "dA1" not in grads else None,
    "length": lambda grads: NAMES if len(grads) == 3 else None,
    "set": set,
    "list": list,
    "reversed": reversed,
    "keys": lambda grads: grads.keys(),
    "items": lambda grads: {name for name, array in grads.items() if array is not None},
    "values": lambda grads: NAMES if sorted(float(v[0, 0]) for v in grads.values()) == [1, 1, 7] else None,
    "copy": lambda grads: grads.copy(),
    "dict": dict,
    "unpacked": lambda grads: {**grads},
    "keywords": lambda grads: dict(**grads),
    "update": lambda grads: updated({}, grads),
    "or": lambda grads: grads | {},
    "ror": lambda grads: {} | grads,
    "copied": copy.copy,
    "deeply": copy.deepcopy,
    "pickled": lambda grads: pickle.loads(pickle.dumps(grads)),
    "shown": lambda grads: NAMES if "dA0" in repr(grads) else None,
    "JSON": lambda grads: json.loads(json.dumps(grads, default=np.ndarray.tolist)),
    "popped": lambda grads: NAMES if grads.pop("dA0")[0, 0] == 7 else None,
    "default": lambda grads: NAMES if grads.setdefault("dA0", None) is not None else None,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_it_is_all_there(look: Callable[[Gradients], Any], grads: Gradients) -> None:
    assert set(look(grads)) == NAMES


def test_it_is_a_dictionary(grads: Gradients) -> None:
    assert isinstance(grads, dict)
    with pytest.raises(KeyError, match="dA1"):
        grads["dA1"]
    grads["dA0"] = np.zeros((1, 1))
    assert grads["dA0"][0, 0] == 0
    del grads["dA0"]
    assert "dA0" not in grads
    with pytest.raises(KeyError, match="dA0"):
        grads["dA0"]


def test_the_gradient_of_the_inputs_is_that_of_the_weights_before_the_step() -> None:
    X, Y = np.random.default_rng(0).random((6, 5)), np.eye(3)[:, [0, 1, 2, 0, 1]]
    parameters = initial([6, 4, 3])
    AL, caches = nn.L_model_forward(X, parameters)
    expected = nn.L_model_backward(AL, Y, caches)["dA0"]
    grads = nn.L_model_backward(AL, Y, caches)
    nn.Update_parameters(parameters, grads, 10)
    np.testing.assert_array_equal(grads["dA0"], expected)
