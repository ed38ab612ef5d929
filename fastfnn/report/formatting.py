"""Numbers and settings as texts, the same in tables, figures and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "-"

AXIS_TITLES = {
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "l2": "L2",
    "batchnorm": "batch norm",
    "batchnorm_group": "batch-norm group",
    "hidden": "hidden layers",
    "lr_rule": "learning-rate rule",
    "lr_schedule": "learning-rate schedule",
}


def percent(value: float | None, digits: int = 2) -> str:
    """A share as per cent."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def seconds(value: float | None) -> str:
    """A time with three significant digits, in the unit that reads best."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 0.0995:
        return f"{_three_digits(1000 * value)} ms"
    if value < 119.5:
        return f"{_three_digits(value)} s"
    minutes = round(value / 60)
    return f"{round(value)} s" if value < 600 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".removesuffix(".")


def count(value: float | None) -> str:
    """A count with thousands separated by commas."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """Some other number, with this many significant digits."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def setting(value: Any) -> str:
    """The value of a configuration field, written as on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ",".join(map(setting, value)) if value else "none"
    if isinstance(value, Mapping) or hasattr(value, "model_dump"):
        pairs = value if isinstance(value, Mapping) else value.model_dump()
        return ", ".join(f"{name}={setting(item)}" for name, item in pairs.items())
    return "none" if value is None else str(value)


def axis_title(name: str) -> str:
    """The name of a configuration field as a heading."""
    return AXIS_TITLES.get(name, name.replace("_", " "))


def settings_text(settings: Mapping[str, Any], axes: tuple[str, ...] | None = None) -> str:
    """`batch size 64, L2 0.0001`, for all or some of the settings."""
    names = settings if axes is None else axes
    return ", ".join(f"{axis_title(name)} {setting(settings[name])}" for name in names)
