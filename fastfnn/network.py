"""A network at rest: how it is stored, and what it predicts.

Shapes: N examples, K features in, C classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn._version import __version__
from fastfnn.atomic import write_atomically
from fastfnn.config import NetworkConfig
from fastfnn.data import as_features
from fastfnn.errors import DataError
from fastfnn.parameters import Parameters, tensor_shapes

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = NDArray[Any]
FORMAT = "fastfnn-network-1"


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

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file with the configuration, label values and feature scale in its metadata."""
        from safetensors.numpy import save

        metadata = {
            "format": FORMAT,
            "version": __version__,
            "config": NetworkConfig(**_network_fields(self.config)).to_json(),
            "classes": json.dumps(self.classes.tolist()),
            "classes_dtype": self.classes.dtype.str,
            "scale": repr(self.scale),
        }
        tensors = {name: np.ascontiguousarray(array) for name, array in self.parameters.tensors().items()}
        write_atomically(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """Reads what `save` wrote.

        Raises:
            DataError: naming the file, and the tensor or metadata field that is missing, extra, of another shape or
                dtype, or not finite.
        """
        metadata, tensors = read_safetensors(path)
        try:
            if metadata.get("format") != FORMAT:
                raise DataError(f"expected metadata format {FORMAT!r}, found {metadata.get('format')!r}")
            config = NetworkConfig.from_json(metadata["config"])
            classes = _read_classes(metadata)
            scale = _read_scale(metadata)
            _check_tensors(tensors, config, len(classes))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            reason = f"metadata lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{path}: not a fastfnn network: {reason}") from None
        return cls(config, Parameters.from_tensors(tensors, len(config.hidden) + 1), classes, scale)


def _network_fields(config: NetworkConfig) -> dict[str, Any]:
    """The fields that describe the network; a training configuration has more."""
    return {name: getattr(config, name) for name in NetworkConfig.model_fields}


def read_safetensors(path: str | Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Metadata and tensors of a safetensors file; its header is checked against its size before anything is read.

    Raises:
        DataError: naming the file, when it is missing or is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, AttributeError) as error:  # the last two: dtypes that NumPy lacks
        raise DataError(f"{path}: expected a safetensors file, found: {error}") from None


def _read_classes(metadata: dict[str, str]) -> Array:
    dtype = np.dtype(metadata["classes_dtype"])
    if dtype.kind not in "biufU":
        raise DataError(f"metadata classes_dtype: expected numbers or strings, found {dtype}")
    classes = np.array(json.loads(metadata["classes"]), dtype=dtype)
    if classes.ndim != 1 or len(classes) < 2:
        raise DataError(f"metadata classes: expected a list of at least 2, found shape {classes.shape}")
    return classes


def _read_scale(metadata: dict[str, str]) -> float:
    scale = float(metadata["scale"])
    if not 0 < scale < float("inf"):
        raise DataError(f"metadata scale: expected a positive number, found {scale}")
    return scale


def _check_tensors(tensors: dict[str, Array], config: NetworkConfig, n_classes: int) -> None:
    if "weights.1" not in tensors or tensors["weights.1"].ndim != 2 or not tensors["weights.1"].size:
        raise DataError("tensor weights.1: expected a matrix that is not empty, found none")
    sizes = [tensors["weights.1"].shape[0], *config.hidden, n_classes]
    expected = tensor_shapes(sizes, batchnorm=config.batchnorm != "off")
    if set(tensors) != set(expected):
        missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
        raise DataError(f"tensors missing: {missing or 'none'}, extra: {extra or 'none'}")
    for name, shape in expected.items():
        if tensors[name].shape != shape or tensors[name].dtype != np.dtype(config.dtype):
            found = f"{tensors[name].dtype} {tensors[name].shape}"
            raise DataError(f"tensor {name}: expected {config.dtype} {shape}, found {found}")
        if not np.isfinite(tensors[name]).all():
            raise DataError(f"tensor {name}: holds values that are not finite")
        if name.startswith("running_variance") and (tensors[name] < 0).any():
            raise DataError(f"tensor {name}: expected variances, found a negative value")
