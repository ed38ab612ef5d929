"""The disk caches of compiled kernels: hit when they may be, missed when they must be, and never in the way.

Most tests run a copy of the kernels with a module more, small enough to compile in a fraction of a second: a function
for Numba's dispatcher, the same as a routine, and one that is called by its address. They call a kernel of another file
(`optimizers.take`), which uses a third (`simd.fma`).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numpy as np
import pytest

import fastfnn
from fastfnn.kernels import compilation, machine_code, processor
from fastfnn.kernels.compilation import CheckedCacheFile, entry_point
from fastfnn.kernels.machine_code import Key, MachineCode, sources_digest, store, stored
from fastfnn.kernels.structures import LOGISTIC, TANH

COMPILER_IS_MEASURED = True
pytestmark = pytest.mark.skipif(processor.INTERPRETED, reason="nothing is compiled")

PACKAGE = Path(fastfnn.__file__).parent
PROBE = """
import ctypes
import json

import numpy as np

from fastfnn.kernels import optimizers, routines
from fastfnn.kernels.compilation import entry_point
from fastfnn.kernels.machine_code import Key, cache_folder
from fastfnn.kernels.simd import store, zeros


def descend(parameters, gradients):
    like = zeros(parameters, 64)
    for i in range(0, len(parameters), len(like)):
        store(optimizers.take(gradients, parameters, i, 0.25, like), parameters, i)


def make_descend(size):
    def descend_on_one_vector(parameters, gradients):
        store(optimizers.take(gradients, parameters, 0, 0.25, zeros(parameters, size)), parameters, 0)

    return descend_on_one_vector


def call_address(size):
    kinds = ("*float32", "*float32")
    w, dw = np.full(16, 3, "f4"), np.full(16, 7, "f4")
    places = np.zeros(2, np.int64)
    address = places.ctypes.data
    routines.load(Key("probe.make_descend", (size,), kinds)).call(address, address + 8, w.ctypes.data, dw.ctypes.data)
    return float(w.sum())


def call(function, dtype):
    w, dw = np.full(16, 2, dtype), np.full(16, 6, dtype)
    function(w, dw)
    return float(w.sum())


def main():
    compiled = []
    compile_and_store = routines.compile_and_store
    routines.compile_and_store = lambda key: compiled.append(key) or compile_and_store(key)
    dispatched = entry_point(descend)
    numbers = [call_address(size) for size in (64, 32)]
    numbers += [call(function, dtype) for function in (dispatched, routines.Routine("probe.descend"))
                for dtype in ("f4", "f8")]
    hits = 4 - len(compiled) + sum(dispatched.stats.cache_hits.values())
    folder = cache_folder()
    print(json.dumps({"numbers": numbers, "hits": hits, "folder": folder and str(folder)}))


if __name__ == "__main__":
    main()
"""


class Run(NamedTuple):
    numbers: list[float]
    hits: int
    folder: str | None


# 16 (7 + 3/4), half of it and 8 * 3, and 16 (6 + 2/4) from Numba's dispatcher and as a routine in both precisions
RIGHT = [124.0, 86.0, 104.0, 104.0, 104.0, 104.0]
SUFFIXES = (".nbi", ".nbc", machine_code.SUFFIX)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kernels with the probe, and its cache, filled by one run."""
    root = tmp_path_factory.mktemp("original")
    package = root / "site" / "fastfnn"
    shutil.copytree(PACKAGE / "kernels", package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "_version.py", "atomic.py"):
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
    return sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)


# ---------------------------------------------------------------------------------------- what hits, what misses


def test_the_next_process_loads_what_this_one_compiled(original: Path) -> None:
    assert run(original)[:2] == (RIGHT, 6)
    suffixes = [path.suffix for path in cache_files(original / "cache")]
    assert [suffixes.count(suffix) for suffix in SUFFIXES] == [1, 2, 4]  # of the index, and of compiled functions


