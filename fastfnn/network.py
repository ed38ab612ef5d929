"""A network at rest: its parameters, how they are initialised, how they are stored, and what they predict.

Shapes: N examples, K features in, H units out of a layer, C classes; L layers with weights, L - 1 of them hidden.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastfnn._version import __version__
from fastfnn.atomic import write_atomically
from fastfnn.config import NetworkConfig
from fastfnn.errors import ConfigError, DataError
from fastfnn.streams import initialisation_generator

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = NDArray[Any]
FORMAT = "fastfnn-network-1"
BATCHNORM_TENSORS = ("scale", "shift", "running_mean", "running_variance")


@dataclass
class Parameters:
    """The arrays of a network, one entry a layer.

    Attributes:
        weights: L arrays (K, H), input-major. biases: L arrays (H,).
        scale, shift, running_mean, running_variance: L - 1 arrays (H,) with batch norm, else empty.
    """

    weights: list[Array]
    biases: list[Array]
    scale: list[Array] = field(default_factory=list)
    shift: list[Array] = field(default_factory=list)
    running_mean: list[Array] = field(default_factory=list)
    running_variance: list[Array] = field(default_factory=list)

    def tensors(self) -> dict[str, Array]:
        """Every array by name: `weights.1`, `biases.1`, `scale.1`, ...; layers count from 1."""
        return {name: array for name, array in self._named()}

    def _named(self) -> Iterator[tuple[str, Array]]:
        for kind in ("weights", "biases", *BATCHNORM_TENSORS):
            for layer, array in enumerate(getattr(self, kind), start=1):
                yield f"{kind}.{layer}", array

    @classmethod
    def from_tensors(cls, tensors: dict[str, Array], n_layers: int) -> Parameters:
        """The inverse of `tensors`."""
        kinds = ("weights", "biases", *BATCHNORM_TENSORS)
        return cls(*([tensors[f"{k}.{n}"] for n in range(1, n_layers + 1) if f"{k}.{n}" in tensors] for k in kinds))

    def copy(self) -> Parameters:
        """A deep copy."""
        return Parameters.from_tensors({name: array.copy() for name, array in self._named()}, len(self.weights))


def tensor_shapes(sizes: list[int], *, batchnorm: bool) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network whose layers have `sizes` units, the features first."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False), start=1):
        shapes[f"weights.{layer}"] = (fan_in, fan_out)
        shapes[f"biases.{layer}"] = (fan_out,)
        if batchnorm and layer < len(sizes) - 1:
            shapes |= {f"{kind}.{layer}": (fan_out,) for kind in BATCHNORM_TENSORS}
    return shapes


INITIAL_VARIANCE = {
    "he": lambda fan_in, fan_out: 2 / fan_in,  # He et al. 2015, equation 10
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),  # Glorot and Bengio 2010, equation 12
}


def initialise(config: NetworkConfig, n_features: int, n_classes: int, seed: int) -> Parameters:
    """Normal weights drawn in the order of the layers, biases 0, batch norm as the identity."""
    generator = initialisation_generator(seed)
    sizes = [n_features, *config.hidden, n_classes]
    variance = INITIAL_VARIANCE[config.init]
    weights = [
        generator.normal(0, variance(k, h) ** 0.5, (k, h)).astype(config.dtype)
        for k, h in zip(sizes, sizes[1:], strict=False)
    ]
    normalised = config.hidden if config.batchnorm != "off" else ()
    zeros = [np.zeros(h, config.dtype) for h in normalised]
    ones = [np.ones(h, config.dtype) for h in normalised]
    biases = [np.zeros(h, config.dtype) for h in sizes[1:]]
    return Parameters(weights, biases, ones, zeros, [z.copy() for z in zeros], [o.copy() for o in ones])


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
        """Class probabilities (N, C) of the rows of `X` (N, K), in the units of the training data's features.

        Raises:
            DataError: when `X` is not two-dimensional or has another number of features.
        """
        from fastfnn.engine import predict_logits
        from fastfnn.rows import as_matrix

        logits = predict_logits(self, as_matrix(X, self.n_features)).astype(np.float64)
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
            classes = np.array(json.loads(metadata["classes"]), dtype=np.dtype(metadata["classes_dtype"]))
            scale = float(metadata["scale"])
            _check_tensors(tensors, config, len(classes))
        except (KeyError, TypeError, ValueError, ConfigError) as error:
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
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected a safetensors file, found: {error}") from None


def _check_tensors(tensors: dict[str, Array], config: NetworkConfig, n_classes: int) -> None:
    if "weights.1" not in tensors or tensors["weights.1"].ndim != 2:
        raise DataError("expected a matrix weights.1, found none")
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
