"""The first layer's code for one kind of rows, and activations, compiled on their own and called through addresses.

Rows come in many kinds, panels in many widths, and most runs have the same activation; compiled into the steps, all of
it would be compiled for every run. So the steps know none: they call what they are given, and a run compiles what it
needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastfnn.kernels.machine_code import Key
from fastfnn.kernels.memory import aligned_zeros, room_for_bytes, room_for_squares
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, INTERPRETED, ROOMY, VECTOR_BYTES
from fastfnn.kernels.routines import addresses, by_words
from fastfnn.kernels.structures import (
    BATCHNORM_OFF,
    BYTES_IN_PLACE,
    EXAMPLES_PER_PASS,
    EXAMPLES_TOGETHER,
    FEATURES_TOGETHER,
    IN_SCRATCH,
    NARROW_UNITS,
    RELU,
    ROWS_AT_ONCE,
    TILES_TOGETHER,
    VALUES_IN_PLACE,
    WORDS_OF_ROW,
    Buffers,
    Inputs,
    Layout,
    Part,
    Ranges,
    Rows,
    Settings,
    Share,
    Targets,
)

UNITS_BY_MATRIX = 64  # from which matrix registers pay for small batches too
UNITS_OF_FLOATS = 8  # from which they pay for floats, which take three parts
WORD, REAL = "int64", "float64"
OF_EXAMPLES = (f"*{WORD}", WORD, WORD, WORD)
OF_SHARE = (WORD, WORD, "*int32", WORD)
OF_CUTS = ("*int32", WORD, WORD)


class FirstLayer(NamedTuple):
    """What the first layer's functions depend on."""

    columns: str  # dtypes of `Rows`, and of the network
    values: str
    dtype: str
    dense: bool  # whether there are dense features, and listed ones
    records: bool
    panels: tuple[tuple[int, int], ...]  # units in wide vectors, and in a narrow one
    by_feature: bool  # `Layout.dense_by_feature`
    by_matrix: bool  # whether dense features are multiplied in matrix registers
    narrow: bool  # and, if so, whether by `narrow_by_matrix`
    by_bytes: bool  # whether products of bytes are summed
    asks: tuple[bool, bool]  # whether weights of listed features are asked for early, forward and in the update
    at_once: bool  # whether one function goes through the dense features and the listed ones, of one panel
    training: bool  # else there are no updates

    @classmethod
    def of(
        cls,
        rows: Rows,
        panels: Sequence[tuple[int, int, int]],
        dtype: str,
        layout: Layout,
        asks: tuple[bool, bool],
        *,
        training: bool,
        few: bool = False,
    ) -> FirstLayer:
        """That for rows; panels are the units in wide vectors, those in a narrow one, and the first unit.

        Batches are `few` examples if what is looked up of them forward is there still in the update, which is one
        thread's, of all features, without lazy momentum.
        """
        sizes = tuple((main, tail) for main, tail, _ in panels)
        kinds = rows.columns.dtype.name, rows.values.dtype.name
        units = int(layout.units[1])
        narrow = units < UNITS_OF_FLOATS and kinds[1] != "uint8"
        pays = units >= UNITS_BY_MATRIX or (not narrow and (layout.trains_by_matrix or not training))
        by_matrix = bool(layout.by_matrix[1]) and pays
        of_bytes = kinds[1] == "uint8" and dtype == "float32" and HAS_BYTE_PRODUCTS and not by_matrix
        by_bytes = of_bytes and (layout.trains_by_bytes or not training)
        by = layout.dense_by_feature, by_matrix, by_matrix and units <= NARROW_UNITS, by_bytes
        both = rows.dense > 0 and rows.records > 0 and len(panels) == 1
        at_once = training and few and both and not any(asks) and not by_matrix and not by_bytes
        return cls(*kinds, dtype, rows.dense > 0, rows.records > 0, sizes, *by, asks, at_once, training)

    @property
    def packs(self) -> bool:
        """Whether there are registers enough to take bytes apart as they are multiplied."""
        return self.values == "uint8" and ROOMY

    @property
    def in_place(self) -> int:
        """What the update multiplies where it lies."""
        if self.by_feature:
            return IN_SCRATCH
        if self.values == self.dtype:
            return VALUES_IN_PLACE
        return BYTES_IN_PLACE if self.packs else IN_SCRATCH

    def functions(self) -> dict[str, list[Key | None]]:
        """The functions for each field of `Inputs`."""
        itemsize = np.dtype(self.dtype).itemsize
        features, units = (0, VECTOR_BYTES) if self.by_feature else (VECTOR_BYTES, 0)
        panels = [(main * itemsize, tail * itemsize) for main, tail in self.panels]
        reals = f"*{self.dtype}"
        of_outputs, of_weights = (reals, WORD, WORD), (reals, WORD, WORD, WORD)
        of_product = (*of_weights, *of_outputs, WORD)
        of_sum = (*OF_SHARE, *of_weights, *of_outputs)
        of_panel = (*OF_CUTS, *of_weights, *of_outputs)
        of_memory = (reals, f"*{WORD}")
        of_matrix: list[tuple[int, ...]] = [(VECTOR_BYTES if self.values == "uint8" else 0, int(self.narrow))]

        forward, update = "make_dense_forward", "make_dense_update"
        of_forward: list[tuple[int, ...]] = [(int(self.by_feature), int(self.packs))]
        of_update: list[tuple[int, ...]] = [(features, units, self.in_place)]
        if self.by_matrix:
            forward, update, of_forward, of_update = "make_matrix_forward", "make_matrix_update", of_matrix, of_matrix
        elif self.by_bytes:
            forward, of_forward = "make_bytes_forward", [(int(self.by_feature),)]
            if not self.by_feature:
                update, of_update = "make_bytes_update", [()]

        def keys(name: str, sizes: Sequence[tuple[int, ...]], kinds: tuple[str, ...], needed: bool) -> list[Key | None]:
            of_rows = ("*uint32", f"*{self.columns}", f"*{self.values}", WORD, WORD)
            given = (*of_rows, *OF_EXAMPLES, *kinds)
            return [Key(f"makers.{name}", size, given) if needed else None for size in sizes]

        dense, listed = self.dense and not self.at_once, self.records and not self.at_once
        given_dense, given_sums = (*of_product, *of_memory), (*of_sum, *of_memory)
        asks_forward, asks_in_update = self.asks
        given_listed = (*of_panel, WORD, WORD, f"*{WORD}")
        of_both = (*of_forward[0], *panels[0]), (*of_update[0], *panels[0])
        return {
            "dense_forward": keys(forward, of_forward, given_dense, dense),
            "dense_update": keys(update, of_update, given_sums, self.training and dense),
            "forward": keys("make_forward", [(*panel, int(asks_forward)) for panel in panels], given_listed, listed),
            "update": keys(
                "make_update",
                [(*panel, 1, int(asks_in_update)) for panel in panels],
                (*of_panel, REAL, WORD, WORD, f"*{WORD}"),
                self.training and listed,
            ),
            "at_once": [
                *keys("make_forward_at_once", of_both[:1], (*given_listed, *given_dense), self.at_once),
                *keys("make_update_at_once", of_both[1:], (*given_sums, *of_panel, f"*{WORD}"), self.at_once),
            ],
        }


