"""What the compiler made of the kernels: full-width fused arithmetic in float32, no memory management, no lock."""

from __future__ import annotations

import platform
import re
import threading
from typing import Any

import numpy as np
import pytest
from llvmlite import binding as llvm
from matrices import mixed_matrix
from numba.core.runtime import _nrt_python, rtsys

from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import binding
from fastfnn.kernels.compilation import INTERPRETED, OPTIONS
from fastfnn.kernels.structures import TANH
from fastfnn.stretch import Stretch
from fastfnn.training import train

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

HAS_X86_FMA = platform.machine() in ("x86_64", "AMD64") and llvm.get_host_cpu_features().get("fma", False)
PACKED_FMA = r"vfn?m(?:add|sub)\d+ps\s.*%[yz]mm"
PACKED_DOUBLE = r"\bv?cvtps2pd|\bv?(?:add|sub|mul|div)pd|\bvfn?m(?:add|sub)\d+pd"
TO_DOUBLE = r"\bv?cvtss2sd|\bv?cvtps2pd|\bv?cvtu?si2sd|\bv?cvtu?dq2pd"
ALLOCATOR = r"@(NRT_\w+|malloc|calloc|realloc|posix_memalign|aligned_alloc)\b"


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Images with dense and with listed features."""
    return Dataset.from_arrays(mixed_matrix(300), np.arange(300) % 4)


def intermediate_and_assembly(library: Any) -> tuple[str, str]:
    """Optimised LLVM code and what this processor is given for it; Numba itself shows nothing of cached code."""
    module = library._get_module_for_linking()
    return str(module), str(library.codegen._tm.emit_assembly(module))


def bound_code(data: Dataset, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, tuple[str, str]]:
    """That of the functions that a run on float32 parameters calls by address, by name and constants."""
    found = {}

    def recording(make: Any, constants: tuple[int, ...], signature: Any) -> Any:
        function = compiled(make, constants, signature)
        found[" ".join(map(str, (make.__name__, *constants)))] = intermediate_and_assembly(function._library)
        return function

    compiled = binding.compiled
    monkeypatch.setattr(binding, "compiled", recording)
    KernelEngine(data, TrainingConfig(**options))
    return found


DENSE = ["make_dense_forward 16 0", f"make_dense_update {binding.WIDE_BYTES} 0"]
DENSE_BY_FEATURE = ["make_dense_forward 0 0", "make_dense_update 0 0"]
FUNCTIONS = {
    ("dense", 20): [*DENSE, "make_forward 64 16"],
    ("auto", 20): [*DENSE, "make_forward 64 16", "make_update 64 16"],
    ("auto", 64): [*DENSE_BY_FEATURE, "make_forward 256 0", "make_update 256 0"],
    ("sparse", 5): ["make_forward 0 32", "make_update 0 32"],
    ("sparse", 64): ["make_forward 256 0", "make_update 256 0"],
}


@pytest.mark.parametrize(("kind", "units"), FUNCTIONS)
def test_first_layer_is_packed_and_fused_and_never_double(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str, units: int
) -> None:
    found = bound_code(data, monkeypatch, hidden=(units,), input=kind)
    assert sorted(found) == sorted(FUNCTIONS[kind, units])
    check_packed_and_fused_and_never_double(found)


def test_activations_are_packed_and_fused_and_never_double(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    found = bound_code(data, monkeypatch, activation="tanh")
    name = f"make_activate {TANH}"
    check_packed_and_fused_and_never_double({name: found[name]})
    assert f"make_activate_backward {TANH}" in found


def check_packed_and_fused_and_never_double(found: dict[str, tuple[str, str]]) -> None:
    for name, (intermediate, assembly) in found.items():
        assert re.search(r"@llvm\.fma\.v(?:4|8|16|32|64)f32", intermediate), name
        assert "fpext" not in intermediate, name  # and so no float becomes a double, whatever the processor
        assert not re.search(ALLOCATOR, intermediate), name
        if HAS_X86_FMA:
            assert re.search(PACKED_FMA, assembly), name
            assert not re.search(f"{TO_DOUBLE}|{PACKED_DOUBLE}", assembly), name
            assert not re.search("NRT_", assembly), name


@pytest.fixture(scope="module")
def steps_code(data: Dataset) -> tuple[str, str]:
    """That of the steps on float32 parameters."""
    KernelEngine(data, TrainingConfig(hidden=(5, 3)))
    overloads = kernels.run_steps.overloads.items()
    (found,) = (code for signature, code in overloads if str(signature[5].types[0].dtype) == "float32")
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
    assert not re.findall(ALLOCATOR, intermediate)


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
        stretches.append((arguments[3].first, arguments[3].last))
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
