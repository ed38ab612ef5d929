"""Every operation of the vector type against NumPy, against its twin, and on narrower processors."""

from __future__ import annotations

import platform
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
import simd_probes
from numba import types
from numba.core.errors import TypingError
from processes import run_python
from simd_probes import (
    EXP_RANGE,
    FLOAT_OPERATIONS,
    FLOATS,
    GAPS,
    SIZE,
    STORED,
    WORD_OPERATIONS,
    Array,
    Outputs,
    copy,
    exp_arguments,
    floats,
    normal,
    of_conversions,
    of_exp,
    of_scalars,
    of_sums,
    of_transpose,
    probe,
    row_starts,
    run_probes,
    stored_values,
    words,
)

from fastfnn.kernels import processor, simd
from fastfnn.kernels.processor import INTERPRETED
from fastfnn.kernels.simd import at, by_pointers, first_lane, load, maximum, prefetch, quotient, repeat, store, zeros

COMPILER_IS_MEASURED = True
compiled_only = pytest.mark.skipif(INTERPRETED, reason="of compiled code")
on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86-64 processors")


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


@probe
def of_quotient(x, y, out):
    like = zeros(x, 64)
    for i in range(0, len(x), len(like)):
        store(quotient(load(x, i, like), load(y, i, like)), out, i)


@pytest.mark.parametrize("dtype", FLOATS)
def test_quotients_are_rounded_as_by_division(dtype: str) -> None:
    """Numbers of all sizes, those with many or few bits, equal and neighbouring ones; divisors beyond all numbers."""
    generator = np.random.default_rng(0)
    numbers = np.ldexp(generator.uniform(0.5, 1, (2, 160_000)), generator.integers(-50, 50, (2, 160_000))).astype(dtype)
    x, y = numbers * generator.choice(np.array([-1, 1], dtype), numbers.shape)
    few = np.ldexp(np.trunc(np.ldexp(numbers, 40)), -40).astype(dtype)
    whole = generator.integers(1, 4000, (2, 16_000)).astype(dtype)
    special = (
        np.array([0, 1, -1, 3, 0, -1, 1, 7], dtype),
        np.array([np.inf, -np.inf, np.inf, np.nan, 5, 1, -1, 7], dtype),
    )
    pairs = [
        (x, y),
        (x, x),
        (x, np.nextafter(x, np.inf)),
        (np.nextafter(y, 0), y),
        (few[0][few[1] != 0], few[1][few[1] != 0]),
        (whole[0], whole[1]),
        (whole[0] * whole[1], whole[1]),
        special,
    ]
    dividends, divisors = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    n = len(dividends) // 16 * 16
    out = np.empty(n, dtype)
    of_quotient(dividends[-n:], divisors[-n:], out)
    np.testing.assert_array_equal(bits(out), bits(dividends[-n:] / divisors[-n:]))


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
    rows = outputs[f"blocks {dtype}"].reshape(33, lanes)
    np.testing.assert_array_equal(rows[:6], [a] * 6)
    np.testing.assert_array_equal(rows[6:12], np.tile(np.repeat(x[[5, 12]], lanes).reshape(2, lanes), (3, 1)))
    tolerance: dict[str, Any] = {"rtol": 0, "atol": 8 * np.finfo(dtype).eps}
    products = [x[9 : 9 + lanes] + x[i : i + lanes] * x[k] for i in (1, 5, 9) for k in (2, 5)]
    np.testing.assert_allclose(rows[12:18], products, **tolerance)
    outer = [a + x[i : i + lanes] * x[j : j + lanes] for i in (0, 3) for j in (1, 2, 5)]
    np.testing.assert_allclose(rows[18:24], outer, **tolerance)
    np.testing.assert_array_equal(rows[24:27], [a + x[i : i + lanes] for i in (2, 7, 12)])
    loaded = [x[i : i + lanes] for row in (3, 8, 13) for i in (row, row + 2)]
    np.testing.assert_array_equal(rows[27:], loaded)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", STORED)
def test_conversions(outputs: Outputs, kind: str, dtype: str) -> None:
    """Rounded as NumPy rounds: to the nearest, infinite beyond the range; NaN and signed zeros stay."""
    with np.errstate(all="ignore"):
        expected = stored_values(kind).astype(dtype)
        assert of_conversions(stored_values(kind), np.empty(64, dtype)) == np.dtype(kind).itemsize
    np.testing.assert_array_equal(bits(outputs[f"{kind} as {dtype}"]), bits(expected))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("gap", GAPS)
