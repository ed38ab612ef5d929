"""ONNX models, run by another program, give the probabilities and labels of the network."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import C, K, X, Y, largest_difference, random_network
from numpy.typing import NDArray

import fastfnn
from fastfnn.config import NetworkConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError, DataError, MissingPackageError
from fastfnn.network import Network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Array = NDArray[Any]

DEPTHS = [(), (8,), (8, 6), (20, 7, 5), (9, 8, 7, 6)]
STYLES = list(itertools.product(("off", "before", "after"), ("relu", "identity", "logistic", "tanh")))


def run(model: bytes, features: Array) -> tuple[Array, Array]:
    """Probabilities and labels by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    probabilities, labels = session.run(["probabilities", "labels"], {"features": features})
    return probabilities, labels


def assert_same_predictions(network: Network, features: Array, tolerance: float) -> None:
    probabilities, labels = run(network.to_onnx(), features.astype(np.float32))
    expected = network.predict_proba(features)
    assert probabilities.dtype == expected.dtype
    assert largest_difference(probabilities, expected) < tolerance
    assert labels.tolist() == network.predict(features).tolist()


@pytest.mark.parametrize("hidden", DEPTHS, ids=len)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_option(hidden: tuple[int, ...], dtype: Any) -> None:
    for batchnorm, activation in STYLES if hidden else STYLES[:1]:
        config = NetworkConfig(hidden=hidden, batchnorm=batchnorm, activation=activation, dtype=dtype)
        assert_same_predictions(random_network(config), X, {"float32": 1e-5, "float64": 1e-12}[dtype])


@pytest.mark.parametrize("batchnorm", ["off", "before", "after"])
def test_a_trained_network(batchnorm: Any) -> None:
    config = TrainingConfig(hidden=(8, 6), batchnorm=batchnorm, dropout=0.2, epochs=5, batch_size=20)
    network = fastfnn.train(Dataset.from_arrays(X, Y), config).network
    assert network.scale == 1 / 255
    assert_same_predictions(network, X, 1e-5)


@pytest.mark.parametrize("examples", [1, 2, 17, 110])
def test_any_number_of_examples(examples: int) -> None:
    assert_same_predictions(random_network(NetworkConfig(hidden=(8,))), X[:examples], 1e-5)


CLASSES = [
    ["cat", "dog", "a longer label"],
    ["ä", "猫", ""],
    [-5, 0, 2**62],
    [0.0, 1.0, 2.5],
    [False, True, True],
    np.array([3, 5, 250], np.uint8),
    np.array([0.5, 1, 2], np.float32),
]


@pytest.mark.parametrize("classes", CLASSES, ids=str)
def test_labels_of_every_kind(classes: Any) -> None:
    network = random_network(NetworkConfig(hidden=(8,)), classes)
    _, labels = run(network.to_onnx(), X.astype(np.float32))
    expected = network.predict(X)
    assert labels.tolist() == expected.tolist()
    assert labels.dtype == (object if expected.dtype.kind == "U" else expected.dtype)


@pytest.mark.parametrize("input_dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_of_the_input(dtype: Any, input_dtype: Any) -> None:
    network = random_network(NetworkConfig(hidden=(8,), batchnorm="after", dtype=dtype))
    probabilities, _ = run(network.to_onnx(input_dtype=input_dtype), X.astype(input_dtype))
    assert largest_difference(probabilities, network.predict_proba(X)) < {"float32": 1e-5, "float64": 1e-12}[dtype]


def test_only_what_predicts_is_in_the_model() -> None:
    model = onnx.load_model_from_string(random_network(NetworkConfig(hidden=(8, 6), batchnorm="after")).to_onnx())
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax", "ArgMax", "Gather"]
    assert [len(constant.dims) for constant in model.graph.initializer] == [2, 1, 2, 1, 2, 1, 1]


def test_description() -> None:
    classes = ["cat", "dog", "ä"]
    model = onnx.load_model_from_string(random_network(NetworkConfig(hidden=(8,)), classes).to_onnx())
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("fastfnn", fastfnn.__version__)
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {"classes": classes}
    assert model.graph.doc_string == "A classifier of 12 features, whole pixels from 0 to 255, with 3 classes."
    values = [*model.graph.input, *model.graph.output]
    sizes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values]
    assert [value.name for value in values] == ["features", "probabilities", "labels"]
    assert sizes == [["N", K], ["N", C], ["N"]]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    network = random_network(NetworkConfig(hidden=(8,)))
    assert network.to_onnx(tmp_path / "model.onnx") == network.to_onnx() == (tmp_path / "model.onnx").read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    expected = r"this needs the package onnx, which is not installed: pip install 'fastfnn\[onnx\]'"
    with pytest.raises(MissingPackageError, match=expected):
        random_network(NetworkConfig()).to_onnx(tmp_path / "model.onnx")
    assert issubclass(MissingPackageError, ImportError)
    assert not list(tmp_path.iterdir())


def test_unknown_input_dtype() -> None:
    with pytest.raises(ConfigError, match="input_dtype: expected one of float32, float64, uint8, found 'int8'"):
        random_network(NetworkConfig()).to_onnx(input_dtype="int8")


def test_larger_than_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastfnn.exchange.onnx.LARGEST", 100)
    with pytest.raises(DataError, match="network: expected weights of at most 100 bytes, as ONNX files hold, found"):
        random_network(NetworkConfig()).to_onnx()
