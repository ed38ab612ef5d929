"""Twins as torch modules, and modules as networks; these tests run where torch is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from networks import K, X, Y, largest_difference, random_network

import fastfnn
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError, DataError
from fastfnn.exchange import torch_module
from fastfnn.network import Network

torch = pytest.importorskip("torch")
nn = torch.nn

SCALE = 1 / 255
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
STYLES = list(itertools.product(("off", "before", "after"), ("relu", "identity", "logistic", "tanh")))


def probabilities(module: Any, scale: float, dtype: str) -> Any:
    """What a module in evaluation mode says of the examples."""
    features = torch.from_numpy(X.astype(dtype) * np.dtype(dtype).type(scale))
    with torch.no_grad():
        return torch.softmax(module.eval()(features), dim=1).numpy()


def same_place(config: NetworkConfig) -> NetworkConfig:
    """Before and after no activation are the same place, and called before."""
    normalised = config.batchnorm != "off" and config.activation == "identity"
    return config.replace(batchnorm="before") if normalised else config


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6), (20, 7, 5), (9, 8, 7, 6)], ids=len)
def test_every_layer_option(hidden: tuple[int, ...], dtype: Any) -> None:
    for batchnorm, activation in STYLES if hidden else STYLES[:1]:
        config = NetworkConfig(hidden=hidden, batchnorm=batchnorm, activation=activation, dtype=dtype)
        network = random_network(config)
        twin = torch_module(network)
        assert largest_difference(probabilities(twin, SCALE, dtype), network.predict_proba(X)) < TOLERANCE[dtype]
        again = Network.from_torch(twin, scale=network.scale)
        assert again.config == same_place(config)
        assert again.predict_proba(X).tobytes() == network.predict_proba(X).tobytes()


def test_a_trained_network() -> None:
    config = TrainingConfig(hidden=(8, 6), batchnorm="before", dropout=0.2, epochs=5, batch_size=20)
    network = fastfnn.train(Dataset.from_arrays(X, Y), config).network
    twin = torch_module(network)
    assert largest_difference(probabilities(twin, network.scale, "float32"), network.predict_proba(X)) < 1e-5


def test_a_module_written_by_hand_takes_the_state_dictionary() -> None:
    network = random_network(NetworkConfig(hidden=(8,), batchnorm="after", activation="tanh"))
    module = nn.Sequential(nn.Linear(K, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    module.load_state_dict(network.to_torch())
    assert largest_difference(probabilities(module, network.scale, "float32"), network.predict_proba(X)) < 1e-5


def test_a_twin_can_be_trained_and_comes_back() -> None:
    network = random_network(NetworkConfig(hidden=(8,), batchnorm="before"))
    twin = torch_module(network).train()
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in twin.parameters())
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    features, labels = torch.from_numpy(X.astype("f4") * np.float32(SCALE)), torch.from_numpy(Y)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(features), labels).backward()
        optimizer.step()
    trained = Network.from_torch(twin, scale=SCALE)
    assert largest_difference(probabilities(twin, SCALE, "float32"), trained.predict_proba(X)) < 1e-5
    assert largest_difference(trained.predict_proba(X), network.predict_proba(X)) > 1e-3


def test_a_twin_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    torch_module(random_network(NetworkConfig()))
    assert torch.equal(torch.rand(3), expected)


def test_what_has_no_effect_is_left_out() -> None:
    activation = nn.ReLU()
    body = nn.Sequential(nn.Linear(K, 8), nn.BatchNorm1d(8), activation, nn.Dropout(0.5))
    module = nn.Sequential(
        nn.Flatten(), body, nn.Linear(8, 6), nn.Identity(), nn.BatchNorm1d(6), activation, nn.Linear(6, 3)
    )
    for source in (module, nn.Sequential(*module, nn.Softmax(dim=1))):
        network = Network.from_torch(source, scale=SCALE)
        assert network.config == NetworkConfig(hidden=(8, 6), batchnorm="before")
        assert largest_difference(network.predict_proba(X), probabilities(module, SCALE, "float32")) < 1e-5


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("eps", [1e-3, 1e-5, 1e-12])
def test_batchnorm_of_another_kind(affine: bool, eps: float) -> None:
    module = nn.Sequential(
        nn.Linear(K, 8, bias=False), nn.BatchNorm1d(8, eps=eps, affine=affine), nn.ReLU(), nn.Linear(8, 3)
    ).double()
    module(torch.from_numpy(X * SCALE))  # in training mode: moves the running statistics
    network = Network.from_torch(module, scale=SCALE)
    assert largest_difference(network.predict_proba(X), probabilities(module, SCALE, "float64")) < 1e-12


def test_no_activation_at_all() -> None:
    module = nn.Sequential(nn.Linear(K, 8), nn.Linear(8, 3))
    network = Network.from_torch(module, scale=SCALE)
    assert network.config == NetworkConfig(hidden=(8,), activation="identity")
    assert largest_difference(network.predict_proba(X), probabilities(module, SCALE, "float32")) < 1e-5


def test_a_linear_module_and_half_precision() -> None:
    module = nn.Linear(K, 3)
    network = Network.from_torch(module.bfloat16(), scale=SCALE)
    assert network.config == NetworkConfig(hidden=())
    assert largest_difference(network.predict_proba(X), probabilities(module.float(), SCALE, "float32")) < 1e-5


def test_the_module_keeps_its_weights() -> None:
    module = nn.Sequential(nn.Linear(K, 8), nn.ReLU(), nn.Linear(8, 3))
    network = Network.from_torch(module, scale=SCALE)
    for array in network.parameters.tensors().values():
        array[...] = 0
    assert all(parameter.any() for parameter in module.parameters())


def sequential(*modules: Any) -> Any:
    return nn.Sequential(nn.Linear(K, 8), *modules, nn.Linear(8, 3))


MISFITS = {
    r"module 1 \(GELU\): expected one of Linear, BatchNorm1d, ReLU": lambda: sequential(nn.GELU()),
    r"module 0 \(Conv2d\): expected one of Linear": lambda: nn.Sequential(nn.Conv2d(1, 2, 3)),
    r"module 1 \(LayerNorm\): expected one of Linear": lambda: sequential(nn.LayerNorm(8)),
    r"module 1 \(Softmax\): expected one of": lambda: sequential(nn.Softmax(dim=1)),
    r"module 0 \(Linear\): expected at most an activation and a batch norm after it, found module 1 \(ReLU\), module": (
        lambda: sequential(nn.ReLU(), nn.Tanh())
    ),
    r"module 2 \(Linear\): expected activation relu, batch norm off after it, as in the first layer, found": (
        lambda: sequential(nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
    ),
    r"module 2 \(Linear\): expected 8 inputs, the outputs of module 0 \(Linear\), found 9": (
        lambda: nn.Sequential(nn.Linear(K, 8), nn.ReLU(), nn.Linear(9, 3))
    ),
    r"module 0 \(BatchNorm1d\): expected a linear layer before it": (
        lambda: nn.Sequential(nn.BatchNorm1d(K), nn.Linear(K, 3))
    ),
    r"module 3 \(Sigmoid\): expected nothing after the layer of the logits": (
        lambda: nn.Sequential(nn.Linear(K, 8), nn.ReLU(), nn.Linear(8, 3), nn.Sigmoid())
    ),
    r"module 1 \(BatchNorm1d\): expected a tensor running_mean, found none": (
        lambda: sequential(nn.BatchNorm1d(8, track_running_stats=False))
    ),
    r"module 2 \(GELU\): expected one of": lambda: sequential(nn.Dropout(0.5), nn.GELU()),
    r"module 0 \(Linear\): expected an output for each of at least 2 classes, found 1": lambda: nn.Linear(K, 1),
    "network: expected at least one linear layer, found none": nn.Sequential,
    r"source: expected a torch\.nn\.Sequential, found LSTM; of another module pass its state_dict": (
        lambda: nn.LSTM(K, 3)
    ),
}


@pytest.mark.parametrize(("expected", "module"), MISFITS.items(), ids=MISFITS.keys())
def test_what_does_not_fit_is_named(expected: str, module: Any) -> None:
    with pytest.raises(DataError, match=expected):
        Network.from_torch(module())


def test_a_module_tells_its_activation_itself() -> None:
    with pytest.raises(ConfigError, match="activation and batchnorm: expected only with a state dictionary"):
        Network.from_torch(sequential(nn.ReLU()), activation="tanh")
