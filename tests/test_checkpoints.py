"""Checkpoints: runs that are killed or interrupted and go on to the same end, and files that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import TRAINERS, Train, X, Y, assert_same_run, child, config, interrupted, stop_at, wait_for_steps

import fastfnn
from fastfnn import checkpoint as checkpoint_module
from fastfnn.config import EarlyStopping, TrainingConfig
from fastfnn.data import Dataset
from fastfnn.errors import DataError
from fastfnn.progress import Progress


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
