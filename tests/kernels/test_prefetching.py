"""Weights that are asked for before they are needed: where that pays, and the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matrices import mixed_matrix
from runs import assert_close_tensors, do_steps

from fastfnn import prefetching
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.prefetching import EXAMPLES_AHEAD, examples_ahead, next_batch_pays, whole_share
from fastfnn.reference import NumpyEngine
from fastfnn.rows import identity_order, make_rows

EXAMPLES, FEATURES, TRAINED = 307, 90, 246
RUNS = {
    "sgd": {"l2": 0.01, "dropout": 0.2},
    "few examples": {"batch_size": 16, "l2": 0.01},
    "one example": {"batch_size": 1},
    "wide": {"hidden": (150, 33), "l2": 0.5, "input": "sparse"},
    "wide and few": {"hidden": (150, 33), "input": "sparse", "batch_size": 13},
    "no hidden layer": {"hidden": ()},
    "listed": {"input": "sparse", "optimizer": "adam"},
    "lazy momentum": {"optimizer": "momentum", "input": "sparse", "momentum": 0.99, "batch_size": 2},
    "odd batches": {"batch_size": 77, "optimizer": "adamw"},
    "several blocks": {"batch_size": 200},
    "batch norm": {"batchnorm": "before", "batch_size": 32},
    "groups": {"batchnorm": "after", "batchnorm_group": 20},
    "weights": {"activation": "tanh", "weighted": True},
}
NEXT_BATCH = ("few examples", "one example", "wide and few", "batch norm")


@pytest.fixture
def weights_are_far(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BYTES_OF_EXAMPLES", "BYTES_OF_BATCH"):
        monkeypatch.setattr(prefetching, name, 0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_arrays(mixed_matrix(EXAMPLES, FEATURES), np.arange(EXAMPLES) % 4, validation=61)


def with_weights(data: Dataset) -> Dataset:
    split = data.train
    return Dataset.from_arrays(split.features, split.labels, sample_weight=np.arange(EXAMPLES) % 3, validation=61)


def engine_after(kind: Any, data: Dataset, options: dict[str, Any], **others: Any) -> Any:
    """An engine that has done two epochs."""
    options = {"hidden": (20, 7), "batch_size": 100, "learning_rate": 0.05, **options, **others}
    if options.pop("weighted", False):
        data = with_weights(data)
    config = TrainingConfig(**options)
    engine = kind(data, config)
    do_steps(engine, data, config, 2 * config.steps_per_epoch(TRAINED))
    return engine


def tensors_of(engine: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = engine.parameters().tensors()
    return tensors


@pytest.mark.usefixtures("weights_are_far")
@pytest.mark.parametrize("name", RUNS)
def test_training_gives_what_the_reference_gives(data: Dataset, name: str) -> None:
    """In float64; in float32, what is not asked for does, and asking changes no bits."""
    fast, slow = (engine_after(kind, data, RUNS[name], dtype="float64") for kind in (KernelEngine, NumpyEngine))
    (member,) = fast.members
    of_batch = RUNS[name].get("batch_size", 100)
    expected = (0, of_batch) if name in NEXT_BATCH else (EXAMPLES_AHEAD, EXAMPLES_AHEAD)
    assert (fast.whole.weights_ahead, member.share.weights_ahead) == expected
    assert {share.weights_ahead for share in fast.shares.values()} == {EXAMPLES_AHEAD}
    assert_close_tensors(tensors_of(fast), tensors_of(slow), 1e-10)


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("name", RUNS)
def test_asking_changes_no_bits(data: Dataset, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    near = engine_after(KernelEngine, data, RUNS[name])
    assert near.whole.weights_ahead == near.members[0].share.weights_ahead == 0
    for limit in ("BYTES_OF_EXAMPLES", "BYTES_OF_BATCH"):
        monkeypatch.setattr(prefetching, limit, 0)
    for threads in (1, 2, 3):
        far = engine_after(KernelEngine, data, RUNS[name], threads=threads)
        assert all(member.share.weights_ahead > 0 for member in far.members)
        for tensor, expected in zip(tensors_of(far).values(), tensors_of(near).values(), strict=True):
            np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize(
    ("feature_bytes", "features", "expected"),
    [(256, 20_000, EXAMPLES_AHEAD), (80, 20_000, 0), (256, 528, 0), (4096, 528, 0), (256, 0, 0)],
)
def test_examples_ahead(feature_bytes: int, features: int, expected: int) -> None:
    """Of 528 features the weights of a panel stay near, however many panels there are."""
    assert examples_ahead(feature_bytes, features) == expected


@pytest.mark.parametrize(
    ("feature_bytes", "features", "density", "batch_size", "pays"),
    [
        (256, 20_000, 0.005, 16, True),
        (256, 20_000, 0.005, 32, False),  # two batches touch more than stays near
        (512, 20_000, 0.005, 16, False),
        (512, 20_000, 0.005, 8, True),
        (80, 20_000, 0.005, 32, True),
        (80, 20_000, 0.001, 64, False),  # so far ahead, rows are not there
        (256, 528, 0.1, 16, False),  # all weights stay near
    ],
)
def test_next_batch_pays(feature_bytes: int, features: int, density: float, batch_size: int, pays: bool) -> None:
    assert next_batch_pays(feature_bytes, np.full(features, density), batch_size) == pays


@pytest.mark.parametrize(("dense", "end"), [(0, 0), (16, 16), (17, 32), (100, 112)])
def test_the_whole_share_ends_at_a_whole_vector(dense: int, end: int) -> None:
    rows = make_rows(np.ones((2, max(dense, 1)), np.uint8), identity_order(max(dense, 1), dense=dense > 0), "float32")
    share = whole_share(rows, 3)
    assert (share.feature_begin, share.feature_end, share.cuts_stride, share.weights_ahead) == (0, end, 0, 3)
