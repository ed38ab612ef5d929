"""A memo that many threads can share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Makes the value of each key exactly once, even under concurrent calls; pickles as an empty memo."""

    def __init__(self) -> None:
        """An empty memo."""
        self._lock = Lock()
        self._futures: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made by the first caller while later ones wait.

        When `make` raises, everybody who waits gets the exception and the next call tries again. `make` may ask for
        other keys, not for its own.
        """
        with self._lock:
            future = self._futures.get(key)
            mine = future is None
            if future is None:
                future = self._futures[key] = Future()
        if mine:
            self._make(key, make, future)
        value: T = future.result()
        return value

    def _make(self, key: Hashable, make: Callable[[], T], future: Future[Any]) -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                del self._futures[key]
            future.set_exception(error)

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        """Pickled values could be huge, or not picklable at all; the other side makes its own."""
        return Memo, ()
