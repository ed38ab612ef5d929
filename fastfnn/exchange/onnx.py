"""Networks as ONNX models: linear layers, activations, softmax; nothing that only training needs.

Shapes: N examples, K features in, H units out of a layer, C classes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastfnn._version import __version__
from fastfnn.errors import ConfigError, DataError
from fastfnn.exchange.folding import folded
from fastfnn.exchange.packages import require

if TYPE_CHECKING:
    from fastfnn.network import Network

Array = NDArray[Any]
INPUT_DTYPES = ("float32", "float64", "uint8")

INSTALL = "pip install 'fastfnn[onnx]'"
OPSET = 13  # the oldest whose Softmax is over one axis
LARGEST = (1 << 31) - (1 << 20)  # bytes: what the format holds, less what is not weights
OPERATORS = {"relu": "Relu", "logistic": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}


def onnx_model(network: Network, input_dtype: str) -> bytes:
    """The content of an ONNX file.

    Raises:
        MissingPackageError: when the package onnx is not installed.
        ConfigError: when the dtype of the input is not one of `INPUT_DTYPES`.
        DataError: when the weights take more than ONNX files hold.
    """
    if input_dtype not in INPUT_DTYPES:
        raise ConfigError(f"input_dtype: expected one of {', '.join(INPUT_DTYPES)}, found {input_dtype!r}")
    onnx = require("onnx", INSTALL)
    layers = folded(network.parameters, network.config.batchnorm, network.scale)
    size = sum(w.nbytes + b.nbytes for w, b in layers)
    if size > LARGEST:
        raise DataError(f"network: expected weights of at most {LARGEST} bytes, as ONNX files hold, found {size}")
    model = onnx.helper.make_model(
        _Graph(onnx).of(network, layers, input_dtype),
        producer_name="fastfnn",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", OPSET)]),
    )
    onnx.helper.set_model_props(model, {"classes": json.dumps(network.classes.tolist())})
    return bytes(model.SerializeToString())


class _Graph:
    """A graph while it grows: every operation takes the value of the one before."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.value = "features"

    def of(self, network: Network, layers: list[tuple[Array, Array]], input_dtype: str) -> Any:
        """The whole graph of a network."""
        if input_dtype != network.config.dtype:
            self.apply("Cast", "real", to=self.element_type(np.dtype(network.config.dtype)))
        for number, (weights, biases) in enumerate(layers, start=1):
            names = self.constant(f"weights.{number}", weights), self.constant(f"biases.{number}", biases)
            self.apply("Gemm", f"linear.{number}", *names)
            if number < len(layers):
                self.apply(OPERATORS[network.config.activation], f"activation.{number}")
        self.apply("Softmax", "probabilities", axis=1)
        self.apply("ArgMax", "numbers", axis=1, keepdims=0)
        classes = self.constant("classes", network.classes)
        self.nodes.append(self.onnx.helper.make_node("Gather", [classes, self.value], ["labels"], axis=0))
        features = self.description("features", np.dtype(input_dtype), network.n_features)
        probabilities = self.description("probabilities", np.dtype(network.config.dtype), len(network.classes))
        labels = self.description("labels", network.classes.dtype)
        return self.onnx.helper.make_graph(
            self.nodes, "fastfnn", [features], [probabilities, labels], self.constants, doc_string=_document(network)
        )

    def apply(self, operator: str, output: str, *constants: str, **attributes: int) -> None:
        """Adds an operation on the last value."""
        inputs = [self.value, *constants]
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        self.value = output

    def constant(self, name: str, array: Array) -> str:
        """Adds an array and returns its name."""
        texts = array.astype(object) if array.dtype.kind == "U" else array
        self.constants.append(self.onnx.numpy_helper.from_array(texts, name))
        return name

    def description(self, name: str, dtype: np.dtype[Any], *sizes: int) -> Any:
        """Dtype and shape of an input or output, whose first dimension is the examples."""
        return self.onnx.helper.make_tensor_value_info(name, self.element_type(dtype), ["N", *sizes])

    def element_type(self, dtype: np.dtype[Any]) -> int:
        """The number that ONNX gives to a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(object) if dtype.kind == "U" else dtype))


def _document(network: Network) -> str:
    units = "whole pixels from 0 to 255" if network.scale == 1 / 255 else "in the units of the training data"
    return f"A classifier of {network.n_features} features, {units}, with {len(network.classes)} classes."
