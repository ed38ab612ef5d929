"""Checkpoints: a run that was killed continues where its last checkpoint was, to the same bits."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfnn._version import __version__
from fastfnn.atomic import write_atomically
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import DataError
from fastfnn.model_files import read_safetensors
from fastfnn.results import History
from fastfnn.stretch import Totals

if TYPE_CHECKING:
    from fastfnn.training import Loop

FORMAT = "fastfnn-checkpoint-2"
SECONDS_BETWEEN_SAVES = 15.0


class Checkpoint:
    """One run's checkpoint file, in the safetensors format."""

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        self.path, self.identity = path, identity
        self.saved_at = time.monotonic()

    @classmethod
    def at(cls, path: str | Path, data: Dataset, config: TrainingConfig, engine: str) -> Checkpoint:
        """The checkpoint of a run, identified by its configuration, data and version, and by its engine.

        Raises:
            DataError: when there is no such folder, so that this is not found out after hours.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise DataError(f"{path}: expected a file in a folder that exists, found no folder {path.parent}")
        identity = {"config": config.content_hash(), "data": data.fingerprint, "version": __version__}
        return cls(path, {"format": FORMAT, **identity, "engine": engine})

    def save_if_due(self, loop: Loop) -> None:
        """Saves when the last save was a while ago."""
        if time.monotonic() - self.saved_at >= SECONDS_BETWEEN_SAVES:
            self.save(loop)

    def save(self, loop: Loop) -> None:
        """Writes the state of the loop, replacing the file at once."""
        from safetensors.numpy import save

        tensors: dict[str, Any] = {f"engine.{name}": array for name, array in loop.engine.state().items()}
        tensors |= {f"best.{name}": array for name, array in (loop.best_state or {}).items()}
        tensors |= {f"history.{name}": np.asarray(values, "f8") for name, values in loop.history.to_dict().items()}
        progress = {
            "step": loop.step,
            "train_seconds": loop.train_seconds,
            "evaluation_seconds": loop.evaluation_seconds,
            "pending": [asdict(totals) for totals in loop.pending],
            "rule": {k: v for k, v in vars(loop.rule).items() if k != "config"} if loop.rule else None,
        }
        write_atomically(self.path, save(tensors, metadata={**self.identity, "progress": json.dumps(progress)}))
        self.saved_at = time.monotonic()

    def resume(self, loop: Loop) -> None:
        """Puts the loop where the file says, if there is one.

        Raises:
            DataError: naming the file, when it is damaged or belongs to another configuration, data set or version.
        """
        if not self.path.exists():
            return
        metadata, tensors = read_safetensors(self.path)
        self._check_identity(metadata)
        self._check_shapes(tensors, loop)
        try:
            self._put(loop, json.loads(metadata["progress"]), tensors)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: the checkpoint is damaged: {type(error).__name__} {error}") from None

    def _put(self, loop: Loop, progress: dict[str, Any], tensors: dict[str, Any]) -> None:
        loop.step = progress["step"]
        loop.train_seconds, loop.evaluation_seconds = progress["train_seconds"], progress["evaluation_seconds"]
        loop.pending = [Totals(**totals) for totals in progress["pending"]]
        loop.history = History(**{name: tensors[f"history.{name}"].tolist() for name in History.columns()})
        loop.history.step = [int(step) for step in loop.history.step]
        loop.engine.restore(_with_prefix(tensors, "engine."))
        loop.best_state = _with_prefix(tensors, "best.") or None
        if loop.rule:
            vars(loop.rule).update(progress["rule"])

    def _check_shapes(self, tensors: dict[str, Any], loop: Loop) -> None:
        for prefix in ("engine.", "best."):
            found = _with_prefix(tensors, prefix)
            for name, expected in loop.engine.state().items() if found or prefix == "engine." else ():
                if name not in found or found[name].shape != expected.shape or found[name].dtype != expected.dtype:
                    raise DataError(
                        f"{self.path}: tensor {prefix}{name}: expected {expected.dtype} {expected.shape}, "
                        f"found {f'{found[name].dtype} {found[name].shape}' if name in found else 'none'}"
                    )

    def remove(self) -> None:
        """Deletes the file; a finished run needs none."""
        self.path.unlink(missing_ok=True)

    def _check_identity(self, metadata: dict[str, str]) -> None:
        for field, expected in self.identity.items():
            if metadata.get(field) != expected:
                raise DataError(
                    f"{self.path}: the checkpoint is of another run: expected {field} {expected[:16]}, "
                    f"found {metadata.get(field, 'none')[:16]}; remove the file or name another"
                )


def _with_prefix(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
