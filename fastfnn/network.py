"""A network at rest: how it is stored, what it predicts, and how it comes from other libraries and goes to them.

Shapes: N examples, K features in, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn.atomic import write_atomically
from fastfnn.config import Activation, Batchnorm, NetworkConfig
from fastfnn.data import as_features
from fastfnn.errors import DataError
from fastfnn.model_files import network_bytes, read_network
from fastfnn.parameters import Parameters

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.neural_network import MLPClassifier

Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A network that predicts.

    Attributes:
        config: its shape and dtype. parameters: its arrays.
        classes: (C,) label values; class number c is `classes[c]`.
        scale: what stored features are multiplied by (1/255 for uint8 pixels).
    """

    config: NetworkConfig
    parameters: Parameters
    classes: Array
    scale: float = 1.0

    @property
    def n_features(self) -> int:
        """Features of an example, K."""
        return int(self.parameters.weights[0].shape[0])

    @property
    def layer_sizes(self) -> list[int]:
        """Units of every layer, the features first and the classes last."""
        return [self.n_features, *(len(biases) for biases in self.parameters.biases)]

    def predict_proba(self, X: ArrayLike | csr_matrix) -> Array:
        """Class probabilities (N, C) of the rows of `X` (N, K), or of images, in the units of the training data.

        Raises:
            DataError: when `X` is not a matrix of finite numbers, or has another number of features.
        """
        from fastfnn.packing import predict_logits

        features = as_features(X)
        if features.shape[1] != self.n_features:
            raise DataError(f"X: expected {self.n_features} features, found shape {features.shape}")
        logits = predict_logits(self.parameters, self.config, self.scale, features).astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=self.config.dtype)

    def predict(self, X: ArrayLike | csr_matrix) -> Array:
        """The most probable label (N,) for each row of `X` (N, K), as a value of `classes`."""
        return np.asarray(self.classes[self.predict_proba(X).argmax(axis=1)])

    # ------------------------------------------------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file with the configuration, label values and feature scale in its metadata."""
        write_atomically(path, network_bytes(self))

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Reads what `save` wrote. Nothing in the file is executed, and it is checked before it is read.

        Raises:
            DataError: naming the file, and the tensor or metadata field that is missing, extra, of another shape or
                dtype, or not finite.
        """
        return cls(*read_network(path))

    # --------------------------------------------------------------------------------------------- other libraries

    def to_onnx(self, path: str | Path | None = None, *, input_dtype: str = "float32") -> bytes:
        """The network as an ONNX model, batch norm and the feature scale folded into its linear layers.

        Its input `features` (N, K) is in the units of the training data, for any N; its outputs are `probabilities`
        (N, C) and `labels` (N,), which are values of `classes`.

        Args:
            path: where to write the model too.
            input_dtype: of the input: float32, float64, or uint8 to pass pixels as they are.

        Raises:
            MissingPackageError: when the package onnx is not installed: `pip install 'fastfnn[onnx]'`.
            ConfigError: when `input_dtype` is another.
            DataError: when the model is larger than the 2 GiB that ONNX files hold.
        """
        from fastfnn.exchange.onnx import onnx_model

        model = onnx_model(self, input_dtype)
        if path is not None:
            write_atomically(path, model)
        return model

    def to_torch(self) -> dict[str, Any]:
        """The state dictionary of the `torch.nn.Sequential` twin, which `fastfnn.exchange.torch_module` builds.

        The twin's input is `X * scale` and its output the logits. Values are torch tensors of their own memory where
        torch is installed, and NumPy arrays elsewhere.
        """
        from fastfnn.exchange.torch import state_dict

        return state_dict(self)

    @classmethod
    def from_torch(
        cls,
        source: Any,
        *,
        classes: ArrayLike | None = None,
        scale: float = 1.0,
        activation: Activation | None = None,
        batchnorm: Batchnorm | None = None,
    ) -> Network:
        """A network with the weights of a `torch.nn.Sequential` classifier, or of its state dictionary.

        Args:
            source: a module of Linear, BatchNorm1d, ReLU, Sigmoid and Tanh layers, whose output are logits; Dropout,
                Flatten, Identity and a final Softmax or LogSoftmax are left out. Or its `state_dict()`.
            classes: (C,) label values in the order of the outputs, None for 0 to C - 1.
            scale: what features are multiplied by before the module sees them (1/255 for pixels).
            activation: of the hidden layers, for a state dictionary, which does not tell; None is relu.
            batchnorm: before or after the activation, for a state dictionary whose names are not those of a
                Sequential; None to go by the names.

        Raises:
            DataError: naming the layer or tensor that does not fit.
            ConfigError: when an option is missing, or contradicts the module.
        """
        from fastfnn.exchange.torch import read_torch

        return cls._imported(read_torch(source, activation, batchnorm), classes, scale)

    @classmethod
    def from_sklearn(cls, mlp: MLPClassifier, *, scale: float = 1.0) -> Network:
        """A network with the weights and classes of a fitted `MLPClassifier`, in its dtype.

        A classifier of two classes has one logistic output z; here it gets the two logits 0 and z.

        Args:
            mlp: the classifier.
            scale: what features are multiplied by before the classifier sees them (1/255 for pixels).

        Raises:
            DataError: when it is not a fitted `MLPClassifier`, or has several labels for an example.
        """
        from fastfnn.exchange.scikit_learn import read_mlp

        return cls._imported(read_mlp(mlp), mlp.classes_, scale)

    @classmethod
    def _imported(cls, read: tuple[NetworkConfig, Parameters], classes: ArrayLike | None, scale: float) -> Network:
        from fastfnn.exchange.layers import checked_scale, label_values

        config, parameters = read
        labels = label_values(classes, len(parameters.biases[-1]))
        return cls(config, parameters, labels, checked_scale(scale))
