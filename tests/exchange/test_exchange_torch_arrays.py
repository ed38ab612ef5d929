"""State dictionaries of NumPy arrays, as there are where torch is not installed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from networks import K, X, largest_difference, random_network
from numpy.typing import NDArray

from fastfnn.config import NetworkConfig
from fastfnn.errors import ConfigError, DataError, MissingPackageError
from fastfnn.exchange import torch_module
from fastfnn.network import Network

Array = NDArray[Any]
State = dict[str, Array]

DEEP = NetworkConfig(hidden=(8, 6), batchnorm="before")


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastfnn.exchange.torch.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch", None)


def assert_same_parameters(network: Network, expected: Network) -> None:
    tensors = expected.parameters.tensors()
    assert network.parameters.tensors().keys() == tensors.keys()
    for name, array in network.parameters.tensors().items():
        np.testing.assert_array_equal(array, tensors[name], strict=True)


def test_names_and_shapes() -> None:
    state = random_network(DEEP).to_torch()
    assert {name: array.shape for name, array in state.items() if name[0] in "014"} == {
        "0.weight": (8, K),
        "0.bias": (8,),
        "1.weight": (8,),
        "1.bias": (8,),
        "1.running_mean": (8,),
        "1.running_var": (8,),
        "1.num_batches_tracked": (),
        "4.weight": (6,),
        "4.bias": (6,),
        "4.running_mean": (6,),
        "4.running_var": (6,),
        "4.num_batches_tracked": (),
    }
    assert [name for name in state if name.endswith(".weight")] == [f"{n}.weight" for n in (0, 1, 3, 4, 6)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6), (20, 7, 5), (9, 8, 7, 6)], ids=len)
def test_round_trip(hidden: tuple[int, ...], dtype: Any) -> None:
    styles = itertools.product(("off", "before", "after"), ("relu", "identity", "logistic", "tanh"))
    for batchnorm, activation in styles if hidden else [("off", "relu")]:
        config = NetworkConfig(hidden=hidden, batchnorm=batchnorm, activation=activation, dtype=dtype)
        network = random_network(config, ["a", "b", "c"])
        again = Network.from_torch(
            network.to_torch(), classes=["a", "b", "c"], scale=network.scale, activation=activation
        )
        assert (again.config, again.scale, again.classes.tolist()) == (config, 1 / 255, ["a", "b", "c"])
        assert_same_parameters(again, network)


def test_arrays_are_copies() -> None:
    network = random_network(DEEP)
    for array in network.to_torch().values():
        array[...] = 0
    assert_same_parameters(network, random_network(DEEP))
    state = network.to_torch()
    again = Network.from_torch(state)
    for array in state.values():
        array[...] = 0
    assert_same_parameters(again, network)


def test_order_of_a_file() -> None:
    """safetensors sorts by name, and 12 comes before 3 there."""
    network = random_network(NetworkConfig(hidden=(9, 8, 7, 6), batchnorm="after"))
    state = dict(sorted(network.to_torch().items()))
    assert next(iter(state)).startswith("0.")
    assert list(state).index("12.weight") < list(state).index("3.weight")
    assert_same_parameters(Network.from_torch(state), network)
    within = {f"classifier.{name}": array for name, array in state.items()}
    assert_same_parameters(Network.from_torch(within), network)


def renamed(state: State, names: list[str]) -> State:
    """The modules of a state dictionary under other names."""
    modules = list(dict.fromkeys(key.split(".")[0] for key in state))
    new = dict(zip(modules, names, strict=True))
    return {f"{new[key.split('.')[0]]}.{key.split('.')[1]}": array for key, array in state.items()}


@pytest.mark.parametrize("batchnorm", ["before", "after"])
def test_modules_with_names(batchnorm: Any) -> None:
    network = random_network(NetworkConfig(hidden=(8,), batchnorm=batchnorm))
    state = renamed(network.to_torch(), ["inputs", "norm", "head"])
    with pytest.raises(ConfigError, match="batchnorm: expected before or after the activation, which 'norm' does not"):
        Network.from_torch(state)
    assert_same_parameters(Network.from_torch(state, batchnorm=batchnorm), network)
    assert Network.from_torch(state, batchnorm=batchnorm).config == network.config


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("0 1 3", "before"),
        ("0 1 4", "before"),
        ("0 2 3", "after"),
        ("1 3 4", "after"),
        ("0 1 2", None),
        ("0 2 4", None),
    ],
)
def test_positions_tell_where_batchnorm_is(positions: str, expected: Any) -> None:
    """Between a linear layer, batch norm and the next there are the activation and perhaps dropout."""
    state = renamed(random_network(NetworkConfig(hidden=(8,), batchnorm="before")).to_torch(), positions.split())
    if expected is None:
        with pytest.raises(ConfigError, match="batchnorm: expected before or after"):
            Network.from_torch(state)
    else:
        assert Network.from_torch(state).config.batchnorm == expected


def test_default_classes_and_layers_without_biases() -> None:
    network = random_network(NetworkConfig(hidden=(8,)), scale=1.0)
    network.parameters.biases[0][...] = 0
    state = network.to_torch()
    del state["0.bias"]
    again = Network.from_torch(state)
    assert again.classes.tolist() == [0, 1, 2]
    assert_same_parameters(again, network)


def test_other_precisions_become_float32() -> None:
    state = random_network(NetworkConfig(hidden=(8,), dtype="float64")).to_torch()
    half = Network.from_torch({name: array.astype(np.float16) for name, array in state.items()})
    assert half.config.dtype == "float32"
    assert half.parameters.weights[0].dtype == np.float32
    mixed = Network.from_torch({**state, "0.bias": state["0.bias"].astype(np.float32)})
    assert mixed.config.dtype == "float64"
    assert mixed.parameters.biases[0].dtype == np.float64


def test_bare_linear_layer() -> None:
    network = random_network(NetworkConfig(hidden=()), scale=1.0)
    state = {name.removeprefix("0."): array for name, array in network.to_torch().items()}
    again = Network.from_torch(state)
    assert largest_difference(again.predict_proba(X), network.predict_proba(X)) == 0


Change = Callable[[State], Any]
MISFITS: list[tuple[Change, str]] = [
    (lambda s: s.clear(), "network: expected at least one linear layer, found none"),
    (lambda s: s.update({"0.weight": s["0.weight"][:, 0]}), "module '0': expected a weight of 2 dimensions, as of a L"),
    (lambda s: s.update({"0.weight": np.zeros((4, 3, 5, 5))}), "module '0': expected a weight of 2 dimensions"),
    (lambda s: s.update({"0.weight": np.zeros((0, K))}), "module '0': expected weights, found none"),
    (
        lambda s: s.update({"3.weight": np.zeros((6, 9))}),
        "module '3': expected 8 inputs, the outputs of .*'0', found 9",
    ),
    (lambda s: s.update({"0.bias": np.zeros(7)}), r"module '0': expected biases of shape \(8,\), found \(7,\)"),
    (lambda s: s.update({"1.running_mean": np.zeros(7)}), r"module '1': expected running_mean of shape \(8,\)"),
    (lambda s: s.update({"1.running_var": -np.ones(8)}), "module '1': expected variances, found a negative value"),
    (lambda s: s.update({"0.weight": np.full((8, K), np.nan)}), "module '0': weights hold values that are not finite"),
    (lambda s: s.update({"0.weight": np.ones((8, K), int)}), "module '0': expected weight of floating-point numbers"),
    (
        lambda s: s.update({"0.weight": "text"}),
        "module '0': expected weight of floating-point numbers, found dtype <U4",
    ),
    (lambda s: s.pop("0.weight"), "module '0': expected a tensor weight, found none"),
    (lambda s: s.pop("1.running_var"), "module '1': expected a tensor running_var, found none"),
    (lambda s: s.update({"0.weight_ih_l0": np.zeros((8, K))}), "expected the tensors of a Linear or BatchNorm1d layer"),
    (lambda s: [s.pop(name) for name in list(s) if name[0] == "0"], "module '1': expected a linear layer before it"),
    (lambda s: [s.pop(name) for name in list(s) if name[0] in "34"], "module '6': expected 8 inputs"),
    (lambda s: [s.pop(name) for name in list(s) if name[0] == "6"], "module '4': expected nothing after the layer of"),
    (lambda s: [s.pop(name) for name in list(s) if name[0] == "4"], "module '3': expected activation relu, batch norm"),
    (lambda s: s.update({"6.weight": np.zeros((1, 6)), "6.bias": np.zeros(1)}), "expected an output for each of at le"),
]


@pytest.mark.parametrize(("change", "expected"), MISFITS, ids=[expected for _, expected in MISFITS])
def test_what_does_not_fit_is_named(change: Change, expected: str) -> None:
    state = random_network(DEEP).to_torch()
    change(state)
    with pytest.raises(DataError, match=expected):
        Network.from_torch(state)


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "b"], [0.5, 1, 2], 3], ids=str)
def test_classes_that_do_not_fit(classes: Any) -> None:
    with pytest.raises(DataError, match="classes: expected"):
        Network.from_torch(random_network(DEEP).to_torch(), classes=classes)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(DataError, match="scale: expected a positive number, found"):
        Network.from_torch(random_network(DEEP).to_torch(), scale=scale)


def test_unknown_options() -> None:
    state = random_network(DEEP).to_torch()
    with pytest.raises(ConfigError, match="activation: "):
        Network.from_torch(state, activation="gelu")
    with pytest.raises(ConfigError, match="batchnorm: expected before or after, found 'off'"):
        Network.from_torch(state, batchnorm="off")


@pytest.mark.parametrize("source", [None, [np.zeros((3, K))], "model.pt"], ids=str)
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(DataError, match=r"source: expected a torch\.nn\.Sequential, found (NoneType|list|str); of"):
        Network.from_torch(source)


def test_a_module_needs_torch() -> None:
    with pytest.raises(MissingPackageError, match="this needs the package torch, which is not installed: pip install"):
        torch_module(random_network(DEEP))
