"""One run on several threads: the same bits, and no way to wait for ever."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fastfnn import layout as layout_module
from fastfnn import teams
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.engine import KernelEngine
from fastfnn.kernels.memory import round_up
from fastfnn.kernels.processor import VECTOR_BYTES
from fastfnn.kernels.structures import MOST_GROUPS, RECORDS_BY_KIND
from fastfnn.layout import make_layout
from fastfnn.rows import identity_order, make_rows
from fastfnn.stretch import Stretch, Totals
from fastfnn.teams import Division, boundaries, cut_rows, dissolve, run_together, threads_that_pay
from fastfnn.training import train

RUNS = {
    "sgd": {"l2": 0.01, "dropout": 0.2},
    "wide": {"hidden": (70, 33), "l2": 0.5},
    "few examples": {"batch_size": 12},
    "no hidden layer": {"hidden": ()},
    "strong shrinkage": {"l2": 19.999, "learning_rate": 0.05},
    "momentum": {"optimizer": "momentum", "input": "sparse"},
    "adam": {"optimizer": "adam", "batchnorm": "after", "dropout": 0.3},
    "weights": {"optimizer": "nesterov", "activation": "tanh", "weighted": True},
    "groups": {"batchnorm": "before", "batchnorm_group": 20},
    "dense": {"input": "dense", "dtype": "float64", "optimizer": "adamw"},
}
# Of which a thread sums the first layer's gradient over groups of blocks: two or three of them in a batch.
RUNS_BY_GROUPS = {
    "sgd": {"batch_size": 550, "l2": 0.01},
    "two blocks": {"batch_size": 256, "epochs": 10, "input": "dense"},
    "momentum": {"batch_size": 550, "optimizer": "momentum"},
    "dense": {"batch_size": 550, "input": "dense", "dtype": "float64"},
    "three groups": {"batch_size": 800, "epochs": 10},
    "three groups, adam": {"batch_size": 800, "epochs": 10, "optimizer": "adam"},
}
# Of which a thread goes through the dense or the listed features of the first layer.
RUNS_BY_KIND = {
    "one block": {"batch_size": 100, "dropout": 0.2},
    "three blocks": {"batch_size": 300, "l2": 0.01},
    "batch norm": {"batch_size": 300, "batchnorm": "before"},
    "groups": {"batch_size": 100, "batchnorm": "after", "batchnorm_group": 20},
    "momentum": {"batch_size": 16, "optimizer": "momentum"},
    "adam": {"batch_size": 200, "optimizer": "adam"},
    "float64": {"batch_size": 100, "dtype": "float64", "hidden": (70,)},
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return images_of_40_pixels(307)


@pytest.fixture(scope="module")
def more_data() -> Dataset:
    return images_of_40_pixels(907)


def images_of_40_pixels(n: int) -> Dataset:
    """Some pixels are always set, some never."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, n)
    X = generator.integers(0, 256, (n, 40), dtype=np.uint8) * (generator.random((n, 40)) < np.linspace(1, 0, 40))
    return Dataset.from_arrays(X.astype(np.uint8), labels, validation=61, test=(X[:50].astype(np.uint8), labels[:50]))


def parameters_after(data: Dataset, threads: int, **options: Any) -> tuple[int, bytes]:
    """The threads that were used, and every parameter."""
    if options.pop("weighted", False):
        split = data.train
        data = Dataset.from_arrays(split.features, split.labels, sample_weight=np.arange(len(split.labels)) % 3)
    defaults = {"hidden": (20, 7), "batch_size": 100, "learning_rate": 0.05, "epochs": 3}
    config = TrainingConfig(**{**defaults, **options, "threads": threads})
    engine = KernelEngine(data, config)
    result = train(data, config)
    tensors = result.network.parameters.tensors()
    return len(engine.members), b"".join(np.ascontiguousarray(t).tobytes() for t in tensors.values())


