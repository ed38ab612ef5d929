"""Small compiled functions, one for every few operations of the vector type, and the numbers that they are given.

Run as a script, this file writes what the probes compute; so other processes can be compared bit by bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from fastfnn.kernels.simd import (
    PACKED,
    add_grid,
    add_loads,
    as_words,
    at,
    columns_of_vectors,
    equal,
    exp,
    first_lane,
    fma,
    fma_columns,
    fma_grid,
    greater,
    itemsize,
    lane_numbers,
    load,
    load_converted,
    load_grid,
    long_words,
    maximum,
    narrow,
    not_below,
    outer_fma,
    put_in_column,
    rectify_grid,
    repeat,
    size_of_columns,
    splat,
    splat_grid,
    splat_lane,
    sqrt,
    store,
    store_grid,
    store_totals,
    total,
    transpose,
    transpose_long_rows,
    transpose_rows,
    where,
    zeros,
    zeros_of,
)

Array = NDArray[Any]
Outputs = dict[str, Array]

FLOATS = ["float32", "float64"]
STORED = ["uint8", *FLOATS]
GAPS = [0, 5, 9]  # numbers between the vectors of a block
SIZE = 4096
EXP_RANGE = {"float32": (-87.33, 88.37), "float64": (-708.39, 709.43)}
probe = numba.njit(nogil=True, error_model="numpy")


# ------------------------------------------------------------------------------------------------------------ probes


@probe
def of_floats(x, y, z, out):
    """Every lane-by-lane operation on floats, one after the other; see FLOAT_OPERATIONS."""
    like, n = zeros(x, 64), len(x)
    for i in range(0, n, len(like)):
        a, b, c = load(x, i, like), load(y, i, like), load(z, i, like)
        store(a + b, out, i)
        store(a - b, out, n + i)
        store(a * b, out, 2 * n + i)
        store(a / b, out, 3 * n + i)
        store(maximum(a, b), out, 4 * n + i)
        store(where(greater(a, b), a, c), out, 5 * n + i)
        store(where(equal(a, b), a, c), out, 6 * n + i)
        store(fma(a, b, c), out, 7 * n + i)
        store(sqrt(a), out, 8 * n + i)
        store_grid(rectify_grid(((a, b),)), out, 9 * n + 2 * i, 0, len(like))


FLOAT_OPERATIONS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "add": lambda x, y, z: x + y,
    "subtract": lambda x, y, z: x - y,
    "multiply": lambda x, y, z: x * y,
    "divide": lambda x, y, z: x / y,
    "maximum": lambda x, y, z: np.where(x > y, x, y),
    "greater": lambda x, y, z: np.where(x > y, x, z),
    "equal": lambda x, y, z: np.where(x == y, x, z),
    "fma": lambda x, y, z: x * y + z,
    "sqrt": lambda x, y, z: np.sqrt(x),
}


@probe
def of_words(x, y, out):
    """Every lane-by-lane operation on unsigned words; see WORD_OPERATIONS."""
    like, n = zeros(x, 64), len(x)
    for i in range(0, n, len(like)):
        a, b = load(x, i, like), load(y, i, like)
        store(a + b, out, i)
        store(a - b, out, n + i)
        store(a * b, out, 2 * n + i)
        store(a ^ b, out, 3 * n + i)
        store(a & b, out, 4 * n + i)
        store(a >> (b & splat(31, like)), out, 5 * n + i)
        store(a << (b & splat(31, like)), out, 6 * n + i)
        store(where(not_below(a, b), a, b), out, 7 * n + i)
        store(lane_numbers(like), out, 8 * n + i)


WORD_OPERATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "xor": lambda x, y: x ^ y,
    "and": lambda x, y: x & y,
    "right shift": lambda x, y: x >> (y & np.uint32(31)),
    "left shift": lambda x, y: x << (y & np.uint32(31)),
    "not below": np.maximum,
    "lane numbers": lambda x, y: np.arange(len(x), dtype=np.uint32) % np.uint32(16),
}


@probe
def of_exp(x, out):
    like = zeros(x, 64)
    for i in range(0, len(x), len(like)):
        store(exp(load(x, i, like)), out, i)


@probe
def of_sums(x, totals, together):
    """`total` of 16 vectors one by one, and all at once."""
    like = zeros(x, 64)
    v = len(like)
    for i in range(16):
        totals[i] = total(load(x, i * v, like))
    rows = (0, v, 2 * v, 3 * v, 4 * v, 5 * v, 6 * v, 7 * v)
    later = (8 * v, 9 * v, 10 * v, 11 * v, 12 * v, 13 * v, 14 * v, 15 * v)
    ones = x[16 * v :]
    store_totals(outer_fma(x, rows + later, ones, (0,), repeat(like, 16)), together, 3)


@probe
def of_blocks(x, out):
    """The operations on tuples of vectors, with odd offsets and strides."""
    like = zeros(x, 64)
    v = len(like)
    a = load(x, 1, like)
    pairs = repeat(repeat(a, 2), 3)
    store_grid(pairs, out, 0, 2 * v, v)
    store_grid(splat_grid(x, 5, 7, pairs), out, 6 * v, 2 * v, v)
    store_grid(fma_grid(x, 1, 4, x, 2, 3, repeat(repeat(load(x, 9, like), 2), 3)), out, 12 * v, 2 * v, v)
    store_grid((outer_fma(x, (0, 3), x, (1, 2, 5), repeat(a, 6)),), out, 18 * v, 0, v)
    store_grid((add_loads(x, 2, 5, repeat(a, 3)),), out, 24 * v, 0, v)
    store_grid(load_grid(x, 3, 5, 2, pairs), out, 27 * v, 2 * v, v)


@probe
def of_places(x, stored, added, stride):
    """Two rows of three vectors stored, and six others added to what is there, at places `stride` apart."""
    like = zeros(x, 64)
    v = len(like)
    grid = load_grid(x, 0, 3 * v, v, repeat(repeat(like, 3), 2))
    store_grid(grid, stored, 2, 3 * stride, stride)
    add_grid(grid, added, 2, 3 * stride, stride)


@probe
def of_conversions(x, out):
    """Values in the dtype of `out`, and how many bytes they had."""
    like = zeros(out, 64)
    for i in range(0, len(out), len(like)):
        store(load_converted(x, i, like), out, i)
    return itemsize(x)


@probe
def of_scalars(x, small, out):
    """Conversions between scalars and vectors, and the narrow vectors."""
    like, half, quarter = zeros(x, 64), zeros(x, 32), zeros(x, 16)
    store(splat(1, like), out, 0)
    store(splat(0.1, like), out, len(like))
    store(splat(at(small, 3), like), out, 2 * len(like))
    store(narrow(load(x, 3, like), half), out, 3 * len(like))
    store(narrow(load(x, 5, like), quarter), out, 4 * len(like))
    store(splat_lane(load(x, 5, quarter), 1, like), out, 5 * len(like))
    out[6 * len(like)] = first_lane(load(x, 7, like))
    out[6 * len(like) + 1] = at(x, 2)
    columns = columns_of_vectors(x, 2), columns_of_vectors(as_words(x, 1), 2)
    return len(like), len(half), len(quarter), len(zeros_of(like, 4)), zeros(x, 0) is None, columns


@probe
def of_transpose(source, start, stride, rows, target, to, to_stride):
    transpose(source, start, stride, rows, target, to, to_stride, zeros(source, 64))


@probe
def of_rows(source, starts, target):
    transpose_rows(source, starts, 1, 3, target, 5, zeros(target, 64))


def probe_of_columns(packed: int) -> Any:
    """Columns written all at once, and value by value, and multiplied: two tiles by three units."""

    @probe
    def of_columns(source, starts, together, one_by_one, weights, out):
        like = zeros(out, 64)
        v = len(like)
        x, others = as_words(together, packed), as_words(one_by_one, packed)
        for tile in range(2):
            to = 2 + tile * 17 * v
            transpose_rows(source, starts, 1, 3 + tile, x, to, like)
            for row in range(v):
                for k in range(16):
                    put_in_column(source[starts[1 + row] + 3 + tile + k], others, to, k, row, like)
        grid = repeat(repeat(load(weights, 0, like), 3), 2)
        for k in range(0, 16, PACKED):
            grid = fma_columns(x, 2 + size_of_columns(x, k, like), 17 * v, weights, 1 + 5 * k, 5, 2, grid)
        store_grid(grid, out, 0, 3 * v, v)

    return of_columns


of_columns, of_packed_columns = probe_of_columns(0), probe_of_columns(1)


@probe
def of_long_rows(source, starts, one_by_one, together):
    """64 columns, sixteen at a time and all at once."""
    like, x, y = zeros(together, 64), as_words(one_by_one, 1), as_words(together, 1)
    for k in range(0, 64, 16):
        transpose_rows(source, starts, 1, 3 + k, x, 5 + size_of_columns(x, k, like), like)
    transpose_long_rows(source, starts, 1, 3, long_words(y, like), 5, like)


@probe
def of_bytes_in_blocks(source, x, out):
    like = zeros(x, 64)
    v = len(like)
    store_grid(fma_grid(source, 3, 5, x, 2, 3, repeat(repeat(load(x, 9, like), 2), 3)), out, 0, 2 * v, v)


@probe
def copy(source, source_at, target, target_at):
    store(load(source, source_at, zeros(source, 64)), target, target_at)


# ------------------------------------------------------------------------------------------------------------- inputs


def special_values(dtype: str) -> Array:
    limits = np.finfo(dtype)
    positive = [0, limits.smallest_subnormal, limits.tiny / 3, limits.tiny, limits.eps, 0.5, 1, np.pi, limits.max]
    return np.array([s * v for v in [*positive, np.inf, np.nan] for s in (1, -1)], dtype)


def floats(dtype: str, *, seed: int) -> Array:
    """Half of them special values, half of them random of any size."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=SIZE) * 10.0 ** generator.integers(-6, 6, SIZE)
    special = generator.choice(special_values(dtype), SIZE)
    return np.where(generator.random(SIZE) < 0.5, numbers.astype(dtype), special)


