"""From options to a sweep."""

from __future__ import annotations

from pathlib import Path

from fastfnn.cli.grid import GridOptions, parse_seeds, sweep_config
from fastfnn.config import EarlyStopping, SweepConfig, TrainingConfig


def test_nothing_given_is_the_default() -> None:
    assert sweep_config(GridOptions(), None) == SweepConfig()


def test_lists_and_ranges_are_axes_and_single_values_settings() -> None:
    options = GridOptions(batch_size="16..64:x2", l2="0,1e-4", epochs="5", batchnorm="off")
    sweep = sweep_config(options, "2")
    assert sweep.grid == {"batch_size": (16, 32, 64), "l2": (0.0, 1e-4)}
    assert (sweep.training.epochs, sweep.training.batchnorm, sweep.seeds) == (5, "off", (0, 1))


def test_one_batch_size_is_no_axis_unless_nothing_else_is() -> None:
    assert sweep_config(GridOptions(batch_size="64", l2="0,1"), None).grid == {"l2": (0.0, 1.0)}
    assert sweep_config(GridOptions(batch_size="64"), None).grid == {"batch_size": (64,)}


def test_networks_are_separated_by_semicolons() -> None:
    sweep = sweep_config(GridOptions(hidden="20,7,5;64;", batch_size="8"), None)
    assert sweep.grid == {"hidden": ((20, 7, 5), (64,), ())}
    assert sweep_config(GridOptions(hidden="20-7,64", batch_size="8"), None).grid == {"hidden": ((20, 7), (64,))}
    assert sweep_config(GridOptions(hidden="64,32"), None).training.hidden == (64, 32)


def test_none_is_a_word_for_rules_and_no_value_for_groups() -> None:
    assert sweep_config(GridOptions(lr_rule="none,linear"), None).grid["lr_rule"] == ("none", "linear")
    options = GridOptions(batchnorm="after", batchnorm_group="none,8", batch_size="16")
    assert sweep_config(options, None).grid == {"batchnorm_group": (None, 8)}


def test_seeds() -> None:
    assert parse_seeds("5") == 5
    assert parse_seeds("0,3,7") == [0, 3, 7]
    assert parse_seeds("2..4") == [2, 3, 4]


def test_options_change_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    training = TrainingConfig(epochs=3, early_stopping=EarlyStopping(patience=7))
    file.write_text(SweepConfig(training=training, grid={}, batch_size=[8, 16], l2=[0, 1], seeds=[4]).to_toml())
    sweep = sweep_config(GridOptions(l2="0.5", early_stopping_every="50"), None, file=file)
    assert sweep.grid == {"batch_size": (8, 16)}
    assert (sweep.training.l2, sweep.training.epochs, sweep.seeds) == (0.5, 3, (4,))
    assert sweep.training.early_stopping == EarlyStopping(patience=7, every=50)
    assert sweep_config(GridOptions(early_stopping=False), None, file=file).training.early_stopping is None
