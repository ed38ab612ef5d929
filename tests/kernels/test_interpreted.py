"""Tiny runs of every kernel against the reference: compiled, or with NUMBA_DISABLE_JIT=1 as the Python that they are.

The second way checks the NumPy twins of the vector operations, and lets coverage see into the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from first_layers import FirstLayer
from matrices import mixed_matrix
from scipy.sparse import csr_matrix

from fastfnn import layout, prefetching, reference
from fastfnn.config import InputKind, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels import Share, binding, dense_by_matrix, dense_features, narrow_by_matrix, panels
from fastfnn.kernels import rows as rows_module
from fastfnn.kernels.processor import INTERPRETED, MATRICES
from fastfnn.kernels.structures import Cuts
from fastfnn.parameters import Parameters
from fastfnn.rows import densities, order_by_density, order_of_features
from fastfnn.stretch import Stretch
from fastfnn.training import train

TOLERANCES = {"float64": 1e-12, "float32": 1e-4}
each_kind = pytest.mark.parametrize("kind", ["sparse", "dense", "auto"])


def dataset(X: Any) -> Dataset:
    labels = np.random.default_rng(1).integers(0, 4, X.shape[0])
    labels[:8] = np.arange(8) % 4
    return Dataset.from_arrays(X, labels, validation=(X[:20], labels[:20]), test=(X[:9], labels[:9]))


def difference(fast: Parameters, slow: Parameters) -> float:
    """The largest difference of any tensor, relative to the largest value of that tensor or 0.01."""
    pairs = [(array, slow.tensors()[name]) for name, array in fast.tensors().items()]
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 0.01)) for a, b in pairs)


def check(data: Dataset, tolerance: float | None = None, **options: Any) -> None:
    """The same parameters, history and predictions from the kernels and from the reference."""
    defaults = {"hidden": (5, 3), "batch_size": 7, "learning_rate": 0.05, "epochs": 2, "dtype": "float64"}
    config = TrainingConfig(**{**defaults, **options})
    tolerance = tolerance or TOLERANCES[config.dtype]
    fast, slow = train(data, config), reference.train(data, config)
    assert difference(fast.network.parameters, slow.network.parameters) < tolerance
    assert fast.history.train_cost == pytest.approx(slow.history.train_cost, rel=tolerance)
    assert fast.history.validation_cost == pytest.approx(slow.history.validation_cost, rel=tolerance)
    assert fast.train.accuracy == slow.train.accuracy
    assert data.test is not None
    X = data.test.features
    probabilities = fast.network.predict_proba(X)
    assert probabilities == pytest.approx(slow.network.predict_proba(X), rel=10 * tolerance)


OPTIONS = {
    "plain": {},
    "per batch": {"l2": 0.5, "l2_convention": "per_batch"},
    "strong l2": {"l2": 19.99},
    "before": {"batchnorm": "before", "l2": 0.01},
    "after": {"batchnorm": "after", "dropout": 0.3},
    "before with dropout": {"batchnorm": "before", "dropout": (0.3, 0.0)},
    "groups": {"batchnorm": "after", "batchnorm_group": 7, "batch_size": 14, "last_batch": "drop"},
    "dropout": {"dropout": (0.0, 0.4)},
    "tanh": {"activation": "tanh", "dropout": 0.3},
    "logistic": {"activation": "logistic", "batchnorm": "after"},
    "identity": {"activation": "identity", "dropout": 0.3},
    "momentum": {"optimizer": "momentum", "l2": 0.01},
    "nesterov": {"optimizer": "nesterov"},
    "adam": {"optimizer": "adam", "l2": 0.01},
    "adamw": {"optimizer": "adamw", "l2": 0.01},
}


def test_the_data_have_dense_and_listed_features() -> None:
    order = order_of_features(dataset(mixed_matrix(20, 30)), "auto")
    assert 0 < order.dense < len(order.features) == 30


@each_kind
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(options: dict[str, Any], kind: str) -> None:
    check(dataset(mixed_matrix(40, 30)), input=kind, **options)


@pytest.mark.parametrize(
    "options", [{"batch_size": 40}, {"batchnorm": "before"}, {"hidden": (33,), "input": "sparse"}], ids=str
)
def test_weights_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """Of the examples that come next in a large batch, and of the next one in a small batch."""
    for name in ("BYTES_OF_EXAMPLES", "BYTES_OF_BATCH"):
        monkeypatch.setattr(prefetching, name, 0)
    check(dataset(mixed_matrix(60, 30)), **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_examples(dtype: str) -> None:
    X, weights = mixed_matrix(40, 30), np.arange(40) % 3
    held_out = (X[:9], np.arange(9) % 4)
    check(
        Dataset.from_arrays(X, np.arange(40) % 4, sample_weight=weights, validation=held_out, test=held_out),
        dtype=dtype,
    )


@each_kind
@pytest.mark.parametrize("options", [{}, {"batchnorm": "before", "dropout": 0.3, "optimizer": "nesterov"}], ids=str)
def test_float32(options: dict[str, Any], kind: str) -> None:
    check(dataset(mixed_matrix(40, 30)), input=kind, dtype="float32", **options)


@pytest.mark.skipif(not (MATRICES or INTERPRETED), reason="this processor has no matrix registers")
@each_kind
@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"batchnorm": "after", "optimizer": "momentum"}], ids=str)
@pytest.mark.parametrize("X", [mixed_matrix(40, 70), mixed_matrix(40, 70) / 100 - 1], ids=["bytes", "floats"])
def test_matrix_registers(monkeypatch: pytest.MonkeyPatch, X: Any, options: dict[str, Any], kind: str) -> None:
    """Of layers that are wide for a test; batches of 7 are trained in vectors and evaluated in matrix registers."""
    monkeypatch.setattr(layout, "MATRICES", True)
    monkeypatch.setattr(layout, "WIDTH_BY_MATRIX", 16)
    monkeypatch.setattr(binding, "UNITS_BY_MATRIX", 16)
    check(dataset(X), input=kind, dtype="float32", **{"hidden": (20, 17, 4), "batch_size": 33, **options})


# Widths of float64 first layers: tails of 2 and 4, panels of 1, 2 and 4 vectors of 8 with and without a tail, and one
# whose weights of dense features lie feature by feature.
HIDDEN = [(), (2,), (10,), (34, 3), (60,), (64,), (4, 6, 2, 5)]


@each_kind
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_widths(hidden: tuple[int, ...], kind: str) -> None:
    check(dataset(mixed_matrix(20, 30)), hidden=hidden, input=kind, epochs=1)


@pytest.mark.parametrize("batch_size", [1, 16, 150, 400])
def test_batch_sizes(batch_size: int) -> None:
    """One example, whole tiles, more than a block, more than the data."""
    check(dataset(mixed_matrix(150 if batch_size > 16 else 20, 5)), batch_size=batch_size, epochs=1)


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_floats(dtype: str, kind: str) -> None:
    check(dataset(mixed_matrix(20, 30) / 100 - 1), input=kind, dtype=dtype)


@each_kind
def test_compressed_data(kind: str) -> None:
    check(dataset(csr_matrix(mixed_matrix(20, 30))), input=kind)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix], ids=["array", "CSR"])
@each_kind
def test_numbers_too_small_for_float32(kind: str, form: Any) -> None:
    X = mixed_matrix(20, 30) / 255
    X[::2, ::3][X[::2, ::3] > 0] = 1e-60
    check(dataset(form(X)), input=kind, dtype="float32", epochs=1)


def test_many_features() -> None:
    """Column numbers of 32 bits."""
    X = np.zeros((12, 70_000), np.float32)
    X[np.arange(12), np.linspace(0, 69_999, 12).astype(int)] = 1
    check(dataset(csr_matrix(X)), hidden=(2,), epochs=1, tolerance=1e-10)


def run_an_epoch(data: Dataset, batch_size: int, units: int = 3, kind: InputKind = "dense", threads: int = 1) -> None:
    config = TrainingConfig(hidden=(units,), batch_size=batch_size, input=kind, threads=threads)
    steps = config.steps_per_epoch(len(data.train))
    order = np.random.default_rng(3).permutation(data.train.indices)
    KernelEngine(data, config).run(Stretch(order, 0, steps, 0, np.full(steps, 1e-3), np.zeros(1, np.uint32)))


@pytest.mark.skipif(not INTERPRETED, reason="compiled code does not tell what it asks for")
@pytest.mark.parametrize(("module", "units", "tiles"), [(narrow_by_matrix, 3, 1), (dense_by_matrix, 33, 2)])
@pytest.mark.parametrize("batch_size", [32, 75, 128, 300])
def test_rows_of_squares_are_asked_for_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, module: Any, units: int, tiles: int
) -> None:
    """All cache lines but those of the tiles that a run begins with."""
    data = dataset(mixed_matrix(300, 128))
    asked: set[int] = set()
    late: list[set[int]] = []
    write = dense_by_matrix.write_columns_of_bytes

    def reading(rows: Any, examples: Any, tile: int, feature: int, to: int, memory: Any, like: Any) -> None:
        late.append({(int(start) + feature) // 64 for start in memory.starts[tile * 16 : tile * 16 + 16]} - asked)
        write(rows, examples, tile, feature, to, memory, like)

    monkeypatch.setattr(layout, "MATRICES", True)
    monkeypatch.setattr(dense_features, "prefetch", lambda values, offset: asked.add(int(offset) // 64))
    monkeypatch.setattr(module, "write_columns_of_bytes", reading)
    run_an_epoch(data, batch_size, units)
    assert len(late[0]) == 16
    assert not any(late[4 * tiles :])


@pytest.mark.skipif(not INTERPRETED, reason="compiled code does not tell what it asks for")
@pytest.mark.parametrize(
    ("stored", "batch_size"),
    [("float32", 16), ("float32", 75), ("float32", 300), ("uint8", 16), ("uint8", 75), ("uint8", 128)],
)
def test_rows_of_a_matrix_are_asked_for_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, stored: str, batch_size: int
) -> None:
    """All but those that a call begins with: within groups of tiles, from one to the next, over blocks and batches."""
    data = dataset(mixed_matrix(300, 20).astype(stored))
    asked: set[int] = set()
    late: list[set[int]] = []
    find_rows = dense_features.find_rows

    def reading(rows: Any, examples: Any, begin: int, count: int, starts: Any) -> None:
        find_rows(rows, examples, begin, count, starts)
        late.append({int(start) // rows.dense for start in starts[:count]} - asked)

    monkeypatch.setattr(layout, "MATRICES", False)
    monkeypatch.setattr(dense_features, "prefetch", lambda values, offset: asked.add(int(offset) // 20))
    monkeypatch.setattr(dense_features, "find_rows", reading)
    run_an_epoch(data, batch_size)
    assert late[0]
    assert not any(late[1:])


@pytest.mark.skipif(not INTERPRETED, reason="compiled code does not tell what it asks for")
@pytest.mark.parametrize("stored", ["uint8", "float32"])
@pytest.mark.parametrize("batch_size", [16, 76, 128])
def test_first_lines_of_records_are_asked_for_together(
    monkeypatch: pytest.MonkeyPatch, stored: str, batch_size: int
) -> None:
    """Before whole records are; and where records begin, before these, but for those of the first two batches or so."""
    data = dataset(mixed_matrix(500, 52).astype(stored))
    lines: set[int] = set()
    entries: set[int] = set()
    late_lines: list[bool] = []
    late_entries: list[bool] = []
    prefetch_row = rows_module.prefetch_row

    def asking(array: Any, offset: int) -> None:
        entries.add(offset // 2) if array.dtype == np.uint32 else lines.add(offset)

    def whole(rows: Any, order: Any, position: int, end: int) -> None:
        if position < end:
            late_lines.append(rows_module.row_start(rows, order[position]) not in lines)
            late_entries.append(order[position] not in entries)
        prefetch_row(rows, order, position, end)

    monkeypatch.setattr(rows_module, "prefetch", asking)
    for module in (panels, dense_features):
        monkeypatch.setattr(module, "prefetch_row", whole)
    run_an_epoch(data, batch_size, kind="auto")
    assert len(late_entries) >= 300
    assert not any(late_lines)
    assert not any(late_entries[max(48, batch_size) :])


@pytest.mark.skipif(not INTERPRETED, reason="compiled code does not tell what it asks for")
@pytest.mark.parametrize("ahead", [2, 9])
def test_the_weights_of_later_examples_are_asked_for(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """All cache lines of each listed feature of each, and none behind the last one."""
    X, order = mixed_matrix(40, 90), np.random.default_rng(0).permutation(40)
    layer = FirstLayer(X, 16, order_by_density(densities(X)), "float64", weights_ahead=ahead)
    layout, asked = layer.network.layout, set()

    def lines(first: int, behind: int) -> set[int]:
        columns: set[int] = set()
        for example in order[first:behind]:
            _, begin, count = rows_module.listed_values(layer.rows, Cuts(np.empty(0, np.int32), 0), example)
            columns |= set(layer.rows.columns[begin : begin + count].tolist())
        assert columns
        return {int(layout.weights[0]) + j * 16 + line for j in columns for line in (0, 8)}

    monkeypatch.setattr(panels, "prefetch", lambda values, offset: asked.add(int(offset)))
    layer.forward(order, 3, 8)
    assert asked == lines(3 + ahead, 11 + ahead)
    asked.clear()
    layer.update(order, 0, np.zeros((33, int(layout.row_widths[1]))))
    assert asked == lines(ahead, min(33 + ahead, 40))


@pytest.mark.skipif(not INTERPRETED, reason="compiled code does not tell what it asks for")
@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize(("module", "units"), [(narrow_by_matrix, 3), (dense_by_matrix, 33)])
@pytest.mark.parametrize("batch_size", [128, 300])
def test_what_is_read_by_kind_is_asked_for_before(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, module: Any, units: int
) -> None:
    """The thread of the dense features: half of the next batch's rows forward, and half in the update; gradients."""
    data = dataset(mixed_matrix(900, 128))
    rows_asked: set[int] = set()
    gradients_asked: set[int] = set()
    late: list[set[int]] = []
    find_rows = dense_features.find_rows

    def asking(array: Any, offset: int) -> None:
        if array.dtype != np.uint32:  # where rows begin
            (rows_asked if array.dtype == np.uint8 else gradients_asked).add(int(offset) // (64 // array.itemsize))

    def reading(rows: Any, examples: Any, begin: int, count: int, starts: Any) -> None:
        find_rows(rows, examples, begin, count, starts)
        late.append({int(start) // 64 for start in starts[:count]} - rows_asked)

    monkeypatch.setattr(layout, "MATRICES", True)
    for of_dense in (rows_module, dense_by_matrix):
        monkeypatch.setattr(of_dense, "prefetch", asking)
    monkeypatch.setattr(panels, "prefetch_row", lambda *_: None)
    monkeypatch.setattr(panels, "prefetch_first_lines", lambda *_: None)
    monkeypatch.setattr(module, "find_rows", reading)
    run_an_epoch(data, batch_size, units, kind="auto", threads=2)
    of_batch = 2 * -(-batch_size // 128)  # forward, and in the update
    assert all(late[:of_batch])
    assert len(late) > 2 * of_batch
    assert not any(late[of_batch:])
    assert bool(gradients_asked) == (batch_size > 128)


@pytest.mark.parametrize("units", [4, 21])
def test_a_share_of_the_features(units: int) -> None:
    """Four vectors of dense features, and of the listed ones those with even row numbers have the second half."""
    X = mixed_matrix(20, 208)
    order = order_by_density(densities(X))
    listed = order.features[order.dense :]
    counts = np.count_nonzero(X[:, listed], axis=1)
    cuts = np.column_stack((np.where(np.arange(20) % 2, counts, counts // 2), counts)).astype(np.int32)
    layer = FirstLayer(X, units, order, "float64", Share(0, 32, cuts.reshape(-1), 2, 0))
    has = X.astype(np.float64)
    has[:, order.features[32 : order.dense]] = 0
    for row, (first, last) in zip(has, cuts, strict=True):
        owned = np.flatnonzero(row[listed])[first:last]
        row[listed[np.setdiff1d(np.arange(len(listed)), owned)]] = 0
    dz = np.zeros((20, layer.network.layout.row_widths[1]))
    dz[:, :units] = np.random.default_rng(0).normal(size=(20, units))
    layer.update(np.arange(20), 0, dz)
    layer.assert_changed_by(has.T @ dz[:, :units], 1e-12)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_is_seen(optimizer: str) -> None:
    """A penalty so strong that each step multiplies the weights by -10,000 (or, with Adam, moves them by 1e37)."""
    rate = 1e3 if optimizer == "sgd" else 1e37
    config = TrainingConfig(hidden=(5, 3), batch_size=7, learning_rate=rate, l2=10, optimizer=optimizer, epochs=3)
    data = dataset(mixed_matrix(40, 30))
    fast, slow = train(data, config), reference.train(data, config)
    assert fast.status == slow.status == "diverged"
    assert fast.steps == slow.steps


@pytest.mark.parametrize("weighted", [False, True])
def test_one_output_unit_is_the_logit_of_the_second_class(weighted: bool) -> None:
    """One step of logistic regression, from a loss and a gradient that are written out."""
    rng = np.random.default_rng(2)
    X, labels, weights = rng.normal(size=(20, 4)), rng.integers(0, 2, 20), rng.random(20)
    data = Dataset.from_arrays(X, labels, validation=None, sample_weight=weights if weighted else None)
    shares = weights / weights.sum() if weighted else np.full(20, 1 / 20)
    w, b = rng.normal(size=(4, 1)), rng.normal(size=1)
    config = TrainingConfig(hidden=(), batch_size=20, dtype="float64")
    engine = KernelEngine(data, config, Parameters([w], [b]))
    probabilities = 1 / (1 + np.exp(-(X @ w + b)[:, 0]))
    loss, accuracy = engine.evaluate(data.train)
    assert loss == pytest.approx(-(shares * np.log(np.where(labels, probabilities, 1 - probabilities))).sum())
    assert accuracy == np.mean((probabilities > 0.5) == labels)
    engine.run(Stretch(data.train.indices, 0, 1, 0, np.array([0.3]), np.empty(0, np.uint32)))
    dz = shares * (probabilities - labels)
    np.testing.assert_allclose(engine.parameters().weights[0][:, 0], w[:, 0] - 0.3 * X.T @ dz, rtol=1e-12)
    np.testing.assert_allclose(engine.parameters().biases[0], b - 0.3 * dz.sum(), rtol=1e-12)
