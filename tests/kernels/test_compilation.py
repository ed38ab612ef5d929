"""The disk cache of compiled kernels: hit when it may be, missed when it must be, and never in the way.

Most tests run a copy of the kernels with two functions more, small enough to compile in a fraction of a second: an
entry point and a callback, which call a kernel of another file (`optimizers.sgd`), which uses a third (`simd.fma`).
"""

from __future__ import annotations

import json
import os
import platform
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
from matrices import mixed_matrix
from numba import types
from processes import run_python

import fastfnn
from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.kernels import binding, compilation
from fastfnn.kernels.compilation import CheckedCacheFile, compile_callback, sources_digest
from fastfnn.rows import order_of_features, rows_of_split
from fastfnn.training import train
from fastfnn.warmup import compile_others

COMPILER_IS_MEASURED = True
pytestmark = pytest.mark.skipif(compilation.INTERPRETED, reason="nothing is compiled")

PACKAGE = Path(fastfnn.__file__).parent
PROBE = """
import json

import numpy as np
from numba import types

from fastfnn.kernels import optimizers
from fastfnn.kernels.compilation import cache_folder, compile_callback, entry_point
from fastfnn.kernels.simd import zeros


@entry_point
def descend(parameters, gradients):
    optimizers.sgd(parameters, gradients, 0, len(parameters), 0.5, 0.25, zeros(parameters, 64))


def descend_on(size):
    def descend_on_one_vector(parameters, gradients):
        like = zeros(parameters, size)
        optimizers.sgd(parameters, gradients, 0, len(like), 0.5, 0.25, like)

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
"""


class Run(NamedTuple):
    numbers: list[float]
    hits: int
    folder: str | None


RIGHT = [-14.0, 17.0, -20.0, -20.0]  # 16 (3 - (7 + 3/4) / 2), half of it and 8 * 3, twice 16 (2 - (6 + 2/4) / 2)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kernels with the probe, and its cache, filled by one run."""
    root = tmp_path_factory.mktemp("original")
    package = root / "site" / "fastfnn"
    shutil.copytree(PACKAGE / "kernels", package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "_version.py"):
        shutil.copy(PACKAGE / name, package)
    (package / "kernels" / "probe.py").write_text(PROBE)
    first = run(root)
    assert first.numbers == RIGHT
    assert first.hits == 0
    return root


def start(root: Path, **environment: str) -> subprocess.Popen[str]:
    """A process that runs the probe of a copy, in which warnings are errors."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
    places = {"PYTHONPATH": str(root / "site"), "FASTFNN_CACHE_DIR": str(root / "cache")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "fastfnn.kernels.probe"],
        env={**inherited, **places, **environment},
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Run:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    return Run(**json.loads(out))


def run(root: Path, **environment: str) -> Run:
    return finish(start(root, **environment))


def cache_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix in (".nbi", ".nbc"))


# ---------------------------------------------------------------------------------------- what hits, what misses


def test_the_next_process_loads_what_this_one_compiled(original: Path) -> None:
    assert run(original)[:2] == (RIGHT, 4)
    assert len(cache_files(original / "cache")) == 6  # two indexes, two specialisations of each function


EDITS = {
    "a kernel that the entry point calls": (
        "optimizers.py",
        "\n\n@kernel\ndef sgd(w, dw, begin, end, rate, decay, like):\n    store(load(dw, 0, like), w, 0)\n",
        [16 * 7, 8 * 7 + 8 * 3, 16 * 6, 8 * 6 + 8 * 2],
    ),
    "an operation that that kernel uses": (
        "simd/vectors.py",
        "\n\ndef multiply_add(builder, x, y, z):\n    return z\n",  # then w - rate * dw is w
        [48, 48, 32, 32],
    ),
}


@pytest.mark.parametrize(("file", "addition", "numbers"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_in_another_file_changes_the_numbers(
    original: Path, file: str, addition: str, numbers: list[float]
) -> None:
    """The source of the entry point, and so Numba's own key, stays the same."""
    path = original / "site" / "fastfnn" / "kernels" / file
    source = path.read_text()
    try:
        path.write_text(source + addition)
        assert run(original)[:2] == (numbers, 0)
    finally:
        path.write_text(source)


def test_another_option_is_another_folder(original: Path) -> None:
    plain, checked = run(original), run(original, NUMBA_BOUNDSCHECK="1")
    assert checked[:2] == (RIGHT, 0)
    assert checked.folder != plain.folder


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE / "kernels", tmp_path / "kernels"))


