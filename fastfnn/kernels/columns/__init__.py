"""Kernels on matrices whose columns are examples, of any layout, one call a function of a course script."""

from fastfnn.kernels.columns.elementwise import cross_entropy, gradient_step, relu_backward, softmax
from fastfnn.kernels.columns.linear import DONE, LEFT, input_gradient, layer_backward, linear, parameter_gradients
from fastfnn.kernels.columns.listed import PANEL, SCRATCH
from fastfnn.kernels.columns.pixels import TOGETHER, to_pixels
from fastfnn.kernels.columns.rows import normalise, normalise_backward

__all__ = [
    "DONE",
    "LEFT",
    "PANEL",
    "SCRATCH",
    "TOGETHER",
    "cross_entropy",
    "gradient_step",
    "input_gradient",
    "layer_backward",
    "linear",
    "normalise",
    "normalise_backward",
    "parameter_gradients",
    "relu_backward",
    "softmax",
    "to_pixels",
]
