"""Listed features gone through band by band: the same numbers, whatever the bands and the threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matrices import mixed_matrix
from runs import assert_close_tensors, do_steps

from fastfnn import bands
from fastfnn.bands import bands_that_pay, cut_rows, ends_of_bands, whole_share
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import Share
from fastfnn.reference import NumpyEngine
from fastfnn.rows import identity_order, make_rows

EXAMPLES, FEATURES, TRAINED = 307, 90, 246
RUNS = {
    "sgd": {"l2": 0.01, "dropout": 0.2},
    "wide": {"hidden": (150, 33), "l2": 0.5, "input": "sparse"},
    "no hidden layer": {"hidden": ()},
    "listed": {"input": "sparse", "optimizer": "adam"},
    "odd batches": {"batch_size": 77, "optimizer": "adamw"},
    "several blocks": {"batch_size": 200},
    "batch norm": {"batchnorm": "before"},
    "groups": {"batchnorm": "after", "batchnorm_group": 20},
    "weights": {"activation": "tanh", "weighted": True},
}


@pytest.fixture
def everything_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BYTES_OF_CACHE", 0)
    monkeypatch.setattr(bands, "BYTES_OF_BAND", 400)
    monkeypatch.setattr(bands, "VALUES_OF_BAND", 1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_arrays(mixed_matrix(EXAMPLES, FEATURES), np.arange(EXAMPLES) % 4, validation=61)


def with_weights(data: Dataset) -> Dataset:
    split = data.train
    return Dataset.from_arrays(split.features, split.labels, sample_weight=np.arange(EXAMPLES) % 3, validation=61)


def config_of(**options: Any) -> TrainingConfig:
    return TrainingConfig(**{"hidden": (20, 7), "batch_size": 100, "learning_rate": 0.05, **options})


def engine_after(kind: Any, data: Dataset, options: dict[str, Any], **others: Any) -> Any:
    """An engine that has done two epochs."""
    options = {**options, **others}
    if options.pop("weighted", False):
        data = with_weights(data)
    config = config_of(**options)
    engine = kind(data, config)
    do_steps(engine, data, config, 2 * config.steps_per_epoch(TRAINED))
    return engine


def tensors_of(engine: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = engine.parameters().tensors()
    return tensors


@pytest.mark.usefixtures("everything_in_bands")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-4)])
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_bands_give_what_the_reference_gives(
    data: Dataset, options: dict[str, Any], dtype: str, tolerance: float
) -> None:
    fast, slow = (engine_after(kind, data, options, dtype=dtype) for kind in (KernelEngine, NumpyEngine))
    assert fast.whole.bands > 1
    assert_close_tensors(tensors_of(fast), tensors_of(slow), tolerance)


@pytest.mark.usefixtures("everything_in_bands", "every_step_is_divided")
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_any_number_of_threads_gives_the_same_bits_in_bands(data: Dataset, options: dict[str, Any]) -> None:
    expected = tensors_of(engine_after(KernelEngine, data, options))
    for threads in (2, 3):
        engine = engine_after(KernelEngine, data, options, threads=threads)
        assert len(engine.members) == threads
        listing = [member.share for member in engine.members if member.share.cuts_stride >= 0]
        assert {share.bands for share in listing} == {-(-engine.whole.bands // len(listing))}
        for name, tensor in tensors_of(engine).items():
            np.testing.assert_array_equal(tensor, expected[name])


@pytest.mark.usefixtures("everything_in_bands")
def test_lazy_momentum_has_one_band(data: Dataset) -> None:
    options = {"optimizer": "momentum", "input": "sparse", "momentum": 0.99}
    assert KernelEngine(data, config_of(**options, batch_size=2)).whole.bands == 1
    assert KernelEngine(data, config_of(**options, batch_size=200)).whole.bands > 1


@pytest.mark.usefixtures("everything_in_bands", "every_step_is_divided")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_listed_value_is_in_one_band(data: Dataset, threads: int) -> None:
    """Of one thread, and of the whole."""
    engine = KernelEngine(data, config_of(threads=threads))
    rows = engine.rows[id(data.train)]
    counts = rows.entries[1::2]
    shares = [member.share for member in engine.members]
    assert len(shares) == threads
    for every in (shares, [engine.whole]):
        edges = [edges_of(share, len(counts)) for share in every if share.cuts_stride > 0]
        found = np.concatenate(edges, axis=1)
        assert (found[:, 0] == 0).all()
        np.testing.assert_array_equal(found[:, 2:-1:2], found[:, 1:-2:2])
        real = np.count_nonzero(rows_of(rows, counts), axis=1)
        assert (found[:, -1] >= real).all()
        assert (np.diff(found) >= 0).all()


def edges_of(share: Share, n: int) -> Any:
    """(n, 2 * bands) where each band begins and ends, row by row."""
    starts = np.arange(n)[:, np.newaxis] * share.cuts_stride + np.arange(share.bands)
    return np.stack((share.cuts[starts], share.cuts[starts + 1]), axis=2).reshape(n, -1)


def rows_of(rows: Any, counts: Any) -> Any:
    """(N, most) the listed values of every record, with zeros behind them."""
    values = np.zeros((len(counts), counts.max()))
    for i, (line, count) in enumerate(rows.entries.reshape(-1, 2).tolist()):
        start = line * 64 // rows.values.itemsize + rows.dense
        values[i, :count] = rows.values[start : start + count]
    return values


def test_where_rows_are_cut() -> None:
    X = np.array([[1, 0, 2, 3, 0, 4], [0, 0, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0]], np.uint8)
    rows = make_rows(X, identity_order(6, dense=False), "float32")
    assert cut_rows(rows, [2, 3, 6]).tolist() == [[0, 1, 2, 4], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert whole_share(rows, 6, 2).cuts.tolist() == [0, 2, 4, 0, 0, 1, 0, 0, 0]


def test_bands_are_of_about_the_same_size() -> None:
    assert ends_of_bands(10, 20, 3).tolist() == [13, 16, 20]
    assert ends_of_bands(5, 5, 2).tolist() == [5, 5]


@pytest.mark.parametrize(
    ("row_bytes", "features", "density", "examples", "count"),
    [
        (256, 20_000, 0.005, 16, 1),  # few of the weights are touched
        (256, 20_000, 0.005, 128, 1),
        (256, 20_000, 0.005, 256, 8),
        (256, 20_000, 0.005, 10_000, 8),
        (256, 20_000, 0.002, 1024, 4),  # with more bands, a row would have less than ten values in each
        (256, 20_000, 0.0002, 100_000, 1),
        (64, 20_000, 0.005, 1024, 1),  # all weights stay near
        (1024, 20_000, 0.005, 1024, 8),  # a panel at a time
        (256, 100_000, 0.005, 1024, 40),
        (256, 0, 0.5, 1024, 1),
    ],
)
def test_bands_where_the_weights_of_a_batch_leave_the_cache(
    row_bytes: int, features: int, density: float, examples: int, count: int
) -> None:
    assert bands_that_pay(row_bytes, np.full(features, density), examples) == count


@pytest.mark.parametrize(("dense", "end"), [(0, 0), (16, 16), (17, 32), (100, 112)])
def test_the_whole_share_ends_at_a_whole_vector(dense: int, end: int) -> None:
    rows = make_rows(np.ones((2, max(dense, 1)), np.uint8), identity_order(max(dense, 1), dense=dense > 0), "float32")
    share = whole_share(rows)
    assert (share.feature_begin, share.feature_end, share.cuts_stride, share.bands) == (0, end, 0, 1)
