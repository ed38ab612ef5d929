import subprocess
import sys

import pytest

from fastfnn.config import SweepConfig
from fastfnn.errors import ConfigError
from fastfnn.sweeps import list_presets, load_preset
from fastfnn.sweeps.presets import load_sweeps


def test_the_default_preset_is_the_default_sweep():
    assert load_preset("default") == SweepConfig()


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_valid(name):
    sweeps = load_sweeps(name)
    assert all(sweep.runs() for sweep in sweeps.values())
    if len(sweeps) == 1:
        assert load_preset(name) == next(iter(sweeps.values()))


def test_sweeps_of_a_preset_share_what_stands_above_them():
    sweeps = load_sweeps("study-d")
    assert list(sweeps) == ["small-batches", "large-batches", "dropout", "batch-norm", "dropout-in-first-layer"]
    assert {sweep.training.learning_rate for sweep in sweeps.values()} == {0.009}
    assert {sweep.seeds for sweep in sweeps.values()} == {(0, 1, 2, 3, 4)}
    assert sweeps["dropout"].training.batch_size == 128


def test_several_sweeps_are_not_one():
    with pytest.raises(ConfigError, match=r"expected one sweep, found 5 in 'study-d': small-batches, large-batches"):
        load_preset("study-d")


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"expected one of .*default.*found 'defualt'; did you mean 'default'\?"):
        load_preset("defualt")


def test_stores_are_read_without_numba():
    code = (
        "import sys, fastfnn.sweeps, fastfnn.sweeps.events, fastfnn.sweeps.eta, fastfnn.analysis\n"
        "assert not {'numba', 'scipy', 'matplotlib', 'fastfnn.training'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