def words(*, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    special = generator.choice(np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32), SIZE)
    return np.where(generator.random(SIZE) < 0.7, generator.integers(0, 2**32, SIZE, dtype=np.uint32), special)


def stored_values(kind: str) -> Array:
    """Values to convert: every byte, or floats, among them such as lie between two numbers of the narrower dtype."""
    if kind == "uint8":
        return np.resize(np.arange(256, dtype=np.uint8), SIZE)
    with np.errstate(over="ignore"):
        special = np.array([1 + 2.0**-24, 1 + 3 * 2.0**-24, 1e-40, -1e-46, 3e38, 3.5e38, -1e300]).astype(kind)
    return np.concatenate([special, floats(kind, seed=7)[: SIZE - len(special)]])


def row_starts(lanes: int) -> Array:
    """Where rows begin that are transposed, after one that is not: anywhere, some of them the same."""
    return np.random.default_rng(lanes).integers(0, SIZE - 32, lanes + 1)


def exp_arguments(dtype: str) -> Array:
    """The whole range, densely about 0 and about the ends, and multiples of log(2)/2, where the reduction turns."""
    low, high = EXP_RANGE[dtype]
    generator = np.random.default_rng(3)
    inside = [np.linspace(low, high, 30_000), generator.normal(size=20_000), generator.uniform(low, high, 20_000)]
    ends = [np.nextafter(np.full(1, end, dtype), np.array(way, dtype)) for end in (low, high) for way in (low, high)]
    turns = np.arange(-250, 250) * np.log(2) / 2
    x = np.concatenate([*inside, *ends, turns[(turns > low) & (turns < high)], [low, high]]).astype(dtype)
    return np.resize(x[(x >= low) & (x <= high)], 65536)