def assert_same_bits(data: Dataset, most_threads: int, **options: Any) -> None:
    """Checks that any number of threads, of which at most so many are used, gives the parameters that one gives."""
    threads, expected = parameters_after(data, 1, **options)
    assert threads == 1
    for count in (2, 3, 5):
        assert parameters_after(data, count, **options) == (min(count, most_threads), expected)


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS.keys())
def test_any_number_of_threads_gives_the_same_bits(data, options):
    assert_same_bits(data, 5, **options)


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("options", RUNS_BY_GROUPS.values(), ids=RUNS_BY_GROUPS.keys())
def test_groups_of_blocks_are_summed_to_the_same_bits(more_data, options):
    assert_same_bits(more_data, MOST_GROUPS, **options)


@pytest.fixture
def bytes_in_matrix_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a batch up to which kinds are divided are as many whatever the processor and the dtype."""
    monkeypatch.setattr(layout_module, "BLOCKS_BY_GROUPS", layout_module.BLOCKS_BY_KINDS)


@pytest.mark.usefixtures("every_step_is_divided", "bytes_in_matrix_registers")
@pytest.mark.parametrize("options", RUNS_BY_KIND.values(), ids=RUNS_BY_KIND.keys())
def test_kinds_of_features_are_divided_to_the_same_bits(more_data, options):
    assert_same_bits(more_data, 5, **options)


@pytest.mark.usefixtures("every_step_is_divided", "bytes_in_matrix_registers")
@pytest.mark.parametrize("options", RUNS_BY_KIND.values(), ids=RUNS_BY_KIND.keys())
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_a_thread_has_one_kind_of_features(more_data, threads, options):
    members = KernelEngine(more_data, TrainingConfig(**{"hidden": (20, 7), **options, "threads": threads})).members
    dense = members[0].part.dense_threads
    assert len(members) == threads
    assert 1 <= dense < threads
    for n, (part, inputs, share, _) in enumerate(members):
        assert part.dense_threads == dense
        assert inputs.rows[4] == RECORDS_BY_KIND
        assert share.cuts_stride < 0 if n < dense else share.feature_end == share.feature_begin


def test_where_rows_are_cut():
    X = np.array([[1, 0, 2, 3, 0, 4], [0, 0, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0]], np.uint8)
    rows = make_rows(X, identity_order(6, dense=False), "float32")
    assert cut_rows(rows, np.array([2, 3, 6])).tolist() == [[0, 1, 2, 4], [0, 0, 0, 1], [0, 0, 0, 0]]


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("threads", [2, 3])
def test_every_listed_value_is_one_threads(more_data, threads):
    options = {"optimizer": "momentum", "batchnorm": "before"}  # not by groups of blocks
    engine = KernelEngine(more_data, TrainingConfig(hidden=(20, 7), batch_size=600, threads=threads, **options))
    rows = engine.rows[id(more_data.train)]
    counts = rows.entries[1::2].astype(int)
    shares = [member.share for member in engine.members if member.share.cuts_stride > 0]
    assert len(engine.members) == threads
    assert shares
    behind = np.zeros(len(counts), int)
    for share in shares:
        at = np.arange(len(counts)) * share.cuts_stride
        np.testing.assert_array_equal(share.cuts[at], behind)
        behind = share.cuts[at + 1]
    assert ((counts - 4 < behind) & (behind <= counts)).all()  # what fills a record up may be nobody's


@pytest.mark.usefixtures("every_step_is_divided", "bytes_in_matrix_registers")
@pytest.mark.parametrize(("batch_size", "by_kinds"), [(100, True), (600, False)])
def test_rows_that_another_thread_has_read_forward_are_asked_for(more_data, batch_size, by_kinds):
    """Their cuts say so: only by kind has a thread that has all listed features read their rows itself."""
    options = {"optimizer": "momentum", "batchnorm": "before"}  # by features where kinds are not divided
    engine = KernelEngine(more_data, TrainingConfig(hidden=(20, 7), batch_size=batch_size, threads=2, **options))
    assert engine.network.layout.first_layer_by_kinds == by_kinds
    strides = [member.share.cuts_stride for member in engine.members]
    assert (0 in strides) == by_kinds


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_that_diverges_leaves_nothing_behind(more_data, threads):
    config = TrainingConfig(hidden=(20, 7), batch_size=700, threads=threads)
    engine, order = KernelEngine(more_data, config), more_data.train.indices
    start = engine.state()

    def run(first: int, rate: float) -> Totals:
        return engine.run(Stretch(order, first, first + 1, first, np.full(1, rate), np.zeros(2, np.uint32)))

    run(0, 0.1)
    expected = engine.state()
    engine.restore(start)
    run(0, 1e30)
    assert run(1, 0.1).diverged
    engine.restore(start)
    run(0, 0.1)
    assert all(np.array_equal(expected[name], found) for name, found in engine.state().items())


@pytest.mark.usefixtures("every_step_is_divided")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_thread_writes_to_the_groups_of_another(more_data, threads):
    """A thread on its own leaves zeros, which spare it going over them; those of a team are left to their owners."""
    config = TrainingConfig(hidden=(20, 7), batch_size=550, threads=threads)
    engine = KernelEngine(more_data, config)
    assert len(engine.members) == threads
    order, steps = more_data.train.indices, config.steps_per_epoch(len(more_data.train))
    engine.run(Stretch(order, 0, steps, 0, np.full(steps, 0.1), np.zeros(2, np.uint32)))
    assert engine.network.buffers.group_gradients.any() == (threads > 1)


@pytest.mark.usefixtures("every_step_is_divided")
def test_more_threads_than_cores_in_runs_side_by_side(data):
    _, expected = parameters_after(data, 1)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: parameters_after(data, 4), range(8)))
    assert found == [(4, expected)] * 8


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_after_a_fork(data):
    """In a process of its own: a fork of one with threads is what Python warns about."""
    script = """
