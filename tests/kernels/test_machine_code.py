"""What the compiler made of the kernels: full-width fused arithmetic in float32, no memory management, no lock."""

from __future__ import annotations

import platform
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from llvmlite import binding as llvm
from matrices import mixed_matrix

from fastfnn import engine, layout, prefetching
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels.compilation import compiled_for
from fastfnn.kernels.machine_code import Key
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, INTERPRETED, MATRICES, ROOMY
from fastfnn.kernels.routines import Routine
from fastfnn.kernels.structures import BYTES_IN_PLACE, BYTES_PER_LINE, IN_SCRATCH, TANH
from fastfnn.stretch import Stretch
from fastfnn.training import train

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

HAS_X86_FMA = platform.machine() in ("x86_64", "AMD64") and llvm.get_host_cpu_features().get("fma", False)
PACKED_FMA = r"vfn?m(?:add|sub)\d+ps\s.*%[yz]mm"
PACKED_DOUBLE = r"\bv?cvtps2pd|\bv?(?:add|sub|mul|div)pd|\bvfn?m(?:add|sub)\d+pd"
TO_DOUBLE = r"\bv?cvtss2sd|\bv?cvtps2pd|\bv?cvtu?si2sd|\bv?cvtu?dq2pd"


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Images with dense and with listed features."""
    return Dataset.from_arrays(mixed_matrix(300), np.arange(300) % 4)


def code_of(key: Key) -> tuple[str, str]:
    """Optimised LLVM code of a function, and what this processor is given for it."""
    library = compiled_for(key)[0].library
    module = library._final_module
    return str(module), str(library._codegen._tm.emit_assembly(module))


def name_of(key: Key) -> str:
    """The name of what is called by its address, and the constants that it was made for."""
    return " ".join(map(str, (key.function.removeprefix("makers."), *(key.constants or ()))))


def functions_of_run(data: Dataset, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, Key]:
    """What a run on float32 parameters loads, by name and constants."""
    found: list[Key | None] = []
    monkeypatch.setattr(engine, "load_all", found.extend)
    KernelEngine(data, TrainingConfig(**options))
    return {name_of(key): key for key in found if key}


def without_layers(found: Iterable[str]) -> list[str]:
    """Names but those of layers passed together, which have all their numbers in them."""
    return sorted(name for name in found if not name.startswith("make_layers"))


IN_PLACE = BYTES_IN_PLACE if ROOMY else IN_SCRATCH
DENSE = [f"make_dense_forward 0 {int(ROOMY)}", f"make_dense_update 64 0 {IN_PLACE}"]
DENSE_BY_FEATURE = [f"make_dense_forward 1 {int(ROOMY)}", f"make_dense_update 0 64 {IN_SCRATCH}"]
OTHERS = ["steps.evaluate", "steps.run_steps", "make_update_step 0"]
FUNCTIONS = {
    ("dense", 20): DENSE,
    ("auto", 20): [*DENSE, "make_forward 64 16 0", "make_update 64 16 1 0"],
    ("auto", 64): [*DENSE_BY_FEATURE, "make_forward 256 0 0", "make_update 256 0 1 0"],
    ("sparse", 5): ["make_forward 0 32 0", "make_update 0 32 1 0"],
    ("sparse", 64): ["make_forward 256 0 0", "make_update 256 0 1 0"],
}
AT_ONCE = [f"make_forward_at_once 0 {int(ROOMY)} 64 16", f"make_update_at_once 64 0 {IN_PLACE} 64 16"]


@pytest.mark.usefixtures("vectors_only")
@pytest.mark.parametrize(("kind", "units"), FUNCTIONS)
def test_first_layer_is_packed_and_fused_and_never_double(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, kind: str, units: int
) -> None:
    found = functions_of_run(data, monkeypatch, hidden=(units,), input=kind)
    assert without_layers(found) == sorted([*FUNCTIONS[kind, units], *OTHERS])
    check_packed_and_fused_and_never_double({name: code_of(found[name]) for name in FUNCTIONS[kind, units]})


@pytest.mark.usefixtures("vectors_only")
def test_small_batches_go_through_dense_and_listed_features_at_once(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = functions_of_run(data, monkeypatch, hidden=(20,), batch_size=16)
    in_evaluation = [DENSE[0], "make_forward 64 16 0"]
    assert without_layers(found) == sorted([*AT_ONCE, *in_evaluation, *OTHERS])
    check_packed_and_fused_and_never_double({name: code_of(found[name]) for name in AT_ONCE})


@pytest.mark.skipif(not ROOMY, reason="vectors are of other widths")
def test_the_loop_over_listed_features_is_not_unrolled(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of four features are converted in one place."""
    _, assembly = code_of(functions_of_run(data, monkeypatch, hidden=(20,))["make_forward 64 16 0"])
    assert len(re.findall(r"vcvtdq2ps\s.*%xmm", assembly)) == 1


