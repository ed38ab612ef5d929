"""Arguments as words, and the functions that take them."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from processes import run_python

from fastfnn import kernels
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.routines import Routine, Words, by_words


class Pair(NamedTuple):
    first: Any
    second: Any


KIND = "structure", "Pair", ("float64", "bool")
MATRIX = np.arange(24, dtype=np.uint8).reshape(4, 6) % 5
PLACES = np.array([5, 0, 4, 1, 3, 2])


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (7, "int64", [7]),
        (np.uint32(7), "int64", [7]),
        (-0.5, "float64", [-0.5]),
        (np.float32(0.5), "float64", [0.5]),
        (True, "bool", [1]),
        (np.False_, "bool", [0]),
        (Pair(1, Pair(2.0, False)), ("structure", "Pair", ("int64", KIND)), [1, 2.0, 0]),
    ],
)
def test_numbers_and_tuples(value: Any, kind: Any, words: list[float]) -> None:
    written = Words(value)
    assert written.kinds == (kind,)
    formats = "".join("d" if isinstance(word, float) else "q" for word in words)
    assert struct.unpack(formats, written.packed()) == tuple(words)


@pytest.mark.parametrize(
    ("array", "layout", "strides"),
    [(MATRIX, "C", []), (MATRIX.T, "A", [1, 6]), (MATRIX[::2], "A", [12, 1]), (MATRIX[:, 0], "A", [6])],
    ids=["rows", "columns", "every second row", "a column"],
)
def test_arrays(array: Any, layout: str, strides: list[int]) -> None:
    written = Words(array)
    assert written.kinds == (("array", "|u1", array.ndim, layout),)
    assert written.values == [array.ctypes.data, *array.shape, *strides]


@pytest.mark.parametrize(
    "value",
    ["text", None, [1, 2], np.arange(3).astype(">i8"), np.frombuffer(bytes(17), np.uint8)[1:].view(np.float64)],
    ids=["text", "nothing", "a list", "swapped bytes", "unaligned"],
)
def test_what_compiled_code_could_not_read(value: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        Words(value)


def test_words_stand_for_the_arguments_that_they_were_made_of() -> None:
    whole, parts = Words(1, MATRIX, 2.0), Words(Words(1, MATRIX), 2.0)
    assert (whole.kinds, whole.packed()) == (parts.kinds, parts.packed())
    assert len(parts.arguments) == 3
    counts = np.zeros(4, np.int64)
    kernels.count_others(Words(MATRIX, PLACES), 2, counts)
    assert counts.any()


def test_the_kind_of_an_address() -> None:
    assert by_words(1, 2.0) == ("words", ("int64", "float64"))


@pytest.mark.parametrize("matrix", [MATRIX, np.asfortranarray(MATRIX), np.repeat(MATRIX, 2, axis=1)[:, ::2]])
def test_matrices_of_any_layout(matrix: Any) -> None:
    counts = np.zeros(4, np.int64)
    assert kernels.count_others(matrix, PLACES, 2, counts) is None
    np.testing.assert_array_equal(counts, np.count_nonzero(MATRIX[:, PLACES >= 2], axis=1))


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_what_is_compiled_for_other_arguments_is_another_function() -> None:
    wide, narrow = (
        Routine("records.count_others").key(MATRIX, PLACES, 2, np.zeros(4, dtype)) for dtype in (np.int64, np.int32)
    )
    assert wide != narrow
    assert wide.path() != narrow.path()


OUT_OF_BOUNDS = """
import numpy as np
from fastfnn import kernels

try:
    kernels.count_others(np.ones((2, 3), np.uint8), np.arange(2), 0, np.zeros(2, np.int64))
except RuntimeError as error:
    print(error)
"""


@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")
def test_errors_of_compiled_code_are_reported() -> None:
    assert run_python("-c", OUT_OF_BOUNDS, NUMBA_BOUNDSCHECK="1") == "records.count_others failed with status 1\n"
