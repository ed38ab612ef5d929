"""The first layer's features that are mostly not zero, by whichever layout their weights have; see `Layout`."""

from __future__ import annotations

from fastfnn.kernels import dense_by_feature, dense_by_unit
from fastfnn.kernels.compilation import kernel


@kernel
def forward(rows, examples, weights, z, scratch, like, four, direct, of_units):
    """z = x @ weights for the examples of one tile, without scale or biases.

    `four` is an example of a vector of four lanes where weights lie unit by unit, `of_units` one of a whole vector
    where they lie feature by feature; the other one is None. `direct` is a vector where the rows have the network's
    dtype, else None. Only what is not None is compiled: hence no branches with else,
    of which the compiler would see but one that is not taken.
    """
    if four is not None:
        dense_by_unit.forward(rows, examples, weights, z, scratch, like, four, direct)
    if of_units is not None:
        dense_by_feature.forward(rows, examples, weights, z, scratch, of_units)


@kernel
def update(rows, examples, share, weights, dz, scratch, like, wide, direct, of_units):
    """weights += the gradient x.T @ dz, summed over the examples in their order, for a share of the features.

    `wide` is an example of a vector of as many features as the registers have room for where weights lie unit by unit,
    else None; otherwise as in `forward`.
    """
    if wide is not None:
        dense_by_unit.update(rows, examples, share, weights, dz, scratch, like, wide, direct)
    if of_units is not None:
        dense_by_feature.update(rows, examples, share, weights, dz, scratch, of_units)
