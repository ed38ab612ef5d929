"""fastfnn itself: an epoch is one call of the engine that training uses."""

from __future__ import annotations

import numpy as np

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.errors import ConfigError
from fastfnn.stretch import Stretch

from .peer import Order, Peer, UnavailableError


class FastfnnPeer(Peer):
    """The compiled kernels."""

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        try:
            config = config.replace(threads=threads)
            self.engine = KernelEngine(data, config)
        except ConfigError as error:
            raise UnavailableError(f"this version refuses {threads} threads ({error})") from None
        super().__init__(data, config, threads)
        self.keys = np.zeros(len(config.hidden), np.uint32)

    def epoch(self, order: Order) -> float:
        steps = self.config.steps_per_epoch(len(order))
        rates = np.full(steps, self.learning_rate)
        return self.engine.run(Stretch(order, 0, steps, 0, rates, self.keys)).loss
