"""Groups of options as dataclasses, so that commands share them and take few arguments."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every parameter that is a dataclass replaced by the fields of it.

    Typer sees one option for each field; `command` gets the dataclasses.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}

    @functools.wraps(command)
    def run(**options: Any) -> None:
        arguments = {name: group(**_take(options, group)) for name, group in groups.items()}
        command(**arguments, **options)

    parameters = [p for name in inspect.signature(command).parameters for p in _parameters(command, name, hints)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _parameters(command: Callable[..., None], name: str, hints: dict[str, Any]) -> list[inspect.Parameter]:
    """What Typer sees instead of the parameter `name`: itself, or the fields of its dataclass."""
    if not dataclasses.is_dataclass(hints[name]):
        original = inspect.signature(command).parameters[name]
        return [original.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)]
    field_hints = get_type_hints(hints[name], include_extras=True)
    return [_parameter(field, field_hints[field.name]) for field in dataclasses.fields(hints[name])]


def _parameter(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _take(options: dict[str, Any], group: type) -> dict[str, Any]:
    return {field.name: options.pop(field.name) for field in dataclasses.fields(group)}