def test_blocks_are_stored_and_added_at_their_places_and_nowhere_else(outputs: Outputs, gap: int, dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    vectors = floats(dtype, seed=0)[: 6 * lanes].reshape(6, lanes)
    stored, added = np.resize(floats(dtype, seed=1), (2, 12 * lanes))
    with np.errstate(all="ignore"):
        for i, vector in enumerate(vectors):
            stored[2 + i * (lanes + gap) :][:lanes] = vector
            added[2 + i * (lanes + gap) :][:lanes] += vector
    np.testing.assert_array_equal(bits(outputs[f"places with gaps of {gap} {dtype}"]), bits(np.array([stored, added])))


@pytest.mark.parametrize("dtype", FLOATS)
def test_scalars_and_narrow_vectors(dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    x, small, out = normal(3 * lanes, dtype), np.arange(200, 210, dtype=np.uint8), np.zeros(7 * lanes, dtype)
    assert of_scalars(x, small, out) == (lanes, lanes // 2, lanes // 4, 4, True, (2, 8))
    rows = out.reshape(7, lanes)
    np.testing.assert_array_equal(rows[:3], np.repeat(np.array([1, 0.1, 203], dtype), lanes).reshape(3, lanes))
    np.testing.assert_array_equal(rows[3], [*x[3 : 3 + lanes // 2], *[0] * (lanes // 2)])
    np.testing.assert_array_equal(rows[4], [*x[5 : 5 + lanes // 4], *[0] * (lanes - lanes // 4)])
    np.testing.assert_array_equal(rows[5], np.repeat(x[6], lanes))
    np.testing.assert_array_equal(rows[6], [x[7], x[2], *[0] * (lanes - 2)])


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
def test_transpose_of_as_many_rows_as_there_are(dtype: str) -> None:
    """Rows behind them are zeros, and are not read: the source ends there."""
    lanes = 64 // np.dtype(dtype).itemsize
    stride, to_stride = lanes + 3, lanes + 5
    for rows in (1, lanes - 3, lanes, lanes + 2):
        present = min(rows, lanes)
        source = np.arange(2 + present * stride).astype(dtype)
        target = np.full(2 * lanes * lanes, -1, dtype)
        of_transpose(source, 2, stride, rows, target, 1, to_stride)
        expected = np.full(2 * lanes * lanes, -1, dtype)
        for i in range(lanes):
            expected[1 + i * to_stride :][:lanes] = [*source[2 + i :: stride][:present], *[0] * (lanes - present)]
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["uint8", "values"])
def test_rows_from_anywhere_become_columns(outputs: Outputs, kind: str, dtype: str) -> None:
    """Every byte, NaN and infinities are among the values; nothing beside the columns is written."""
    stored = kind if kind == "uint8" else dtype
    found, source, lanes = (
        outputs[f"rows of {stored} as {dtype}"],
        stored_values(stored),
        64 // np.dtype(dtype).itemsize,
    )
    starts = row_starts(lanes)[1:] + 3
    columns = np.array([[source[start + j] for start in starts] for j in range(16)], dtype)
    expected = np.concatenate([np.full(5, 77, dtype), columns.reshape(-1), np.full(2, 77, dtype)])
    np.testing.assert_array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["values", "bytes", "packed bytes"])
def test_columns_are_multiplied_as_they_were_written(outputs: Outputs, kind: str, dtype: str) -> None:
    """All at once or value by value, packed or not."""
    lanes = 64 // np.dtype(dtype).itemsize
    together, one_by_one = outputs[f"columns of {kind} {dtype}"]
    np.testing.assert_array_equal(bits(together), bits(one_by_one))
    source = normal(SIZE, dtype) if kind == "values" else stored_values("uint8")
    starts, weights = row_starts(lanes)[1:] + 3, normal(96, dtype)
    of_unit = [weights[1 + 2 * j :: 5][:16] for j in range(3)]
    tiles = [np.array([source[start + tile :][:16] for start in starts], dtype) for tile in range(2)]
    expected = [weights[:lanes] + tile @ factors for tile in tiles for factors in of_unit]
    scale = np.abs(source[:256].astype(dtype)).max()
    found = outputs[f"products of {kind} {dtype}"].reshape(6, lanes)
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * scale * np.finfo(dtype).eps)


def test_long_rows_are_written_as_short_ones(outputs: Outputs) -> None:
    one_by_one, together = outputs["long rows"]
    assert np.count_nonzero(bits(one_by_one)) > 200
    np.testing.assert_array_equal(bits(together), bits(one_by_one))


@pytest.mark.parametrize("dtype", FLOATS)
def test_bytes_in_blocks(outputs: Outputs, dtype: str) -> None:
    lanes = 64 // np.dtype(dtype).itemsize
    x, source = normal(3 * lanes, dtype), stored_values("uint8").astype(dtype)
    expected = [x[9 : 9 + lanes] + source[i : i + lanes] * x[k] for i in (3, 8, 13) for k in (2, 5)]
    found = outputs[f"blocks of bytes {dtype}"].reshape(6, lanes)
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


class Inner(NamedTuple):
    values: Any
    number: int


class Outer(NamedTuple):
    inner: Inner
    order: Any


@probe
def sum_by_pointers(structure):
    """The same numbers read by indexing, by vectors and through the structure within."""
    pointers = by_pointers(structure)
    values = pointers.inner.values
    like = zeros(values, 64)
    total = load(values, 1, like)
    return first_lane(total), values[pointers.order[1]], at(values, 2), pointers.inner.number


@pytest.mark.parametrize("dtype", FLOATS)
def test_structures_by_pointers(dtype: str) -> None:
    structure = Outer(Inner(np.arange(20).astype(dtype), 7), np.array([3, 5]))
    assert sum_by_pointers(structure) == (1, 5, 2, 7)


def test_prefetch_beyond_the_array_is_harmless() -> None:
    array = np.ones(1, np.float32)
    probe(lambda x: prefetch(x, 10**9))(array)
    assert array[0] == 1


@compiled_only
def test_calls_through_addresses() -> None:
    @numba.cfunc(types.void(types.CPointer(types.float64), types.float64, types.int64))
    def write(target, value, index):
        target[index] = value

    @probe
    def call(function, array):
        simd.call_address(function, (simd.address(array), np.float32(1.5), np.uint8(2)))
        return simd.address(array)

    array = np.zeros(4)
    assert call(write.address, array) == array.ctypes.data
    assert array.tolist() == [0, 0, 1.5, 0]


@compiled_only
def test_calls_of_kernels_through_addresses() -> None:
    """Two places come first, which a function without a result does not use."""

    @numba.cfunc(types.int32(types.intp, types.intp, types.CPointer(types.float64), types.float64, types.int64))
    def write(result, exception, target, value, index):
        target[index] = value + (result == exception)
        return 0

    @probe
    def call(function, array):
        simd.call_kernel(function, (simd.address(array), np.float32(1.5), np.uint8(2)))

    array = np.zeros(4)
    call(write.address, array)
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
        lambda x: repeat(zeros(x, 64), len(x)),
    ],
    ids=["load", "store", "widths", "xor", "maximum", "size", "count"],
)
def test_mixed_types_are_refused_at_compile_time(wrong: Callable[[Array], Any]) -> None:
    with pytest.raises(TypingError):
        probe(wrong)(np.zeros(16, np.float32))


# ---------------------------------------------------------------------------------------------------- other processes


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+avx512f,+avx,+fma", (64, 32)),
        ("+avx,+avx2,-avx512f", (32, 16)),
        ("+sse4.2", (16, 16)),
        ("+neon", (16, 32)),
        ("", (16, 16)),
    ],
)
def test_registers_are_those_that_code_is_compiled_for(
    monkeypatch: pytest.MonkeyPatch, features: str, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(processor, "CPU_FEATURES", features)
    assert processor.registers() == expected


def outputs_elsewhere(path: Path, **environment: str) -> Outputs:
    """What the probes compute in a process with other environment variables."""
    run_python(simd_probes.__file__, str(path), **environment)
    with np.load(path) as archive:
        return dict(archive)


@compiled_only
@on_x86
@pytest.mark.parametrize("name", ["haswell", "x86-64-v2"])
def test_narrower_processors_give_the_same_bits(outputs: Outputs, tmp_path: Path, name: str) -> None:
    """AVX2 without AVX-512; SSE4.2 without fused multiply-add."""
    elsewhere = outputs_elsewhere(tmp_path / "bits.npz", NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")
    assert set(elsewhere) == set(outputs)
    for probed, values in outputs.items():
        np.testing.assert_array_equal(bits(elsewhere[probed]), bits(values), err_msg=probed)


@compiled_only
def test_twins_agree(outputs: Outputs, tmp_path: Path) -> None:
    """To the bit, but for exp and fma; in float64 the fma's twin rounds the product, which can overflow or cancel."""
    twins = outputs_elsewhere(tmp_path / "twins.npz", NUMBA_DISABLE_JIT="1")
    assert set(twins) == set(outputs)
    for name, values in outputs.items():
        if name == "fma float64":
            continue
        if name.startswith(("fma", "exp", "blocks", "products")):
            epsilon = np.finfo(values.dtype).eps
            largest = 16 * 255 if name.startswith("products") else 1  # what is added up
            with np.errstate(all="ignore"):
                np.testing.assert_allclose(twins[name], values, rtol=4 * epsilon, atol=largest * epsilon, err_msg=name)
        else:
            np.testing.assert_array_equal(bits(twins[name]), bits(values), err_msg=name)
