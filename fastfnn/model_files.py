"""Networks in safetensors files: written whole, read with distrust.

The library makes sure of the format: the header lies within the file, is JSON of the right types, and the tensors that
it promises fill the rest of the file without overlap or hole. What is checked here is that the file is a network of
ours; names, dtypes and shapes before any tensor is read, so that nothing larger than the file is ever allocated.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastfnn._version import __version__
from fastfnn.config import NetworkConfig
from fastfnn.errors import DataError
from fastfnn.parameters import Parameters, tensor_shapes

if TYPE_CHECKING:
    from fastfnn.network import Network

Array = NDArray[Any]
T = TypeVar("T")

FORMAT = "fastfnn-network-1"
LABEL_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|U\d+)")
LABEL_BYTES = 64 << 20
"""What the labels of a small file may take: NumPy gives every label the room of the longest."""

LONGEST_REASON = 300
KINDS = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex", "BOOL": "bool"}


class TensorInfo(NamedTuple):
    """What the header of a file says about a tensor."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


# ------------------------------------------------------------------------------------------------ safetensors files


class SafetensorsFile(AbstractContextManager["SafetensorsFile"]):
    """An open safetensors file, whose header has been checked against its size and whose tensors are not read yet.

    Attributes:
        metadata: its free texts by name.
        tensors: dtype and shape of every tensor by name.

    Raises:
        DataError: naming the file, when it is missing or is not a safetensors file.
    """

    def __init__(self, path: str | Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        try:
            self._require_plain_file()
            self._file: Any = safe_open(str(path), framework="numpy")
            header = self._header()
        except (OSError, SafetensorError, ValueError) as error:
            raise self._refusal(error) from None
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        self.tensors = {
            name: TensorInfo(_dtype_name(info["dtype"]), tuple(info["shape"])) for name, info in header.items()
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def read(self) -> dict[str, Array]:
        """Every tensor by name.

        Raises:
            DataError: naming the file, when a tensor is of a dtype that NumPy lacks.
        """
        from safetensors import SafetensorError

        try:
            return {name: self._file.get_tensor(name) for name in self.tensors}
        except (OSError, SafetensorError, TypeError, AttributeError) as error:
            raise self._refusal(error) from None

    def _require_plain_file(self) -> None:
        """A named pipe would wait for its writer, a device has no size."""
        if self.path.exists() and not self.path.is_file():
            raise OSError("a folder" if self.path.is_dir() else "something that is not a plain file")

    def _header(self) -> Any:
        """The header, which the library has found valid; of a repeated key it believes one, other readers another."""
        with self.path.open("rb") as stream:
            return strict_json(stream.read(int.from_bytes(stream.read(8), "little")))

    def _refusal(self, error: Exception) -> DataError:
        found = error.strerror if isinstance(error, OSError) and error.strerror else error
        return DataError(f"{self.path}: expected a safetensors file, found: {_on_one_line(found)}")


def read_safetensors(path: str | Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Metadata and tensors of a safetensors file.

    Raises:
        DataError: naming the file, when it is missing or is not a safetensors file.
    """
    with SafetensorsFile(path) as file:
        return file.metadata, file.read()


def strict_json(text: str | bytes) -> Any:
    """Reads JSON in which no table has a key twice.

    Raises:
        ValueError: when one has, or when the text is not JSON.
    """
    return json.loads(text, object_pairs_hook=_table)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {reprlib.repr(repeated)} twice in a JSON table")
    return table


def _dtype_name(dtype: str) -> str:
    """NumPy's name of a dtype, for messages: `float32` for `F32`."""
    kind = dtype.rstrip("0123456789")
    return KINDS.get(kind, kind) + dtype[len(kind) :]


def _on_one_line(reason: object) -> str:
    """A reason without control characters, which come from the file, and not longer than can be read."""
    text = "".join(character if character.isprintable() else " " for character in str(reason))
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + "…"


# ---------------------------------------------------------------------------------------------------------- networks


def network_bytes(network: Network) -> bytes:
    """The content of a network's file: its arrays, and in the metadata what it takes to predict with them."""
    from safetensors.numpy import save

    config = {name: getattr(network.config, name) for name in NetworkConfig.model_fields}
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "config": NetworkConfig(**config).to_json(),
        "classes": json.dumps(network.classes.tolist()),
        "classes_dtype": network.classes.dtype.str,
        "scale": repr(network.scale),
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in network.parameters.tensors().items()}
    return save(tensors, metadata=metadata)


def read_network(path: str | Path) -> tuple[NetworkConfig, Parameters, Array, float]:
    """Configuration, arrays, label values and feature scale from a file with the content of `network_bytes`.

    Raises:
        DataError: naming the file, and the tensor or metadata field that is missing, extra, of another shape or
            dtype, or not finite.
    """
    with SafetensorsFile(path) as file:
        try:
            config, classes, scale = _description(file.metadata, file.path.stat().st_size)
            _check_shapes(file.tensors, config, len(classes))
            tensors = file.read()
            _check_values(tensors)
        except ValueError as error:
            raise DataError(f"{path}: not a fastfnn network: {error}") from None
    return config, Parameters.from_tensors(tensors, len(config.hidden) + 1), classes, scale


def _description(metadata: dict[str, str], file_size: int) -> tuple[NetworkConfig, Array, float]:
    if metadata.get("format") != FORMAT:
        found = reprlib.repr(metadata.get("format"))
        raise DataError(f"expected metadata format {FORMAT!r}, found {found}")
    config = _field(metadata, "config", _read_config)
    dtype = _field(metadata, "classes_dtype", _read_label_dtype)
    room = max(LABEL_BYTES, file_size)
    classes = _field(metadata, "classes", partial(_read_classes, dtype=dtype, room=room))
    scale = _field(metadata, "scale", partial(_read_scale, largest=float(np.finfo(config.dtype).max)))
    return config, classes, scale


def _field(metadata: dict[str, str], name: str, read: Callable[[str], T]) -> T:
    """What `read` makes of a field; every error names it."""
    if name not in metadata:
        raise DataError(f"metadata lacks {name!r}")
    try:
        return read(metadata[name])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"metadata {name}: {_on_one_line(error)}") from None


def _read_config(text: str) -> NetworkConfig:
    strict_json(text)
    return NetworkConfig.from_json(text)


def _read_label_dtype(text: str) -> np.dtype[Any]:
    if not LABEL_DTYPE.fullmatch(text):
        raise ValueError(f"expected numbers or strings, found {reprlib.repr(text)}")
    # The width of strings follows from the labels: a width of the file's could be any.
    return np.dtype(str) if "U" in text else np.dtype(text)


def _read_classes(text: str, dtype: np.dtype[Any], room: int) -> Array:
    labels = json.loads(text)
    if not isinstance(labels, list) or len(labels) < 2:
        raise ValueError(f"expected a list of at least 2, found {reprlib.repr(labels)}")
    if dtype.kind == "U":
        _check_texts(labels, room)
    classes = np.array(labels, dtype)
    # Not equal either are NaN, and a text that ends in a zero byte, which NumPy drops.
    finite = dtype.kind != "f" or bool(np.isfinite(classes).all())
    if classes.ndim != 1 or classes.tolist() != labels or not finite:
        raise ValueError(f"expected finite values of dtype {dtype}, found {reprlib.repr(labels)}")
    return classes


def _check_texts(labels: list[Any], room: int) -> None:
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"expected strings, found {reprlib.repr(labels)}")
    for label in labels:
        label.encode()  # half of a surrogate pair could never be printed
    longest = max(map(len, labels))
    if longest * len(labels) * np.dtype("U1").itemsize > room:
        raise ValueError(f"expected labels that fit into {room} bytes, found {len(labels)} of up to {longest} letters")


