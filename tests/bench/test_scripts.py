"""The benchmarks from end to end on little data, and the report that is made of them. No time is judged."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import breakdown
import limits
import numpy as np
import pyperf
import pytest
import report
import scaling
import startup
import variants
from exchange import exchange
from matrices import mixed_matrix
from scaling_axes import TRAINING

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.kernels.processor import HAS_BYTE_PRODUCTS, MATRICES
from fastfnn.report.style import render

BENCH = Path(__file__).parents[2] / "bench"
AXES = ("rows", "width", "depth", "density", "threads", "concurrent")
OF_LIMITS = ("--batch-size", "16,64", "--synthetic", "40x60@0.1", "--units", "8", "--rounds", "2")
EPOCH_LINE = "import sys; print('epoch 1.0/1', file=sys.stderr)"


def run_script(module: Any, *arguments: object) -> None:
    """Calls a script's `main` as if from the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [module.__name__, *map(str, arguments)])
        module.main()


@pytest.fixture(scope="module")
def folder(little: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents of everything but the peers, and the report that is made of them."""
    folder = tmp_path_factory.mktemp("report")
    data = ("--data", little, "--hidden", "8")
    both_kinds = ("--data", "digits", "--hidden", "8")  # of features
    run_script(breakdown, *both_kinds, "--batch-size", "16,64", "--rounds", "2", "--json", folder / "breakdown.json")
    dense = ("--input", "dense", "--batch-size", "16", "--rounds", "2")
    run_script(breakdown, *data, *dense, "--json", folder / "breakdown-dense.json")
    run_script(limits, *data, *OF_LIMITS, "--json", folder / "limits.json")
    run_script(variants, *data, "--batch-size", "16", "--rounds", "2", "--json", folder / "variants.json")
    points = ("--rows", "2000", "--width", "8,64", "--depth", "1,2", "--density", "0.1,1", "--density-rows", "200")
    run_script(scaling, *data, *points, "--batch-size", "16", "--rounds", "2", "--json", folder / "scaling.json")
    timed = ("--batch-size", "16", "--dtype", "float32", "--engine", "reference", "-p", "1", "-n", "2", "-l", "1")
    command = [sys.executable, BENCH / "batch_size.py", *data, *timed, "-o", folder / "batch-size.json"]
    subprocess.run(list(map(str, command)), capture_output=True, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup, "FASTFNN", [sys.executable, "-c", EPOCH_LINE])
        patch.setitem(startup.CACHES, startup.COLD, startup.CACHES[startup.WARM])  # compiling takes too long
        options = ("--state", startup.COLD, "--cold-rounds", "1")
        run_script(startup, *data, *options, "--json", folder / "startup.json")
        patch.setattr(report, "render", lambda figure, kind: render(figure, "png") if kind == "png" else b"")
        run_script(report, "--draw", "--folder", folder)
    return folder


def document(folder: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return loaded


def measured(folder: Path, axis: str) -> list[dict[str, Any]]:
    return [each for each in document(folder, "scaling")["measurements"] if each["axis"] == axis]


def test_the_page_has_every_part(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    for heading in (
        "Machine and versions",
        "Batch size, by pyperf",
        "time of an epoch goes",
        "optimisers",
        "Scaling",
        "From the start",
    ):
        assert heading in text
    shown = {part.split("/")[1].split(")")[0] for part in text.split("](")[1:] if part.startswith("figures/")}
    written = {path.name for path in (folder / "figures").iterdir() if path.suffix == ".png"}
    assert shown == written
    assert {path.stem for path in (folder / "figures").glob("*.svg")} == {Path(name).stem for name in written}


def test_the_same_files_give_the_same_page(folder: Path) -> None:
    again = report.Report(folder)
    drawn = again.figures()
    assert {f"{name}.png" for name in drawn} == {path.name for path in (folder / "figures").glob("*.png")}
    assert again.page(drawn) == (folder / "README.md").read_text()


def test_no_file_names_the_machine_or_a_folder(folder: Path, little: Path) -> None:
    for path in (*folder.glob("*.json"), folder / "README.md"):
        text = path.read_text()
        assert platform.node() not in text
        assert str(Path.home()) + os.sep not in text
        assert str(little.parent) not in text


def test_pyperf_reads_the_times_of_epochs_and_steps(folder: Path) -> None:
    suite = pyperf.BenchmarkSuite.load(str(folder / "batch-size.json"))
    assert suite.get_benchmark_names() == [f"reference float32 batch 16 {per}" for per in ("epoch", "step")]
    epoch, step = suite
    assert step.get_values() == pytest.approx([value / 8 for value in epoch.get_values()])
    assert epoch.get_metadata()["blas_threads"] == 1
    assert epoch.get_metadata()["data"] == "little.npz"


def test_variants(folder: Path) -> None:
    found = document(folder, "variants")
    assert len(found["measurements"]) == len(found["settings"]["variants"])
    for each in found["measurements"]:
        assert len(each["epoch_seconds"]) == len(each["evaluation_seconds"]) == 2
    assert [each["cost_of_minima"] for each in found["measurements"] if each["variant"] == "plain SGD"] == [0]


def test_the_parts_of_an_epoch_add_up_to_it(folder: Path) -> None:
    *parts, reading = document(folder, "breakdown")["measurements"]
    assert [each["part"] for each in parts] == 2 * list(breakdown.STAGES)
    for size in (16, 64):
        of_size = [each for each in parts if each["batch_size"] == size]
        assert sum(each["seconds"] for each in of_size) == pytest.approx(min(of_size[-1]["stage_seconds"]))
        assert sum(each["multiply_adds"] for each in of_size[1:]) > 0
    assert reading["bytes"] > 0
    assert reading["seconds"] > 0


def test_rows_of_floats_have_no_listed_features(folder: Path) -> None:
    found = document(folder, "breakdown-dense")
    assert found["settings"]["input"] == "dense"
    works = {each["part"]: each.get("multiply_adds") for each in found["measurements"]}
    assert list(works) == [breakdown.OTHERS, breakdown.DENSE_FORWARD, breakdown.DENSE_UPDATE, breakdown.READING]
    assert works[breakdown.DENSE_FORWARD] == works[breakdown.DENSE_UPDATE] > 0
    assert f"### {found['settings']['network']}, rows of floats\n" in (folder / "README.md").read_text()


def test_listed_features_alone_have_no_parts_of_dense_ones() -> None:
    data = Dataset.from_arrays(mixed_matrix(64), np.arange(64) % 4, validation=0)
    staged = breakdown.Staged(data, TrainingConfig(batch_size=16, learning_rate=1e-3, input="sparse"))
    assert staged.stages == (breakdown.OTHERS, breakdown.LISTED_FORWARD, breakdown.LISTED_UPDATE)


def test_parts_that_are_left_out_leave_the_weights_alone() -> None:
    """By them it is seen that a stage does what it says."""
    data = Dataset.from_arrays(mixed_matrix(64), np.arange(64) % 4, validation=0)
    changed = {}
    for stage in breakdown.STAGES:
        staged = breakdown.Staged(data, TrainingConfig(batch_size=16, learning_rate=1e-3))
        before = staged.engine.parameters().weights
        staged.timer(stage)()
        moved = np.abs(staged.engine.parameters().weights[0] - before[0]).max(axis=1) > 0
        dense = staged.engine.network.order.features[: staged.engine.network.order.dense]
        changed[stage] = (moved[dense].any(), np.delete(moved, dense).any())
    assert list(changed.values()) == [(False, False), (False, False), (False, False), (False, True), (True, True)]


def test_scaling_measures_every_axis(folder: Path) -> None:
    for axis in AXES:
        assert measured(folder, axis), axis
    assert {each["throughput_ratio"] for each in measured(folder, "concurrent") if each["runs"] == 1} == {1}
    assert all(min(each["seconds"]) > 0 for each in measured(folder, "concurrent"))
    assert {each["batch_size"] for each in measured(folder, "concurrent") if each["work"] != TRAINING} == {None}
    assert next(each["threads"] for each in measured(folder, "threads") if "epoch_seconds" in each) == 1


def test_every_limit_is_measured(folder: Path) -> None:
    found = document(folder, "limits")["measurements"]
    by_limit = {limit: [each for each in found if each["limit"] == limit] for limit in limits.LIMITS}
    assert all(min(each["seconds"]) > 0 for each in found)
    assert [each["batch_size"] for each in by_limit["products"]] == [16, 64]
    (asked,) = {each["asked_bytes"] for each in by_limit["weights"]}
    assert 40 * 8 * 4 < asked <= 40 * 6 * 8 * 4  # six places in each row, of which some may be the same one
    assert {each["optimiser"]: each["numbers"] for each in by_limit["optimisers"]} == {"momentum": 3, "Adam": 4}
    assert len(by_limit["bytes"]) == HAS_BYTE_PRODUCTS
    timed = {(each["registers"], each["batch_size"]) for each in by_limit["registers"]}
    both = {(kind, size) for kind in (limits.WITHOUT, limits.WITH) for size in (16, 64)}
    assert timed == (both if MATRICES else set())


def test_what_another_core_has_written_takes_longer_to_read(folder: Path) -> None:
    exchanged = [each for each in measured(folder, "threads") if "exchanged_bytes" in each]
    assert len(exchanged) == (exchange(64) is not None)
    for each in exchanged:
        assert len(each["other_core_seconds"]) == len(each["same_core_seconds"])
        assert min(each["other_core_seconds"]) > 0
        assert each["exchanged_bytes"] % 64 == 0


def test_rows_have_times_and_memory(folder: Path) -> None:
    (point,) = measured(folder, "rows")
    assert (point["rows"], point["features_bytes"], point["features_mapped"]) == (2000, 2000 * 784, False)
    # Of bytes, a fifth of which is not zero, records take less than the matrix and more than what is not zero.
    assert 0.2 * point["features_bytes"] < point["rows_bytes"] < point["features_bytes"]
    assert 0.8 * point["rows_bytes"] < point["read_bytes"] < 1.2 * point["rows_bytes"]
    assert len(point["reading_seconds"]) == len(point["epoch_seconds"])
    if point["peak_private_bytes"] is not None:
        assert point["peak_private_bytes"] - point["private_bytes_before"] > point["rows_bytes"]


def test_densities_are_measured_by_all_kinds_of_input(folder: Path) -> None:
    points = measured(folder, "density")
    assert [(each["density"], each["uneven"]) for each in points] == [(d, u) for u in (False, True) for d in (0.1, 1)]
    assert all(set(each["epoch_seconds"]) == {"sparse", "dense", "auto"} for each in points)
    even, full, uneven, _ = (each["dense_features"] for each in points)
    assert even == 0 < uneven < full == 784


def test_startup_tells_moments_apart(folder: Path) -> None:
    found = {each["what"]: each["seconds"] for each in document(folder, "startup")["measurements"]}
    first, end = (found[f"fastfnn train --epochs 1, {moment}"][0] for moment in ("first epoch", "end"))
    assert 0 < first < end
    assert len(found["in process, next epochs"]) == 5


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="ended with status 3"):
        startup.time_command([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that were measured, in the place of measuring them; one of them fails."""
    names: list[str] = []

    def measure(part: report.Part, folder: Path, *, quick: bool) -> bool:
        names.append(part.name)
        return part.name != "variants"

    monkeypatch.setattr(report, "measure", measure)
    monkeypatch.setattr(report, "is_fetched", lambda: False)
    return names


@pytest.mark.parametrize(
    ("only", "status", "names"),
    [
        ("startup,peers-mnist", 0, ["peers-mnist", "startup"]),
        ("variants,scaling", 1, ["variants", "scaling"]),
        ("peers-fashion-mnist", 0, []),
    ],
)
def test_parts_can_be_measured_on_their_own(
    recorded: list[str], only: str, status: int, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["report.py", "--only", only, "--folder", str(tmp_path)])
    assert (report.main(), recorded) == (status, names)


def test_no_part_begins_when_the_minutes_are_over(
    recorded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 50.0, 70.0])
    monkeypatch.setattr(report, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(
        "sys.argv", ["report.py", "--only", "scaling,startup", "--minutes", "1", "--folder", str(tmp_path)]
    )
    assert (report.main(), recorded) == (1, ["scaling"])
    assert "startup: left out, 1 minutes are over" in capsys.readouterr().err


def test_a_part_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "scaling.json"
    old.write_text("{}")
    part = report.Part("scaling", "missing.py")
    assert not report.measure(part, tmp_path, quick=False)
    assert old.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize(
    ("module", "arguments", "part"),
    [
        (report, ("--only", "nothing"), "--only: expected some of peers,"),
        (scaling, ("--axis", "height"), "--axis: expected some of rows,"),
        (variants, ("--rounds", "0"), "--rounds: invalid positive value: '0'"),
    ],
)
def test_mistakes(module: Any, arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_script(module, *arguments)
    assert part in capsys.readouterr().err
