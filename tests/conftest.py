"""Data sets that are small enough for every test; what is measured of coverage."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numba.core.compiler import CompilerBase
from runs import X, Y

from fastfnn import teams
from fastfnn.data import Dataset, load_dataset


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """The embedded MNIST, 48,000 + 12,000 + 10,000."""
    return load_dataset("mnist")


@pytest.fixture(scope="session")
def small_mnist(mnist: Dataset) -> Dataset:
    """1,003 training, 251 validation and 150 test rows of MNIST: no round numbers."""
    assert mnist.test is not None
    n = 1254
    test = (mnist.test.features[:150], mnist.classes[mnist.test.labels[:150]])
    return Dataset.from_arrays(
        np.array(mnist.train.features[:n]), mnist.classes[mnist.train.labels[:n]], test=test, validation=251
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    """160 training rows, 10 steps of 16; 40 validation rows; 30 test rows."""
    return Dataset.from_arrays(X, Y, test=(X[:30], Y[:30]))


@pytest.fixture
def every_step_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it is, all threads that are asked for are used."""
    for name in ("WORK_PER_THREAD", "EXAMPLES_PER_THREAD", "WORK_BY_KIND", "EXAMPLES_BY_KIND"):
        monkeypatch.setattr(teams, name, 1)


@pytest.fixture(scope="module", autouse=True)
def compiler_is_not_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage does not follow Numba's compiler, which has most of the work of the tests and would take twice as long.

    Modules that test what the compiler calls in this package say `COMPILER_IS_MEASURED = True`.
    """
    compile_extra = CompilerBase.compile_extra

    def unmeasured(compiler: Any, function: Any) -> Any:
        measure = sys.gettrace()
        sys.settrace(None)
        try:
            return compile_extra(compiler, function)
        finally:
            sys.settrace(measure)

    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "COMPILER_IS_MEASURED", False):
            patch.setattr(CompilerBase, "compile_extra", unmeasured)
        yield


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Ctrl-C raises, also where pytest was started with the signal ignored, as in the background of a shell."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
