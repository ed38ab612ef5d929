"""fastfnn: the fastest trainer of fully connected networks on a CPU, and an honest answer to "which batch size?".

    data = fastfnn.load_dataset("mnist")
    result = fastfnn.train(data, fastfnn.TrainingConfig(batch_size=128, epochs=30))
    result.test_accuracy

This module imports nothing; a name is imported from its home when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastfnn._version import __version__

if TYPE_CHECKING:
    from fastfnn import reference, textbook
    from fastfnn.config import EarlyStopping, NetworkConfig, SweepConfig, TrainingConfig
    from fastfnn.data import Dataset, load_dataset
    from fastfnn.errors import ConfigError, DataError, FastfnnError, StoreError
    from fastfnn.estimator import FNNClassifier
    from fastfnn.network import Network
    from fastfnn.results import Evaluation, History, TrainingResult
    from fastfnn.sweeps.runner import run_sweep
    from fastfnn.training import train

_HOMES = {
    "config": ("EarlyStopping", "NetworkConfig", "SweepConfig", "TrainingConfig"),
    "data": ("Dataset", "load_dataset"),
    "errors": ("ConfigError", "DataError", "FastfnnError", "StoreError"),
    "estimator": ("FNNClassifier",),
    "network": ("Network",),
    "results": ("Evaluation", "History", "TrainingResult"),
    "sweeps.runner": ("run_sweep",),
    "training": ("train",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ConfigError",
    "DataError",
    "Dataset",
    "EarlyStopping",
    "Evaluation",
    "FNNClassifier",
    "FastfnnError",
    "History",
    "Network",
    "NetworkConfig",
    "StoreError",
    "SweepConfig",
    "TrainingConfig",
    "TrainingResult",
    "__version__",
    "load_dataset",
    "reference",
    "run_sweep",
    "textbook",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in ("reference", "textbook"):
        return import_module(f"fastfnn.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"fastfnn.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
