"""Unusual input and unlucky moments, each of which once went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrices import mixed_matrix
from runs import TRAINERS, Train, X, Y, assert_same_run, config, interrupted, stop_at
from safetensors.numpy import save

import fastfnn
from fastfnn import packing, reference
from fastfnn.config import EarlyStopping, SweepConfig, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.errors import ConfigError, DataError
from fastfnn.kernels import binding
from fastfnn.model_files import read_safetensors
from fastfnn.network import Network
from fastfnn.packing import PackedNetwork
from fastfnn.stretch import Stretch


def check_that_nothing_is_written_outside(features: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    guard, buffers, original = 4096, [], packing.aligned_zeros

    def guarded(count: int, dtype: str) -> Any:
        buffer = original(count + 2 * guard, dtype)
        buffer[:guard] = buffer[guard + count :] = 7
        buffers.append((count, buffer))
        return buffer[guard : guard + count]

    for module in (packing, binding):
        monkeypatch.setattr(module, "aligned_zeros", guarded)
    data = Dataset.from_arrays(features, Y)
    fastfnn.train(data, config(epochs=1, **options))
    assert all((buffer[:guard] == 7).all() and (buffer[guard + count :] == 7).all() for count, buffer in buffers)


@pytest.mark.parametrize("features", [X, mixed_matrix(200, 30), mixed_matrix(200, 17)], ids=["few", "mixed", "dense"])
@pytest.mark.parametrize("group", [(48, 4), (60, 20), (32, 2)], ids=str)
def test_groups_write_nothing_outside_their_buffers(features: Any, group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"batchnorm": "before", "batchnorm_group": group[1]}
    check_that_nothing_is_written_outside(features, monkeypatch, batch_size=group[0], **options)


@pytest.mark.parametrize("batch_size", [33, 150])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_wide_layers_write_nothing_outside_their_buffers(
    kind: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of 128 units and more, which go through matrix registers where there are some."""
    features, options = mixed_matrix(200, 70).astype(kind), {"hidden": (133, 150), "input": "dense"}
    check_that_nothing_is_written_outside(features, monkeypatch, batch_size=batch_size, **options)


@pytest.mark.parametrize("kind", ["dense", "sparse", "auto"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("hidden", [(), (5,), (21, 6)], ids=str)
def test_what_fills_vectors_up_stays_zero(hidden: tuple[int, ...], optimizer: str, kind: str) -> None:
    data = Dataset.from_arrays(mixed_matrix(200, 30) / 99, Y)
    options = config(hidden=hidden, optimizer=optimizer, input=kind, batch_size=13)
    engine = KernelEngine(data, options)
    stretch = Stretch(np.resize(data.train.indices, 500), 0, 38, 0, np.full(38, 0.1), np.zeros(len(hidden), np.uint32))
    assert engine.run(stretch).steps == 38
    packed = PackedNetwork(engine.parameters(), options, engine.network.order, block=1)
    np.testing.assert_array_equal(engine.network.buffers.parameters, packed.buffers.parameters)


@pytest.mark.parametrize("train", TRAINERS)
@pytest.mark.parametrize(
    "options",
    [
        {"evaluate_every": 50},
        {"evaluate_every": None},
        {"early_stopping": EarlyStopping(every=10, min_delta=0.1, patience=99), "learning_rate": 0.3},
    ],
    ids=str,
)
def test_interrupted_anywhere_continues(train: Train, data: Dataset, options: Any, tmp_path: Path) -> None:
    for step in (20, 30, 40):
        p = tmp_path / str(step)
        assert train(data, config(epochs=9, **options), checkpoint=p, **stop_at(step)).status == "interrupted"
        assert_same_run(
            train(data, config(epochs=9, **options), checkpoint=p), train(data, config(epochs=9, **options))
        )


def test_best_step_without_restoring(data: Dataset) -> None:
    r = fastfnn.train(data, config(early_stopping=EarlyStopping(every=10, restore_best=False)))
    assert r.best_step is not None


@pytest.mark.parametrize("train", TRAINERS)
def test_divergence_in_the_last_update(train: Train, data: Dataset) -> None:
    r = train(data, config(batch_size=500, epochs=1, learning_rate=1e38))
    assert (r.status, r.steps) == ("diverged", 1)


@pytest.mark.parametrize("train", TRAINERS)
def test_penalty_that_overflows(train: Train, data: Dataset) -> None:
    assert (
        train(
            data, config(batch_size=32, epochs=30, learning_rate=1e3, dtype="float64", l2=1.0, hidden=(1,), seed=3)
        ).status
        == "diverged"
    )


def test_checkpoint_of_the_other_engine(data: Dataset, tmp_path: Path) -> None:
    reference.train(data, config(), checkpoint=tmp_path / "r", **stop_at(10))
    with pytest.raises(DataError):
        fastfnn.train(data, config(), checkpoint=tmp_path / "r")


def test_checkpoint_without_progress(data: Dataset, tmp_path: Path) -> None:
    p = tmp_path / "r"
    interrupted(data, p)
    metadata, tensors = read_safetensors(p)
    del metadata["progress"]
    p.write_bytes(save(tensors, metadata=metadata))
    with pytest.raises(DataError):
        fastfnn.train(data, config(), checkpoint=p)


def test_checkpoint_in_a_missing_folder(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError)):
        fastfnn.train(data, config(), checkpoint=tmp_path / "no" / "r")


def test_huge_batch_size() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        config(batch_size=2**70)


def test_observer_sees_divergence(data: Dataset) -> None:
    seen: list[int] = []
    r = fastfnn.train(data, config(learning_rate=1e6, l2=1.0), observer=lambda p: seen.append(p.step))
    assert seen[-1] == r.steps


@pytest.fixture
def saved(data: Dataset, tmp_path: Path) -> Path:
    fastfnn.train(data, config(batchnorm="before")).network.save(tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "nan"},
        {"scale": "-1"},
        {"classes": f"[0, 1, {10**30}]"},
        {"classes": "[" * 100_000},
        {"classes_dtype": "i4,f4"},
    ],
    ids=lambda c: str(c)[:30],
)
def test_metadata(saved: Path, changes: Any) -> None:
    m, t = read_safetensors(saved)
    saved.write_bytes(save(t, metadata={**m, **changes}))
    with pytest.raises(DataError):
        Network.load(saved)


