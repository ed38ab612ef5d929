"""The training loop: how runs end, what they record, and data of every shape."""

from __future__ import annotations

import math
import re
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import TRAINERS, Train, X, Y, assert_same_run, bits, child, config, squared_weights, stop_at, wait_for_steps

import fastfnn
from fastfnn import reference
from fastfnn.config import EarlyStopping
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError
from fastfnn.parameters import initialise
from fastfnn.progress import Progress
from fastfnn.results import Evaluation, TrainingResult
from fastfnn.stopping import StoppingRule
from fastfnn.streams import epoch_order
from fastfnn.training import warm_up

# ----------------------------------------------------------------------------------------------------------- statuses


@pytest.mark.parametrize("train", TRAINERS)
def test_completed(train: Train, data: Dataset) -> None:
    result = train(data, config())
    assert (result.status, result.steps, result.epochs, result.best_step) == ("completed", 30, 3.0, None)
    assert result.config == config()
    for accuracy, split in ((result.train_accuracy, data.train), (result.test_accuracy, data.test)):
        assert split is not None
        predicted = result.network.predict(np.asarray(split.features)[split.indices])
        assert accuracy == (predicted == data.classes[split.labels[split.indices]]).mean()
    assert result.validation_accuracy == result.history.validation_accuracy[-1]


def test_same_configuration_same_bits(data: Dataset) -> None:
    assert_same_run(fastfnn.train(data, config()), fastfnn.train(data, config()))
    assert bits(fastfnn.train(data, config())) != bits(fastfnn.train(data, config(seed=1)))


@pytest.mark.parametrize("train", TRAINERS)
def test_interrupted_between_two_stretches(train: Train, data: Dataset) -> None:
    result = train(data, config(evaluate_every=None), **stop_at(20))
    assert (result.status, result.steps, result.history.step) == ("interrupted", 20, [20])
    assert bits(result) == bits(train(data, config(epochs=2)))


def test_interrupted_before_the_first_step(data: Dataset) -> None:
    result = fastfnn.train(data, config(), should_stop=lambda: True)
    assert (result.status, result.steps, len(result.history)) == ("interrupted", 0, 0)
    assert math.isfinite(result.test.cost)


DIVERGING = [{"l2": 1.0}, {"batchnorm": "after"}, {"batchnorm": "before", "l2": 1.0, "evaluate_every": 3}]


@pytest.mark.parametrize("options", DIVERGING, ids=str)
def test_diverged_at_the_step_of_the_reference(data: Dataset, options: dict[str, Any]) -> None:
    diverging = config(learning_rate=1e6, epochs=10, **options)
    result, expected = fastfnn.train(data, diverging), reference.train(data, diverging)
    assert (result.status, result.steps) == (expected.status, expected.steps)
    assert (result.status, result.history.step[-1]) == ("diverged", result.steps)
    assert result.steps < 100
    costs = np.array([result.history["train_cost"], result.history["validation_cost"]])
    assert not np.isfinite(costs[:, -1]).all()
    assert np.isfinite(costs[:, :-1]).all()
    assert 0 <= result.history.train_accuracy[-1] <= 1


# --------------------------------------------------------------------------------------------------------- interrupts


