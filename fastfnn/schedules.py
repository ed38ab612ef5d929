"""The learning rate of every step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastfnn.config import TrainingConfig

FloatArray = NDArray[np.float64]


def _constant(config: TrainingConfig, step: FloatArray, steps_per_epoch: int, progress: FloatArray) -> FloatArray:
    return np.ones_like(step)


def _step(config: TrainingConfig, step: FloatArray, steps_per_epoch: int, progress: FloatArray) -> FloatArray:
    reductions = step // (steps_per_epoch * config.lr_step_epochs)
    return np.asarray(config.lr_step_factor**reductions)


def _cosine(config: TrainingConfig, step: FloatArray, steps_per_epoch: int, progress: FloatArray) -> FloatArray:
    """Loshchilov and Hutter, SGDR (2017), equation 5, without restarts and down to 0."""
    return 0.5 * (1 + np.cos(np.pi * progress))


SCHEDULES = {"constant": _constant, "step": _step, "cosine": _cosine}


def learning_rates(config: TrainingConfig, steps_per_epoch: int, first: int, last: int) -> FloatArray:
    """The learning rates of steps first..last-1, counted from the start of the run: (last - first,).

    During the warm-up, step s of W has (s + 1) / W of the scheduled rate; the cosine begins after it.
    """
    if config.lr_schedule == "constant" and config.warmup_epochs == 0:
        return np.full(last - first, config.base_learning_rate)
    step = np.arange(first, last, dtype=np.float64)
    warmup = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    progress = np.clip((step - warmup) / max(1, total - warmup), 0, 1)
    ramp = np.minimum(1, (step + 1) / max(1, warmup))
    factor = SCHEDULES[config.lr_schedule](config, step, steps_per_epoch, progress)
    return np.asarray(config.base_learning_rate * ramp * factor)
