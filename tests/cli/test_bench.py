"""`fastfnn bench`, with the NumPy reference in the place of the kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastfnn.benchmarks.epochs import ENGINES, FAST, Epochs
from fastfnn.reference import NumpyEngine

QUICK = ("bench", "--data", "digits", "--hidden", "8", "--batch-size", "32,128", "--rounds", "2")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernels, and a rate of sgemm that costs nothing."""
    monkeypatch.setitem(ENGINES, FAST, NumpyEngine)
    monkeypatch.setattr("fastfnn.benchmarks.short_form.sgemm_gflops", lambda dtype: 100.0)


def interrupt_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the epoch after so many of them."""
    seconds = iter([0.5] * epochs)

    def time_epoch(self: Epochs) -> float:
        try:
            return next(seconds)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(Epochs, "time_epoch", time_epoch)


def test_bench_prints_a_table_and_draws(fastfnn, tmp_path: Path) -> None:
    outcome = fastfnn(*QUICK)
    assert outcome.status == 0
    assert outcome.err == "fastfnn: round 1 of 2\nfastfnn: round 2 of 2\n"
    header, first, second = outcome.out.splitlines()[:3]
    assert header.split("  ")[0] == "batch size"
    assert [line.split()[0] for line in (first, second)] == ["32", "128"]
    assert "64-8-10, sgd, float32" in outcome.out
    assert "compiling is not in them" in outcome.out
    assert "sgemm    100 GFLOP/s" in outcome.out
    assert (tmp_path / "fastfnn-bench.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_time(fastfnn, tmp_path: Path) -> None:
    outcome = fastfnn(*QUICK, "--json", "--quiet", "--plot", "bench.svg", "--optimizer", "adam", "--dtype", "float64")
    document = json.loads(outcome.out)
    assert outcome.err == ""
    assert document["settings"]["config"]["optimizer"] == "adam"
    assert document["settings"]["blas_threads"] == 1
    assert document["written"] == ["bench.svg"]
    assert not document["interrupted"]
    assert document["environment"]["cpu"]
    for measurement, size, steps in zip(document["measurements"], (32, 128), (36, 9), strict=True):
        fast, reference = measurement["seconds"]["fast"], measurement["seconds"]["reference"]
        assert (measurement["batch_size"], measurement["steps"]) == (size, steps)
        assert len(fast) == len(reference) == 2
        assert measurement["ratio"] == pytest.approx(min(reference) / min(fast))
        assert measurement["steps_per_second"] == pytest.approx(steps / min(fast))
        operations = 1150 * (4 * 64 * 8 + 6 * 8 * 10)
        assert measurement["fraction_of_sgemm"] == pytest.approx(operations / min(fast) / 100e9)


def test_pyperf_compares_its_files(fastfnn, tmp_path: Path) -> None:
    for name in ("before", "after"):
        outcome = fastfnn(*QUICK, "--output", f"{name}.json", "-q")
        assert f"fastfnn-bench.png, {name}.json" in outcome.out
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", "compare_to", "before.json", "after.json", "--verbose"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("fast float32 batch 32 epoch", "fast float32 batch 32 step", "reference float32 batch 128 step"):
        assert name in done.stdout


def test_an_interrupt_keeps_what_is_measured(fastfnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupt_after(6, monkeypatch)
    outcome = fastfnn(*QUICK, "--json")
    assert outcome.status == 130
    assert outcome.err.endswith("fastfnn: interrupted in round 2 of 2: these are the times so far\n")
    document = json.loads(outcome.out)
    assert document["interrupted"]
    # The second round goes backwards.
    times = [each["seconds"] for each in document["measurements"]]
    assert times == [{"fast": [0.5], "reference": [0.5]}, {"fast": [0.5] * 2, "reference": [0.5] * 2}]
    assert (tmp_path / "fastfnn-bench.png").exists()


def test_an_interrupt_before_the_first_time(fastfnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupt_after(1, monkeypatch)
    outcome = fastfnn(*QUICK, "-q")
    assert (outcome.status, outcome.out) == (130, "")
    assert outcome.err == "fastfnn: interrupted: nothing is measured yet\n"
    assert not list(tmp_path.iterdir())


def test_options_change_the_file(fastfnn, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('hidden = [6]\noptimizer = "adam"\nbatch_size = 7\n')
    arguments = ("bench", "--data", "digits", "--config", "run.toml", "--l2", "0.1", "--batch-size", "64..128:x2")
    outcome = fastfnn(*arguments, "--rounds", "1", "--json", "-q")
    config = json.loads(outcome.out)["settings"]["config"]
    assert (config["hidden"], config["optimizer"], config["l2"]) == ([6], "adam", 0.1)
    assert [each["batch_size"] for each in json.loads(outcome.out)["measurements"]] == [64, 128]


@pytest.mark.parametrize(
    ("options", "named"), [(("--epochs", "3"), "--epochs"), (("--early-stopping",), "early stopping")]
)
def test_options_without_effect_are_named(fastfnn, options: tuple[str, ...], named: str) -> None:
    outcome = fastfnn(*QUICK, "--rounds", "1", "-q", *options)
    assert outcome.status == 0
    assert outcome.err == f"fastfnn: an epoch takes the same time whatever {named} says\n"


def test_compilation_is_announced(fastfnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastfnn.kernels.machine_code.steps_are_not_compiled", lambda: True)
    assert fastfnn(*QUICK).err.startswith("fastfnn: compiling the kernels first")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("--plot bench.pdf", "--plot: expected a name that ends in .png or .svg, found 'bench.pdf'"),
        ("--output bench.txt", "--output: expected a name that ends in .json"),
        ("--output missing/bench.json", "missing: no such folder"),
        ("--batch-size 0 --data digits", "batch_size: "),
        ("--batch-size 16..8 --data digits", "16..8"),
        ("--rounds 0", "--rounds"),
        ("--learning-rate 1e30 --data digits --hidden 8", "lower the learning rate"),
    ],
)
def test_mistakes(fastfnn, arguments: str, part: str) -> None:
    outcome = fastfnn("bench", *arguments.split(), "-q")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("fastfnn: error: ")
    assert part in outcome.err
