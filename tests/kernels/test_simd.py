"""Every operation of the vector type against NumPy, against its twin, and on narrower processors.

Run as a script, this file writes what its probes compute; so other processes can be compared bit by bit.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.core.errors import TypingError
from numpy.typing import NDArray

from fastfnn.kernels import simd
from fastfnn.kernels.compilation import INTERPRETED
from fastfnn.kernels.simd import (
    at,
    equal,
    exp,
    first_lane,
    fma,
    fma_each,
    greater,
    lane_numbers,
    load,
    maximum,
    narrow,
    not_below,
    outer_fma,
    prefetch,
    rectify_each,
    repeat,
    splat,
    splat_each,
    sqrt,
    store,
    store_each,
    store_totals,
    total,
    transpose,
    where,
    zeros,
)

Array = NDArray[Any]
Outputs = dict[str, Array]

FLOATS = ["float32", "float64"]
SIZE = 4096
EXP_RANGE = {"float32": (-87.33, 88.37), "float64": (-708.39, 709.43)}
probe = numba.njit(nogil=True, error_model="numpy")
compiled_only = pytest.mark.skipif(INTERPRETED, reason="of compiled code")
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 processors")


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
        store_each(rectify_each((a, b)), out, 9 * n + 2 * i)


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
    store_each(repeat(a, 3), out, 0)
    store_each(splat_each(x, 5, 7, repeat(like, 3)), out, 3 * v)
    store_each(fma_each(a, x, 2, 3, repeat(load(x, 9, like), 3)), out, 6 * v)
    store_each(outer_fma(x, (0, 3), x, (1, 2, 5), repeat(a, 6)), out, 9 * v)


@probe
def of_scalars(x, small, out):
    """Conversions between scalars and vectors, and the narrow vectors."""
    like, half, quarter = zeros(x, 64), zeros(x, 32), zeros(x, 16)
    store(splat(1, like), out, 0)
    store(splat(0.1, like), out, len(like))
    store(splat(at(small, 3), like), out, 2 * len(like))
    store(narrow(load(x, 3, like), half), out, 3 * len(like))
    store(narrow(load(x, 5, like), quarter), out, 4 * len(like))
    out[5 * len(like)] = first_lane(load(x, 7, like))
    out[5 * len(like) + 1] = at(x, 2)
    return len(like), len(half), len(quarter), zeros(x, 0) is None


@probe
def of_transpose(source, start, stride, target, to, to_stride):
    transpose(source, start, stride, target, to, to_stride, zeros(source, 64))


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
            outputs[f"blocks {dtype}"] = np.zeros(15 * lanes, dtype)
            of_blocks(normal(3 * lanes, dtype), outputs[f"blocks {dtype}"])
            outputs[f"scalars {dtype}"] = np.zeros(6 * lanes, dtype)
            of_scalars(normal(3 * lanes, dtype), np.arange(200, 210, dtype=np.uint8), outputs[f"scalars {dtype}"])
    out = np.empty(9 * SIZE, np.uint32)
    of_words(words(seed=0), words(seed=1), out)
    outputs |= {f"{name} uint32": part for name, part in zip(WORD_OPERATIONS, out.reshape(9, SIZE), strict=True)}
    return outputs


@pytest.fixture(scope="module")
def outputs() -> Outputs:
    return run_probes()


def bits(x: Array) -> Array:
    """The bits of numbers, all NaN alike: which NaN comes out of an operation is the processor's affair."""
    if x.dtype == np.uint32:
        return x
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x).view(f"u{x.itemsize}")


def ulp_difference(x: Array, exact: Array) -> float:
    return float((np.abs(x.astype(exact.dtype) - exact) / np.spacing(np.abs(exact.astype(x.dtype)))).max())


