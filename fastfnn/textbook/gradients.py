"""A dictionary of gradients, of which one is computed when it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastfnn.textbook.arrays import Array

INPUTS = "dA0"


class Gradients(dict[str, Array]):
    """The gradients of a network's parameters and activations.

    That of the inputs, `dA0`, costs as much as those of all parameters together, and no step needs it: it is there as
    soon as the dictionary is asked for it, or for all that it holds.
    """

    def __init__(self, entries: dict[str, Array], inputs: Callable[[], Array]) -> None:
        super().__init__(entries)
        self._make: Callable[[], Array] | None = inputs

    def complete(self) -> None:
        """Computes what is not there yet."""
        if self._make is not None:
            self[INPUTS] = self._make()

    def __missing__(self, key: str) -> Array:
        if key == INPUTS and self._make is not None:
            self.complete()
            return self[key]
        raise KeyError(key)

    def __setitem__(self, key: str, value: Array) -> None:
        if key == INPUTS:
            self._make = None
        super().__setitem__(key, value)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _complete_before(name: str) -> Callable[..., Any]:
    """A method of dictionaries that sees all entries."""
    method = getattr(dict, name)

    def call(self: Gradients, *arguments: Any, **more: Any) -> Any:
        self.complete()
        return method(self, *arguments, **more)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


SEES_ALL = (
    "__contains__ __delitem__ __eq__ __ior__ __iter__ __len__ __ne__ __or__ __repr__ __reversed__ __ror__ clear copy "
    "get items keys pop popitem setdefault update values"
)
for _name in SEES_ALL.split():
    setattr(Gradients, _name, _complete_before(_name))