def _read_scale(text: str, largest: float) -> float:
    scale = float(text)
    if not 0 < scale <= largest:
        raise ValueError(f"expected a positive number up to {largest:.3g}, found {scale}")
    return scale


def _check_shapes(tensors: dict[str, TensorInfo], config: NetworkConfig, n_classes: int) -> None:
    first = tensors.get("weights.1")
    if first is None or len(first.shape) != 2 or 0 in first.shape:
        raise DataError(f"tensor weights.1: expected a matrix that is not empty, found {first or 'none'}")
    if len(config.hidden) >= len(tensors):  # their shapes are not even computed
        raise DataError(f"tensors: expected those of {len(config.hidden)} hidden layers, found {len(tensors)}")
    expected = tensor_shapes([first.shape[0], *config.hidden, n_classes], batchnorm=config.batchnorm != "off")
    if tensors.keys() != expected.keys():
        missing, extra = (_some(names) for names in (expected.keys() - tensors, tensors.keys() - expected))
        raise DataError(f"tensors missing: {missing}, extra: {extra}")
    for name, shape in expected.items():
        if tensors[name] != (config.dtype, shape):
            raise DataError(f"tensor {name}: expected {config.dtype} {shape}, found {tensors[name]}")


def _some(names: set[str]) -> str:
    return reprlib.repr(sorted(names)) if names else "none"


def _check_values(tensors: dict[str, Array]) -> None:
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise DataError(f"tensor {name}: holds values that are not finite")
        if name.startswith("running_variance") and (array < 0).any():
            raise DataError(f"tensor {name}: expected variances, found a negative value")
