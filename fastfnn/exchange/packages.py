"""Packages that only some users have."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fastfnn.errors import MissingPackageError


def require(name: str, install: str) -> ModuleType:
    """The package `name`.

    Raises:
        MissingPackageError: when it is not installed, saying how that is done.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and something else is wrong with it
            raise
        raise MissingPackageError(f"this needs the package {name}, which is not installed: {install}") from None