def test_negative_variance(saved: Path) -> None:
    m, t = read_safetensors(saved)
    t["running_variance.1"] = -t["running_variance.1"]
    saved.write_bytes(save(t, metadata=m))
    with pytest.raises(DataError):
        Network.load(saved)


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_foreign_dtypes(tmp_path: Path, dtype: str) -> None:
    size = 2 if dtype == "BF16" else 1
    h = json.dumps({"weights.1": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    (tmp_path / "m").write_bytes(len(h).to_bytes(8, "little") + h + b"\0" * size)
    with pytest.raises(DataError):
        Network.load(tmp_path / "m")


@pytest.mark.parametrize(
    "X", [np.ones((1, 6), complex), [[1], [1, 2]], np.full((1, 6), 1e300)], ids=["complex", "ragged", "beyond float32"]
)
def test_predict(saved: Path, X: Any) -> None:
    net = Network.load(saved)
    if len(X) == 0:
        assert net.predict(X).shape == (0,)
        return
    with pytest.raises(DataError):
        net.predict(X)


def test_predict_leaves_csr_alone(saved: Path) -> None:
    from scipy.sparse import csr_matrix

    m = csr_matrix((np.array([1.0, 2.0]), np.array([5, 0]), np.array([0, 2])), shape=(1, 6))
    Network.load(saved).predict(m)
    assert m.indices.tolist() == [5, 0]


def test_field_errors_and_ranges_at_once() -> None:
    with pytest.raises(ConfigError, match=r"batch_size.*dropout.*evaluate_every"):
        TrainingConfig(batch_size=0, dropout=2.0, evaluate_every=0)


def test_key_self() -> None:
    with pytest.raises(ConfigError, match="self: unknown"):
        TrainingConfig.from_json('{"self": 1}')


def test_minus_zero() -> None:
    assert TrainingConfig(l2=-0.0).content_hash() == TrainingConfig().content_hash()


def test_none_on_an_axis() -> None:
    s = SweepConfig(training=TrainingConfig(batchnorm="before"), batchnorm_group=[None, 8], batch_size=[16])
    assert SweepConfig.from_toml(s.to_toml()) == s


def test_axis_typo() -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        SweepConfig(bach_size=[16])


def test_union_wording() -> None:
    with pytest.raises(ConfigError) as c:
        TrainingConfig(dropout="x")
    assert "dropout.float" not in str(c.value)


def test_deep() -> None:
    for f in (TrainingConfig.from_json, TrainingConfig.from_toml):
        with pytest.raises(ConfigError):
            f("a=" * (f == TrainingConfig.from_toml) + "[" * 100_000)
