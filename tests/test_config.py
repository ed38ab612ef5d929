"""Configurations: what they accept, how they refuse, and that they survive TOML, JSON and hashing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fastfnn.config import EarlyStopping, NetworkConfig, SweepConfig, TrainingConfig
from fastfnn.errors import ConfigError, FastfnnError, suggestion

DEFAULT_HASH = "a32b5aeb1a12679ef0d0eac80aeee7ac10bfcf9953d187edcc117da576e9216f"
OTHER_HASH = "9e7454c9c8cf57b1a722a73b86b9ba28cb073cc47c4fa93eee88a650dfe61113"
OTHER = {
    "hidden": (12,),
    "batch_size": 32,
    "l2": 1e-4,
    "dropout": 0.25,
    "early_stopping": {"patience": 3},
    "evaluate_every": 100,
}

positive = st.floats(1e-9, 1e9)
fraction = st.floats(0, 1, exclude_max=True)
early_stoppings = st.builds(
    EarlyStopping,
    metric=st.sampled_from(["validation_cost", "validation_accuracy"]),
    every=st.integers(1, 10**6),
    min_delta=st.floats(0, 1),
    patience=st.integers(1, 100),
    restore_best=st.booleans(),
    rule=st.sampled_from(["improvement", "plateau"]),
)


@st.composite
def training_configs(draw: st.DrawFn) -> TrainingConfig:
    """Any valid configuration."""
    hidden = tuple(draw(st.lists(st.integers(1, 5000), max_size=4)))
    layers = st.lists(fraction, min_size=len(hidden), max_size=len(hidden)).map(tuple)
    batchnorm, group = draw(st.sampled_from(["off", "before", "after"])), draw(st.integers(2, 64))
    return TrainingConfig(
        hidden=hidden,
        init=draw(st.sampled_from(["he", "xavier"])),
        batchnorm=batchnorm,
        batchnorm_group=None if batchnorm == "off" else draw(st.sampled_from([None, group])),
        batch_size=group * draw(st.integers(1, 64)),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        learning_rate=draw(positive),
        epochs=draw(st.integers(1, 10**6)),
        optimizer=draw(st.sampled_from(["sgd", "momentum", "nesterov", "adam", "adamw"])),
        momentum=draw(fraction),
        adam_epsilon=draw(positive),
        l2=draw(positive),
        l2_convention=draw(st.sampled_from(["fixed", "per_batch"])),
        dropout=draw(st.one_of(fraction, layers)),
        lr_schedule=draw(st.sampled_from(["constant", "step", "cosine"])),
        lr_rule=draw(st.sampled_from(["none", "linear", "sqrt"])),
        warmup_epochs=draw(st.floats(0, 100)),
        shuffle=draw(st.booleans()),
        last_batch=draw(st.sampled_from(["keep", "drop"])),
        seed=draw(st.integers(0, 2**63 - 1)),
        evaluate_every=draw(st.one_of(st.integers(1, 10**9), st.sampled_from(["epoch", "end", None]))),
        early_stopping=draw(st.one_of(st.none(), early_stoppings)),
        input=draw(st.sampled_from(["auto", "sparse", "dense"])),
    )


def message(make: Any, **values: Any) -> str:
    """What the refusal of a configuration says."""
    with pytest.raises(ConfigError) as caught:
        make(**values)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------------- fields


def test_defaults() -> None:
    config = TrainingConfig()
    assert config.hidden == (20, 7, 5)
    assert (config.batch_size, config.learning_rate, config.epochs) == (128, 0.009, 100)
    assert (config.optimizer, config.dtype, config.init, config.batchnorm) == ("sgd", "float32", "he", "off")
    assert (config.l2, config.dropout, config.seed, config.early_stopping) == (0.0, 0.0, 0, None)
    assert EarlyStopping().model_dump() == {
        "metric": "validation_cost",
        "every": 100,
        "min_delta": 1e-5,
        "patience": 10,
        "restore_best": True,
        "rule": "improvement",
    }


def test_every_error_at_once_with_field_requirement_and_value() -> None:
    text = message(TrainingConfig, batch_size=0, learning_rate=-1.5, epochs="many", optimzer="sgd")
    assert text.split("; ", 3) == [
        "batch_size: input should be greater than or equal to 1, found 0",
        "learning_rate: input should be greater than 0, found -1.5",
        "epochs: input should be a valid integer, unable to parse string as an integer, found 'many'",
        "optimzer: unknown field; did you mean 'optimizer'?",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"hidden": (3, 0)}, "hidden: every hidden layer needs at least 1 unit, found [3, 0]"),
        ({"dropout": (0.1,)}, "dropout: expected 3 probabilities, one per hidden layer, found 1"),
        ({"dropout": 1.0}, "dropout: expected probabilities in [0, 1), found 1.0"),
        ({"dropout": (0.0, -0.1, 0.0)}, "dropout: expected probabilities in [0, 1), found (0.0, -0.1, 0.0)"),
        ({"evaluate_every": 0}, "evaluate_every: expected at least 1 step, found 0"),
        ({"batchnorm_group": 8}, "batchnorm_group: needs batchnorm 'before' or 'after', found 'off'"),
        (
            {"batchnorm": "after", "batchnorm_group": 48},
            "batchnorm_group: must divide batch_size 128, found 48",
        ),
        ({"l2": float("nan")}, "l2: input should be a finite number, found nan"),
        ({"learning_rate": float("inf")}, "learning_rate: input should be a finite number, found inf"),
        ({"momentum": 1}, "momentum: input should be less than 1, found 1"),
        ({"optimizer": "sdg"}, "found 'sdg'"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, found -1"),
        ({"seed": 1.5}, "found 1.5"),
        ({"zzz": 1}, "zzz: unknown field"),
    ],
)
def test_refusals(values: dict[str, Any], expected: str) -> None:
    assert expected in message(TrainingConfig, **values)


def test_contradictions_are_reported_together() -> None:
    text = message(TrainingConfig, dropout=(0.1,), batchnorm_group=3, evaluate_every=0)
    assert {part.split(":")[0] for part in text.split("; ")} == {"dropout", "evaluate_every", "batchnorm_group"}


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 8, "batchnorm_group": 1}])
def test_batchnorm_on_one_example_says_why(options: dict[str, Any]) -> None:
    assert "variance 0" in message(TrainingConfig, batchnorm="before", **options)


def test_nested_errors_name_the_table_and_suggest() -> None:
    assert message(TrainingConfig, early_stopping={"evry": 3, "patience": 0}) == (
        "early_stopping: patience: input should be greater than or equal to 1, found 0; "
        "evry: unknown field; did you mean 'every'?"
    )
    text = message(SweepConfig, training={"bach_size": 16})
    assert text == "training: bach_size: unknown field; did you mean 'batch_size'?"


def test_errors_are_value_errors_without_a_chain() -> None:
    with pytest.raises(ValueError, match="batch_size") as caught:
        TrainingConfig(batch_size=-3)
    assert isinstance(caught.value, FastfnnError)
    assert caught.value.__suppress_context__


def test_suggestion() -> None:
    assert suggestion("bach_size", ["batch_size", "seed"]) == "; did you mean 'batch_size'?"
    assert suggestion("zzz", ["batch_size", "seed"]) == ""


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainingConfig().seed = 3  # type: ignore[misc]


def test_equal_configurations_are_one_dictionary_key() -> None:
    assert len({TrainingConfig(), TrainingConfig(l2=0), TrainingConfig(seed=1)}) == 2


def test_replace_validates_again_and_leaves_the_original() -> None:
    config = TrainingConfig(early_stopping=EarlyStopping(every=5))
    changed = config.replace(batch_size=16)
    assert (config.batch_size, changed.batch_size, changed.early_stopping) == (128, 16, EarlyStopping(every=5))
    assert "batch_size" in message(config.replace, batch_size=0)


def test_short_forms() -> None:
    assert NetworkConfig(hidden=12).hidden == (12,)
    assert NetworkConfig(hidden=[]).hidden == ()
    assert TrainingConfig(evaluate_every=None).evaluate_every == "end"


# ------------------------------------------------------------------------------------------------- derived quantities


def test_dropout_by_layer() -> None:
    assert TrainingConfig(dropout=0.3).dropout_by_layer == (0.3, 0.3, 0.3)
    assert TrainingConfig(dropout=(0.5, 0.0, 0.2)).dropout_by_layer == (0.5, 0.0, 0.2)
    assert TrainingConfig(hidden=(), dropout=0.3).dropout_by_layer == ()


@pytest.mark.parametrize(("rule", "expected"), [("none", 0.01), ("linear", 0.04), ("sqrt", 0.02)])
def test_lr_rule(rule: str, expected: float) -> None:
    config = TrainingConfig(batch_size=256, learning_rate=0.01, lr_rule=rule, lr_reference_batch_size=64)
    assert config.base_learning_rate == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("convention", "expected"), [("fixed", 1), ("per_batch", 16)])
def test_l2_divisor(convention: str, expected: int) -> None:
    assert TrainingConfig(batch_size=16, l2_convention=convention).l2_divisor == expected


@pytest.mark.parametrize(
    ("n", "batch_size", "keep", "drop"), [(10, 5, 2, 2), (11, 5, 3, 2), (9, 10, 1, 1), (1, 1, 1, 1), (0, 3, 1, 1)]
)
def test_steps_per_epoch(n: int, batch_size: int, keep: int, drop: int) -> None:
    config = TrainingConfig(batch_size=batch_size)
    assert config.steps_per_epoch(n) == keep
    assert config.replace(last_batch="drop").steps_per_epoch(n) == drop


# --------------------------------------------------------------------------------------------------- text and hashes


@given(training_configs())
@settings(max_examples=60, deadline=None)
def test_text_round_trips(config: TrainingConfig) -> None:
    for again in (TrainingConfig.from_json(config.to_json()), TrainingConfig.from_toml(config.to_toml())):
        assert again == config
        assert again.content_hash() == config.content_hash()


@given(training_configs(), st.lists(st.floats(0, 1), min_size=1, max_size=3), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_sweep_round_trips(config: TrainingConfig, l2: list[float], seeds: int) -> None:
    sweep = SweepConfig(training=config, l2=l2, input=["sparse", "dense"], grid={}, seeds=seeds)
    for again in (SweepConfig.from_json(sweep.to_json()), SweepConfig.from_toml(sweep.to_toml())):
        assert again == sweep
        assert again.content_hash() == sweep.content_hash()


def test_sweep_over_tables_round_trips() -> None:
    grid = {"early_stopping": [{"every": 5}, {"every": 7}], "hidden": [(20, 7), (3,)], "dropout": [0.5, 0]}
    sweep = SweepConfig(grid=grid, seeds=1)
    assert sweep.grid["early_stopping"] == (EarlyStopping(every=5), EarlyStopping(every=7))
    assert sweep.grid["hidden"] == ((20, 7), (3,))
    for again in (SweepConfig.from_json(sweep.to_json()), SweepConfig.from_toml(sweep.to_toml())):
        assert again == sweep
        assert set(again.runs()) == set(sweep.runs())


def test_hashes_are_what_they_were() -> None:
    """A change here orphans every stored run."""
    assert TrainingConfig().content_hash() == DEFAULT_HASH
    assert TrainingConfig(**OTHER).content_hash() == OTHER_HASH


def test_hash_of_equal_values() -> None:
    config = TrainingConfig(l2=1.0, warmup_epochs=2.0, dropout=0.0, batch_size=16)
    assert config.content_hash() == TrainingConfig(l2=1, warmup_epochs=2, dropout=0, batch_size=16.0).content_hash()
    assert config.content_hash() != config.replace(l2=1 + 2**-52).content_hash()


@given(st.permutations(list(OTHER)))
@settings(max_examples=20, deadline=None)
def test_hash_does_not_depend_on_key_order(names: list[str]) -> None:
    assert TrainingConfig(**{name: OTHER[name] for name in names}).content_hash() == OTHER_HASH


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_hash_in_another_process(hash_seed: str) -> None:
    code = "from fastfnn.config import TrainingConfig as T; print(T().content_hash())"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == DEFAULT_HASH


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_load(tmp_path: Path, suffix: str) -> None:
    config, path = TrainingConfig(**OTHER), tmp_path / f"config{suffix}"
    path.write_text(config.to_json() if suffix == ".json" else config.to_toml(), encoding="utf-8")
    assert TrainingConfig.load(path) == config
    assert TrainingConfig.load(str(path)) == config


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.toml", None, "No such file"),
        ("broken.toml", b"batch_size = ", "not valid TOML"),
        ("broken.json", b'{"batch_size": ', "not valid JSON"),
        ("list.json", b"[1, 2]", "expected a JSON table of fields, found list"),
        ("latin.toml", b"# gr\xfc\xdfe", "utf-8"),
        ("latin.json", b'{"init": "\xfc"}', "utf-8"),
        ("typo.toml", b"bach_size = 16", "bach_size: unknown field; did you mean 'batch_size'?"),
        ("nan.toml", b"l2 = nan", "l2: input should be a finite number, found nan"),
        ("twice.toml", b"l2 = 0\nl2 = 1", "not valid TOML"),
    ],
)
def test_load_names_the_file(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    text = message(TrainingConfig.load, path=path)
    assert text.startswith(f"{path}: ")
    assert expected in text


def test_load_of_a_folder(tmp_path: Path) -> None:
    assert message(TrainingConfig.load, path=tmp_path).startswith(f"{tmp_path}: ")


# ------------------------------------------------------------------------------------------------------------- sweeps


def test_default_sweep_is_the_main_job() -> None:
    sweep = SweepConfig()
    assert sweep.grid == {"batch_size": (16, 32, 64, 128, 256, 512, 1024, 2048)}
    assert (sweep.seeds, len(sweep.runs())) == ((0, 1, 2), 24)


def test_runs_of_a_grid_in_order() -> None:
    base = TrainingConfig(epochs=7)
    runs = SweepConfig(training=base, batch_size=[16, 32], l2=[0.0, 1e-4], seeds=2, grid={}).runs()
    assert [(run.batch_size, run.l2, run.seed) for run in runs] == [
        (16, 0.0, 0),
        (16, 0.0, 1),
        (16, 1e-4, 0),
        (16, 1e-4, 1),
        (32, 0.0, 0),
        (32, 0.0, 1),
        (32, 1e-4, 0),
        (32, 1e-4, 1),
    ]
    assert {run.epochs for run in runs} == {7}


def test_keywords_and_grid_are_joined() -> None:
    sweep = SweepConfig(grid={"l2": [0, 1]}, batch_size=8, seeds=[4, 2])
    assert sweep.grid == {"l2": (0.0, 1.0), "batch_size": (8,)}
    assert [run.seed for run in sweep.runs()] == [4, 2, 4, 2]


def test_equal_values_of_an_axis_are_one() -> None:
    assert SweepConfig(l2=[0, 0.0, 1]).grid["l2"] == (0.0, 1.0)
    assert SweepConfig(batch_size=range(8, 11)).grid["batch_size"] == (8, 9, 10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"grid": {"bach_size": [1]}}, "grid.bach_size: unknown field; did you mean 'batch_size'?"),
        ({"grid": 3}, "grid: input should be a valid dictionary, found 3"),
        ({"l2": []}, "grid.l2: expected at least one value"),
        ({"seed": [1, 2]}, "grid.seed: seeds belong in `seeds`"),
        ({"seeds": 0}, "seeds: expected at least one, distinct and not negative, found []"),
        ({"seeds": [1, 1]}, "seeds: expected at least one, distinct and not negative, found [1, 1]"),
        ({"seeds": [0, -1]}, "seeds: expected at least one, distinct and not negative, found [0, -1]"),
        ({"seeds": "abc"}, "seeds: input should be a valid tuple, found 'abc'"),
        ({"l2": [0, -1]}, "at l2=-1: l2: input should be greater than or equal to 0, found -1"),
        ({"l2": [-1, -2], "batch_size": [3]}, "at l2=-2, batch_size=3: l2: "),
        (
            {"batch_size": [16, 1], "training": {"batchnorm": "before"}},
            "at batch_size=1: batchnorm: a group of one example",
        ),
    ],
)
def test_sweep_refusals(values: dict[str, Any], expected: str) -> None:
    assert expected in message(SweepConfig, **values)
