"""Sweeps with a name, kept as TOML files beside this module.

A preset is one sweep, or several: the published studies compare settings that are no single grid.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from fastfnn.config import SweepConfig
from fastfnn.errors import ConfigError, suggestion


def list_presets() -> list[str]:
    """The names of all presets, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_preset(name: str) -> SweepConfig:
    """The sweep of this name.

    Raises:
        ConfigError: when there is none, with the names that there are, or when the preset is several sweeps.
    """
    sweeps = load_sweeps(name)
    if len(sweeps) > 1:
        raise ConfigError(f"preset: expected one sweep, found {len(sweeps)} in {name!r}: {', '.join(sweeps)}")
    return next(iter(sweeps.values()))


def load_sweeps(name: str) -> dict[str, SweepConfig]:
    """The sweeps of a preset by their names; one that is a single sweep gives it the preset's own.

    A file of several has a `[[sweeps]]` table for each, and beside them the `seeds` and the `[training]` that they
    share.

    Raises:
        ConfigError: when there is no preset of this name, with the names that there are.
    """
    known = list_presets()
    if name not in known:
        raise ConfigError(f"preset: expected one of {', '.join(known)}, found {name!r}{suggestion(name, known)}")
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    shared = tomllib.loads(text)
    sweeps = shared.pop("sweeps", None)
    if sweeps is None:
        return {name: SweepConfig.from_toml(text)}
    return {own.pop("name"): _merged(shared, own) for own in sweeps}


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> SweepConfig:
    training = {**shared.get("training", {}), **own.get("training", {})}
    return SweepConfig(**{**shared, **own, "training": training})