import os, sys
import numpy as np
from fastfnn import teams
from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.training import train
teams.WORK_PER_THREAD = teams.EXAMPLES_PER_THREAD = teams.WORK_BY_KIND = teams.EXAMPLES_BY_KIND = 1
X = np.arange(6000, dtype=np.uint8).reshape(200, 30)
data = Dataset.from_arrays(X, np.arange(200) % 3, test=(X, np.arange(200) % 3))
config = TrainingConfig(hidden=(8,), batch_size=50, epochs=2, threads=2)
before = train(data, config).test.cost
child = os.fork()
after = train(data, config).test.cost
if child == 0:
    os._exit(0 if after == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or after != before)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=300, check=False).returncode == 0


def engine_of_two(data: Dataset) -> KernelEngine:
    engine = KernelEngine(data, TrainingConfig(hidden=(8,), batch_size=50, threads=2))
    assert len(engine.members) == 2
    return engine


@pytest.mark.usefixtures("every_step_is_divided")
def test_a_thread_that_cannot_be_started_is_an_error_and_not_a_wait(data, monkeypatch):
    engine = engine_of_two(data)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        engine.run(Stretch(np.arange(100), 0, 2, 0, np.full(2, 0.1), np.zeros(1, np.uint32)))


@pytest.mark.usefixtures("every_step_is_divided")
def test_an_exception_before_the_first_step_releases_the_others(data):
    engine, others = engine_of_two(data), threading.enumerate()
    before = engine.parameters().tensors()
    stretch = Stretch(np.arange(100), 0, 2, 0, np.full(2, 0.1), np.zeros(1, np.uint32))
    returned = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    calls: list[Callable[[], Any]] = [
        interrupted,
        lambda: returned.append(engine._run_member(engine.members[1], stretch)),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_together(calls, lambda: dissolve([member.part for member in engine.members]))
    for thread in threading.enumerate():
        if thread not in others:
            thread.join(60)
    assert [totals.steps for totals in returned] == [0]
    assert all(np.array_equal(before[name], tensor) for name, tensor in engine.parameters().tensors().items())


@pytest.mark.parametrize(
    ("first_units", "threads", "batch_size", "multiplied", "used"),
    [
        (20, 8, 16, 784, 1),
        (20, 2, 2048, 784, 2),
        (20, 1, 2048, 784, 1),
        (20, 64, 256, 784, 256 // teams.EXAMPLES_PER_THREAD),
        (20, 64, 2048, 784, MOST_GROUPS),  # whose gradients are summed group by group
        (200, 64, 2048, 784, 2048 // teams.EXAMPLES_PER_THREAD),
        (20, 2, 512, 20, 1),  # rows of which few features are not zero
        (20, 2, 2048, 20, 2),
    ],
)
def test_as_many_threads_as_pay(first_units, threads, batch_size, multiplied, used):
    sizes = (784, first_units, 10)
    layout, _, _ = make_layout(sizes, 0, batchnorm=False, dtype="float32", block=128, batch_size=batch_size)
    assert threads_that_pay(threads, layout, batch_size, multiplied) == used


@pytest.mark.parametrize(
    ("threads", "batch_size", "used"), [(2, 16, 1), (2, 63, 1), (2, 64, 2), (1, 64, 1), (9, 128, 4), (9, 32, 1)]
)
def test_as_many_threads_as_pay_by_kind(threads, batch_size, used):
    options = {"batchnorm": False, "dtype": "float32", "density": (256 + 22) / 784}
    layout, _, _ = make_layout((784, 20, 10), 256, block=128, batch_size=batch_size, **options)
    assert layout.first_layer_by_kinds
    assert threads_that_pay(threads, layout, batch_size, 256 + 22) == used


@pytest.mark.parametrize(("density", "threads", "by_groups"), [(0.02, 1, False), (0.5, 2, True)])
def test_rows_with_few_values_are_not_divided(density, threads, by_groups):
    """Going over all weights, and exchanging them, would take longer than what there is to multiply."""
    generator = np.random.default_rng(0)
    X = (generator.random((600, 700)) < density).astype(np.uint8)
    data = Dataset.from_arrays(X, np.arange(600) % 3, validation=0)
    engine = KernelEngine(data, TrainingConfig(hidden=(20,), batch_size=512, threads=2))
    assert (len(engine.members), engine.network.layout.first_layer_by_groups) == (threads, by_groups)


def test_boundaries_divide_costs_evenly():
    assert boundaries(np.ones(10), 2).tolist() == [0, 5, 10]
    assert boundaries(np.array([9.0, 1, 1, 1]), 2).tolist() == [0, 1, 4]
    assert boundaries(np.zeros(0), 3).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(("sizes", "dense"), [((50, 20, 7, 3), 32), ((50, 70, 40, 3), 0), ((50, 3), 50)])
def test_every_parameter_is_some_threads_part_once(sizes, dense, threads):
    layout, _, _ = make_layout(sizes, dense, batchnorm=True, dtype="float32", block=128, batch_size=64)
    division = Division(layout, np.full(sizes[0] - dense, 0.2), threads, 64)
    flags = np.zeros(1, np.int64)
    seen = np.zeros(layout.parameters_end, int)
    for thread in range(threads):
        part = division.part(thread, flags, 0)
        spans = [*part.first_layer.numbers.reshape(-1, 2), *part.others.numbers.reshape(-1, 2)]
        for layer, first_row, last_row in part.rows.numbers.reshape(-1, 3):
            at, width = layout.weights[layer - 1], layout.row_widths[layer]
            spans.append((at + first_row * width, at + last_row * width))
        for begin, end in spans:
            seen[begin:end] += 1
            assert begin % (VECTOR_BYTES // 4) == 0
            assert end == round_up(end, VECTOR_BYTES // 4)
    assert (seen == 1).all()
