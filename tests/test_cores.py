"""Threads of a team begin on cores of their own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import pytest

from fastfnn import cores
from fastfnn.cores import OwnCores
from fastfnn.teams import run_together


class Machine:
    """A thread on a core of a machine, as the system's functions show it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: Iterable[int]) -> None:
        self.core, self.allowed, self.masks = 0, set(allowed), list[set[int]]()
        monkeypatch.setattr(cores, "current_core", lambda: self.core)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(self.allowed), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self.move, raising=False)

    def move(self, pid: int, mask: set[int]) -> None:
        assert pid == 0
        assert mask
        self.masks.append(mask)
        if self.core not in mask:
            self.core = min(mask)


def begin(machine: Machine, *at: int) -> list[int]:
    """Where threads begin that the system has put on these cores."""
    own, found = OwnCores(), []
    for core in at:
        machine.core = core
        own.take()
        found.append(machine.core)
    return found


def test_threads_move_to_a_core_that_none_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, (0, 1, 3))
    assert begin(machine, 1, 1, 1) == [1, 0, 3]
    assert machine.masks == [{0, 3}, {0, 1, 3}, {3}, {0, 1, 3}]  # they may use all of them afterwards


def test_threads_on_cores_of_their_own_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, range(4))
    assert begin(machine, 2, 0, 3) == [2, 0, 3]
    assert machine.masks == []


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(Machine(monkeypatch, (0, 1)), 0, 0, 0, 1) == [0, 1, 0, 1]


def test_a_process_that_may_not_choose_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, (0, 1))

    def refuse(pid: int, mask: set[int]) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert begin(machine, 1, 1) == [1, 1]


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, (0, 1))
    monkeypatch.setattr(cores, "current_core", None)
    assert begin(machine, 1, 1) == [1, 1]
    assert machine.masks == []


@pytest.mark.skipif(cores.current_core is None, reason="the system does not tell the core")
def test_teams_ask_for_cores_of_their_own_and_may_use_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed, began = os.sched_getaffinity(0), []
    take = OwnCores.take

    def noting(own: OwnCores) -> None:
        take(own)
        began.append((own, threading.get_ident(), os.sched_getaffinity(0)))

    monkeypatch.setattr(OwnCores, "take", noting)
    barrier = threading.Barrier(2)
    run_together([barrier.wait, barrier.wait], barrier.abort)
    assert len({own for own, _, _ in began}) == 1
    assert len({thread for _, thread, _ in began}) == 2
    assert [mask for _, _, mask in began] == [allowed, allowed]
    taken = began[0][0]._taken
    assert len(taken) == min(2, len(allowed))
