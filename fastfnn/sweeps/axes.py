"""The command line's notation for the values of an axis of the grid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from fastfnn.errors import ConfigError

MAX_VALUES = 10_000

_RANGE = re.compile(r"(?P<first>.+?)\.\.(?P<last>[^:]+)(?::(?P<operation>[x+])(?P<by>.+))?")
_WORDS = {"true": True, "false": False, "none": None}


def parse_axis(text: str) -> list[Any]:
    """The values that a text stands for; items are separated by commas.

    `16..2048:x2` multiplies, `1..9:+2` adds, `1..3` adds 1; the last value is not passed and need not be met.
    `20-7-5` is a tuple of sizes, `true`, `false` and `none` are Python's, and what is no number is a word.

    >>> parse_axis("16..64:x2,100")
    [16, 32, 64, 100]
    >>> parse_axis("off,after")
    ['off', 'after']

    Raises:
        ConfigError: naming the item, what was expected and what was found.
    """
    values: list[Any] = []
    for item in text.split(","):
        values.extend(_parse_item(item.strip(), text))
    return values


def _parse_item(item: str, text: str) -> list[Any]:
    if not item:
        raise ConfigError(f"{text!r}: expected values separated by commas, found an empty one")
    if ".." in item:
        return _parse_range(item)
    if re.fullmatch(r"\d+(-\d+)+", item):
        return [tuple(int(size) for size in item.split("-"))]
    if item.lower() in _WORDS:
        return [_WORDS[item.lower()]]
    return [_number_or_word(item)]


def _number_or_word(item: str) -> Any:
    for kind in (int, float):
        try:
            return kind(item)
        except ValueError:
            continue
    return item


def _parse_range(item: str) -> list[Any]:
    match = _RANGE.fullmatch(item)
    if not match:
        raise ConfigError(f"{item!r}: expected a range such as 16..2048:x2 or 1..9:+2")
    first, last = _decimal(match["first"], item), _decimal(match["last"], item)
    operation, by = match["operation"] or "+", _decimal(match["by"] or "1", item)
    if last < first:
        raise ConfigError(f"{item!r}: expected the last value to be at least the first, found {last} after {first}")
    if operation == "x" and (by <= 1 or first <= 0):
        raise ConfigError(f"{item!r}: expected a factor above 1 and a first value above 0, found {by} and {first}")
    if operation == "+" and by <= 0:
        raise ConfigError(f"{item!r}: expected a step above 0, found {by}")
    whole = all(_is_whole(part) for part in (match["first"], match["by"] or "1"))
    values = []
    for value in _walk(first, last, operation, by):
        values.append(int(value) if whole else float(value))
        if len(values) > MAX_VALUES:
            raise ConfigError(f"{item!r}: expected at most {MAX_VALUES} values, found more")
    return values


def _walk(first: Decimal, last: Decimal, operation: str, by: Decimal) -> Iterator[Decimal]:
    """Decimals, so that 0.1..0.5:+0.1 gives 0.3 and ends with 0.5."""
    value = first
    while value <= last:
        yield value
        value = value * by if operation == "x" else value + by


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+\s*", text) is not None


def _decimal(text: str, item: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise ConfigError(f"{item!r}: expected a number, found {text!r}")
    return value
