"""scikit-learn's MLPClassifier, an epoch by `partial_fit`, which goes once over its rows in batches.

SGD without momentum, penalty and Nesterov's second pass over the gradients; `shuffle=False`, since the rows come in the
order of the epoch (an index for a batch, as `shuffle=True` does, would be an order of scikit-learn's own). The rows are
known to be finite, so the search for NaN is switched off. Float32 stays float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.parameters import initialise

from .peer import Order, Peer, UnavailableError, csr_rows, dense_rows


class ScikitPeer(Peer):
    """Dense rows."""

    def __init__(self, data: Dataset, config: TrainingConfig, threads: int) -> None:
        super().__init__(data, config, threads)
        if data.n_classes == 2:
            raise UnavailableError("for two classes MLPClassifier has one output, which is another network")
        self.features = self.rows_of(data)
        self.labels = data.train.labels
        self.model = MLPClassifier(
            hidden_layer_sizes=config.hidden,
            solver="sgd",
            alpha=0,
            batch_size=config.batch_size,
            learning_rate_init=config.base_learning_rate,
            shuffle=False,
            momentum=0,
            nesterovs_momentum=False,
            n_iter_no_change=np.inf,
        )
        self._give_initial_weights()

    def rows_of(self, data: Dataset) -> Any:
        """The features in the form that the peer reads."""
        return dense_rows(data)

    def _give_initial_weights(self) -> None:
        """The model has weights only once it was trained, so it takes a step before it gets the true ones."""
        self._fit(self.data.train.indices[:1], classes=np.arange(self.data.n_classes))
        parameters = initialise(self.config, self.data.n_features, self.data.n_classes, self.config.seed)
        for ours, theirs in zip(
            (*parameters.weights, *parameters.biases), (*self.model.coefs_, *self.model.intercepts_), strict=True
        ):
            theirs[...] = ours

    def _fit(self, order: Order, classes: Order | None = None) -> None:
        with sklearn.config_context(assume_finite=True), warnings.catch_warnings():
            # Of fewer rows than a batch, in the check and above: they are the batch.
            warnings.filterwarnings("ignore", message="Got `batch_size` less than 1 or larger than sample size")
            self.model.partial_fit(self.features[order], self.labels[order], classes=classes)

    def epoch(self, order: Order) -> float:
        self._fit(order)
        return float(self.model.loss_) * len(order)


class ScikitCsrPeer(ScikitPeer):
    """Compressed rows."""

    def rows_of(self, data: Dataset) -> Any:
        return csr_rows(data)