def test_the_digest_follows_every_source(sources: Path) -> None:
    digests = {sources_digest(PACKAGE / "kernels")}
    assert digests == {sources_digest(sources)}
    for path in sorted(sources.rglob("*.py")):
        with path.open("a") as file:
            file.write("\n# edited\n")
        digests.add(sources_digest(sources))
    (sources / "new.py").write_text("")
    digests.add(sources_digest(sources))
    (sources / "new.py").rename(sources / "renamed.py")
    digests.add(sources_digest(sources))
    assert len(digests) == 3 + len(list((PACKAGE / "kernels").rglob("*.py")))


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (numba, "__version__", "0"),
        (llvmlite, "__version__", "0"),
        (np, "__version__", "0"),
        (platform, "python_version", lambda: "0"),
        (numba.config, "OPT", 0),
        (numba.config, "BOUNDSCHECK", 1),
        (compilation, "OPTIONS", {**compilation.OPTIONS, "fastmath": True}),
        (compilation, "OPTIONS", {**compilation.OPTIONS, "error_model": "python"}),
    ],
    ids=["numba", "llvmlite", "numpy", "python", "opt", "boundscheck", "fastmath", "error model"],
)
def test_the_digest_follows_versions_and_options(
    monkeypatch: pytest.MonkeyPatch, sources: Path, owner: Any, name: str, value: Any
) -> None:
    before = sources_digest(sources)
    monkeypatch.setattr(owner, name, value)
    assert sources_digest(sources) != before


# ------------------------------------------------------------------------------------------------- damaged files


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but one byte": lambda content: content[:-1],
    "something else": lambda content: b"not a pickle" * 100,
    "something behind": lambda content: content + b"\0" * 40,
}


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
def test_truncated_files_are_replaced(original: Path, suffix: str) -> None:
    for path in cache_files(original / "cache"):
        if path.suffix == suffix:
            path.write_bytes(DAMAGES["half"](path.read_bytes()))
    assert run(original)[:2] == (RIGHT, 0)
    assert run(original)[:2] == (RIGHT, 4)


def times(factor: float) -> Any:
    """A function of its own for every factor; they share an index."""

    def multiplied(x):
        return x * factor

    return compile_callback(multiplied, types.float64(types.float64))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache for callbacks of this process; each is looked up anew, as in another process."""
    monkeypatch.setattr(compilation, "cache_folder", lambda: tmp_path)
    return tmp_path


def products_and_hits() -> tuple[list[float], int]:
    callbacks = [times(2.0), times(3.0)]
    return [callback.ctypes(5.0) for callback in callbacks], sum(callback.cache_hits for callback in callbacks)


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_any_damage_is_repaired(folder: Path, suffix: str, damage: Callable[[bytes], bytes]) -> None:
    products_and_hits()
    paths = [path for path in cache_files(folder) if path.suffix == suffix]
    assert paths
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    assert products_and_hits()[0] == [10, 15]
    assert products_and_hits() == ([10, 15], 2)


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
def test_a_flipped_byte_is_never_believed(folder: Path, suffix: str) -> None:
    products_and_hits()
    whole = {path: path.read_bytes() for path in cache_files(folder)}
    targets = [path for path in whole if path.suffix == suffix]
    for place in range(12):
        for path, content in whole.items():
            path.write_bytes(content)
        for path in targets:
            path.write_bytes(flipped(whole[path], place * (len(whole[path]) - 1) // 11))
        assert products_and_hits()[0] == [10, 15]
        assert products_and_hits() == ([10, 15], 2)


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]


def test_missing_data_are_compiled_again(folder: Path) -> None:
    products_and_hits()
    for path in cache_files(folder):
        if path.suffix == ".nbc":
            path.unlink()
    assert products_and_hits() == ([10, 15], 0)
    assert products_and_hits() == ([10, 15], 2)


def test_an_index_that_names_the_wrong_file_is_not_believed(folder: Path) -> None:
    """A few flipped bits make of ".1.nbc" another file of the cache, whose own checksum is right."""
    products_and_hits()
    (index,) = (path for path in cache_files(folder) if path.suffix == ".nbi")
    content = index.read_bytes()
    assert content.count(b".1.nbc") == content.count(b".2.nbc") == 1
    index.write_bytes(content.replace(b".1.nbc", b".?.nbc").replace(b".2.nbc", b".1.nbc").replace(b".?", b".2"))
    assert products_and_hits()[0] == [10, 15]


def test_processes_that_store_at_the_same_time_do_not_mix_up_their_code(tmp_path: Path) -> None:
    """Both choose the same free name for their data, and one of them writes the index last, the other the data."""
    first, second = (CheckedCacheFile(str(tmp_path), "kernel", "stamp") for _ in range(2))
    save_index, save_data = second._save_index, first._save_data
    second._save_index = lambda overloads: (first.save("first key", "first code"), save_index(overloads))
    held_back: list[tuple[str, object]] = []
    first._save_data = lambda *arguments: held_back.append(arguments)
    second.save("second key", "second code")
    save_data(*held_back[0])
    reader = CheckedCacheFile(str(tmp_path), "kernel", "stamp")
    assert reader.load("second key") in ("second code", None)
    assert reader.load("first key") in ("first code", None)


# -------------------------------------------------------------------------------------------------- nowhere to write to


@pytest.mark.parametrize("place", ["file", "below a file", "/dev/null", "/proc/fastfnn"])
def test_no_folder_is_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    target = {"file": tmp_path / "file", "below a file": tmp_path / "file" / "below"}.get(place, Path(place))
    if place.startswith("/") and not target.parent.is_dir():
        pytest.skip(f"this system has no {target.parent}")
    monkeypatch.setenv("FASTFNN_CACHE_DIR", str(target))
    assert compilation.cache_folder.__wrapped__() is None


def test_sources_in_an_archive_have_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compilation, "__file__", str(tmp_path / "fastfnn.zip" / "kernels" / "compilation.py"))
    assert compilation.cache_folder.__wrapped__() is None


def test_callbacks_are_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "cache_folder", lambda: None)
    assert products_and_hits() == ([10, 15], 0)


def test_a_cache_that_cannot_be_created_is_done_without(original: Path) -> None:
    assert run(original, FASTFNN_CACHE_DIR=os.devnull) == (RIGHT, 0, None)


def test_a_cache_that_cannot_be_written_later_is_done_without(folder: Path) -> None:
    """Folders in place of the files that would be written."""
    products_and_hits()
    for path in cache_files(folder):
        path.unlink()
        path.mkdir()
    assert products_and_hits() == ([10, 15], 0)
    assert products_and_hits() == ([10, 15], 0)


def test_a_cache_that_vanishes_is_done_without(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    products_and_hits()
    shutil.rmtree(next(path for path in folder.iterdir() if path.is_dir()))
    assert products_and_hits()[0] == [10, 15]


def test_a_full_disk_is_survived(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckedCacheFile, "_open_for_write", refuse)
    assert products_and_hits() == ([10, 15], 0)


def test_nothing_is_written_into_the_installation(original: Path) -> None:
    """Rights do not bind the superuser, so it is checked as well that no file is new."""
    site = original / "site"
    shutil.rmtree(original / "cache")
    for path in list(site.rglob("__pycache__")):
        shutil.rmtree(path)
    before = sorted(site.rglob("*"))
    try:
        for path in before:
            path.chmod(0o555 if path.is_dir() else 0o444)
        environment = {"PYTHONPYCACHEPREFIX": str(original / "bytecode")}
        assert run(original, **environment)[:2] == (RIGHT, 0)
        assert run(original, **environment)[:2] == (RIGHT, 4)
    finally:
        for path in before:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert sorted(site.rglob("*")) == before


# ---------------------------------------------------------------------------------------------- at the same time


def test_two_processes_fill_an_empty_cache(original: Path) -> None:
    shutil.rmtree(original / "cache")
    together = [start(original) for _ in range(2)]
    assert [finish(process).numbers for process in together] == [RIGHT, RIGHT]
    assert run(original).numbers == RIGHT
    assert run(original)[:2] == (RIGHT, 4)


REAL_RUN = """
import numpy as np
from fastfnn import kernels
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.kernels import binding
from fastfnn.rows import order_of_features, rows_of_split
from fastfnn.training import train

