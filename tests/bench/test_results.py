"""What benchmarks leave behind: documents, files of pyperf, memory."""

from __future__ import annotations

import getpass
import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyperf
import pytest

from fastfnn.benchmarks.documents import document, write_document
from fastfnn.benchmarks.memory import PeakPrivateMemory, memory_now
from fastfnn.benchmarks.pyperf_files import benchmark_name, epoch_benchmark, is_of_steps, suite_text, with_steps

needs_proc = pytest.mark.skipif(memory_now() is None, reason="only Linux tells")


def suite(seconds: list[float], steps: int = 100) -> pyperf.BenchmarkSuite:
    name = benchmark_name("fast", "float32", 16)
    return with_steps([epoch_benchmark(name, seconds, steps, {"hostname": "castle", "data": "mnist"})])


def test_a_document_has_the_machine_and_names_nobody(tmp_path: Path) -> None:
    measured = document("variants", {"rounds": 2}, [{"seconds": [0.1, 0.2]}], packages=("pyperf",))
    write_document(tmp_path / "variants.json", measured)
    text = (tmp_path / "variants.json").read_text()
    loaded = json.loads(text)
    assert loaded["measurements"] == [{"seconds": [0.1, 0.2]}]
    assert loaded["environment"]["cpu"]
    assert loaded["environment"]["pyperf"] == pyperf.__version__
    assert re.fullmatch("[0-9a-f]{8}", loaded["environment"]["kernels"])
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text


def test_a_document_without_a_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_document(tmp_path / "bad.json", {"seconds": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_step_is_the_epoch_divided() -> None:
    epoch, step = suite([0.1, 0.3])
    assert (epoch.get_name(), step.get_name()) == ("fast float32 batch 16 epoch", "fast float32 batch 16 step")
    assert step.get_values() == pytest.approx([0.001, 0.003])
    assert step.get_inner_loops() == 100
    assert [is_of_steps(each) for each in (epoch, step)] == [False, True]


def test_pyperf_files_name_no_machine() -> None:
    text = suite_text(suite([0.1]))
    assert "castle" not in text
    assert json.loads(text)["metadata"]["data"] == "mnist"


def test_warm_ups_and_calibrations_are_kept() -> None:
    facts = {"name": "fast float32 batch 16 epoch", "unit": "second", "steps": 10, "loops": 2}
    calibration = pyperf.Run([], warmups=[(1, 0.5)], metadata=facts, collect_metadata=False)
    run = pyperf.Run([0.1], warmups=[(2, 0.2)], metadata=facts, collect_metadata=False)
    _, step = with_steps([pyperf.Benchmark([calibration, run])])
    assert [each.warmups for each in step.get_runs()] == [((1, 0.05),), ((2, 0.02),)]


def test_pyperf_compares_two_files(tmp_path: Path) -> None:
    for name, seconds in (("before", [0.2, 0.21, 0.22]), ("after", [0.1, 0.11, 0.12])):
        (tmp_path / f"{name}.json").write_text(suite_text(suite(seconds)))
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "before.json", "after.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("1.91x faster") >= 2
    assert "fast float32 batch 16 step" in done.stdout


@needs_proc
def test_the_peak_is_seen_although_the_memory_is_given_back() -> None:
    before = memory_now()
    with PeakPrivateMemory() as peak:
        array = np.ones(32 * 2**20 // 8)  # given back to the system when it goes: beyond malloc's threshold
        assert array.sum() > 0
        for _ in range(20):
            array.sum()
        del array
    assert before is not None
    assert peak.bytes is not None
    assert peak.bytes - before > 30 * 2**20


@needs_proc
def test_an_entry_that_is_not_there() -> None:
    assert memory_now("VmNothing") is None
