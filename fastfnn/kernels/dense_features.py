"""The first layer's features that are mostly not zero, by whichever layout their weights have; see `Layout`."""

from __future__ import annotations

from fastfnn.kernels import dense_by_feature, dense_by_unit
from fastfnn.kernels.compilation import kernel


@kernel
def forward(rows, examples, weights, z, scratch, like, four, direct):
    """z = x @ weights for the examples of one tile, without scale or biases.

    `four` is an example of a vector of four lanes where weights lie unit by unit, else None. `direct` is a vector where
    the rows have the network's dtype, else None. What is None decides what is compiled.
    """
    if four is not None:
        dense_by_unit.forward(rows, examples, weights, z, scratch, like, four, direct)
    else:
        dense_by_feature.forward(rows, examples, weights, z, scratch, like)


@kernel
def update(rows, examples, share, weights, dz, scratch, like, wide, direct):
    """weights += the gradient x.T @ dz, summed over the examples in their order, for a share of the features.

    `wide` is an example of a vector of as many features as the registers have room for where weights lie unit by unit,
    else None.
    """
    if wide is not None:
        dense_by_unit.update(rows, examples, share, weights, dz, scratch, like, wide, direct)
    else:
        dense_by_feature.update(rows, examples, share, weights, dz, scratch, like)