data = Dataset.from_arrays(np.eye(16, dtype=np.uint8), np.arange(16) % 2, validation=4)
result = train(data, TrainingConfig(hidden=(5, 3), batch_size=4, epochs=1, dtype="float64"))
result.network.predict(np.eye(16, dtype=np.uint8))
entries = [kernels.run_steps, kernels.evaluate, kernels.logits]
assert binding.compiled.cache_info().currsize > 0
assert not any(entry.stats.cache_misses for entry in entries), [entry.stats for entry in entries]
assert all(entry.stats.cache_hits for entry in entries)
print("everything was loaded")
"""


@pytest.mark.parametrize(
    ("dtype", "kind", "units"),
    [("float32", "auto", 5), ("float32", "auto", 64), ("float32", "sparse", 5), ("float64", "dense", 5)],
)
def test_what_is_compiled_beside_the_steps_is_what_a_run_needs(dtype: str, kind: str, units: int) -> None:
    data = Dataset.from_arrays(mixed_matrix(40), np.arange(40) % 2, validation=4)
    config = TrainingConfig(hidden=(units, 3), batch_size=4, epochs=1, dtype=dtype, input=kind)
    rows = rows_of_split(data, data.train, order_of_features(data, kind), dtype)
    compile_others((rows.columns.dtype.name, rows.values.dtype.name, rows.dense > 0, rows.records), units, dtype)
    evaluations, bound = list(kernels.evaluate.signatures), binding.compiled.cache_info().currsize
    result = train(data, config)
    assert result.status == "completed"
    assert kernels.evaluate.signatures == evaluations
    assert binding.compiled.cache_info().currsize == bound


def test_a_real_run_loads_everything() -> None:
    """The second time at the latest."""
    try:
        output = run_python("-c", REAL_RUN)
    except AssertionError:
        output = run_python("-c", REAL_RUN)
    assert output == "everything was loaded\n"
