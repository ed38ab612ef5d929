"""The training loop: how runs end, what they record, and how they continue."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastfnn
from fastfnn import checkpoint as checkpoint_module
from fastfnn import reference
from fastfnn.config import EarlyStopping, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import ConfigError, DataError
from fastfnn.parameters import initialise
from fastfnn.progress import Progress
from fastfnn.results import Evaluation, History, TrainingResult
from fastfnn.stopping import StoppingRule
from fastfnn.streams import epoch_order
from fastfnn.training import warm_up

Train = Callable[..., TrainingResult]
TRAINERS = [pytest.param(fastfnn.train, id="kernels"), pytest.param(reference.train, id="reference")]

rng = np.random.default_rng(0)
X = rng.random((200, 6)).astype(np.float32)
Y = (X @ rng.normal(size=(6, 3)) + rng.gumbel(size=(200, 3)) / 5).argmax(axis=1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """160 training rows, 10 steps of 16; 40 validation rows; 30 test rows."""
    return Dataset.from_arrays(X, Y, test=(X[:30], Y[:30]))


def config(**options: Any) -> TrainingConfig:
    return TrainingConfig(**{"hidden": (8,), "batch_size": 16, "epochs": 3, "learning_rate": 0.05, **options})


def stop_at(step: int) -> dict[str, Any]:
    """Arguments of `train` that interrupt it once so many steps are done."""
    seen = [0]
    return {"observer": lambda progress: seen.append(progress.step), "should_stop": lambda: seen[-1] >= step}


def bits(result: TrainingResult) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in result.network.parameters.tensors().items()}


def squared_weights(result: TrainingResult) -> float:
    return float(sum((w.astype(np.float64) ** 2).sum() for w in result.network.parameters.weights))


def assert_same_run(a: TrainingResult, b: TrainingResult) -> None:
    """The same bits in everything but the times."""
    assert (a.status, a.steps, a.epochs, a.best_step) == (b.status, b.steps, b.epochs, b.best_step)
    for column in History.columns():
        if column != "seconds":
            np.testing.assert_array_equal(a.history[column], b.history[column], err_msg=column)
    assert bits(a) == bits(b)
    assert (a.train, a.validation, a.test) == (b.train, b.validation, b.test)


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


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that trains and says "step N" now and then."""
    preamble = (
        "import signal, sys, time, fastfnn\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "data = fastfnn.load_dataset('mnist')\n"
        "def tell(p): print('step', p.step, flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", preamble + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_steps(process: subprocess.Popen[str], lines: int) -> int:
    """The number of steps that the child has done after it has reported so often."""
    assert process.stdout is not None
    reports = [process.stdout.readline() for _ in range(lines)]
    if not reports[-1]:
        raise AssertionError(process.communicate()[1])
    return int(reports[-1].split()[1])


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


# -------------------------------------------------------------------------------------------------------- checkpoints


class KilledError(Exception):
    """What the observer raises in place of a power cut."""


def die_at(step: int) -> Callable[[Progress], None]:
    def observe(progress: Progress) -> None:
        if progress.step >= step:
            raise KilledError

    return observe


RESUMED: dict[str, dict[str, Any]] = {
    "plain": {},
    "records within an epoch": {"evaluate_every": 7, "batch_size": 24},
    "one record at the end": {"evaluate_every": None},
    "adam, batch norm, dropout": {"optimizer": "adam", "batchnorm": "before", "dropout": 0.2, "dtype": "float64"},
    "momentum, schedule, penalty": {"optimizer": "momentum", "lr_schedule": "cosine", "warmup_epochs": 2, "l2": 0.1},
    "early stopping": {"early_stopping": EarlyStopping(every=6, min_delta=0.05, patience=3), "evaluate_every": 10},
}


@pytest.mark.parametrize("train", TRAINERS)
@pytest.mark.parametrize("options", RESUMED.values(), ids=RESUMED.keys())
@pytest.mark.parametrize("step", [11, 24])
def test_killed_run_continues_to_the_same_bits(
    train: Train, data: Dataset, options: dict[str, Any], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SECONDS_BETWEEN_SAVES", 0.0)
    path, options = tmp_path / "run", {"epochs": 6, **options}
    with pytest.raises(KilledError):
        train(data, config(**options), checkpoint=path, observer=die_at(step))
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    first: list[int] = []
    resumed = train(data, config(**options), checkpoint=path, observer=lambda seen: first.append(seen.step))
    assert 0 < first[0] < step + 10
    assert_same_run(resumed, train(data, config(**options)))
    assert (np.diff(resumed.history["seconds"]) > 0).all()
    assert not path.exists()


def test_killed_twice(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "SECONDS_BETWEEN_SAVES", 0.0)
    for step in (20, 40):
        with pytest.raises(KilledError):
            fastfnn.train(data, config(epochs=6), checkpoint=tmp_path / "run", observer=die_at(step))
    assert_same_run(
        fastfnn.train(data, config(epochs=6), checkpoint=tmp_path / "run"), fastfnn.train(data, config(epochs=6))
    )


@pytest.mark.parametrize("train", TRAINERS)
def test_interrupted_run_keeps_its_checkpoint_and_continues(train: Train, data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert train(data, config(epochs=6), checkpoint=path, **stop_at(20)).status == "interrupted"
    assert path.exists()
    assert_same_run(train(data, config(epochs=6), checkpoint=path), train(data, config(epochs=6)))


def test_kill_without_warning(mnist: Dataset, tmp_path: Path) -> None:
    options = {"batch_size": 512, "epochs": 8, "evaluate_every": 50}
    process = child(
        "from fastfnn import checkpoint\n"
        "checkpoint.SECONDS_BETWEEN_SAVES = 0.0\n"
        "def tell_slowly(p): tell(p); time.sleep(0.1)\n"
        f"fastfnn.train(data, fastfnn.TrainingConfig(**{options}), checkpoint=sys.argv[1], observer=tell_slowly)\n",
        str(tmp_path / "run"),
    )
    told = wait_for_steps(process, lines=5)
    process.kill()
    process.communicate(timeout=60)
    first: list[int] = []
    resumed = fastfnn.train(
        mnist,
        TrainingConfig(**options),
        checkpoint=tmp_path / "run",
        observer=lambda seen: first.append(seen.step),
    )
    assert 0 < first[0] <= told + 50
    assert_same_run(resumed, fastfnn.train(mnist, TrainingConfig(**options)))


def interrupted(data: Dataset, path: Path) -> bytes:
    """The checkpoint of a run that was interrupted."""
    fastfnn.train(data, config(), checkpoint=path, **stop_at(10))
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:7],
        lambda good: good[:200],
        lambda good: good[:-1],
        lambda good: b"\xff" * 8 + good[8:],
        lambda good: b"not a checkpoint",
    ],
    ids=["empty", "no length", "half a header", "a byte short", "header too long", "text"],
)
def test_damaged_checkpoint(data: Dataset, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "run"
    path.write_bytes(damage(interrupted(data, path)))
    with pytest.raises(DataError, match="expected a safetensors file") as caught:
        fastfnn.train(data, config(), checkpoint=path)
    assert str(caught.value).startswith(f"{path}: ")


def test_checkpoint_of_another_run(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    content = interrupted(data, path)
    other_data = Dataset.from_arrays(X + 1, Y)
    others = {"config": (data, config(l2=0.1)), "data": (other_data, config()), "version": (data, config())}
    for field, (its_data, its_config) in others.items():
        if field == "version":
            monkeypatch.setattr(checkpoint_module, "__version__", "0.0.0")
        with pytest.raises(DataError, match=f"the checkpoint is of another run: expected {field} ") as caught:
            fastfnn.train(its_data, its_config, checkpoint=path)
        assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == content


def test_a_model_is_not_a_checkpoint(data: Dataset, tmp_path: Path) -> None:
    fastfnn.train(data, config()).network.save(tmp_path / "model")
    with pytest.raises(DataError, match="expected format fastfnn-checkpoi, found fastfnn-network"):
        fastfnn.train(data, config(), checkpoint=tmp_path / "model")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, "completed"),
        ({"learning_rate": 1e6, "l2": 1.0}, "diverged"),
        ({"early_stopping": EarlyStopping(rule="plateau", every=5, min_delta=9.0)}, "stopped"),
    ],
)
def test_finished_run_leaves_no_checkpoint(
    data: Dataset, options: dict[str, Any], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SECONDS_BETWEEN_SAVES", 0.0)
    assert fastfnn.train(data, config(**options), checkpoint=tmp_path / "run").status == status
    assert list(tmp_path.iterdir()) == []


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
    warm_up(Dataset.from_arrays(X, Y), config())
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
