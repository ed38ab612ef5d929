"""Where each tensor and each intermediate result of a network lies in the flat buffers of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels import EVALUATION_BLOCK, Layout
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, MATRICES, VECTOR_BYTES
from fastfnn.kernels.structures import TILES_BY_ROWS

Array = NDArray[Any]
FEATURES_PER_VECTOR = VECTOR_BYTES // np.dtype(np.float32).itemsize  # whole vectors of either dtype
EXAMPLES_BY_MATRIX = 32  # of a batch, from which matrix registers pay: weights are written anew for every step
EXAMPLES_BY_BYTES = 32  # from which fixed-point numbers pay, which are likewise
MOST_WEIGHTS = 1024  # of every layer behind the first, up to which a block goes through all of them in one call
WIDTH_BY_MATRIX = 128  # units of the narrower of two layers, from which they pay for the weights between them
UNITS_TOGETHER = 16  # whose gradients of the biases are summed at a time
SHORT_ROW = 8  # vectors
UNITS_BY_FEATURE = 64  # from so many, weights of dense features may lie feature by feature
MOST_LANES_A_UNIT = 1.05
MOST_BY_GROUPS = 256 * 1024  # bytes of first-layer weights that stay near with their gradients, and rows beside them
BLOCKS_BY_GROUPS = 2  # of a batch, from which gradients are summed apart: two threads gain more than one loses
BLOCKS_BY_KINDS = 4  # up to which dividing kinds of features gains more, where those of bytes are in matrix registers
COST_BY_KIND = 10.0  # of a listed value in a whole step, in dense features in matrix registers
LEAST_BY_KIND, MOST_BY_KIND = 0.2, 0.9  # of this cost for the dense ones, between which dividing kinds gains anything
MOST_LATER = 0.25  # multiply-adds of later layers by this cost of the first, which are not divided then
VALUES_BY_GROUPS = 32  # of a feature in a batch, on average, below which going over all weights costs too much
PANEL_VECTORS = (4, 2, 1)  # widths of panels: their sums stay in registers


def lanes_of(dtype: str) -> int:
    """Lanes of a vector: 16 float32, 8 float64."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def first_layer_widths(units: int, lanes: int) -> tuple[int, int]:
    """Units of the main part (whole vectors) and of the tail (nothing, a quarter or a half vector)."""
    main, rest = units // lanes * lanes, units % lanes
    for tail in (0, lanes // 4, lanes // 2):
        if rest <= tail:
            return main, tail
    return main + lanes, 0


def pays_by_feature(units: int, lanes: int) -> bool:
    """Whether vectors of units, of which the last one may not be full, beat vectors of features for dense features."""
    return units >= UNITS_BY_FEATURE and round_up(units, lanes) <= MOST_LANES_A_UNIT * units


def panels(main_width: int, tail_width: int, lanes: int) -> list[tuple[int, int, int]]:
    """The panels of the first layer, widest first; the tail joins the last panel if that has one vector.

    A panel is a number of units in whole vectors, a number of units in a narrower vector, and its first unit.
    """
    result: list[tuple[int, int, int]] = []
    unit = 0
    for vectors in PANEL_VECTORS:
        while main_width - unit >= vectors * lanes:
            result.append((vectors * lanes, 0, unit))
            unit += vectors * lanes
    if tail_width and result and result[-1][0] == lanes:
        result[-1] = (lanes, tail_width, result[-1][2])
    elif tail_width:
        result.append((0, tail_width, main_width))
    return result


def layers_by_matrix(sizes: Sequence[int], dtype: str) -> list[bool]:
    """Whether matrix registers pay for the weights before each layer: of the first one, for its dense features."""
    pays = [False, True, *(min(pair) >= WIDTH_BY_MATRIX for pair in pairwise(sizes[1:]))]
    return [MATRICES and dtype == "float32" and layer for layer in pays]


def kinds_are_even(sizes: Sequence[int], dense: int, listed: float) -> bool:
    """Whether two threads may have so many dense features and listed values of a row: these take about as long.

    And little else takes any time.
    """
    cost = dense + COST_BY_KIND * listed
    later = sum(n * m for n, m in pairwise(sizes[1:]))
    are_even = LEAST_BY_KIND * cost <= dense <= MOST_BY_KIND * cost
    return cost > 0 and are_even and later <= MOST_LATER * cost * sizes[1]


def are_narrow(sizes: Sequence[int]) -> bool:
    """Whether there are layers behind the first, all of so few weights that a block goes through them together."""
    return len(sizes) > 2 and max(n * m for n, m in pairwise(sizes[1:])) <= MOST_WEIGHTS


class Allocator:
    """Hands out offsets that begin at whole vectors."""

    def __init__(self, lanes: int, start: int = 0) -> None:
        self.lanes, self.end = lanes, start

    def take(self, count: int) -> int:
        """The offset of `count` new elements."""
        offset, self.end = self.end, round_up(self.end + count, self.lanes)
        return offset


def make_layout(
    sizes: Sequence[int],
    dense_features: int,
    *,
    batchnorm: bool,
    dtype: str,
    block: int,
    batch_size: int,
    density: float = 1.0,
    of_bytes: bool = False,
) -> tuple[Layout, int, int]:
    """The layout of a network whose layers have `sizes` units, features first, of which the first ones may be dense.

    `block` is the largest number of examples that go through the layers together in training, in whole tiles unless
    it is a group of batch norm. `density` is the share of the features of a row that are multiplied; they are stored
    as bytes or as floats. Returns the layout, and the numbers of elements of the running statistics and the workspace.
    """
    lanes = lanes_of(dtype)
    main_width, tail_width = first_layer_widths(sizes[1], lanes)
    row_widths = [row_width(h, lanes) for h in sizes]
    normalised = list(sizes[1:-1]) if batchnorm else []
    tiles = most_tiles(max(batch_size, 1), block, lanes)
    together = are_narrow(sizes)
    few = tiles <= TILES_BY_ROWS
    by_rows = [n == 1 or (n > 1 and not together and (h >= lanes or few)) for n, h in enumerate(sizes)]
    panel_units = [unit for _, _, unit in panels(main_width, tail_width, lanes)]
    first_layer_bytes = sizes[0] * sizes[1] * np.dtype(dtype).itemsize
    by_matrix = layers_by_matrix(sizes, dtype)
    by_bytes = batch_size == 0 or batch_size >= EXAMPLES_BY_BYTES
    sums_bytes = of_bytes and dtype == "float32" and HAS_BYTE_PRODUCTS and by_bytes
    by_feature = not by_matrix[1] and not sums_bytes and pays_by_feature(sizes[1], lanes)
    even = kinds_are_even(sizes, dense_features, density * sizes[0] - dense_features)
    blocks = BLOCKS_BY_KINDS if even and of_bytes and by_matrix[1] else BLOCKS_BY_GROUPS
    many_blocks = batch_size >= blocks * block and batch_size * density >= VALUES_BY_GROUPS
    by_groups = not batchnorm and many_blocks and first_layer_bytes <= MOST_BY_GROUPS
    running, n_running = _running_offsets(normalised, lanes)
    workspace, n_workspace = _workspace_offsets(sizes, row_widths, by_rows, tiles, batchnorm, lanes)
    offsets = _parameter_offsets(sizes, dense_features, row_widths, normalised, lanes, by_feature=by_feature)
    layout = Layout(
        depth=len(sizes) - 1,
        units=_integers(sizes),
        row_widths=_integers(row_widths),
        main_width=main_width,
        tail_width=tail_width,
        panels=len(panel_units),
        panel_units=_integers(panel_units),
        layers_together=together,
        block=block,
        first_layer_by_blocks=by_groups or batch_size <= min(block, EVALUATION_BLOCK),
        first_layer_by_kinds=even and batch_size < blocks * EVALUATION_BLOCK,
        first_layer_by_groups=by_groups,
        dense_by_feature=by_feature,
        by_matrix=_integers(by_matrix),
        trains_by_matrix=batch_size == 0 or batch_size >= EXAMPLES_BY_MATRIX,
        trains_by_bytes=by_bytes,
        **offsets,
        **(_offsets_together(sizes, offsets) if together else _partial_offsets(sizes, row_widths, by_rows, lanes)),
        **running,
        **workspace,
    )
    return layout, n_running, n_workspace


def _parameter_offsets(
    sizes: Sequence[int],
    dense_features: int,
    row_widths: list[int],
    normalised: list[int],
    lanes: int,
    *,
    by_feature: bool,
) -> dict[str, Any]:
    main_width, tail_width = first_layer_widths(sizes[1], lanes)
    memory = Allocator(lanes)
    padded = round_up(dense_features, FEATURES_PER_VECTOR)
    of_feature = row_widths[1] if by_feature else sizes[1]
    dense_weights = memory.take(padded * of_feature)
    # One more fills records up; narrow weights of four features are whole vectors.
    listed = round_up(sizes[0] - dense_features + 1, 4)
    weights = [memory.take(listed * main_width)]
    tail_weights = memory.take(listed * tail_width)
    first_layer_size = memory.end
    weights += [memory.take(k * width) for k, width in zip(sizes[1:], row_widths[2:], strict=False)]
    weights_end = memory.end
    return {
        "dense_features": padded,
        "dense_weights": dense_weights,
        "dense_stride": of_feature if by_feature else of_feature * lanes,
        "weights": _integers(weights),
        "tail_weights": tail_weights,
        "first_layer_size": first_layer_size,
        "weights_end": weights_end,
        "biases": _integers([memory.take(round_up(h, UNITS_TOGETHER)) for h in sizes[1:]]),
        "scale": _integers([memory.take(h) for h in normalised]),
        "shift": _integers([memory.take(h) for h in normalised]),
        "parameters_end": memory.end,
    }


def _running_offsets(normalised: list[int], lanes: int) -> tuple[dict[str, Any], int]:
    memory = Allocator(lanes)
    offsets = {
        "running_mean": _integers([memory.take(h) for h in normalised]),
        "running_variance": _integers([memory.take(h) for h in normalised]),
    }
    return offsets, memory.end


def _partial_offsets(sizes: Sequence[int], row_widths: list[int], by_rows: list[bool], lanes: int) -> dict[str, Any]:
    memory = Allocator(lanes)
    biases = [memory.take(round_up(h, UNITS_TOGETHER)) for h in sizes[1:]]
    weights = [-1 if by_rows[n] else memory.take(sizes[n - 1] * row_widths[n]) for n in range(1, len(sizes))]
    return {
        "partial_biases": _integers(biases),
        "partial_weights": _integers(weights),
        "partial_size": memory.end,
    }


def _offsets_together(sizes: Sequence[int], offsets: dict[str, Any]) -> dict[str, Any]:
    """Partial gradients that lie as the parameters behind the first layer's weights do, as far as the last biases."""
    first, end = offsets["first_layer_size"], int(offsets["biases"][-1]) + round_up(sizes[-1], UNITS_TOGETHER)
    return {
        "partial_biases": offsets["biases"] - first,
        "partial_weights": np.concatenate([[-1], offsets["weights"][1:] - first]),
        "partial_size": end - first,
    }


def _workspace_offsets(
    sizes: Sequence[int], row_widths: list[int], by_rows: list[bool], tiles: int, batchnorm: bool, lanes: int
) -> tuple[dict[str, Any], int]:
    depth = len(sizes) - 1
    examples = max(tiles * lanes, round_up(EVALUATION_BLOCK, lanes))
    # An odd number of vectors from a tile to the next one, so that the same unit of many tiles does not fall on the
    # same lines of a cache. The first layer's outputs are written in whole vectors of units.
    allocated = [0, row_widths[1] | 1, *(h | 1 for h in sizes[2:])]
    memory = Allocator(lanes)

    def per_layer(last: int) -> Array:
        return _integers([memory.take(examples * allocated[n]) if 1 <= n < last else 0 for n in range(depth + 1)])

    offsets = {
        "allocated_units": _integers(allocated),
        "activations": per_layer(depth + 1),
        "gradients": per_layer(depth),
        "unnormalised": per_layer(depth if batchnorm else 0),
        "normalised": per_layer(depth if batchnorm else 0),
        "means": _integers([memory.take(h) for h in allocated]),
        "deviations": _integers([memory.take(h) for h in allocated]),
        "rows": _integers([memory.take(examples * row_widths[n]) if by_rows[n] else -1 for n in range(depth + 1)]),
        "lane_mask": memory.take(lanes),
    }
    # Sixteen units are read at a time, also those behind a layer's last one.
    return offsets, memory.end + UNITS_TOGETHER * lanes


def row_width(units: int, lanes: int) -> int:
    """Whole vectors for a row of values of all units; of long rows an odd number, as for tiles."""
    vectors = round_up(units, lanes) // lanes
    return int(vectors if vectors < SHORT_ROW else vectors | 1) * lanes


def most_tiles(batch_size: int, block: int, lanes: int) -> int:
    """Tiles of a batch: every block begins with a new one."""
    whole, rest = divmod(batch_size, block)
    return int(whole * round_up(block, lanes) + round_up(rest, lanes)) // lanes


def _integers(values: Sequence[int]) -> Array:
    return np.array(values, dtype=np.int64)
