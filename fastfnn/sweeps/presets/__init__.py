"""Sweeps with a name, kept as TOML files beside this module."""

from __future__ import annotations

from importlib import resources

from fastfnn.config import SweepConfig
from fastfnn.errors import ConfigError, suggestion


def list_presets() -> list[str]:
    """The names of all presets, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_preset(name: str) -> SweepConfig:
    """The sweep of this name.

    Raises:
        ConfigError: when there is none, with the names that there are.
    """
    known = list_presets()
    if name not in known:
        raise ConfigError(f"preset: expected one of {', '.join(known)}, found {name!r}{suggestion(name, known)}")
    return SweepConfig.from_toml(resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
