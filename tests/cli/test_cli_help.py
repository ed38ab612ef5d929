"""Help: quick, with examples, and true to the configuration."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from fastfnn.cli.options import STOPPING_PREFIX, TrainingOptions, parse_value
from fastfnn.config import EarlyStopping, TrainingConfig

COMMANDS = [
    "",
    "sweep",
    "train",
    "report",
    "bench",
    "predict",
    "export",
    "data",
    "data list",
    "data info",
    "data fetch",
]
HEAVY = "numpy numba pydantic matplotlib scipy sklearn rich jinja2"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(fastfnn, command: str) -> None:
    outcome = fastfnn(*command.split(), "--help")
    assert outcome.status == 0
    assert outcome.err == ""
    examples = outcome.out.split("Examples:\n")[1].splitlines()
    assert all(line.startswith("  fastfnn") for line in examples)
    assert any(line.startswith(f"  fastfnn {command}".rstrip()) for line in examples)


@pytest.mark.parametrize("arguments", [*(f"{command} --help" for command in COMMANDS), "--version"])
def test_help_imports_nothing_heavy(arguments: str) -> None:
    code = (
        f"import sys; from fastfnn.cli import main; status = main({arguments.split()!r}); "
        f"sys.exit(status or str([m for m in {HEAVY.split()!r} if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_version(fastfnn) -> None:
    from fastfnn import __version__

    assert fastfnn("--version").out == f"fastfnn {__version__}\n"


def test_python_m_fastfnn() -> None:
    done = subprocess.run([sys.executable, "-m", "fastfnn", "swep"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "fastfnn: error: No such command 'swep'. Did you mean 'sweep'?\n"


def test_every_field_of_a_run_is_an_option() -> None:
    names = {field.name for field in fields(TrainingOptions)}
    stopping = {STOPPING_PREFIX + name for name in EarlyStopping.model_fields}
    assert names == set(TrainingConfig.model_fields) - {"seed"} | stopping


def shown_defaults(help_page: str) -> dict[str, str]:
    """What `--help` says is the default of each option."""
    pages = " ".join(help_page.split()).split(" --")
    found = {}
    for part in pages:
        if "[default: " in part:
            found[part.split()[0].replace("-", "_")] = part.split("[default: ")[1].split("]")[0]
    return found


def test_the_defaults_of_help_are_those_of_the_configuration(fastfnn) -> None:
    shown = shown_defaults(fastfnn("train", "--help").out)
    assert shown["batchnorm_group"] == "the batch"
    assert shown["no_early_stopping"] == "no"
    for name in set(TrainingConfig.model_fields) - {"batchnorm_group", "early_stopping", "seed"}:
        assert TrainingConfig(**{name: parse_value(name, shown[name])}) == TrainingConfig(), name
    for name in EarlyStopping.model_fields:
        assert EarlyStopping(**{name: shown[STOPPING_PREFIX + name]}) == EarlyStopping(), name


def test_the_default_grid_of_help_is_that_of_the_configuration(fastfnn) -> None:
    from fastfnn.cli.grid import axis_values
    from fastfnn.config import SweepConfig

    shown = shown_defaults(fastfnn("sweep", "--help").out)
    assert tuple(axis_values("batch_size", shown["batch_size"])) == SweepConfig().grid["batch_size"]
    assert int(shown["seeds"]) == len(SweepConfig().seeds)


@pytest.mark.parametrize("group", [(), ("data",)])
def test_a_group_alone_prints_its_help(fastfnn, group: tuple[str, ...]) -> None:
    outcome = fastfnn(*group)
    assert outcome.status == 2
    assert outcome.out == fastfnn(*group, "--help").out
