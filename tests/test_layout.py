"""Where the layout puts things in the flat buffers, and how a network gets in and out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastfnn import layout as layout_module
from fastfnn.config import NetworkConfig
from fastfnn.kernels import EVALUATION_BLOCK, Layout, Rows
from fastfnn.kernels.binding import FirstLayer
from fastfnn.kernels.memory import aligned_zeros, round_up
from fastfnn.layout import first_layer_widths, lanes_of, make_layout, most_tiles, panels
from fastfnn.packing import PackedNetwork
from fastfnn.parameters import initialise
from fastfnn.rows import FeatureOrder, identity_order


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_panels_cover_each_unit_once(dtype: str) -> None:
    lanes = lanes_of(dtype)
    for units in range(1, 301):
        main, tail = first_layer_widths(units, lanes)
        covered = np.zeros(main + tail, int)
        for width, narrow, first in panels(main, tail, lanes):
            assert width in (0, lanes, 2 * lanes, 4 * lanes)
            assert narrow in (0, lanes // 4, lanes // 2)
            covered[first : first + width] += 1
            covered[main : main + narrow] += 1
        assert (covered == 1).all(), units
        assert 0 <= main + tail - units < lanes // 2, units
        assert main % lanes == 0


def test_first_layer_widths_by_hand() -> None:
    expected = {
        1: (0, 4),
        4: (0, 4),
        5: (0, 8),
        8: (0, 8),
        9: (16, 0),
        16: (16, 0),
        20: (16, 4),
        24: (16, 8),
        30: (32, 0),
    }
    assert {units: first_layer_widths(units, 16) for units in expected} == expected


def test_panels_by_hand() -> None:
    assert panels(16, 4, 16) == [(16, 4, 0)]
    assert panels(112, 0, 16) == [(64, 0, 0), (32, 0, 64), (16, 0, 96)]
    assert panels(32, 8, 16) == [(32, 0, 0), (0, 8, 32)]


@given(st.integers(0, 10**6), st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_round_up(count: int, multiple: int) -> None:
    expected = next(n for n in range(count, count + multiple) if n % multiple == 0)
    assert round_up(count, multiple) == expected
    assert round_up(np.array([0, count]), multiple).tolist() == [0, expected]


def parameter_pieces(layout: Layout, sizes: list[int], dense: int) -> list[tuple[int, int]]:
    """Offset and length of everything in the parameters."""
    listed = round_up(sizes[0] - dense + 1, 4)
    lengths = [listed * layout.main_width, *(k * w for k, w in zip(sizes[1:], layout.row_widths[2:], strict=False))]
    pieces = [*zip(layout.weights, lengths, strict=True), (layout.tail_weights, listed * layout.tail_width)]
    pieces += [
        (layout.dense_weights, round_up(dense, 16) * (layout.row_widths[1] if layout.dense_by_feature else sizes[1]))
    ]
    pieces += [(offset, round_up(h, 16)) for offset, h in zip(layout.biases, sizes[1:], strict=True)]
    for offsets in (layout.scale, layout.shift):
        pieces += zip(offsets, sizes[1:-1], strict=len(offsets) > 0)
    return [(int(offset), int(length)) for offset, length in pieces]


@pytest.mark.parametrize(
    ("units", "dtype", "by_feature"),
    [
        (20, "float32", False),
        (63, "float32", False),
        (64, "float32", True),
        (72, "float32", False),
        (72, "float64", True),
        (300, "float32", True),
    ],
)
def test_weights_of_dense_features_lie_feature_by_feature_for_many_units(
    monkeypatch: pytest.MonkeyPatch, units: int, dtype: str, by_feature: bool
) -> None:
    """But not where matrix registers multiply them, or where bytes are multiplied as such, in batches large enough."""

    def is_by_feature(batch_size: int = 128, *, of_bytes: bool = True) -> bool:
        sizes, options = [784, units, 10], {"block": 128, "batch_size": batch_size, "of_bytes": of_bytes}
        return make_layout(sizes, 272, batchnorm=False, dtype=dtype, **options)[0].dense_by_feature

    for name in ("MATRICES", "HAS_BYTE_PRODUCTS"):
        monkeypatch.setattr(layout_module, name, False)
    assert is_by_feature() == by_feature
    monkeypatch.setattr(layout_module, "HAS_BYTE_PRODUCTS", True)
    assert is_by_feature(32) == (by_feature and dtype == "float64")
    assert is_by_feature(31) == is_by_feature(of_bytes=False) == by_feature
    monkeypatch.setattr(layout_module, "MATRICES", True)
    assert is_by_feature(31) == (by_feature and dtype == "float64")


@pytest.mark.parametrize(
    ("matrices", "dtype", "batch_size", "expected", "trains"),
    [
        (True, "float32", 32, [0, 1, 1, 0, 0], True),
        (True, "float32", 31, [0, 1, 1, 0, 0], False),
        (True, "float32", 0, [0, 1, 1, 0, 0], True),
        (True, "float64", 32, [0, 0, 0, 0, 0], True),
        (False, "float32", 32, [0, 0, 0, 0, 0], True),
    ],
)
def test_which_layers_use_matrix_registers(
    monkeypatch: pytest.MonkeyPatch, matrices: bool, dtype: str, batch_size: int, expected: list[int], trains: bool
) -> None:
    """The first one, and those between 128 units and more; in training, of batches that are worth it."""
    monkeypatch.setattr(layout_module, "MATRICES", matrices)
    sizes = [784, 300, 128, 127, 10]
    layout, _, _ = make_layout(sizes, 272, batchnorm=False, dtype=dtype, block=128, batch_size=batch_size)
    assert layout.by_matrix.tolist() == expected
    assert layout.trains_by_matrix == trains


@pytest.mark.parametrize(
    ("units", "stored", "batch_size", "trains", "evaluates"),
    [
        (20, "uint8", 32, "narrow", "narrow"),
        (20, "uint8", 16, "vectors", "narrow"),
        (5, "uint8", 32, "narrow", "narrow"),
        (33, "uint8", 32, "wide", "wide"),
        (20, "float32", 32, "narrow", "narrow"),
        (20, "float32", 16, "vectors", "narrow"),
        (7, "float32", 128, "vectors", "vectors"),
        (33, "float32", 32, "wide", "wide"),
        (64, "float32", 16, "wide", "wide"),
    ],
)
def test_which_first_layers_use_matrix_registers(
    monkeypatch: pytest.MonkeyPatch, units: int, stored: str, batch_size: int, trains: str, evaluates: str
) -> None:
    """Evaluation does not ask for the batch size of training."""
    monkeypatch.setattr(layout_module, "MATRICES", True)
    layout, _, _ = make_layout(
        [784, units, 10], 272, batchnorm=False, dtype="float32", block=128, batch_size=batch_size
    )
    rows = Rows(np.zeros(2, np.uint32), np.zeros(1, np.uint16), np.zeros(1, stored), 272, 1)
    for training, expected in ((True, trains), (False, evaluates)):
        of_units = panels(*first_layer_widths(units, 16), 16)
        layer = FirstLayer.of(rows, of_units, "float32", layout, (False, False), training=training)
        found = "narrow" if layer.narrow else "wide" if layer.by_matrix else "vectors"
        assert found == expected, training


def workspace_pieces(layout: Layout, batchnorm: bool, lanes: int, batch_size: int) -> list[tuple[int, int]]:
    """Offset and length of everything in the workspace."""
    depth = layout.depth
    examples = max(most_tiles(batch_size, layout.block, lanes) * lanes, EVALUATION_BLOCK)
    kinds = [(layout.activations, range(1, depth + 1)), (layout.gradients, range(1, depth))]
    if batchnorm:
        kinds += [(layout.unnormalised, range(1, depth)), (layout.normalised, range(1, depth))]
    pieces = [(offsets[n], examples * layout.allocated_units[n]) for offsets, layers in kinds for n in layers]
    pieces += zip(layout.deviations, layout.allocated_units, strict=True)
    pieces += [(at, examples * w) for at, w in zip(layout.rows, layout.row_widths, strict=True) if at >= 0]
    return [(int(offset), int(length)) for offset, length in [*pieces, (layout.lane_mask, lanes)]]


def assert_apart(pieces: list[tuple[int, int]], end: int, lanes: int) -> None:
    """Nothing overlaps, everything begins at a whole vector and lies before the end."""
    ordered = sorted(piece for piece in pieces if piece[1])
    assert all(first + length <= second for (first, length), (second, _) in pairwise(ordered))
    assert all(first % lanes == 0 for first, _ in ordered)
    assert ordered[0][0] >= 0
    assert sum(ordered[-1]) <= end


@given(
    st.lists(st.integers(1, 80), min_size=2, max_size=6),
    st.integers(0, 80),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
@settings(max_examples=150, deadline=None)
def test_nothing_overlaps(
    sizes: list[int], dense: int, batchnorm: bool, dtype: str, block: int, batch_size: int
) -> None:
    dense = min(dense, sizes[0])
    layout, n_running, n_workspace = make_layout(
        sizes, dense, batchnorm=batchnorm, dtype=dtype, block=block, batch_size=batch_size
    )
    lanes = lanes_of(dtype)
    assert layout.dense_features == round_up(dense, 16)
    assert layout.dense_stride == (layout.row_widths[1] if layout.dense_by_feature else sizes[1] * lanes)
    assert_apart(parameter_pieces(layout, sizes, dense), layout.parameters_end, lanes)
    assert_apart(workspace_pieces(layout, batchnorm, lanes, batch_size), n_workspace, lanes)
    partials = [(at, round_up(h, 16)) for at, h in zip(layout.partial_biases, sizes[1:], strict=True)]
    for at, k, width in zip(layout.partial_weights[1:], sizes[1:], layout.row_widths[2:], strict=False):
        partials += [(int(at), int(k * width))] if at >= 0 else []
    assert_apart(partials, layout.partial_size, lanes)
    hidden = sizes[1:-1] if batchnorm else []
    running = [*zip(layout.running_mean, hidden, strict=True), *zip(layout.running_variance, hidden, strict=True)]
    if running:
        assert_apart(running, n_running, lanes)
    assert layout.weights_end <= min(layout.biases)
    assert layout.row_widths[1] >= max(sizes[1], layout.main_width + layout.tail_width)


@pytest.mark.parametrize(
    ("units", "batch_size", "batchnorm", "density", "expected"),
    [
        (20, 255, False, 1.0, False),
        (20, 256, False, 1.0, True),
        (90, 512, False, 1.0, False),
        (20, 512, True, 1.0, False),
        (20, 256, False, 0.12, False),
        (20, 512, False, 0.12, True),
    ],
)
def test_whose_gradients_are_summed_by_groups_of_blocks(
    units: int, batch_size: int, batchnorm: bool, density: float, expected: bool
) -> None:
    """Those of narrow first layers over batches of two blocks and more, in which features have many values."""
    options = {"batchnorm": batchnorm, "batch_size": batch_size, "density": density}
    layout, _, _ = make_layout([784, units, 10], 272, dtype="float32", block=128, **options)
    assert layout.first_layer_by_groups == expected


@pytest.mark.parametrize(
    ("dense", "listed", "batch_size", "of_bytes", "matrices", "expected"),
    [
        (256, 22, 64, True, True, (True, False)),
        (256, 22, 511, True, True, (True, False)),
        (256, 22, 512, True, True, (False, True)),
        (256, 22, 256, False, True, (False, True)),  # floats take longer there
        (256, 22, 256, True, False, (False, True)),
        (256, 22, 255, True, False, (True, False)),
        (32, 60, 64, True, True, (False, False)),  # one kind takes much longer
        (368, 2, 300, True, True, (False, True)),
        (784, 0, 64, True, True, (False, False)),
        (0, 150, 64, True, True, (False, False)),
    ],
)
def test_whose_kinds_of_features_threads_divide(
    monkeypatch: pytest.MonkeyPatch,
    dense: int,
    listed: int,
    batch_size: int,
    of_bytes: bool,
    matrices: bool,
    expected: tuple[bool, bool],
) -> None:
    """Those that take about as long, of batches that are too small to divide the examples."""
    monkeypatch.setattr(layout_module, "MATRICES", matrices)
    options = {"batch_size": batch_size, "density": (dense + listed) / 784, "of_bytes": of_bytes}
    layout, _, _ = make_layout([784, 20, 10], dense, dtype="float32", block=128, batchnorm=False, **options)
    assert (layout.first_layer_by_kinds, layout.first_layer_by_groups) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_buffers_begin_at_a_cache_line(count: int, dtype: str) -> None:
    buffers = [aligned_zeros(count, dtype) for _ in range(5)]
    assert all(len(buffer) == count and buffer.dtype == dtype and not buffer.any() for buffer in buffers)
    assert all(buffer.ctypes.data % 64 == 0 for buffer in buffers if count)


SOME_ORDER = np.random.default_rng(0).permutation(37)
ORDERS = {
    "listed": identity_order(37, dense=False),
    "dense": identity_order(37, dense=True),
    "mixed": FeatureOrder(np.concatenate((np.sort(SOME_ORDER[:16]), np.sort(SOME_ORDER[16:]))), 16),
}


@pytest.mark.parametrize("batchnorm", ["off", "before"])
@pytest.mark.parametrize("hidden", [(), (1,), (5,), (20, 7, 5), (33, 2), (64,), (300, 9)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_parameters_come_back_from_the_buffers(
    order: FeatureOrder, dtype: Any, hidden: tuple[int, ...], batchnorm: Any
) -> None:
    config = NetworkConfig(hidden=hidden, dtype=dtype, batchnorm=batchnorm)
    parameters = initialise(config, 37, 3, seed=0)
    for n, array in enumerate(parameters.tensors().values()):
        array[...] += n
    network = PackedNetwork(parameters, config, order, block=16, batch_size=16)
    back = network.parameters()
    assert list(back.tensors()) == list(parameters.tensors())
    for name, array in parameters.tensors().items():
        np.testing.assert_array_equal(back.tensors()[name], array, err_msg=name)
    network.buffers.factor[0] = 0.5
    np.testing.assert_array_equal(network.parameters().weights[0], parameters.weights[0] / 2)
