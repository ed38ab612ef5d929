"""FNNClassifier: scikit-learn's contract on the compiled kernels.

Shapes: N examples, K features, C classes.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastfnn.config import NetworkConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError, DataError
from fastfnn.estimator import inputs, outputs, settings
from fastfnn.estimator.epochs import Ending, EpochLoop, RunState
from fastfnn.network import Network
from fastfnn.parameters import Parameters

Array = NDArray[Any]
SEEDS = np.iinfo(np.int32).max


class FNNClassifier(ClassifierMixin, BaseEstimator):
    """A fully connected network as a scikit-learn classifier, trained by compiled kernels.

    Parameters and attributes are those of `sklearn.neural_network.MLPClassifier` where the meaning is the same;
    docs/estimator.md has a table of the differences. X is dense or sparse (CSR; other formats are converted), y has
    labels of any kind.

    Args:
        hidden_layer_sizes: units of the hidden layers; an empty tuple makes it softmax regression.
        activation: "relu", "logistic", "tanh" or "identity", of the hidden layers.
        solver: "adam" or "sgd".
        alpha: the penalty's factor: `alpha / 2` times the sum of squared weights is added to the mean cross-entropy.
        batch_size: examples in a batch, at most all of them; "auto" is 200.
        learning_rate: "constant"; "step" and "cosine" (by the lr options below), for both solvers; for "sgd" also
            "invscaling" and "adaptive", as in scikit-learn.
        learning_rate_init: the learning rate, which the schedule multiplies.
        power_t: the exponent of "invscaling".
        max_iter: the most epochs of a call of `fit`.
        shuffle: whether each epoch takes the rows in a new order.
        random_state: None, an integer or a RandomState, for weights, orders, dropout and the validation rows.
        tol, n_iter_no_change: training stops when the loss (with early stopping, the validation score) has not been
            better than the best one by `tol` for more than `n_iter_no_change` epochs in a row.
        verbose: whether to print a line for each epoch.
        warm_start: whether `fit` goes on from the weights that are there.
        momentum, nesterovs_momentum: of solver "sgd".
        early_stopping: whether to stop by the score on validation rows, and keep the best epoch's weights.
        validation_fraction: the share of the rows set apart for that, unless `fit` is given a validation set.
        beta_1, beta_2, epsilon: of solver "adam".
        l2_convention: "fixed", where the penalty does not depend on the batch size, or "per_batch", where each batch
            divides its gradient by the number (the weight) of its examples, as scikit-learn does.
        batchnorm: batch norm "before" or "after" the activation of the hidden layers, or "off".
        dropout: the probability of dropping a hidden unit, one for all layers or one for each.
        class_weight: {label: weight}, or "balanced", which gives all classes the same weight together.
        lr_step_epochs, lr_step_factor: the "step" schedule multiplies by the factor every so many epochs.
        warmup_epochs: the learning rate rises linearly over so many epochs.
        dtype: "float32" or "float64"; None takes that of X, and float64 for what is no float.
        threads: the most threads of a fit; the result does not depend on it.

    Attributes:
        classes_: (C,) the labels, sorted.
        coefs_, intercepts_: weights (K, H) and biases (H,) of each layer. Set them before `partial_fit`, or before
            `fit` with `warm_start`, to start from weights of your own.
        out_activation_: "logistic", with one output unit, for two classes; "softmax" for more.
        loss_curve_, loss_, best_loss_: training cost of each epoch, the last and the best (None with early stopping).
        validation_scores_, best_validation_score_: accuracies on the validation rows, and the best of them; None
            where there are none.
        validation_costs_: their costs, likewise.
        n_iter_: epochs of the last call. t_: training examples seen by all calls.
        n_layers_, n_outputs_, n_features_in_, feature_names_in_: as in scikit-learn.
        network_: the network as a `fastfnn.Network`, to be saved and exported.
    """

    _parameter_constraints = settings.CONSTRAINTS

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        l2_convention: str = "fixed",
        batchnorm: str = "off",
        dropout: Any = 0.0,
        class_weight: Any = None,
        lr_step_epochs: int = 30,
        lr_step_factor: float = 0.1,
        warmup_epochs: float = 0.0,
        dtype: str | None = None,
        threads: int = 1,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.l2_convention = l2_convention
        self.batchnorm = batchnorm
        self.dropout = dropout
        self.class_weight = class_weight
        self.lr_step_epochs = lr_step_epochs
        self.lr_step_factor = lr_step_factor
        self.warmup_epochs = warmup_epochs
        self.dtype = dtype
        self.threads = threads

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, validation: tuple[Any, Any] | None = None
    ) -> Self:
        """Trains until the loss or the score stops improving, or for `max_iter` epochs.

        Args:
            X: (N, K) dense or sparse.
            y: (N,) labels.
            sample_weight: (N,) a row of weight 2 counts as two rows, one of weight 0 as none; scores and the
                statistics of batch norm count each row once.
            validation: (X, y) of a validation set, of which score and cost are recorded each epoch, and which early
                stopping uses instead of rows of X.

        Raises:
            ValueError: for inputs that do not fit, and when the loss becomes infinite or NaN.
        """
        goes_on = self.warm_start and hasattr(self, "coefs_")
        features, labels = inputs.check_examples(self, X, y, reset=not (goes_on and hasattr(self, "n_features_in_")))
        numbers = self._numbers_of_all_classes(labels, keep=goes_on)
        random_state = check_random_state(self.random_state)
        data = inputs.make_dataset(self, features, numbers, sample_weight, validation, random_state)
        state = self._state(random_state, keep=goes_on)
        state.restart_optimizer()
        ending = self._train(data, state, int(self.max_iter), goes_on=goes_on)
        if ending == "exhausted":
            message = f"max_iter: after {self.max_iter} epochs, training has not converged yet"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Trains one epoch on the given rows, going on from the earlier calls with weights, moments and seeds.

        Args:
            X: (N, K) dense or sparse.
            y: (N,) labels.
            classes: all labels that any call will bring; needed by the first call.
            sample_weight: (N,) as in `fit`.

        Raises:
            ValueError: for inputs that do not fit, and when the loss becomes infinite or NaN.
        """
        self._refuse_what_needs_all_rows()
        goes_on = hasattr(self, "coefs_")
        features, labels = inputs.check_examples(self, X, y, reset=not hasattr(self, "n_features_in_"))
        self._set_classes(classes)
        numbers = inputs.class_numbers(labels, self.classes_)
        random_state = check_random_state(self.random_state)
        data = inputs.make_dataset(self, features, numbers, sample_weight, None, random_state)
        self._train(data, self._state(random_state, keep=goes_on), 1, goes_on=goes_on)
        return self

    def predict(self, X: Any) -> Array:
        """(N,) the most probable label of each row; a row's label does not depend on the rows beside it."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> Array:
        """(N, C) the probability of each class, in the order of `classes_`."""
        check_is_fitted(self, "_network_config")
        return self.network_.predict_proba(inputs.check_features(self, X))

    def predict_log_proba(self, X: Any) -> Array:
        """(N, C) logarithms of the probabilities."""
        with np.errstate(divide="ignore"):  # of a probability too small for the dtype
            return np.asarray(np.log(self.predict_proba(X)))

    @property
    def network_(self) -> Network:
        """The fitted network; two classes have two outputs here, of which the first is always 0."""
        config: NetworkConfig = self._network_config
        parameters = Parameters(self.coefs_, self.intercepts_, **self._batchnorm)
        n_classes = len(self.classes_)
        return Network(config, outputs.with_softmax(parameters, n_classes), outputs.plain_labels(self.classes_))

    def _refuse_what_needs_all_rows(self) -> None:
        if self.early_stopping:
            raise ConfigError("early_stopping: partial_fit does not support early_stopping=True")
        if self.class_weight == "balanced":
            raise ConfigError(
                "class_weight: partial_fit does not see all rows, so that it cannot balance them; expected "
                "{label: weight}, found 'balanced'"
            )

    def _numbers_of_all_classes(self, labels: Array, *, keep: bool) -> NDArray[np.int64]:
        """The class numbers of labels, which define the classes or, with warm start, must have all of them."""
        present, numbers = np.unique(labels, return_inverse=True)
        if not (keep and hasattr(self, "classes_")):
            self.classes_ = present
        elif set(present.tolist()) != set(self.classes_.tolist()):
            raise DataError(
                f"y: warm_start expects the same classes as in the previous call, {self.classes_}, found {present}"
            )
        return np.asarray(numbers, np.int64)

    def _set_classes(self, classes: ArrayLike | None) -> None:
        if not hasattr(self, "classes_"):
            if classes is None:
                raise DataError("classes: expected all labels at the first call of partial_fit, found None")
            self.classes_ = np.unique(np.asarray(classes))
        elif classes is not None and not np.array_equal(self.classes_, np.unique(np.asarray(classes))):
            raise DataError(f"classes: expected those of the earlier calls, {self.classes_}, found {classes}")

    def _state(self, random_state: np.random.RandomState, *, keep: bool) -> RunState:
        """That of the earlier calls, or a new one."""
        state: RunState | None = getattr(self, "_run", None) if keep else None
        return state.copy() if state else RunState(seed=int(random_state.randint(SEEDS)))

    def _train(self, data: Dataset, state: RunState, epochs: int, *, goes_on: bool) -> Ending:
        network = settings.network_config(self, self._dtype(data, goes_on=goes_on))
        config = settings.training_config(self, network, len(data.train))
        parameters = outputs.starting_parameters(self, network, data, state.seed, goes_on=goes_on)
        loop = EpochLoop(data, config, parameters, state, settings.rules_of(self))
        ending = loop.train(epochs)
        trained = loop.finish()
        self._check_ending(ending, loop, trained)
        self._keep(trained, network, loop)
        return ending

    def _dtype(self, data: Dataset, *, goes_on: bool) -> str:
        if self.dtype is not None:
            return self.dtype
        like = self.coefs_[0] if goes_on else data.train.features
        return "float32" if like.dtype == np.float32 else "float64"

    def _check_ending(self, ending: Ending, loop: EpochLoop, parameters: Parameters) -> None:
        """Warns of runs that ended early, and refuses those that came to nothing."""
        if ending == "interrupted":
            warnings.warn(f"training was interrupted after {loop.epochs} epochs", UserWarning, stacklevel=5)
        finite = outputs.are_finite(parameters)
        if finite and ending != "diverged":
            return
        found = f"a loss of {loop.state.losses[-1]} after {loop.epochs} epochs with {self.learning_rate_init}"
        message = f"learning_rate_init: expected a rate with which loss and weights stay finite, found {found}"
        if not (finite and self.early_stopping and loop.state.scores):
            raise ConfigError(f"{message}; lower it, or scale the features, e.g. with StandardScaler")
        warnings.warn(f"{message}; the weights of the best epoch are kept", ConvergenceWarning, stacklevel=5)

    def _keep(self, parameters: Parameters, network: NetworkConfig, loop: EpochLoop) -> None:
        """Sets the attributes that a fit leaves behind."""
        state = self._run = loop.state
        self._network_config = network
        self._batchnorm = outputs.batchnorm_tensors(parameters)
        self.coefs_, self.intercepts_ = parameters.weights, parameters.biases
        self.n_layers_, self.n_outputs_ = len(self.coefs_) + 1, self.coefs_[-1].shape[1]
        self.out_activation_ = "softmax" if self.n_outputs_ > 1 else "logistic"
        self.n_iter_, self.t_ = loop.epochs, state.examples
        self.loss_curve_ = state.losses
        self.loss_ = state.losses[-1] if state.losses else np.nan
        self.best_loss_ = None if self.early_stopping else min(state.losses, default=np.nan)
        self.validation_scores_, self.validation_costs_ = state.scores or None, state.costs or None
        self.best_validation_score_ = max(state.scores, default=None)
