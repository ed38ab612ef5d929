"""What the compiler made of the kernels: full-width fused arithmetic in float32, no memory management, no lock."""

from __future__ import annotations

import platform
import re
import threading
from itertools import product
from typing import Any

import numpy as np
import pytest
from llvmlite import binding
from numba.core.runtime import _nrt_python, rtsys

from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import panels
from fastfnn.kernels.compilation import INTERPRETED, OPTIONS
from fastfnn.rows import rows_of_split
from fastfnn.stretch import Stretch
from fastfnn.training import train

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

HAS_X86_FMA = platform.machine() in ("x86_64", "AMD64") and binding.get_host_cpu_features().get("fma", False)
PACKED_FMA = r"vfn?m(?:add|sub)\d+ps\s.*%[yz]mm"
PACKED_DOUBLE = r"\bv?cvtps2pd|\bv?(?:add|sub|mul|div)pd|\bvfn?m(?:add|sub)\d+pd"
TO_DOUBLE = r"\bv?cvtss2sd|\bv?cvtps2pd|\bv?cvtu?si2sd|\bv?cvtu?dq2pd"


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = np.random.default_rng(0)
    return Dataset.from_arrays(generator.integers(0, 256, (300, 12), dtype=np.uint8), np.arange(300) % 4)


def intermediate_and_assembly(library: Any) -> tuple[str, str]:
    """Optimised LLVM code and what this processor is given for it; Numba itself shows nothing of cached code."""
    module = library._get_module_for_linking()
    return str(module), str(library.codegen._tm.emit_assembly(module))


def compiled_panels(data: Dataset, kind: str, units: int) -> list[Any]:
    """The first layer's functions of a run, forward and update for every panel."""
    config = TrainingConfig(hidden=(units,), input=kind)
    rows = rows_of_split(data, data.train, config.input, "float32")
    widths = [(4 * int(main), 4 * int(tail)) for main, tail, _ in KernelEngine(data, config).network.layout.panels]
    return [
        panels.compiled(direction, kind == "sparse", *width, panels.signature(rows, "float32", direction))
        for direction, width in product(("forward", "update"), widths)
    ]


@pytest.mark.parametrize("units", [20, 64])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_first_layer_is_packed_and_fused_and_never_double(data: Dataset, kind: str, units: int) -> None:
    for panel in compiled_panels(data, kind, units):
        intermediate, assembly = intermediate_and_assembly(panel._library)
        assert re.search(r"@llvm\.fma\.v(?:4|16|32|64)f32", intermediate)
        assert "fpext" not in intermediate  # and so no float becomes a double, whatever the processor
        if HAS_X86_FMA:
            assert re.search(PACKED_FMA, assembly)
            assert not re.search(f"{TO_DOUBLE}|{PACKED_DOUBLE}", assembly)


@pytest.fixture(scope="module")
def steps_code(data: Dataset) -> tuple[str, str]:
    """That of the steps on float32 parameters."""
    KernelEngine(data, TrainingConfig(hidden=(5, 3)))
    overloads = kernels.run_steps.overloads.items()
    (found,) = (code for signature, code in overloads if str(signature[4].types[0].dtype) == "float32")
    return intermediate_and_assembly(found.library)


def test_steps_are_packed_and_fused(steps_code: tuple[str, str]) -> None:
    """Double precision is for single numbers: the sum of the losses, the rate, the factors of an optimiser."""
    intermediate, assembly = steps_code
    assert intermediate.count("@llvm.fma.v16f32") > 50
    assert not re.search(r"fpext <\d+ x float>", intermediate)
    if HAS_X86_FMA:
        assert len(re.findall(PACKED_FMA, assembly)) > 50
        assert not re.search(PACKED_DOUBLE, assembly)


def test_steps_manage_no_memory(steps_code: tuple[str, str]) -> None:
    intermediate, _ = steps_code
    assert not re.findall(r"@(NRT_\w+|malloc|calloc|realloc|posix_memalign|aligned_alloc)\b", intermediate)


def test_steps_release_the_lock(steps_code: tuple[str, str]) -> None:
    assert OPTIONS["nogil"]
    assert "call ptr @PyEval_SaveThread" in steps_code[0]


def test_steps_allocate_nothing(data: Dataset) -> None:
    config = TrainingConfig(hidden=(5, 3), batch_size=1, batchnorm="off", optimizer="adam", dropout=0.3, l2=0.1)
    engine = KernelEngine(data, config)
    was_counting = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        totals = engine.run(stretch_of(data, 240))
        after = rtsys.get_allocation_stats()
    finally:
        if not was_counting:
            _nrt_python.memsys_disable_stats()
    assert totals.steps == 240
    assert after == before


def stretch_of(data: Dataset, steps: int) -> Stretch:
    """Steps of one example."""
    order = np.resize(data.train.indices, steps)
    return Stretch(order, 0, steps, 0, np.full(steps, 1e-9), np.zeros(2, np.uint32))


def test_one_call_a_stretch(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stretches = []

    def counting(*arguments: Any) -> Any:
        stretches.append((arguments[2].first, arguments[2].last))
        return run_steps(*arguments)

    run_steps = kernels.run_steps
    monkeypatch.setattr(kernels, "run_steps", counting)
    train(data, TrainingConfig(hidden=(5, 3), batch_size=8, epochs=3))
    assert stretches == [(0, 0), *[(0, 30)] * 3]  # the first one does nothing but compile


def test_python_runs_beside_the_steps(data: Dataset) -> None:
    """This thread sees the parameters change, and ends the call early by writing NaN into them."""
    engine = KernelEngine(data, TrainingConfig(hidden=(5, 3), batch_size=1))
    stretch, found = stretch_of(data, 500_000), []
    parameters = engine.network.buffers.parameters
    before = parameters.copy()
    worker = threading.Thread(target=lambda: found.append(engine.run(stretch)))
    worker.start()
    while np.array_equal(parameters, before) and worker.is_alive():
        pass
    parameters[:] = np.nan
    worker.join()
    (totals,) = found
    assert totals.diverged
    assert 1 <= totals.steps < len(stretch.order)
