"""`fastfnn export`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import X, largest_difference, random_network

from fastfnn.config import NetworkConfig
from fastfnn.network import Network


@pytest.fixture
def model(tmp_path: Path) -> Network:
    """A network whose file is `model.safetensors`."""
    network = random_network(NetworkConfig(hidden=(8, 6), batchnorm="after"), ["cat", "dog", "owl"])
    network.save(tmp_path / "model.safetensors")
    return network


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_model_predicts_the_same(fastfnn, model: Network, tmp_path: Path, dtype: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    outcome = fastfnn("export", "model.safetensors", "model.onnx", "--input-dtype", dtype)
    size = (tmp_path / "model.onnx").stat().st_size
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == f"layers   12-8-6-3\nwritten  model.onnx, {size} bytes\n"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    probabilities, labels = session.run(None, {"features": X.astype(dtype)})
    assert largest_difference(probabilities, model.predict_proba(X)) < 1e-5
    np.testing.assert_array_equal(labels, model.predict(X).astype(object))


def test_json_is_one_document(fastfnn, model: Network, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    outcome = fastfnn("export", "model.safetensors", "model.onnx", "--json")
    assert json.loads(outcome.out) == {
        "layers": [12, 8, 6, 3],
        "classes": ["cat", "dog", "owl"],
        "bytes": (tmp_path / "model.onnx").stat().st_size,
        "written": "model.onnx",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("model.safetensors model.pb", "model.pb: expected a file name that ends in .onnx"),
        ("model.safetensors model", "model: expected a file name that ends in .onnx"),
        ("model.safetensors missing/model.onnx", "missing: no such folder"),
        ("missing.safetensors model.onnx", "missing.safetensors: expected a safetensors file, found: "),
        ("model.safetensors model.onnx --input-dtype int8", "input_dtype: expected one of float32, float64, uint8, fo"),
        ("model.safetensors", "OUT"),
    ],
)
def test_mistakes(fastfnn, model: Network, tmp_path: Path, arguments: str, expected: str) -> None:
    outcome = fastfnn("export", *arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("fastfnn: error: ")
    assert outcome.err.count("\n") == 1
    assert expected in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_without_the_package(fastfnn, model: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    outcome = fastfnn("export", "model.safetensors", "model.onnx")
    assert outcome.status == 2
    assert outcome.err.endswith("the package onnx, which is not installed: pip install 'fastfnn[onnx]'\n")
