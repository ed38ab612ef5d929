"""The disk cache of compiled kernels: hit when it may be, missed when it must be, and never in the way.

Most tests run a copy of the kernels with two functions more, small enough to compile in a fraction of a second: an
entry point and a callback, which call a kernel of another file (`optimizers.sgd`), which uses a third (`simd.fma`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
import pytest
from numba import carray, types

import fastfnn
from fastfnn.kernels import compilation
from fastfnn.kernels.compilation import CheckedCacheFile, compile_callback, sources_digest

pytestmark = pytest.mark.skipif(compilation.INTERPRETED, reason="nothing is compiled")

PACKAGE = Path(fastfnn.__file__).parent
PROBE = '''
import json

import numpy as np
from numba import carray, types

from fastfnn.kernels import optimizers
from fastfnn.kernels.compilation import cache_folder, compile_callback, entry_point
from fastfnn.kernels.simd import zeros


@entry_point
def descend(parameters, gradients):
    optimizers.sgd(parameters, gradients, 0, len(parameters), 0.5, 0.25, zeros(parameters, 64))


def descend_on(size):
    def descend_on_one_vector(parameters, gradients):
        w, dw = carray(parameters, (16,)), carray(gradients, (16,))
        like = zeros(w, size)
        optimizers.sgd(w, dw, 0, len(like), 0.5, 0.25, like)

    return descend_on_one_vector


def call_callback(size):
    pointer = types.CPointer(types.float32)
    callback = compile_callback(descend_on(size), types.void(pointer, pointer))
    w, dw = np.full(16, 3, "f4"), np.full(16, 7, "f4")
    callback.ctypes(*(array.ctypes.data_as(callback.ctypes.argtypes[0]) for array in (w, dw)))
    return float(w.sum()), callback.cache_hits


def main():
    found = [call_callback(size) for size in (64, 32)]
    for dtype in ("f4", "f8"):
        w, dw = np.full(16, 2, dtype), np.full(16, 6, dtype)
        descend(w, dw)
        found.append((float(w.sum()), 0))
    numbers, hits = zip(*found)
    folder = cache_folder()
    hits = sum(hits) + sum(descend.stats.cache_hits.values())
    print(json.dumps({"numbers": numbers, "hits": hits, "folder": folder and str(folder)}))


if __name__ == "__main__":
    main()
'''