EDITS = {
    "a kernel that the entry point calls": (
        "optimizers.py",
        "\n\n@kernel\ndef take(gradients, parameters, i, decay, like):\n    return load(parameters, i, like)\n",
        [16 * 3, 16 * 3, *[16 * 2] * 4],
    ),
    "an operation that that kernel uses": (
        "simd/vectors.py",
        "\n\ndef multiply_add(builder, x, y, z):\n    return z\n",  # then dw + decay * w is dw
        [16 * 7, 8 * 7 + 8 * 3, *[16 * 6] * 4],
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


@pytest.mark.parametrize("distribution", ["numba", "llvmlite", "numpy", "python"])
def test_the_digest_follows_versions(monkeypatch: pytest.MonkeyPatch, sources: Path, distribution: str) -> None:
    before = sources_digest(sources)
    patches = {
        "numba": (metadata, "version", lambda _: "0"),
        "llvmlite": (llvmlite, "__version__", "0"),
        "numpy": (np, "__version__", "0"),
        "python": (platform, "python_version", lambda: "0"),
    }
    monkeypatch.setattr(*patches[distribution])
    assert sources_digest(sources) != before


@pytest.mark.parametrize("setting", machine_code.SETTINGS)
def test_the_digest_follows_settings(monkeypatch: pytest.MonkeyPatch, sources: Path, setting: str) -> None:
    monkeypatch.delenv(setting, raising=False)
    before = sources_digest(sources)
    monkeypatch.setenv(setting, "2")
    assert sources_digest(sources) != before


def test_another_processor_is_another_file(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    paths = {KEY.path()}
    for target in (("a system", "a processor", "+avx"), ("a system", "a processor", "-avx")):
        monkeypatch.setattr(machine_code, "target", lambda target=target: target)
        paths.add(KEY.path())
    assert len(paths) == 3


# ------------------------------------------------------------------------------------------------- damaged files


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but one byte": lambda content: content[:-1],
    "something else": lambda content: b"not a pickle" * 100,
    "something behind": lambda content: content + b"\0" * 40,
}


@pytest.mark.parametrize(("suffixes", "hits"), [((".nbc",), 4), ((".nbi",), 4), ((machine_code.SUFFIX,), 2)])
def test_truncated_files_are_replaced(original: Path, suffixes: tuple[str], hits: int) -> None:
    for path in cache_files(original / "cache"):
        if path.suffix in suffixes:
            path.write_bytes(DAMAGES["half"](path.read_bytes()))
    assert run(original)[:2] == (RIGHT, hits)
    assert run(original)[:2] == (RIGHT, 6)


def times(factor: float) -> Any:
    """A function of its own for every factor; they share an index."""

    def multiplied(x):
        return x * factor

    return entry_point(multiplied)


def products_and_hits() -> tuple[list[float], int]:
    functions = [times(2.0), times(3.0)]
    products = [function(5.0) for function in functions]
    return products, sum(sum(function.stats.cache_hits.values()) for function in functions)


KEY = Key("makers.make_activate", (TANH,), ("*float32", "int64", "int64"))
OTHER_KEY = Key("makers.make_activate", (LOGISTIC,), KEY.kinds)
CODE = MachineCode("symbol", "qd", bytes(range(256)) + b"\nan object file")


def test_machine_code_is_what_was_stored(folder: Path) -> None:
    assert stored(KEY) is None
    store(KEY, CODE)
    assert stored(KEY) == CODE
    assert stored(OTHER_KEY) is None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_machine_code_is_missing_until_it_is_stored_again(
    folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    store(KEY, CODE)
    (path,) = cache_files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert stored(KEY) is None
    store(KEY, CODE)
    assert stored(KEY) == CODE


def test_no_flipped_byte_of_machine_code_is_believed(folder: Path) -> None:
    store(KEY, CODE)
    (path,) = cache_files(folder)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(flipped(whole, position))
        assert stored(KEY) is None


def test_machine_code_under_another_name_is_not_believed(folder: Path) -> None:
    store(KEY, CODE)
    (path,) = cache_files(folder)
    other = OTHER_KEY.path()
    assert other is not None
    path.rename(other)
    assert stored(OTHER_KEY) is None


def test_machine_code_is_lost_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    path = KEY.path()
    assert path is not None
    path.mkdir()
    store(KEY, CODE)
    assert stored(KEY) is None
    monkeypatch.setattr(machine_code, "cache_folder", lambda: folder / "vanished")
    store(KEY, CODE)
    assert stored(KEY) is None
    monkeypatch.setattr(machine_code, "cache_folder", lambda: None)
    store(KEY, CODE)
    assert (stored(KEY), KEY.path()) == (None, None)


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
    assert machine_code.cache_folder.__wrapped__() is None


def test_sources_in_an_archive_have_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_code, "__file__", str(tmp_path / "fastfnn.zip" / "kernels" / "machine_code.py"))
    assert machine_code.cache_folder.__wrapped__() is None


def test_functions_are_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert run(original, **environment)[:2] == (RIGHT, 6)
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
    assert run(original)[:2] == (RIGHT, 6)