# -------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [name for name in FLOAT_OPERATIONS if name != "fma"])
def test_operation_on_floats(outputs: Outputs, name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        expected = FLOAT_OPERATIONS[name](*(floats(dtype, seed=seed) for seed in range(3)))
    np.testing.assert_array_equal(bits(outputs[f"{name} {dtype}"]), bits(expected))


@pytest.mark.parametrize("name", WORD_OPERATIONS)
def test_operation_on_words(outputs: Outputs, name: str) -> None:
    expected = WORD_OPERATIONS[name](words(seed=0), words(seed=1))
    np.testing.assert_array_equal(outputs[f"{name} uint32"], expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rectify_keeps_nan_and_signed_zeros(outputs: Outputs, dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    pairs = np.stack([floats(dtype, seed=0).reshape(-1, lanes), floats(dtype, seed=1).reshape(-1, lanes)], axis=1)
    expected = np.where(pairs < 0, np.zeros(1, dtype), pairs).reshape(-1)
    np.testing.assert_array_equal(bits(outputs[f"rectify {dtype}"]), bits(expected))


@compiled_only
@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(outputs: Outputs, dtype: str) -> None:
    """No number of the dtype is closer to the exact x * y + z than the result."""
    x, y, z = (floats(dtype, seed=seed) for seed in range(3))
    results = outputs[f"fma {dtype}"]
    with np.errstate(all="ignore"):
        around = np.stack([np.nextafter(results, -np.inf), np.nextafter(results, np.inf)], axis=1)
    usable = np.flatnonzero(np.isfinite(np.column_stack([around, x, y, z])).all(axis=1))
    assert len(usable) > SIZE // 2
    for i in usable:
        exact = Fraction(float(x[i])) * Fraction(float(y[i])) + Fraction(float(z[i]))
        error = abs(Fraction(float(results[i])) - exact)
        assert all(error <= abs(Fraction(float(other)) - exact) for other in around[i])


@compiled_only
@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_of_what_is_not_finite(outputs: Outputs, dtype: str) -> None:
    x, y, z = (floats(dtype, seed=seed) for seed in range(3))
    with np.errstate(all="ignore"):
        expected = np.where(np.isfinite(x) & np.isfinite(y), z, x * y + z)
    special = ~(np.isfinite(x) & np.isfinite(y) & np.isfinite(z))
    np.testing.assert_array_equal(bits(outputs[f"fma {dtype}"][special]), bits(expected[special]))


@compiled_only
@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_is_within_2_ulp(outputs: Outputs, dtype: str) -> None:
    wide = np.float64 if dtype == "float32" else np.longdouble
    exact = np.exp(exp_arguments(dtype).astype(wide))
    assert ulp_difference(outputs[f"exp {dtype}"], exact) < 2 + (np.finfo(wide).nmant <= np.finfo(dtype).nmant)


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_outside_its_range(dtype: str) -> None:
    low, high = (np.array(end, dtype) for end in EXP_RANGE[dtype])
    below, above = np.nextafter(low, low - 1), np.nextafter(high, high + 1)
    largest = np.finfo(dtype).max
    x = np.array([-np.inf, -largest, -1e4, below, -0.0, 0.0, above, 1e4, largest, np.inf, np.nan, -np.nan], dtype)
    out = np.empty(16, dtype)
    of_exp(np.resize(x, 16), out)
    np.testing.assert_array_equal(out[: len(x)], np.array([0] * 4 + [1] * 2 + [np.inf] * 4 + [np.nan] * 2, dtype))
    subnormal = np.full(16, np.finfo(dtype).smallest_subnormal, dtype)
    of_exp(subnormal, out)
    assert (out == 1).all()


def halves_first(x: Array) -> Any:
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_totals_have_the_documented_order(outputs: Outputs, dtype: str) -> None:
    one_by_one, together = outputs[f"totals {dtype}"]
    lanes = 64 // one_by_one.itemsize
    expected = [halves_first(row) for row in normal(16 * lanes, dtype).reshape(16, lanes)]
    assert one_by_one.tolist() == [*expected, *[0] * 16]
    assert together.tolist() == [*[0] * 3, *expected, *[0] * 13]  # and nothing beside the 16 sums


@pytest.mark.parametrize("dtype", FLOATS)
def test_total_of_lanes_that_cancel(dtype: str) -> None:
    """1e30 meets -1e30 before anything small is lost, in the documented order and in no other."""
    lanes = 64 // np.dtype(dtype).itemsize
    row = np.zeros(lanes, dtype)
    row[[0, lanes // 2, 1, 2]] = 1e30, -1e30, 1, 2
    totals, together = np.zeros((2, 32), dtype)
    of_sums(np.concatenate([np.tile(row, 16), np.ones(lanes, dtype)]), totals, together)
    assert set(totals[:16]) == set(together[3:19]) == {3}


@pytest.mark.parametrize("dtype", FLOATS)
def test_blocks(outputs: Outputs, dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    x = normal(3 * lanes, dtype)
    a = x[1 : 1 + lanes]
    rows = outputs[f"blocks {dtype}"].reshape(15, lanes)
    np.testing.assert_array_equal(rows[:3], [a] * 3)
    np.testing.assert_array_equal(rows[3:6], np.repeat(x[[5, 12, 19]], lanes).reshape(3, lanes))
    tolerance: dict[str, Any] = {"rtol": 0, "atol": 8 * np.finfo(dtype).eps}
    np.testing.assert_allclose(rows[6:9], [x[9 : 9 + lanes] + a * x[k] for k in (2, 5, 8)], **tolerance)
    outer = [a + x[i : i + lanes] * x[j : j + lanes] for i in (0, 3) for j in (1, 2, 5)]
    np.testing.assert_allclose(rows[9:], outer, **tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_scalars_and_narrow_vectors(dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    x, small, out = normal(3 * lanes, dtype), np.arange(200, 210, dtype=np.uint8), np.zeros(6 * lanes, dtype)
    assert of_scalars(x, small, out) == (lanes, lanes // 2, lanes // 4, True)
    rows = out.reshape(6, lanes)
    np.testing.assert_array_equal(rows[:3], np.repeat(np.array([1, 0.1, 203], dtype), lanes).reshape(3, lanes))
    np.testing.assert_array_equal(rows[3], [*x[3 : 3 + lanes // 2], *[0] * (lanes // 2)])
    np.testing.assert_array_equal(rows[4], [*x[5 : 5 + lanes // 4], *[0] * (lanes - lanes // 4)])
    np.testing.assert_array_equal(rows[5], [x[7], x[2], *[0] * (lanes - 2)])


@pytest.mark.parametrize("dtype", [*FLOATS, "uint32"])
def test_load_and_store_at_any_offset_and_nowhere_else(dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    source = np.arange(3 * lanes).astype(dtype)
    for offset in range(2 * lanes + 1):
        target = np.full(3 * lanes, 77, dtype)
        copy(source, offset, target, 2 * lanes - offset)
        expected = np.full(3 * lanes, 77, dtype)
        expected[2 * lanes - offset :][:lanes] = source[offset : offset + lanes]
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_transpose(dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    source = np.arange(2 * lanes * lanes).astype(dtype)
    target = np.full(2 * lanes * lanes, -1, dtype)
    stride, to_stride = lanes + 3, lanes + 5
    of_transpose(source, 2, stride, target, 1, to_stride)
    expected = np.full(2 * lanes * lanes, -1, dtype)
    for i in range(lanes):
        expected[1 + i * to_stride :][:lanes] = source[2 + i :: stride][:lanes]
    np.testing.assert_array_equal(target, expected)


def test_prefetch_beyond_the_array_is_harmless() -> None:
    array = np.ones(1, np.float32)
    probe(lambda x: prefetch(x, 10**9))(array)
    assert array[0] == 1


@compiled_only
def test_calls_through_addresses() -> None:
    @numba.cfunc(types.void(types.CPointer(types.float64), types.float64, types.int64))
    def write(target, value, index):
        simd.array_at(target, 4)[index] = value

    @probe
    def call(function, array):
        simd.call_address(function, (simd.address(array), np.float32(1.5), np.uint8(2)))
        return simd.address(array)

    array = np.zeros(4)
    assert call(write.address, array) == array.ctypes.data
    assert array.tolist() == [0, 0, 1.5, 0]


@compiled_only
@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: load(x, 0, zeros(np.zeros(1, np.float64), 64)),
        lambda x: store(zeros(x, 64), np.zeros(16, np.float64), 0),
        lambda x: zeros(x, 64) + zeros(x, 32),
        lambda x: zeros(x, 64) ^ zeros(x, 64),
        lambda x: maximum(zeros(x, 64), zeros(x, 32)),
        lambda x: zeros(x, len(x)),
    ],
    ids=["load", "store", "widths", "xor", "maximum", "size"],
)
def test_mixed_types_are_refused_at_compile_time(wrong: Callable[[Array], Any]) -> None:
    with pytest.raises(TypingError):
        probe(wrong)(np.zeros(16, np.float32))


# ---------------------------------------------------------------------------------------------------- other processes


def outputs_elsewhere(path: Path, **environment: str) -> Outputs:
    """What the probes compute in a process with other environment variables."""
    subprocess.run([sys.executable, __file__, str(path)], env={**os.environ, **environment}, check=True, timeout=300)
    with np.load(path) as archive:
        return dict(archive)


@compiled_only
@on_x86
@pytest.mark.parametrize("processor", ["haswell", "x86-64-v2"])
def test_narrower_processors_give_the_same_bits(outputs: Outputs, tmp_path: Path, processor: str) -> None:
    """AVX2 without AVX-512; SSE4.2 without fused multiply-add."""
    elsewhere = outputs_elsewhere(tmp_path / "bits.npz", NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="")
    assert set(elsewhere) == set(outputs)
    for name, values in outputs.items():
        np.testing.assert_array_equal(bits(elsewhere[name]), bits(values), err_msg=name)


@compiled_only
def test_twins_agree(outputs: Outputs, tmp_path: Path) -> None:
    """To the bit, but for exp and fma; in float64 the fma's twin rounds the product, which can overflow or cancel."""
    twins = outputs_elsewhere(tmp_path / "twins.npz", NUMBA_DISABLE_JIT="1")
    assert set(twins) == set(outputs)
    for name, values in outputs.items():
        if name == "fma float64":
            continue
        if name.startswith(("fma", "exp", "blocks")):
            epsilon = np.finfo(values.dtype).eps
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(twins[name], values, rtol=4 * epsilon, atol=epsilon, err_msg=name)
        else:
            np.testing.assert_array_equal(bits(twins[name]), bits(values), err_msg=name)


if __name__ == "__main__":
    np.savez(sys.argv[1], **run_probes())
