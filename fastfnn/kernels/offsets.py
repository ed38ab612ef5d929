"""Four offsets at a time, of the rows or columns of a block."""

from __future__ import annotations

from fastfnn.kernels.compilation import kernel


@kernel
def clamped(base, first, count, stride):
    """Offsets of the items first..first+3, those past `count` replaced by the last one."""
    last = count - 1
    return (
        base + min(first, last) * stride,
        base + min(first + 1, last) * stride,
        base + min(first + 2, last) * stride,
        base + min(first + 3, last) * stride,
    )


@kernel
def shifted(offsets, distance):
    """Four offsets further on."""
    a, b, c, d = offsets
    return a + distance, b + distance, c + distance, d + distance