def bind_rows(layer: FirstLayer, rows: Rows, whole: Share, share: Share) -> Inputs:
    """What the steps need of the first layer: `whole` is multiplied, `share` updated. Rows and both must outlive it."""
    lanes = VECTOR_BYTES // np.dtype(layer.dtype).itemsize
    functions = {name: addresses(keys) for name, keys in layer.functions().items()}
    size = max(TILES_TOGETHER * lanes, EXAMPLES_PER_PASS) * FEATURES_TOGETHER
    if layer.by_matrix:
        size = room_for_squares(rows.dense, sum(main + tail for main, tail in layer.panels))
    if layer.by_bytes:
        size = max(size, room_for_bytes(rows.dense, sum(main + tail for main, tail in layer.panels)))
    scratch = aligned_zeros(size, layer.dtype)
    found = np.zeros(ROWS_AT_ONCE * WORDS_OF_ROW, np.int64)
    starts = np.zeros(EXAMPLES_TOGETHER + 1, np.int64)
    words = {"rows": _words(rows), "whole": _words(whole), "share": _words(share)}
    return Inputs(**words, **functions, scratch=scratch, found=found, starts=starts)


def functions_of_settings(
    layout: Layout, buffers: Buffers, settings: Settings, activation: int
) -> dict[str, list[Key | None]]:
    """The functions for each field of `Settings` that has some; of activations, the steps know ReLU themselves."""
    words, dtype = (layout, buffers, settings), buffers.parameters.dtype.name
    of_layer = (by_words(*words), *OF_EXAMPLES, WORD, WORD)  # of a block, its tile, and the layer
    inputs, part, targets = unbound(dtype)
    of_block = (by_words(*words, inputs, part, targets), WORD, *OF_EXAMPLES, WORD, WORD, "*uint32", REAL, REAL)
    of_update = (by_words(*words, inputs, part), *OF_EXAMPLES, WORD, REAL, REAL, WORD)
    normalised, dropped = settings.batchnorm != BATCHNORM_OFF, bool(settings.dropout_thresholds.any())
    of_vectors = (f"*{dtype}", WORD, WORD)
    own, by_matrix = activation != RELU, bool(layout.by_matrix[2:].any())
    together = settings.training and layout.layers_together
    options = (not own, settings.batchnorm, dropped)
    of_layers = tuple(map(int, (*options, *layout.units[1:], *layout.row_widths[1:])))
    of_product = (*of_vectors, WORD, f"*{dtype}", *[WORD] * 8, f"*{dtype}")
    of_gradient = (*of_vectors, *[WORD] * 5, f"*{dtype}", WORD, WORD, WORD, f"*{dtype}")

    def key(name: str, kinds: tuple[Any, ...], *constants: int, needed: bool) -> Key | None:
        return Key(f"makers.{name}", constants, kinds) if needed else None

    return {
        "activation": [
            key("make_activate", of_vectors, activation, needed=own),
            key("make_activate_backward", (*of_vectors, WORD, REAL), activation, needed=own),
        ],
        "normalisation": [
            key("make_normalise", of_layer, needed=normalised),
            key("make_normalise_backward", (*of_layer, WORD), needed=normalised and settings.training),
        ],
        "matrix": [
            key("make_matrix_product", of_product, needed=by_matrix),
            key("make_matrix_gradient", of_gradient, needed=by_matrix and settings.training),
        ],
        "dropout": [key("make_drop", (*of_layer, WORD, "*uint32"), needed=settings.training and dropped)],
        "layers": [key("make_layers", of_block, *of_layers, needed=together)],
        "update": [key("make_update_step", of_update, settings.optimizer, needed=settings.training)],
    }


def unbound(dtype: str) -> tuple[Inputs, Part, Targets]:
    """Inputs, a part and targets of the kinds that every run has, without anything in them."""
    words = np.empty(0, np.int64)
    none = Ranges(0, words)
    inputs = Inputs(words, words, words, words, words, words, words, words, np.empty(0, dtype), words, words)
    targets = Targets(np.empty(0, np.int32), np.empty(0), weighted=False)
    return inputs, Part(0, 1, none, none, none, none, none, flags=words, dense_threads=0, give_way=0), targets


def _words(structure: Any) -> Any:
    """The fields of a named tuple as integers, addresses in place of arrays."""
    if INTERPRETED:
        return structure
    return np.array([f.ctypes.data if isinstance(f, np.ndarray) else f for f in structure], dtype=np.int64)
