"""The comparison with other libraries: what is compared, what counts, what stops it. Torch and JAX are not needed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
from peer_results import read_workload
from rivals import OURS, RIVALS, default_rivals
from rivals.fastfnn_peer import FastfnnPeer
from rivals.memory import available_bytes, that_fit
from rivals.numpy_peers import NumpyCsrPeer, NumpyPeer
from rivals.peer import UnavailableError, csr_rows, dense_rows
from rivals.processes import WorkerError, environment_of, running
from rivals.rounds import DisagreementError, check_costs, check_losses
from rivals.scikit_peers import ScikitPeer
from rivals.summary import Limits, in_text, tables_by_batch_size, that_count
from rivals.workload import Synthetic, Workload, first_steps, order_of

from fastfnn.config import TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError

TIMED = ("numpy", "scikit-learn", "scikit-learn-csr")


def measurement(peer: str, threads: int, batch_size: int, *seconds: float) -> dict[str, Any]:
    return {"peer": peer, "threads": threads, "batch_size": batch_size, "seconds": list(seconds)}


# ------------------------------------------------------------------------------------------------ they do the same work


def test_costs_that_agree() -> None:
    check_costs(16, {"a": [2.30001, 2.1], "b": [2.30002, 2.10009], "c": [2.30003, 2.10005]})
    check_costs(16, {"alone": [2.3]})


@pytest.mark.parametrize(("wrong", "shown"), [(2.102, "2.102000"), (math.nan, "nan"), (math.inf, "inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_odd_one_is_named(wrong: float, shown: str, place: int) -> None:
    costs = {name: [2.3, wrong if number == place else 2.1] for number, name in enumerate("abc")}
    with pytest.raises(DisagreementError) as error:
        check_costs(16, costs)
    expected = f"batch size 16, step 2: {'abc'[place]} has the cost {shown}, the median of 3 peers is 2.100000"
    assert str(error.value) == expected


def test_peers_of_which_none_has_a_cost() -> None:
    with pytest.raises(DisagreementError, match="step 1"):
        check_costs(16, {"a": [math.nan], "b": [math.nan]})


def test_losses_of_an_epoch_that_agree() -> None:
    check_losses({"a": 2.0, "b": 2.01, "c": 1.99})


@pytest.mark.parametrize(("wrong", "shown"), [(2.03, "2.030000"), (math.nan, "nan")])
def test_the_one_that_drifts_away_in_an_epoch_is_named(wrong: float, shown: str) -> None:
    with pytest.raises(DisagreementError, match=f"b: the mean loss of the first epoch is {shown}, the median 2.000000"):
        check_losses({"a": 2.0, "b": wrong, "c": 2.0})


def test_the_first_steps_go_over_several_epochs() -> None:
    data = Synthetic(50, 8, 0.5).load()
    steps = first_steps(data, 16, steps=8)
    assert len(steps) == 8 * 16
    np.testing.assert_array_equal(steps[:48], order_of(data, 0)[:48])
    np.testing.assert_array_equal(steps[48:96], order_of(data, 1)[:48])


@pytest.mark.parametrize("batch_size", [4, 64])  # few of the columns in a batch, and most of them
def test_compressed_rows_give_the_same_network(batch_size: int) -> None:
    workload = Workload(synthetic="200x300@0.02", hidden=(8,))
    data, config = workload.load(), workload.config(batch_size)
    dense, compressed = NumpyPeer(data, config, 1), NumpyCsrPeer(data, config, 1)
    steps = first_steps(data, batch_size)
    assert compressed.step_losses(steps) == pytest.approx(dense.step_losses(steps), rel=1e-5)
    np.testing.assert_allclose(compressed.weights[0], dense.weights[0], atol=1e-6)


def test_all_peers_get_the_rows_that_the_network_sees(little: Path) -> None:
    for workload in (Workload(str(little)), Workload(str(little), input="dense")):
        data = workload.load()
        seen = data.train.features * np.float32(data.scale)
        np.testing.assert_array_equal(dense_rows(data), seen)
        np.testing.assert_array_equal(csr_rows(data).toarray(), seen)
    assert data.train.features.dtype == np.float32


@pytest.mark.parametrize("text", ["20x30", "20@0.5", "0x30@0.5", "20x30@0", "20x30@1.5", "axb@c"])
def test_synthetic_data_that_is_not_described(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Synthetic.parse(text)


def test_synthetic_data() -> None:
    made = Synthetic.parse("2000x500@0.01")
    data = made.load()
    assert (str(made), data.train.features.shape) == ("2000x500@0.01", (2000, 500))
    assert data.describe()["density"] == pytest.approx(0.01, rel=0.05)


# --------------------------------------------------------------------------------------------------- who is to be timed


@pytest.mark.parametrize(
    ("sparse_data", "dense_rows", "named"),
    [
        (False, False, {"numpy", "torch", "torch-compile", "jax", "scikit-learn", "scikit-learn-csr"}),
        (False, True, {"numpy", "torch", "torch-compile", "jax", "scikit-learn"}),
        (True, False, set(RIVALS) - {OURS}),
    ],
)
def test_the_peers_of_a_kind_of_data(sparse_data: bool, dense_rows: bool, named: set[str]) -> None:
    assert set(default_rivals(sparse_data=sparse_data, dense_rows=dense_rows)) == named


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_arrays(np.ones((1000, 250), np.uint8), np.arange(1000) % 3, validation=0)


def test_a_peer_that_is_not_installed_is_said_to_be(data: Dataset) -> None:
    versions = peers.installed_versions([OURS, "numpy"]) | {"torch": None}
    pairs, unavailable = peers.chosen([OURS, "numpy", "torch", "torch-compile"], versions, [1, 2], data, math.inf)
    assert pairs == [(OURS, 1), ("numpy", 1), (OURS, 2), ("numpy", 2)]
    assert unavailable == {"torch": "not installed", "torch-compile": "not installed"}


def test_fastfnn_is_timed_from_its_sources_too(data: Dataset) -> None:
    assert peers.chosen([OURS], {"fastfnn": None}, [1], data, math.inf) == ([(OURS, 1)], {})


def test_versions_of_packages_that_are_there_and_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = RIVALS["jax"].__class__("a-package-of-nobody", "nowhere:Peer", "dense")
    monkeypatch.setitem(RIVALS, "jax", nobody)
    assert peers.installed_versions(["numpy", "jax"]) == {"numpy": np.__version__, "a-package-of-nobody": None}


def test_fastfnn_has_one_thread_whatever_the_others_have(data: Dataset) -> None:
    pairs, _ = peers.chosen([OURS, "numpy"], {"fastfnn": "1", "numpy": "2"}, [2], data, math.inf)
    assert pairs == [(OURS, 1), (OURS, 2), ("numpy", 2)]


def test_what_does_not_fit_into_memory_is_left_out(data: Dataset) -> None:
    megabyte = 1e6  # of a dense copy of the rows; four fifths of the memory may be used
    pairs = [(OURS, 1), ("numpy", 1), ("scikit-learn", 1), ("scikit-learn-csr", 1), ("numpy", 2)]
    assert that_fit(pairs, data, 5 * megabyte) == (pairs, [])
    assert that_fit(pairs, data, 2.6 * megabyte) == (
        [(OURS, 1), ("numpy", 1), ("scikit-learn-csr", 1), ("numpy", 2)],
        [("scikit-learn", 1)],
    )
    _, reasons = peers.chosen([OURS, "numpy"], {"fastfnn": "1", "numpy": "2"}, [1, 2], data, 1.3 * megabyte)
    assert reasons == {"numpy, 2 threads": "its dense rows do not fit into memory beside the others"}


def test_memory_is_known_or_unlimited() -> None:
    assert available_bytes() > 1e6


def test_the_usual_batch_sizes_are_those_that_the_data_has_rows_for() -> None:
    assert peers.wanted_sizes(None, 300) == [16, 32, 64, 128, 256]
    assert peers.wanted_sizes(None, 10) == [10]
    assert peers.wanted_sizes([64, 7, 64], 64) == [64, 7]


def test_fastfnn_that_refuses_threads_is_unavailable(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: Dataset, config: TrainingConfig) -> None:
        raise ConfigError("threads: too many")

    monkeypatch.setattr("rivals.fastfnn_peer.KernelEngine", refuse)
    with pytest.raises(UnavailableError, match=r"refuses 1 threads \(threads: too many\)"):
        FastfnnPeer(data, TrainingConfig(), 1)


def test_two_classes_are_another_network_for_scikit_learn() -> None:
    two = Dataset.from_arrays(np.eye(20), np.arange(20) % 2, validation=0)
    with pytest.raises(UnavailableError, match="another network"):
        ScikitPeer(two, TrainingConfig(), 1)


def test_one_thread_is_one_thread_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--own")
    one, two = environment_of(1), environment_of(2)
    assert {one["OMP_NUM_THREADS"], one["OPENBLAS_NUM_THREADS"], one["NUMBA_NUM_THREADS"]} == {"1"}
    assert (two["OMP_NUM_THREADS"], two["XLA_FLAGS"]) == ("2", "--own")
    assert one["XLA_FLAGS"] == "--own --xla_cpu_multi_thread_eigen=false"


# ---------------------------------------------------------------------------------------------------------- what counts

MEASURED = [
    measurement(OURS, 1, 16, 0.02, 0.03),
    measurement("numpy", 1, 16, 0.4, 0.5),
    measurement("jax", 1, 16, 0.1, 0.2),
    measurement(OURS, 2, 16, 0.01, 0.02),
    measurement("numpy", 2, 16, 0.3, 0.6),
    measurement("jax", 2, 16, 0.15, 0.15),
]


@pytest.fixture
def document() -> dict[str, Any]:
    counting, others = that_count(MEASURED)
    settings = {"network": "784-10", "data": "mnist", "rows": 48_000, "rounds": 2, "dense_operations": 10**9}
    return {
        "settings": settings | {"dense_seconds": 0.01, "peak_seconds": 0.005},
        "measurements": counting,
        "other_measurements": others,
        "rates": [
            {"sgemm_gflops": 90.0, "fma_peak_gflops": 200.0},
            {"sgemm_gflops": 100.0, "fma_peak_gflops": 190.0},
        ],
        "unavailable": {"torch": "not installed"},
    }


def test_the_better_number_of_threads_counts_but_fastfnn_has_one() -> None:
    counting, others = that_count(MEASURED)
    assert [(each["peer"], each["threads"]) for each in counting] == [(OURS, 1), ("numpy", 2), ("jax", 1)]
    assert [(each["peer"], each["threads"]) for each in others] == [("numpy", 1), (OURS, 2), ("jax", 2)]


def test_the_best_rates_of_all_rounds_are_the_limits(document: dict[str, Any]) -> None:
    limits = Limits.of(10**9, document["rates"])
    assert (limits.sgemm_seconds, limits.peak_seconds) == pytest.approx((0.01, 0.005))


def test_a_table_has_times_ratios_and_parts_of_the_limits(document: dict[str, Any]) -> None:
    _, _, *rows = tables_by_batch_size(document)[16].splitlines()
    assert rows == [
        "| fastfnn | 2 | 10.0 (15.0) | 0.50 | 100 % | 50 % |",
        "| fastfnn | 1 | 20.0 (25.0) | 1.00 | 50 % | 25 % |",
        "| jax | 1 | 100.0 (150.0) | 5.00 | 10 % | 5 % |",
        "| numpy | 2 | 300.0 (450.0) | 15.00 | 3 % | 2 % |",
    ]


def test_what_is_printed(document: dict[str, Any]) -> None:
    text = in_text(document)
    assert text.startswith("784-10 on mnist, 48,000 rows; one core: sgemm 100 GFLOP/s, fused multiply-adds 200 GFLOP/s")
    assert "\ntorch: not installed\n" in text
    assert text.endswith("against the fastest peer: 5.0x at 16 (jax)\n")


# ------------------------------------------------------------------------------------------------------ the whole of it


def test_a_worker_that_cannot_load_names_its_peer(tmp_path: Path) -> None:
    workload = Workload(str(tmp_path / "missing.npz"))
    with running("numpy", 1, workload) as worker, pytest.raises(WorkerError) as error:
        worker.wait_until_loaded()
    assert str(error.value).startswith("numpy, 1 thread: its process ended, status 1\n")
    assert "missing.npz" in str(error.value)


def test_a_worker_that_dies_names_its_peer(little: Path) -> None:
    with running("numpy", 2, Workload(str(little))) as worker:
        worker.process.kill()
        with pytest.raises(WorkerError, match="numpy, 2 threads: its process ended, status -9"):
            worker.ask("prepare", batch_size=16)
    assert worker.process.poll() is not None


@pytest.fixture(scope="module")
def found(little: Path) -> dict[str, Any]:
    """The document of a comparison in one round."""
    options = ("--data", little, "--hidden", "8,5", "--batch-size", "50", "--rounds", "1", "--threads", "1")
    arguments = peers.make_arguments().parse_args([*map(str, options), "--peers", ",".join(TIMED)])
    document: dict[str, Any] = json.loads(json.dumps(peers.run(arguments), allow_nan=False))
    return document


def test_all_are_timed_and_did_the_same(found: dict[str, Any]) -> None:
    pairs = {(each["peer"], each["threads"], each["batch_size"]) for each in found["measurements"]}
    assert pairs == {(peer, 1, 50) for peer in (OURS, *TIMED)}
    assert (found["other_measurements"], found["unavailable"]) == ([], {})
    for each in found["measurements"]:
        assert len(each["seconds"]) == 1
        assert min(each["seconds"]) > 0
        assert len(each["losses"]) == 3  # one to warm up, and one before the one that is timed
        assert len(each["first_costs"]) == 20


def test_the_document_tells_the_rates_and_the_versions(found: dict[str, Any], little: Path) -> None:
    assert found["settings"]["network"] == "40-8-5-3"
    assert found["settings"]["data"] == little.name
    assert str(little.parent) not in json.dumps(found)
    assert found["settings"]["batch_sizes"] == [50]
    assert {"numpy", "scikit-learn", "fastfnn"} <= found["environment"].keys()
    assert len(found["rates"]) == 1
    assert found["settings"]["peak_seconds"] > 0
    assert found["settings"]["dense_seconds"] > 0


def test_the_page_reads_the_document(found: dict[str, Any]) -> None:
    workload = read_workload("peers", "little", found)
    assert workload.batch_sizes == [50]
    assert list(workload.seconds) == [OURS, *TIMED]
    assert workload.fastest_other(50) in in_text(found)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--peers", "numppy"), "there is no 'numppy'; did you mean 'numpy'?"),
        (("--batch-size", "16,2000"), "expected numbers from 1 to 120"),
        (("--data", "missing.npz"), "missing.npz"),
    ],
)
def test_mistakes(
    options: tuple[str, str],
    part: str,
    little: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["peers.py", "--data", str(little), *options])
    assert peers.main() == 2
    assert part in capsys.readouterr().err