@pytest.fixture
def python_handles_interrupts() -> Iterator[None]:
    """The usual handler, even where the tests run in the background of a shell."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("python_handles_interrupts")
def test_first_interrupt_ends_the_run_and_keeps_the_result(data: Dataset) -> None:
    def press(progress: Progress) -> None:
        if progress.step == 20:
            signal.raise_signal(signal.SIGINT)

    result = fastfnn.train(data, config(), observer=press)
    assert (result.status, result.steps, result.history.step) == ("interrupted", 20, [10, 20])


@pytest.mark.usefixtures("python_handles_interrupts")
def test_second_interrupt_raises(data: Dataset) -> None:
    def press_twice(progress: Progress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fastfnn.train(data, config(), observer=press_twice)


def test_handler_of_the_caller_is_left_alone(data: Dataset) -> None:
    calls = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        result = fastfnn.train(data, config(epochs=1), observer=lambda seen: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert (result.status, calls) == ("completed", [signal.SIGINT] * 2)


def test_ctrl_c_in_a_terminal() -> None:
    process = child(
        "r = fastfnn.train(data, fastfnn.TrainingConfig(epochs=10**6), observer=tell)\n"
        "print(r.status, r.steps == r.history.step[-1], r.test_accuracy > 0.1)\n"
    )
    assert wait_for_steps(process, lines=3) > 0
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[-1] == "interrupted True True"


# ------------------------------------------------------------------------------------------------------------ history


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"evaluate_every": "epoch"}, [10, 20, 30]),
        ({"evaluate_every": 4}, [4, 8, 12, 16, 20, 24, 28, 30]),
        ({"evaluate_every": 1000}, [30]),
        ({"evaluate_every": None}, [30]),
        ({"early_stopping": EarlyStopping(every=7, patience=99)}, [7, 10, 14, 20, 21, 28, 30]),
        ({"batch_size": 150, "evaluate_every": 5}, [5, 6]),
    ],
)
def test_records(data: Dataset, options: dict[str, Any], steps: list[int]) -> None:
    history = fastfnn.train(data, config(**options)).history
    per_epoch = config(**options).steps_per_epoch(160)
    assert history.step == steps
    assert history.epoch == [step / per_epoch for step in steps]
    assert {len(column) for column in history.to_dict().values()} == {len(steps)} == {len(history)}
    assert np.isfinite(history["validation_cost"]).all()


@pytest.mark.parametrize("train", TRAINERS)
def test_first_record_by_hand(train: Train, data: Dataset) -> None:
    """The loss of the first batch, as the optimiser saw it: before its update."""
    options = config(hidden=(), evaluate_every=1, epochs=1, dtype="float64", l2=0.5)
    result = train(data, options)
    initial = initialise(options, 6, 3, options.seed)
    batch = epoch_order(0, 0, data.train.indices, shuffle=True)[:16]
    logits = X[batch].astype(np.float64) @ initial.weights[0]
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(16), Y[batch]]
    assert result.history.train_loss[0] == pytest.approx(losses.mean(), rel=1e-12)
    assert result.history.train_accuracy[0] == (logits.argmax(axis=1) == Y[batch]).mean()


@pytest.mark.parametrize("train", TRAINERS)
@pytest.mark.parametrize("every", [3, "epoch", None])
def test_training_columns_are_means_since_the_last_record(train: Train, data: Dataset, every: Any) -> None:
    """Batches of 24 and a last one of 16: means over examples, not over batches."""
    options = {"batch_size": 24, "dtype": "float64", "dropout": 0.2}
    each = train(data, config(evaluate_every=1, **options)).history
    history = train(data, config(evaluate_every=every, **options)).history
    sizes = np.array([24] * 6 + [16])[(each["step"] - 1) % 7]
    for column in ("train_loss", "train_accuracy"):
        parts = np.split(np.arange(21), history.step)[:-1]
        means = [(each[column][part] * sizes[part]).sum() / sizes[part].sum() for part in parts]
        np.testing.assert_allclose(history[column], means, rtol=1e-12)


@pytest.mark.parametrize("train", TRAINERS)
@pytest.mark.parametrize(("convention", "divisor"), [("fixed", 1), ("per_batch", 16)])
def test_cost_is_loss_plus_penalty(train: Train, data: Dataset, convention: str, divisor: int) -> None:
    result = train(data, config(l2=0.3, l2_convention=convention, batchnorm="before", dtype="float64"))
    penalty = 0.3 / (2 * divisor) * squared_weights(result)
    for evaluation in (result.train, result.validation, result.test):
        assert evaluation.cost - evaluation.loss == pytest.approx(penalty, rel=1e-12)
    for split in ("train", "validation"):
        difference = result.history[f"{split}_cost"][-1] - result.history[f"{split}_loss"][-1]
        assert difference == pytest.approx(penalty, rel=1e-12)


def test_cost_without_penalty_is_the_loss(data: Dataset) -> None:
    result = fastfnn.train(data, config())
    assert result.test.cost == result.test.loss
    assert result.history.train_cost == result.history.train_loss


def test_times_are_recorded_apart(data: Dataset) -> None:
    result = fastfnn.train(data, config(evaluate_every=1))
    seconds = result.history["seconds"]
    assert (np.diff(seconds) > 0).all()
    assert result.train_seconds == seconds[-1] > 0
    assert result.evaluation_seconds > 0
    assert result.compile_seconds >= 0
    assert result.load_seconds >= 0
    assert warm_up(data, config()) >= 0


# ----------------------------------------------------------------------------------------------------- early stopping


def decisions(rule: StoppingRule, values: list[float]) -> list[bool]:
    """What the rule says to costs, or to accuracies, at steps 10, 20, ..."""
    named = rule.config.metric.removeprefix("validation_")
    evaluations = [Evaluation(**{"cost": 9.0, "loss": 9.0, "accuracy": 0.5, named: value}) for value in values]
    return [rule.check(10 * n, evaluation) for n, evaluation in enumerate(evaluations, start=1)]


def test_improvement_by_hand() -> None:
    """0.45 and 0.41 are not better than 0.5 by more than 0.1; 0.3 is, and resets the count."""
    rule = StoppingRule(EarlyStopping(min_delta=0.1, patience=3))
    assert decisions(rule, [1.0, 0.5, 0.45, 0.41, 0.3, 0.3, 0.25, 0.9]) == [False] * 7 + [True]
    assert (rule.best, rule.best_step) == (0.3, 50)
    assert rule.is_best(50)
    assert not rule.is_best(80)


def test_plateau_by_hand() -> None:
    """Stops at the first change below 0.1, up or down; the first check has nothing to compare with."""
    rule = StoppingRule(EarlyStopping(rule="plateau", min_delta=0.1))
    assert decisions(rule, [1.0, 0.5, 0.7, 0.75]) == [False, False, False, True]
    assert rule.best_step == 20


def test_accuracy_by_hand() -> None:
    rule = StoppingRule(EarlyStopping(metric="validation_accuracy", min_delta=0, patience=2))
    assert decisions(rule, [0.5, 0.7, 0.7, 0.6]) == [False, False, False, True]
    assert (rule.best, rule.best_step) == (-0.7, 20)


@pytest.mark.parametrize("train", TRAINERS)
@pytest.mark.parametrize("metric", ["validation_cost", "validation_accuracy"])
def test_best_parameters_are_restored_to_the_bit(train: Train, data: Dataset, metric: str) -> None:
    stopping = EarlyStopping(metric=metric, every=10, min_delta=0.02, patience=3)
    options = config(epochs=200, learning_rate=0.3, batchnorm="before", optimizer="momentum", early_stopping=stopping)
    result = train(data, options)
    assert result.best_step is not None
    assert result.status == "stopped"
    assert result.steps == result.best_step + 3 * 10
    best = train(data, options.replace(early_stopping=None, evaluate_every=10), **stop_at(result.best_step))
    assert bits(result) == bits(best)
    assert (result.validation, result.test) == (best.validation, best.test)
    assert result.history.step[-1] == result.steps


def test_best_step_is_the_first_of_the_best(data: Dataset) -> None:
    stopping = EarlyStopping(metric="validation_accuracy", every=5, min_delta=0, patience=1000)
    result = fastfnn.train(data, config(epochs=20, learning_rate=0.2, early_stopping=stopping, evaluate_every=5))
    assert result.status == "completed"
    assert result.best_step == result.history.step[int(result.history["validation_accuracy"].argmax())]
    assert result.validation_accuracy == max(result.history.validation_accuracy)


def test_without_restoring_the_last_parameters_stay(data: Dataset) -> None:
    stopping = EarlyStopping(every=10, min_delta=0.05, patience=2, restore_best=False)
    result = fastfnn.train(data, config(epochs=100, early_stopping=stopping))
    assert result.status == "stopped"
    assert bits(result) == bits(fastfnn.train(data, config(epochs=result.steps // 10)))


def test_plateau_ends_a_run(data: Dataset) -> None:
    stopping = EarlyStopping(rule="plateau", every=10, min_delta=0.01)
    result = fastfnn.train(data, config(epochs=100, early_stopping=stopping))
    changes = np.abs(np.diff(result.history["validation_cost"]))
    assert result.status == "stopped"
    assert changes[-1] < 0.01 <= changes[:-1].min()


# ----------------------------------------------------------------------------------------------------------- watching


def test_observer_sees_the_run_from_beginning_to_end(data: Dataset) -> None:
    seen: list[Progress] = []
    result = fastfnn.train(data, config(evaluate_every=4), observer=seen.append)
    steps = [progress.step for progress in seen]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, result.steps)
    assert {progress.total_steps for progress in seen} == {30}
    assert math.isnan(seen[0].cost)
    assert math.isnan(seen[0].rate)
    assert seen[-1].cost == result.history.train_cost[-1]
    assert seen[-1].validation_accuracy == result.history.validation_accuracy[-1]
    assert seen[-1].rate == 30 / seen[-1].seconds


def test_progress_is_plain_lines_where_there_is_no_terminal(data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    result = fastfnn.train(data, config(), progress=True)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[-1].startswith(f"epoch 3.0/3  cost {result.history.train_cost[-1]:.4f}  accuracy ")
    assert "\x1b" not in errors


def test_silent_by_default(data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    fastfnn.train(data, config())
    assert capsys.readouterr() == ("", "")


def test_runs_that_share_the_process_say_so(data: Dataset) -> None:
    both_run = threading.Barrier(2, timeout=60)
    results: dict[int, TrainingResult] = {}

    def run(seed: int) -> None:
        observer = lambda progress: both_run.wait() if progress.step in (0, 30) else None  # noqa: E731
        results[seed] = fastfnn.train(data, config(seed=seed), observer=observer)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[seed].shared_machine for seed in (0, 1)] == [True, True]
    alone = fastfnn.train(data, config(seed=1))
    assert not alone.shared_machine
    assert_same_run(alone, results[1])


# ------------------------------------------------------------------------------------------------ data of every shape


@pytest.mark.parametrize("train", TRAINERS)
def test_batch_larger_than_the_data_takes_all_of_it(train: Train, data: Dataset) -> None:
    result = train(data, config(batch_size=1000))
    assert result.steps == 3
    assert bits(result) == bits(train(data, config(batch_size=160)))
    assert bits(result) == bits(train(data, config(batch_size=1000, last_batch="drop")))


@pytest.mark.parametrize("train", TRAINERS)
def test_last_batch(train: Train, data: Dataset) -> None:
    assert train(data, config(batch_size=24)).steps == 3 * 7
    assert train(data, config(batch_size=24, last_batch="drop")).steps == 3 * 6


def test_batches_of_one(data: Dataset) -> None:
    result, expected = (
        train(data, config(batch_size=1, dtype="float64")) for train in (fastfnn.train, reference.train)
    )
    assert result.steps == 480
    np.testing.assert_allclose(result.history["train_loss"], expected.history["train_loss"], rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({"batch_size": 53}, False),  # 160 = 3 * 53 + 1
        ({"batch_size": 53, "last_batch": "drop"}, True),
        ({"batch_size": 48, "batchnorm_group": 3}, False),  # the last batch of 16 has groups of 3, ..., 1
        ({"batch_size": 48, "batchnorm_group": 16}, True),
        ({"batch_size": 192, "batchnorm_group": 64}, True),
        ({"batch_size": 210, "batchnorm_group": 3}, False),
    ],
)
def test_group_of_one_in_the_last_batch(data: Dataset, options: dict[str, Any], fits: bool) -> None:
    if fits:
        assert fastfnn.train(data, config(batchnorm="before", epochs=1, **options)).status == "completed"
        return
    with pytest.raises(ConfigError, match=r"batchnorm: the last batch of 160 examples .* group of one"):
        fastfnn.train(data, config(batchnorm="before", **options))


def test_early_stopping_needs_validation_data() -> None:
    with pytest.raises(ConfigError, match="early_stopping: needs a validation split"):
        fastfnn.train(Dataset.from_arrays(X, Y, validation=None), config(early_stopping=EarlyStopping()))


@pytest.mark.parametrize("train", TRAINERS)
def test_missing_splits_are_not_evaluated(train: Train) -> None:
    result = train(Dataset.from_arrays(X, Y, validation=None), config(evaluate_every=5))
    for evaluation in (result.validation, result.test):
        assert math.isnan(evaluation.cost)
        assert math.isnan(evaluation.loss)
        assert math.isnan(evaluation.accuracy)
    assert np.isnan(result.history["validation_cost"]).all()
    assert math.isfinite(result.train.cost)


@pytest.mark.parametrize("names", [["b", "long label", "ä"], [-7, -1, 3]], ids=["strings", "negative"])
def test_labels_come_back(data: Dataset, names: list[Any]) -> None:
    result = fastfnn.train(Dataset.from_arrays(X, np.array(names)[Y]), config(epochs=60))
    predicted = result.network.predict(X)
    assert set(predicted.tolist()) <= set(names)
    assert (predicted == np.array(names)[Y]).mean() > 0.6
    plain = fastfnn.train(Dataset.from_arrays(X, Y), config(epochs=60))
    np.testing.assert_array_equal(predicted, np.array(names)[plain.network.predict(X)])


def test_training_does_not_copy_mapped_features(tmp_path: Path) -> None:
    features = np.memmap(tmp_path / "features", dtype=np.float32, mode="w+", shape=(40_000, 100))
    features[:] = np.arange(1, 101, dtype=np.float32) / 100
    mapped = Dataset.from_arrays(features, np.arange(40_000) % 2)
    warm_up(Dataset.from_arrays(X, Y % 2), config())
    tracemalloc.start()
    try:
        fastfnn.train(mapped, config(epochs=1, batch_size=1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < features.nbytes / 4


def test_the_bar_fits_a_terminal(data: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """Cost, accuracy, rate and time left are all seen in 80 columns."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    fastfnn.train(data, config(epochs=5), progress=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    last = [line for line in re.split(r"[\r\n]", plain) if "epoch" in line][-1]
    assert re.search(r"epoch 5\.0/5 .*cost \d\.\d{3} acc \d\.\d{3} val \d\.\d{3} [\d,]+ steps/s +\d:\d\d:\d\d", last), (
        last
    )
