import subprocess
import sys

import pytest

from fastfnn.config import SweepConfig
from fastfnn.errors import ConfigError
from fastfnn.sweeps import list_presets, load_preset


def test_the_default_preset_is_the_default_sweep():
    assert load_preset("default") == SweepConfig()


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_valid(name):
    assert load_preset(name).runs()


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(ConfigError, match=r"expected one of .*default.*found 'defualt'; did you mean 'default'\?"):
        load_preset("defualt")


def test_stores_are_read_without_numba():
    code = (
        "import sys, fastfnn.sweeps, fastfnn.sweeps.events, fastfnn.sweeps.eta, fastfnn.analysis\n"
        "assert not {'numba', 'scipy', 'matplotlib', 'fastfnn.training'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
