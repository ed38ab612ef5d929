"""Epochs of which none depends on where one engine's memory happens to lie."""

from __future__ import annotations

from collections import deque

from fastfnn.benchmarks.epochs import Epochs
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset


class FreshEngines:
    """Times the epochs of a configuration, each with a new engine.

    Where an engine's memory lies is luck, and may make it a tenth slower as long as it lives. So some earlier ones are
    kept, and the next one lies elsewhere.
    """

    def __init__(self, data: Dataset, config: TrainingConfig) -> None:
        self.data, self.config = data, config
        self.engines = deque([Epochs(data, config)], maxlen=8)
        self.steps = self.engines[0].steps
        engine = self.engines[0].engine
        self.threads, self.by_kinds = len(engine.members), engine.network.layout.first_layer_by_kinds

    def time_epoch(self) -> float:
        self.engines.append(Epochs(self.data, self.config))
        return self.engines[-1].time_epoch()

    def time_evaluation(self) -> float:
        return self.engines[-1].time_evaluation(self.data.test or self.data.train)
