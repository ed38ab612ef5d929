"""The functions of the course assignment, with its names, shapes and caches, on compiled kernels.

    from fastfnn import textbook as nn
    AL, caches = nn.L_model_forward(X, parameters)
    parameters = nn.Update_parameters(parameters, nn.L_model_backward(AL, Y, caches), 0.009)

Arrays are float64 and examples are columns: X is (features, examples), Y is one-hot (classes, examples). Whatever
`np.asarray` takes is accepted.
"""

from fastfnn.textbook.backward import (
    L_model_backward,
    Linear_backward,
    Update_parameters,
    linear_activation_backward,
    relu_backward,
    softmax_backward,
)
from fastfnn.textbook.cost import Predict, compute_cost
from fastfnn.textbook.curves import Curves
from fastfnn.textbook.forward import (
    L_model_forward,
    apply_batchnorm,
    linear_activation_forward,
    linear_forward,
    relu,
    softmax,
)
from fastfnn.textbook.initialisation import initialize_parameters
from fastfnn.textbook.model import L_layer_model
from fastfnn.textbook.options import Batchnorm, Dropout, Logarithm, Stopping
from fastfnn.textbook.splits import split_columns, split_validation

linear_backward = Linear_backward
update_parameters = Update_parameters
predict = Predict
l_model_forward = L_model_forward
l_model_backward = L_model_backward
l_layer_model = L_layer_model

__all__ = [
    "Batchnorm",
    "Curves",
    "Dropout",
    "L_layer_model",
    "L_model_backward",
    "L_model_forward",
    "Linear_backward",
    "Logarithm",
    "Predict",
    "Stopping",
    "Update_parameters",
    "apply_batchnorm",
    "compute_cost",
    "initialize_parameters",
    "l_layer_model",
    "l_model_backward",
    "l_model_forward",
    "linear_activation_backward",
    "linear_activation_forward",
    "linear_backward",
    "linear_forward",
    "predict",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_backward",
    "split_columns",
    "split_validation",
    "update_parameters",
]
