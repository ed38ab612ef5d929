"""Model files that are damaged, hostile or of another kind: one clear error, before anything of note is allocated."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import K, X, random_network
from numpy.typing import NDArray
from safetensors.numpy import save

from fastfnn.cli import main
from fastfnn.config import NetworkConfig
from fastfnn.data import write_idx
from fastfnn.errors import DataError
from fastfnn.model_files import read_safetensors
from fastfnn.network import Network

Array = NDArray[Any]
Header = dict[str, Any]

CONFIG = NetworkConfig(hidden=(8,), batchnorm="before")


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    """The content of a file that can be read."""
    path = tmp_path / "good"
    random_network(CONFIG).save(path)
    assert Network.load(path).config == CONFIG
    return path.read_bytes()


def refusal(path: Path) -> str:
    """What `load` says about a file: one line that a terminal can print, and that begins with the file's name."""
    with pytest.raises(DataError) as caught:
        Network.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    assert len(text) < len(str(path)) + 500
    return text


def parts(content: bytes) -> tuple[str, bytes]:
    """Header and data of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end].decode(), content[end:]


def with_header(header: str | bytes, data: bytes) -> bytes:
    """The content of a file with this header."""
    encoded = header.encode() if isinstance(header, str) else header
    return len(encoded).to_bytes(8, "little") + encoded + data


# ----------------------------------------------------------------------------------------------------- another format


def write_zip(path: Path, good: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model", good)


def array_file(path: Path, good: bytes) -> None:
    with path.open("wb") as stream:
        np.save(stream, X)


def header_length(length: int) -> Callable[[Path, bytes], Any]:
    return lambda path, good: path.write_bytes(length.to_bytes(8, "little") + good[8:])


CORRUPTIONS: dict[str, Callable[[Path, bytes], Any]] = {
    "missing": lambda path, good: None,
    "empty": lambda path, good: path.write_bytes(b""),
    "a folder": lambda path, good: path.mkdir(),
    "a named pipe": lambda path, good: os.mkfifo(path),
    "a device": lambda path, good: path.symlink_to("/dev/zero"),
    "cut in the length": lambda path, good: path.write_bytes(good[:5]),
    "cut in the header": lambda path, good: path.write_bytes(good[:100]),
    "cut before the data": lambda path, good: path.write_bytes(with_header(parts(good)[0], b"")),
    "cut in the data": lambda path, good: path.write_bytes(good[:-1]),
    "a byte more": lambda path, good: path.write_bytes(good + b"\0"),
    "header of no bytes": header_length(0),
    "header beyond the end": lambda path, good: header_length(2 * len(good))(path, good),
    "header of a terabyte": header_length(2**40),
    "header of 2**63 bytes": header_length(2**63),
    "header of 2**64 - 1 bytes": header_length(2**64 - 1),
    "header is not JSON": lambda path, good: path.write_bytes(good[:8] + b"x" + good[9:]),
    "header is not UTF-8": lambda path, good: path.write_bytes(with_header(b'{"\xff": 1}', b"")),
    "header is a list": lambda path, good: path.write_bytes(with_header("[]", b"")),
    "header is null": lambda path, good: path.write_bytes(with_header("null", b"")),
    "deeply nested JSON": lambda path, good: path.write_bytes(with_header('{"a":' * 200_000, b"")),
    "deeply nested lists": lambda path, good: path.write_bytes(with_header('{"a":' + "[" * 200_000, b"")),
    "IDX": lambda path, good: write_idx(path, X),
    "NPY": array_file,
    "pickle": lambda path, good: path.write_bytes(pickle.dumps({"weights.1": X})),
    "text": lambda path, good: path.write_text("weights = 1, 2, 3\n" * 9),
    "zip": write_zip,
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
def test_not_a_safetensors_file(good: bytes, tmp_path: Path, corrupt: Callable[[Path, bytes], Any]) -> None:
    corrupt(tmp_path / "bad", good)
    assert "expected a safetensors file, found: " in refusal(tmp_path / "bad")
    with pytest.raises(DataError, match="expected a safetensors file, found: "):
        read_safetensors(tmp_path / "bad")


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_nothing_is_executed(tmp_path: Path) -> None:
    content = pickle.dumps(Payload(tmp_path / "executed"))
    pickle.loads(content)
    (tmp_path / "executed").unlink()
    (tmp_path / "bad").write_bytes(content)
    refusal(tmp_path / "bad")
    assert not (tmp_path / "executed").exists()


# -------------------------------------------------------------------------------------------------------------- header


def changed(name: str, **changes: Any) -> Callable[[Header], Any]:
    """Changes what the header says of a tensor."""
    return lambda header: header[name].update(changes)


def moved(header: Header, by: int) -> None:
    """Moves the data of the second tensor over the first, or away from it."""
    tensors = (info for name, info in header.items() if name != "__metadata__")
    first, second = sorted(tensors, key=lambda info: info["data_offsets"])[:2]
    second["data_offsets"] = [offset + by for offset in second["data_offsets"]]
    assert first["data_offsets"][1] + by == second["data_offsets"][0]


HEADERS: dict[str, Callable[[Header], Any]] = {
    "overlapping offsets": lambda header: moved(header, -4),
    "a hole between offsets": lambda header: moved(header, 4),
    "offsets in the wrong order": lambda header: header["biases.1"]["data_offsets"].reverse(),
    "the same data twice": lambda header: header.update(again=header["biases.1"]),
    "one offset": changed("biases.1", data_offsets=[0]),
    "negative offsets": changed("biases.1", data_offsets=[-32, 0]),
    "offsets beyond 64 bits": changed("biases.1", data_offsets=[0, 2**64]),
    "no offsets": lambda header: header["biases.1"].pop("data_offsets"),
    "a shape of terabytes": changed("weights.1", shape=[2**20, 2**20], data_offsets=[0, 2**42]),
    "a larger shape than its data": changed("weights.1", shape=[K, 9]),
    "a shape that overflows": changed("weights.1", shape=[2**32, 2**32, 2**32]),
    "a shape beyond 64 bits": changed("weights.1", shape=[10**30, 8]),
    "a negative shape": changed("weights.1", shape=[-K, -8]),
    "a shape with a fraction": changed("weights.1", shape=[12.5, 8]),
    "a shape that is no list": changed("weights.1", shape="12,8"),
    "an unknown dtype": changed("weights.1", dtype="F31"),
    "a dtype that is no text": changed("weights.1", dtype=32),
    "a tensor that is no table": lambda header: header.update({"biases.1": [1, 2, 3]}),
    "metadata that is no table": lambda header: header.update(__metadata__=["format"]),
    "a number in the metadata": lambda header: header["__metadata__"].update(scale=1),
    "null in the metadata": lambda header: header["__metadata__"].update(scale=None),
    "a table in the metadata": lambda header: header["__metadata__"].update(config={"hidden": [8]}),
    "a name for a terminal": lambda header: header.update({"\x1b[2J\n": header.pop("biases.1") | {"shape": [9]}}),
    "an endless name": lambda header: header.update({"x" * 10**6: header.pop("biases.1") | {"shape": [9]}}),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_contradict_the_file(good: bytes, tmp_path: Path, change: Callable[[Header], Any]) -> None:
    text, data = parts(good)
    header = json.loads(text)
    change(header)
    (tmp_path / "bad").write_bytes(with_header(json.dumps(header), data))
    assert "expected a safetensors file, found: " in refusal(tmp_path / "bad")


@pytest.mark.parametrize("name", ["biases.1", "__metadata__", "format", "dtype"])
def test_a_key_twice(good: bytes, tmp_path: Path, name: str) -> None:
    """The same value twice, so that only the repetition is wrong: readers differ in which of two they believe."""
    text, data = parts(good)
    header = json.loads(text)
    values: dict[str, Any] = {"format": header["__metadata__"]["format"], "dtype": "F32", **header}
    repeated = f'"{name}":{json.dumps(values[name], separators=(",", ":"))}'
    compact = json.dumps(header, separators=(",", ":"))
    assert repeated in compact
    (tmp_path / "bad").write_bytes(with_header(compact.replace(repeated, f"{repeated},{repeated}", 1), data))
    assert "expected a safetensors file, found: " in refusal(tmp_path / "bad")


# ------------------------------------------------------------------------------------------------------------ metadata


Changes = dict[str, Any]
METADATA: list[tuple[Changes, str]] = [
    ({"format": "fastfnn-network-0"}, "expected metadata format 'fastfnn-network-1', found 'fastfnn-network-0'"),
    ({"format": None}, "expected metadata format 'fastfnn-network-1', found None"),
    ({"config": None}, "metadata lacks 'config'"),
    ({"classes": None}, "metadata lacks 'classes'"),
    ({"classes_dtype": None}, "metadata lacks 'classes_dtype'"),
    ({"scale": None}, "metadata lacks 'scale'"),
    ({"scale": "half"}, "metadata scale: could not convert string to float: 'half'"),
    ({"scale": "nan"}, "metadata scale: expected a positive number"),
    ({"scale": "0"}, "metadata scale: expected a positive number"),
    ({"scale": "-1"}, "metadata scale: expected a positive number"),
    ({"scale": "1e39"}, "metadata scale: expected a positive number up to 3.4e+38, found 1e+39"),
    ({"classes": "[1, 2"}, "metadata classes: "),
    ({"classes": "3"}, "metadata classes: expected a list of at least 2, found 3"),
    ({"classes": "[3]"}, "metadata classes: expected a list of at least 2, found [3]"),
    ({"classes": "[0, 1]"}, "tensor weights.2: expected float32 (8, 2), found float32 (8, 3)"),
    ({"classes": "[[0], [1], [2]]"}, "metadata classes: "),
    ({"classes": "[0, 1, [2]]"}, "metadata classes: "),
    ({"classes": '["0", "1", "2"]'}, "metadata classes: expected finite values of dtype int64"),
    ({"classes": "[0, 1, 2.5]"}, "metadata classes: expected finite values of dtype int64"),
    ({"classes": "[0, 1, null]"}, "metadata classes: "),
    ({"classes": f"[0, 1, {10**30}]"}, "metadata classes: "),
    ({"classes": f"[0, 1, {'9' * 10_000}]"}, "metadata classes: "),
    ({"classes": "[" * 100_000}, "metadata classes: "),
    ({"classes": '[0, 1, {"a": 2}]'}, "metadata classes: "),
    ({"classes_dtype": "<f8", "classes": "[0, 1, NaN]"}, "metadata classes: expected finite values"),
    ({"classes_dtype": "<f8", "classes": "[0, 1, 1e999]"}, "metadata classes: expected finite values"),
    ({"classes_dtype": "<U1"}, "metadata classes: expected strings, found [0, 1, 2]"),
    ({"classes_dtype": "<U1", "classes": r'["a", "b", "\ud800"]'}, "metadata classes: "),
    ({"classes_dtype": "<U1", "classes": r'["a", "b", "c\u0000"]'}, "metadata classes: "),
    ({"classes_dtype": "nonsense"}, "metadata classes_dtype: expected numbers or strings, found 'nonsense'"),
    ({"classes_dtype": "O"}, "metadata classes_dtype: expected numbers or strings, found 'O'"),
    ({"classes_dtype": "i4,f4"}, "metadata classes_dtype: expected numbers or strings, found 'i4,f4'"),
    ({"classes_dtype": "(1000000000,)i8"}, "metadata classes_dtype: expected numbers or strings"),
    ({"config": "[]"}, "metadata config: NetworkConfig: expected a JSON table of fields, found list"),
    ({"config": "{"}, "metadata config: "),
    ({"config": '{"hiden": [8]}'}, "hiden: unknown field; did you mean 'hidden'?"),
    ({"config": '{"hidden": [0]}'}, "at least 1 unit"),
    ({"config": '{"hidden": [8], "hidden": [8]}'}, "metadata config: the key 'hidden' twice in a JSON table"),
    ({"config": '{"hidden": [' * 100_000}, "metadata config: "),
    ({"config": f'{{"hidden": [{"9" * 10_000}]}}'}, "metadata config: "),
    ({"config": f'{{"hidden": [{10**30}], "batchnorm": "before"}}'}, "tensor weights.1: expected float32 (12, 1000"),
    ({"config": f'{{"hidden": {[1] * 1000}}}'}, "tensors: expected those of 1000 hidden layers, found 8"),
    (
        {"config": '{"hidden": [8], "batchnorm": "before", "dtype": "float64"}'},
        "expected float64 (12, 8), found float32",
    ),
    ({"config": '{"hidden": [8]}'}, "extra: ['running_mean.1', 'running_variance.1', 'scale.1', 'shift.1']"),
]


def change_file(path: Path, content: bytes, metadata: Changes, tensors: Changes) -> None:
    """Writes a file with some metadata and tensors replaced, or left out for None."""
    path.write_bytes(content)
    old_metadata, old_tensors = read_safetensors(path)
    path.write_bytes(save(_replaced(old_tensors, tensors), metadata=_replaced(old_metadata, metadata)))


def _replaced(old: Changes, changes: Changes) -> Changes:
    return {name: value for name, value in {**old, **changes}.items() if value is not None}


@pytest.mark.parametrize(("changes", "expected"), METADATA, ids=lambda value: str(value)[:40])
def test_wrong_metadata(good: bytes, tmp_path: Path, changes: Changes, expected: str) -> None:
    change_file(tmp_path / "bad", good, changes, {})
    assert expected in refusal(tmp_path / "bad")


def test_no_metadata_at_all(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(save({"x": np.zeros(3)}))
    assert "expected metadata format" in refusal(tmp_path / "bad")


def test_a_file_from_before_there_were_activations(good: bytes, tmp_path: Path) -> None:
    change_file(tmp_path / "old", good, {"config": '{"hidden": [8], "batchnorm": "before"}'}, {})
    assert Network.load(tmp_path / "old").config == CONFIG
    assert CONFIG.activation == "relu"


# ------------------------------------------------------------------------------------------------------------- tensors


def with_value(value: float, shape: tuple[int, ...] = (K, 8)) -> Array:
    array = np.zeros(shape, np.float32)
    array[-1] = value
    return array


TENSORS: list[tuple[Changes, str]] = [
    ({"biases.1": None}, "tensors missing: ['biases.1'], extra: none"),
    ({"weights.1": None}, "tensor weights.1: expected a matrix that is not empty, found none"),
    ({"weights.1": np.zeros(3, np.float32)}, "tensor weights.1: expected a matrix that is not empty"),
    ({"weights.1": np.zeros((0, 8), np.float32)}, "tensor weights.1: expected a matrix that is not empty"),
    ({"weights.3": np.zeros((2, 2), np.float32)}, "tensors missing: none, extra: ['weights.3']"),
    ({"x" * 1000: np.zeros(1)}, "extra: ['xxx"),
    ({"biases.1": np.zeros(7, np.float32)}, "tensor biases.1: expected float32 (8,), found float32 (7,)"),
    ({"biases.2": np.zeros((1, 3), np.float32)}, "tensor biases.2: expected float32 (3,), found float32 (1, 3)"),
    ({"scale.1": np.zeros(8)}, "tensor scale.1: expected float32 (8,), found float64 (8,)"),
    ({"weights.2": np.zeros((8, 3), np.int32)}, "tensor weights.2: expected float32 (8, 3), found int32 (8, 3)"),
    ({"weights.2": np.zeros((8, 3), bool)}, "tensor weights.2: expected float32 (8, 3), found bool (8, 3)"),
    ({"weights.1": with_value(np.nan)}, "tensor weights.1: holds values that are not finite"),
    ({"weights.1": with_value(-np.inf)}, "tensor weights.1: holds values that are not finite"),
    ({"running_mean.1": with_value(np.inf, (8,))}, "tensor running_mean.1: holds values that are not finite"),
    ({"running_variance.1": with_value(-1e-30, (8,))}, "tensor running_variance.1: expected variances, found a neg"),
]


@pytest.mark.parametrize(("changes", "expected"), TENSORS, ids=lambda value: str(value)[:40])
def test_wrong_tensors(good: bytes, tmp_path: Path, changes: Changes, expected: str) -> None:
    change_file(tmp_path / "bad", good, {}, changes)
    assert expected in refusal(tmp_path / "bad")


@pytest.mark.parametrize(
    ("dtype", "size", "found"), [("BF16", 2, "bfloat16"), ("F8_E5M2", 1, "F8_E5M2"), ("U16", 2, "uint16")]
)
def test_dtypes_that_networks_do_not_have(tmp_path: Path, dtype: str, size: int, found: str) -> None:
    """NumPy lacks some of them, so they are refused before they are read."""
    random_network(NetworkConfig(hidden=())).save(tmp_path / "good")
    metadata, _ = read_safetensors(tmp_path / "good")
    end = K * 3 * size
    header = {
        "__metadata__": metadata,
        "weights.1": {"dtype": dtype, "shape": [K, 3], "data_offsets": [0, end]},
        "biases.1": {"dtype": "F32", "shape": [3], "data_offsets": [end, end + 12]},
    }
    (tmp_path / "bad").write_bytes(with_header(json.dumps(header), bytes(end + 12)))
    assert f"tensor weights.1: expected float32 (12, 3), found {found} (12, 3)" in refusal(tmp_path / "bad")


# ------------------------------------------------------------------------------------------------------------- mishaps


def mishap(content: bytes, generator: np.random.Generator) -> bytes:
    """The content with up to three places of the header changed, left out or doubled.

    The library writes its fields in another order every time; here they have one, so that mishaps are always the same.
    """
    text, data = parts(content)
    text = json.dumps(json.loads(text), sort_keys=True)
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(len(text)))
        end = at + int(generator.integers(1, 9))
        other = int(generator.integers(len(text)))
        middle = generator.choice([text[other : other + end - at], "", 2 * text[at:end], "9", '"', "-", "[", "}"])
        text = text[:at] + middle + text[end:]
    return with_header(text, data)


def test_mishaps_give_a_network_or_an_error(good: bytes, tmp_path: Path) -> None:
    """Never anything but a `DataError`; some changes are harmless, such as of the version or a label."""
    generator = np.random.default_rng(0)
    refused = []
    for _ in range(1500):
        (tmp_path / "bad").write_bytes(mishap(good, generator))
        try:
            Network.load(tmp_path / "bad")
        except DataError as error:
            refused.append("expected a safetensors file" in str(error))
    assert 750 < len(refused) < 1500
    assert refused.count(False) > 20


# -------------------------------------------------------------------------------------------------------------- memory


def promise(path: Path, good: bytes, **metadata: str) -> None:
    change_file(path, good, metadata, {})


def header_promise(path: Path, good: bytes) -> None:
    text, data = parts(good)
    header = json.loads(text)
    HEADERS["a shape of terabytes"](header)
    path.write_bytes(with_header(json.dumps(header), data))


LONG_LABELS = json.dumps(["x" * 20_000, *map(str, range(20_000))])
PROMISES: dict[str, Callable[[Path, bytes], Any]] = {
    "a header of a terabyte": header_length(2**40),
    "a tensor of terabytes": header_promise,
    "layers of terabytes": lambda path, good: promise(path, good, config=f'{{"hidden": [{2**40}]}}'),
    "labels that are wide": lambda path, good: promise(path, good, classes_dtype="<U1000000000", classes='["a", "b"]'),
    "one label that is long": lambda path, good: promise(path, good, classes_dtype="<U9", classes=LONG_LABELS),
}


@pytest.mark.parametrize("write", PROMISES.values(), ids=PROMISES.keys())
def test_promises_take_no_memory(good: bytes, tmp_path: Path, write: Callable[[Path, bytes], Any]) -> None:
    """A few kilobytes on the disk must not become more than a few of Python's objects."""
    write(tmp_path / "bad", good)
    refusal(tmp_path / "bad")  # imports what it needs
    tracemalloc.start()
    try:
        refusal(tmp_path / "bad")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000 + 20 * (tmp_path / "bad").stat().st_size


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize("command", ["predict", "export"])
@pytest.mark.parametrize("kind", ["missing", "a folder", "cut in the data", "deeply nested JSON", "pickle"])
def test_commands_say_it_in_a_line(
    good: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    CORRUPTIONS[kind](tmp_path / "bad", good)
    arguments = [str(tmp_path / name) for name in ("bad", "images.onnx")]
    assert main([command, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fastfnn: error: {tmp_path / 'bad'}: expected a safetensors file, found: ")
    assert err.count("\n") == 1
