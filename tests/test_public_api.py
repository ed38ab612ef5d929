"""The public surface: what `import fastfnn` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fastfnn

HEAVY = ("numpy", "numba", "pydantic", "scipy", "sklearn", "matplotlib", "rich", "typer", "pooch", "safetensors")


def loaded_after(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = loaded_after("import fastfnn")
    assert "fastfnn" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_configurations_come_without_numba() -> None:
    loaded = loaded_after("import fastfnn; fastfnn.TrainingConfig()")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"numba", "matplotlib", "sklearn"})


@pytest.mark.parametrize("name", fastfnn.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(fastfnn, name)
    assert value is not None
    assert getattr(value, "__module__", "fastfnn").startswith("fastfnn")


def test_names_are_sorted_and_listed_once() -> None:
    assert sorted(set(fastfnn.__all__)) == sorted(fastfnn.__all__) == dir(fastfnn)


def test_same_object_as_at_home() -> None:
    from fastfnn import reference, textbook, training
    from fastfnn.config import TrainingConfig

    assert fastfnn.TrainingConfig is TrainingConfig
    assert fastfnn.train is training.train
    assert fastfnn.reference is reference
    assert fastfnn.textbook is textbook


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'fastfnn' has no attribute 'trian'"):
        fastfnn.trian  # noqa: B018


def test_errors_derive_from_builtins() -> None:
    assert issubclass(fastfnn.ConfigError, ValueError)
    assert issubclass(fastfnn.DataError, ValueError)
    assert issubclass(fastfnn.StoreError, OSError)
    assert all(
        issubclass(e, fastfnn.FastfnnError) for e in (fastfnn.ConfigError, fastfnn.DataError, fastfnn.StoreError)
    )
