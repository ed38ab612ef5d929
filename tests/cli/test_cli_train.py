"""`fastfnn train` and `fastfnn predict`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastfnn.data import load_dataset, write_idx
from fastfnn.network import Network
from fastfnn.training import TrainingResult

QUICK = ("--data", "digits", "--hidden", "8", "--epochs", "2", "--batch-size", "16", "--learning-rate", "0.1")


@pytest.fixture
def ending(reference, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the next run end in a status."""
    from fastfnn.reference import train

    def end(status: str) -> None:
        def run(*arguments: Any, **options: Any) -> TrainingResult:
            return replace(train(*arguments, **options), status=status)

        monkeypatch.setattr("fastfnn.training.train", run)

    return end


def test_train_saves_the_model_and_its_curves(fastfnn, reference, tmp_path: Path) -> None:
    outcome = fastfnn("train", *QUICK, "--out", "model.safetensors", "--quiet")
    assert (outcome.status, outcome.err) == (0, "")
    assert "status   completed" in outcome.out
    assert "144 steps, 2 epochs" in outcome.out
    assert "model.safetensors, model-curves.png" in outcome.out
    assert Network.load(tmp_path / "model.safetensors").config.hidden == (8,)
    assert (tmp_path / "model-curves.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_document(fastfnn, reference) -> None:
    outcome = fastfnn("train", *QUICK, "--validation", "0", "--seed", "3", "--json")
    document = json.loads(outcome.out)
    assert outcome.err != ""  # the progress
    assert document["status"] == "completed"
    assert document["config"]["seed"] == 3
    assert document["validation"] == {"cost": None, "loss": None, "accuracy": None}
    assert len(document["history"]["step"]) == 2
    assert document["written"] == []


def test_options_change_the_file(fastfnn, reference, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("hidden = [8]\nepochs = 50\nbatch_size = 32\nseed = 5\n")
    outcome = fastfnn("train", "--data", "digits", "--config", "run.toml", "--epochs", "1", "--json", "-q")
    config = json.loads(outcome.out)["config"]
    assert (config["hidden"], config["epochs"], config["batch_size"], config["seed"]) == ([8], 1, 32, 5)


def test_a_diverged_run_exits_1_with_a_hint(fastfnn, ending, tmp_path: Path) -> None:
    ending("diverged")
    outcome = fastfnn("train", *QUICK, "--out", "model.safetensors", "-q")
    assert outcome.status == 1
    assert "try a lower --learning-rate, such as 0.03" in outcome.err
    assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "model-curves.png").exists()


def test_an_interrupted_run_is_kept(fastfnn, ending, tmp_path: Path) -> None:
    ending("interrupted")
    outcome = fastfnn("train", *QUICK, "--out", "model.safetensors", "-q")
    assert outcome.status == 130
    assert outcome.err == "fastfnn: interrupted: the model so far is saved\n"
    assert (tmp_path / "model.safetensors").exists()


def test_an_interrupt_before_the_run_is_said(fastfnn, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> TrainingResult:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastfnn.training.train", run)
    outcome = fastfnn("train", *QUICK, "--out", "model.safetensors")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "fastfnn: interrupted: nothing is saved\n")


@pytest.fixture
def model(fastfnn, reference, tmp_path: Path) -> Path:
    """A model, and test images and labels as IDX files beside it."""
    fastfnn("train", *QUICK, "--out", "model.safetensors", "--curves", "curves.svg", "-q")
    test = load_dataset("digits").test
    assert test is not None
    write_idx(tmp_path / "images.idx", np.asarray(test.features).reshape(-1, 8, 8))
    write_idx(tmp_path / "labels.idx", test.labels.astype(np.uint8))
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in test.labels))
    np.save(tmp_path / "labels.npy", test.labels)
    return tmp_path / "model.safetensors"


def test_predict(fastfnn, model: Path) -> None:
    outcome = fastfnn("predict", model, "images.idx")
    labels = outcome.out.splitlines()
    assert (outcome.status, outcome.err, len(labels)) == (0, "", 359)

    rows = [line.split(",") for line in fastfnn("predict", model, "images.idx", "--proba").out.splitlines()]
    assert rows[0] == ["label", *map(str, range(10))]
    assert [row[0] for row in rows[1:]] == labels
    probabilities = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    assert [str(i) for i in probabilities.argmax(axis=1)] == labels

    document = json.loads(fastfnn("predict", model, "images.idx", "--proba", "--json").out)
    assert [str(label) for label in document["labels"]] == labels
    assert len(document["probabilities"]) == 359

    assert fastfnn("predict", model, "images.idx", "--out", "labels.out").out == ""
    assert (model.parent / "labels.out").read_text() == outcome.out


@pytest.mark.parametrize("kind", ["idx", "txt", "npy"])
def test_predict_tells_the_accuracy(fastfnn, model: Path, kind: str) -> None:
    outcome = fastfnn("predict", model, "images.idx", "--labels", f"labels.{kind}", "--json")
    document = json.loads(outcome.out)
    truth = np.load(model.parent / "labels.npy")
    assert document["accuracy"] == pytest.approx(np.mean(truth == document["labels"]))
    printed = fastfnn("predict", model, "images.idx", "--labels", f"labels.{kind}")
    assert printed.err == f"fastfnn: accuracy {100 * document['accuracy']:.2f} % of 359 examples\n"


def test_labels_of_other_examples_are_refused(fastfnn, model: Path) -> None:
    (model.parent / "few.txt").write_text("1\n2\n")
    outcome = fastfnn("predict", model, "images.idx", "--labels", "few.txt")
    assert (outcome.status, outcome.out) == (2, "")
    assert "few.txt: expected 359 labels, one for each example, found 2" in outcome.err


def test_compilation_is_announced(fastfnn, reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastfnn.kernels.machine_code.steps_are_not_compiled", lambda: True)
    assert "compiling the kernels first" in fastfnn("train", *QUICK).err
    assert fastfnn("train", *QUICK, "--quiet").err == ""
    sweep = ("sweep", "--data", "digits", "--batch-size", "16", "--seeds", "1", "--epochs", "1")
    assert "1 run to do (compiling the kernels first" in fastfnn(*sweep).out
    assert "compiling" not in fastfnn(*sweep).out
