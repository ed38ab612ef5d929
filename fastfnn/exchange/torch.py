"""Networks as `torch.nn.Sequential` modules, and such modules as networks.

A twin has for every hidden layer a Linear, an activation and, before or after that, a BatchNorm1d; then a Linear for
the logits. torch keeps weights as (H, K), names batch norm's scale and shift weight and bias, and counts its momentum
the other way round: its 0.1 is our 0.9. Its running variances are estimates without bias, ours the biased ones.

Shapes: K features in, H units out of a layer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import Activation, Batchnorm, NetworkConfig
from fastfnn.errors import ConfigError, DataError
from fastfnn.exchange.layers import Layer, Linear, Nonlinearity, Normalisation, assemble
from fastfnn.exchange.packages import require
from fastfnn.parameters import BATCHNORM_EPSILON, Parameters

if TYPE_CHECKING:
    from fastfnn.network import Network

Array = NDArray[Any]
Tensors: TypeAlias = dict[str, Any]

ACTIVATIONS: dict[Activation, str] = {"relu": "ReLU", "logistic": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}
BATCHNORM_NAMES = {
    "scale": "weight",
    "shift": "bias",
    "running_mean": "running_mean",
    "running_variance": "running_var",
}
WITHOUT_EFFECT = ("Identity", "Dropout", "Flatten")
PROBABILITIES = ("Softmax", "LogSoftmax")


# ------------------------------------------------------------------------------------------------------------ to torch


def torch_module(network: Network) -> Any:
    """The `torch.nn.Sequential` twin of a network, in evaluation mode: `X * network.scale` -> logits.

    Raises:
        MissingPackageError: when torch is not installed.
    """
    torch = require("torch", "pip install torch")
    dtype = getattr(torch, network.config.dtype)
    modules = []
    with torch.device("meta"):  # initial weights would be drawn from the user's generator, for nothing
        for kind, layer in _twin(network.config):
            inputs, outputs = network.layer_sizes[layer : layer + 2]
            if kind == "linear":
                modules.append(torch.nn.Linear(inputs, outputs, dtype=dtype))
            elif kind == "batchnorm":
                modules.append(torch.nn.BatchNorm1d(outputs, eps=BATCHNORM_EPSILON, dtype=dtype))
            else:
                modules.append(getattr(torch.nn, ACTIVATIONS[network.config.activation])())
    twin = torch.nn.Sequential(*modules)
    twin.load_state_dict(state_dict(network), assign=True)
    return twin.eval()


def state_dict(network: Network) -> Tensors:
    """The state dictionary of the twin: torch tensors where torch is installed, NumPy arrays elsewhere."""
    arrays = dict(_twin_arrays(network))
    if find_spec("torch") is None:
        return arrays
    torch = require("torch", "pip install torch")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _twin(config: NetworkConfig) -> Iterator[tuple[str, int]]:
    """Kind and layer of every module of the twin."""
    for layer in range(len(config.hidden)):
        yield "linear", layer
        if config.batchnorm == "before":
            yield "batchnorm", layer
        yield "activation", layer
        if config.batchnorm == "after":
            yield "batchnorm", layer
    yield "linear", len(config.hidden)


def _twin_arrays(network: Network) -> Iterator[tuple[str, Array]]:
    """Names and copies of every array of the twin."""
    parameters = network.parameters
    for position, (kind, layer) in enumerate(_twin(network.config)):
        if kind == "linear":
            yield f"{position}.weight", parameters.weights[layer].T.copy()
            yield f"{position}.bias", parameters.biases[layer].copy()
        elif kind == "batchnorm":
            for ours, theirs in BATCHNORM_NAMES.items():
                yield f"{position}.{theirs}", getattr(parameters, ours)[layer].copy()
            yield f"{position}.num_batches_tracked", np.array(0)


# ---------------------------------------------------------------------------------------------------------- from torch


def read_torch(
    source: Any, activation: Activation | None, batchnorm: Batchnorm | None
) -> tuple[NetworkConfig, Parameters]:
    """Configuration and arrays of a module or a state dictionary.

    Raises:
        DataError: naming the layer or tensor that does not fit.
        ConfigError: when a state dictionary leaves open where batch norm is, or an option is given with a module.
    """
    if isinstance(source, Mapping):
        return assemble(list(_layers_of_state(source, activation or "relu", batchnorm)))
    if activation or batchnorm:
        raise ConfigError("activation and batchnorm: expected only with a state dictionary, found them with a module")
    return assemble(list(_layers_of_module(source)))


def _layers_of_module(source: Any) -> Iterator[Layer]:
    torch: Any = sys.modules.get("torch")  # if it was never imported, nothing can be of it
    if torch is None or not isinstance(source, torch.nn.Sequential | torch.nn.Linear):
        raise DataError(
            f"source: expected a torch.nn.Sequential, found {type(source).__name__}; "
            "of another module pass its state_dict()"
        )
    modules = [source] if isinstance(source, torch.nn.Linear) else _flat(source, torch.nn.Sequential)
    if modules and isinstance(modules[-1], _types(torch, PROBABILITIES)):
        modules.pop()
    for position, module in enumerate(modules):
        if not isinstance(module, _types(torch, WITHOUT_EFFECT)):
            yield _layer_of_module(torch, f"module {position} ({type(module).__name__})", module)


def _flat(sequential: Any, kind: type) -> list[Any]:
    """The modules within modules, in order. By iteration, which gives a module that is used twice twice."""
    return [leaf for module in sequential for leaf in (_flat(module, kind) if isinstance(module, kind) else [module])]


def _types(torch: Any, names: Iterable[str]) -> tuple[type, ...]:
    return tuple(getattr(torch.nn, name) for name in names)


def _layer_of_module(torch: Any, name: str, module: Any) -> Layer:
    if isinstance(module, torch.nn.Linear):
        return _linear(name, {"weight": module.weight, "bias": module.bias})
    if isinstance(module, torch.nn.BatchNorm1d):
        tensors = {theirs: getattr(module, theirs) for theirs in BATCHNORM_NAMES.values()}
        return _normalisation(name, tensors, module.eps)
    for kind, class_name in ACTIVATIONS.items():
        if isinstance(module, getattr(torch.nn, class_name)):
            return Nonlinearity(name, kind)
    known = ["Linear", "BatchNorm1d", *ACTIVATIONS.values(), *WITHOUT_EFFECT[1:]]
    raise DataError(f"{name}: expected one of {', '.join(known)}, or Softmax at the end")


def _layers_of_state(state: Mapping[str, Any], activation: Activation, batchnorm: Batchnorm | None) -> Iterator[Layer]:
    """The layers of a state dictionary, with the activations that it does not mention."""
    groups = _by_module(state)
    names = list(groups)
    layers = [_layer_of_state(name, tensors) for name, tensors in groups.items()]
    starts = [index for index, layer in enumerate(layers) if isinstance(layer, Linear)]
    yield from layers[: starts[0] if starts else None]
    for first, end in pairwise(starts):
        linear, *norms = layers[first:end]
        nonlinearity = Nonlinearity(f"activation of {linear.name}", activation)
        after = norms and _is_after(batchnorm, *names[first : first + 3])
        yield from (linear, nonlinearity, *norms) if after else (linear, *norms, nonlinearity)
    yield from layers[starts[-1] :] if starts else ()


def _by_module(state: Mapping[str, Any]) -> dict[str, Tensors]:
    """The tensors of every module, in the order of the modules.

    A file may have changed the order of the dictionary; the positions in one Sequential still tell it.
    """
    groups: dict[str, Tensors] = {}
    for key, value in state.items():
        module, _, tensor = str(key).rpartition(".")
        groups.setdefault(module, {})[tensor] = value
    numbered = len({_place(name)[0] for name in groups}) == 1 and all(_place(name)[1] >= 0 for name in groups)
    return dict(sorted(groups.items(), key=lambda item: _place(item[0])[1])) if numbered else groups


def _place(name: str) -> tuple[str, int]:
    """The Sequential that a module is in, and its position there; -1 when it is not in one."""
    parent, _, last = name.rpartition(".")
    return parent, int(last) if last.isdecimal() else -1


def _is_after(batchnorm: Batchnorm | None, linear: str, norm: str, following: str) -> bool:
    """Whether batch norm comes after the activation, as the caller says or else the positions."""
    placement = batchnorm or _placement(linear, norm, following)
    if placement not in ("before", "after"):
        raise ConfigError(f"batchnorm: expected before or after, found {placement!r}")
    return placement == "after"


def _placement(linear: str, norm: str, following: str) -> Batchnorm:
    """Where batch norm is, by its position between two linear layers: next to one of them, and not to the other.

    Raises:
        ConfigError: when the positions do not tell.
    """
    places = [_place(name) for name in (linear, norm, following)]
    first, at, last = (position for _, position in places)
    in_one_sequential = len({parent for parent, _ in places}) == 1 and min(first, at, last) >= 0
    follows_linear, precedes_linear = at == first + 1, last == at + 1
    if not in_one_sequential or follows_linear == precedes_linear:
        raise ConfigError(f"batchnorm: expected before or after the activation, which {norm!r} does not tell")
    return "before" if follows_linear else "after"


def _layer_of_state(module: str, tensors: Tensors) -> Layer:
    name = f"state dictionary, module {module!r}"
    known = {*BATCHNORM_NAMES.values(), "num_batches_tracked"}
    if not tensors.keys() <= known:
        found = ", ".join(sorted(tensors.keys() - known))
        raise DataError(f"{name}: expected the tensors of a Linear or BatchNorm1d layer, found {found}")
    if "running_mean" in tensors or "running_var" in tensors:
        return _normalisation(name, tensors, BATCHNORM_EPSILON)
    return _linear(name, tensors)


# -------------------------------------------------------------------------------------------------------------- layers


def _linear(name: str, tensors: Tensors) -> Linear:
    weight = _array(name, tensors, "weight")
    if weight.ndim != 2:
        raise DataError(f"{name}: expected a weight of 2 dimensions, as of a Linear layer, found shape {weight.shape}")
    has_bias = tensors.get("bias") is not None
    return Linear(name, weight.T, _array(name, tensors, "bias") if has_bias else np.zeros(len(weight), weight.dtype))


def _normalisation(name: str, tensors: Tensors, epsilon: float) -> Normalisation:
    """Batch norm with our epsilon; another one is made up for in the scale."""
    mean, variance = _array(name, tensors, "running_mean"), _array(name, tensors, "running_var")
    scale = _array(name, tensors, "weight") if tensors.get("weight") is not None else np.ones_like(mean)
    shift = _array(name, tensors, "bias") if tensors.get("bias") is not None else np.zeros_like(mean)
    if epsilon != BATCHNORM_EPSILON:
        with np.errstate(all="ignore"):  # what is not finite then is an error that names the layer
            scale = scale * np.sqrt((variance + BATCHNORM_EPSILON) / (variance + epsilon))
    return Normalisation(name, scale, shift, mean, variance)


def _array(name: str, tensors: Tensors, tensor: str) -> Array:
    """A tensor as a NumPy array, of float64 if it is that and else of float32."""
    value = tensors.get(tensor)
    if value is None:
        raise DataError(f"{name}: expected a tensor {tensor}, found none")
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() and value.element_size() < 4 else value  # bfloat16
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise DataError(f"{name}: expected {tensor} of floating-point numbers, found dtype {array.dtype}")
    return array if array.dtype == np.float64 else array.astype(np.float32)