def test_weights_are_asked_for_where_they_are_far(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four features at a time, all cache lines; elsewhere nothing of that is compiled."""
    near = functions_of_run(data, monkeypatch, hidden=(64,), input="sparse")
    monkeypatch.setattr(prefetching, "BYTES_OF_EXAMPLES", 0)
    far = functions_of_run(data, monkeypatch, hidden=(64,), input="sparse")
    for name in ("make_forward 256 0", "make_update 256 0 1"):
        of_near, of_far = (code_of(found)[1].count("prefetcht1") for found in (near[f"{name} 0"], far[f"{name} 1"]))
        assert of_far - of_near >= 4 * 256 // BYTES_PER_LINE, name


@pytest.mark.skipif(not MATRICES, reason="this processor has no matrix registers")
def test_layers_are_products_of_matrix_registers(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one, narrow or wide, of bytes or of floats, and wide ones behind it; nothing is double."""
    found = functions_of_run(data, monkeypatch, hidden=(20,), input="dense")
    found |= functions_of_run(data, monkeypatch, hidden=(128, 128), input="dense")
    floats = Dataset.from_arrays(data.train.features / np.float32(3), np.arange(300) % 4)
    for hidden in ((20,), (128, 128)):
        found |= functions_of_run(floats, monkeypatch, hidden=hidden, input="dense")
    constants = ("64 1", "64 0", "0 1", "0 0")  # of bytes or not, narrow or not
    kinds = [f"{name} {numbers}" for name in ("forward", "update") for numbers in constants]
    names = [f"make_matrix_{kind}" for kind in (*kinds, "product", "gradient")]
    assert without_layers(found) == sorted([*names, *OTHERS])
    for name in names:
        intermediate, assembly = code_of(found[name])
        assert "fpext" not in intermediate, name
        assert not re.search(f"{TO_DOUBLE}|{PACKED_DOUBLE}", assembly), name
        assert len(re.findall("tdpbf16ps", assembly)) >= 6, name


@pytest.mark.skipif(not HAS_BYTE_PRODUCTS, reason="this processor has no products of bytes")
@pytest.mark.parametrize("units", [20, 64])
def test_dense_bytes_are_products_of_bytes(data: Dataset, monkeypatch: pytest.MonkeyPatch, units: int) -> None:
    """In training and in evaluation, or in evaluation alone, whatever the layout of the weights; nothing is double."""
    monkeypatch.setattr(layout, "MATRICES", False)
    by_feature = int(units >= layout.UNITS_BY_FEATURE)
    large = functions_of_run(data, monkeypatch, hidden=(units,), input="dense", batch_size=32)
    small = functions_of_run(data, monkeypatch, hidden=(units,), input="dense", batch_size=31)
    in_training, in_evaluation = ["make_bytes_forward 0", "make_bytes_update"], f"make_bytes_forward {by_feature}"
    assert without_layers(large) == sorted([*in_training, *OTHERS])
    assert in_evaluation in small
    assert not any(name.startswith("make_bytes_update") for name in small)
    for name, key in {**{name: large[name] for name in in_training}, in_evaluation: small[in_evaluation]}.items():
        intermediate, assembly = code_of(key)
        assert "fpext" not in intermediate, name
        assert not re.search(f"{TO_DOUBLE}|{PACKED_DOUBLE}", assembly), name
        assert len(re.findall(r"vpdpbusd\s.*%zmm", assembly)) >= 24, name
        assert re.search(PACKED_FMA, assembly), name


OPTIONS = {
    "tanh": ({"activation": "tanh"}, [f"make_activate {TANH}"], [f"make_activate_backward {TANH}"]),
    "batch norm": ({"batchnorm": "before"}, ["make_normalise"], ["make_normalise_backward"]),
    "dropout": ({"dropout": 0.3}, [], ["make_drop"]),
}


@pytest.mark.parametrize(("options", "fused", "others"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_are_packed_and_fused_and_never_double(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], fused: list[str], others: list[str]
) -> None:
    found = functions_of_run(data, monkeypatch, hidden=(5,), **options)
    plain = functions_of_run(data, monkeypatch, hidden=(5,))
    assert without_layers(found.keys() - plain.keys()) == sorted([*fused, *others])
    check_packed_and_fused_and_never_double({name: code_of(found[name]) for name in fused})


def check_packed_and_fused_and_never_double(found: dict[str, tuple[str, str]]) -> None:
    for name, (intermediate, assembly) in found.items():
        assert re.search(r"@llvm\.fma\.v(?:4|8|16|32|64)f32", intermediate), name
        assert "fpext" not in intermediate, name  # and so no float becomes a double, whatever the processor
        if HAS_X86_FMA:
            assert re.search(PACKED_FMA, assembly), name
            assert not re.search(f"{TO_DOUBLE}|{PACKED_DOUBLE}", assembly), name


@pytest.fixture(scope="module")
def steps_code(data: Dataset) -> dict[str, tuple[str, str]]:
    """That of the steps, of the update and of all layers behind the first on float32 parameters."""
    names = ("steps.run_steps", "make_update_step 0", "make_layers 1 0 0 5 3 4 16 16 16")
    with pytest.MonkeyPatch.context() as patch:
        found = functions_of_run(data, patch, hidden=(5, 3))
    return {name: code_of(found[name]) for name in names}


def test_steps_are_packed_and_fused(steps_code: dict[str, tuple[str, str]]) -> None:
    """Double precision is for single numbers: the sum of the losses, the rate, the factors of an optimiser."""
    for intermediate, assembly in steps_code.values():
        assert intermediate.count("@llvm.fma.v16f32") > 50
        assert not re.search(r"fpext <\d+ x float>", intermediate)
        if HAS_X86_FMA:
            assert len(re.findall(PACKED_FMA, assembly)) > 50
            assert not re.search(PACKED_DOUBLE, assembly)


def test_steps_call_nothing_but_kernels(steps_code: dict[str, tuple[str, str]]) -> None:
    """And so allocate nothing, and leave the interpreter alone: no function of another library has a name in them."""
    for intermediate, _ in steps_code.values():
        declared = re.findall(r"^declare .*?@([\w.]+)\(", intermediate, re.MULTILINE)
        assert declared
        assert all(name.startswith("llvm.") for name in declared)


def stretch_of(data: Dataset, steps: int) -> Stretch:
    """Steps of one example."""
    order = np.resize(data.train.indices, steps)
    return Stretch(order, 0, steps, 0, np.full(steps, 1e-9), np.zeros(2, np.uint32))


def test_one_call_a_stretch(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []
    call: Callable[..., Any] = Routine.__call__

    def counting(routine: Routine, *arguments: Any) -> Any:
        calls.append((routine.function, arguments[-1]))
        return call(routine, *arguments)

    monkeypatch.setattr(Routine, "__call__", counting)
    train(data, TrainingConfig(hidden=(5, 3), batch_size=8, epochs=3))
    assert [(steps.first, steps.last) for function, steps in calls if function == "steps.run_steps"] == [(0, 30)] * 3


def test_python_runs_beside_the_steps(data: Dataset) -> None:
    """This thread sees the parameters change, and ends the call early by writing NaN into them."""
    run = KernelEngine(data, TrainingConfig(hidden=(5, 3), batch_size=1))
    stretch, found = stretch_of(data, 500_000), []
    parameters = run.network.buffers.parameters
    before = parameters.copy()
    worker = threading.Thread(target=lambda: found.append(run.run(stretch)))
    worker.start()
    while np.array_equal(parameters, before) and worker.is_alive():
        pass
    parameters[:] = np.nan
    worker.join()
    (totals,) = found
    assert totals.diverged
    assert 1 <= totals.steps < len(stretch.order)