def normal(count: int, dtype: str) -> Array:
    return np.random.default_rng(count).normal(size=count).astype(dtype)


def run_probes() -> Outputs:
    """What every probe computes."""
    outputs: Outputs = {}
    with np.errstate(all="ignore"):
        for dtype in FLOATS:
            x, y, z = (floats(dtype, seed=seed) for seed in range(3))
            out = np.empty(11 * SIZE, dtype)
            of_floats(x, y, z, out)
            parts = dict(zip(FLOAT_OPERATIONS, out.reshape(11, SIZE), strict=False))
            outputs |= {f"{name} {dtype}": part for name, part in parts.items()}
            outputs[f"rectify {dtype}"] = out[9 * SIZE :]
            for kind, arguments in (("exp", exp_arguments(dtype)), ("exp of anything", x)):
                outputs[f"{kind} {dtype}"] = np.empty_like(arguments)
                of_exp(arguments, outputs[f"{kind} {dtype}"])
            lanes = 64 // x.itemsize
            sums = outputs[f"totals {dtype}"] = np.zeros((2, 32), dtype)
            of_sums(np.concatenate([normal(16 * lanes, dtype), np.ones(lanes, dtype)]), *sums)
            outputs[f"blocks {dtype}"] = np.zeros(33 * lanes, dtype)
            of_blocks(normal(3 * lanes, dtype), outputs[f"blocks {dtype}"])
            for kind in STORED:
                outputs[f"{kind} as {dtype}"] = np.empty(SIZE, dtype)
                of_conversions(stored_values(kind), outputs[f"{kind} as {dtype}"])
            for kind in ("uint8", dtype):
                outputs[f"rows of {kind} as {dtype}"] = np.full(16 * lanes + 7, 77, dtype)
                of_rows(stored_values(kind), row_starts(lanes), outputs[f"rows of {kind} as {dtype}"])
            bytes_of = stored_values("uint8")
            for kind, source, probe_of in (
                ("values", normal(SIZE, dtype), of_columns),
                ("bytes", bytes_of, of_columns),
                ("packed bytes", bytes_of, of_packed_columns),
            ):
                written = outputs[f"columns of {kind} {dtype}"] = np.zeros((2, 35 * lanes), dtype)
                products = outputs[f"products of {kind} {dtype}"] = np.zeros(6 * lanes, dtype)
                probe_of(source, row_starts(lanes), *written, normal(96, dtype), products)
            if dtype == "float32":
                outputs["long rows"] = np.zeros((2, 16 * lanes + 8), dtype)
                of_long_rows(bytes_of, row_starts(lanes) // 2, *outputs["long rows"])
            outputs[f"blocks of bytes {dtype}"] = np.zeros(6 * lanes, dtype)
            of_bytes_in_blocks(bytes_of, normal(3 * lanes, dtype), outputs[f"blocks of bytes {dtype}"])
            for gap in GAPS:
                places = np.resize(floats(dtype, seed=1), (2, 12 * lanes))
                of_places(x, *places, lanes + gap)
                outputs[f"places with gaps of {gap} {dtype}"] = places
            outputs[f"scalars {dtype}"] = np.zeros(7 * lanes, dtype)
            of_scalars(normal(3 * lanes, dtype), np.arange(200, 210, dtype=np.uint8), outputs[f"scalars {dtype}"])
    out = np.empty(9 * SIZE, np.uint32)
    of_words(words(seed=0), words(seed=1), out)
    outputs |= {f"{name} uint32": part for name, part in zip(WORD_OPERATIONS, out.reshape(9, SIZE), strict=True)}
    return outputs


if __name__ == "__main__":
    np.savez(sys.argv[1], **run_probes())
