"""Processes that do something when they are asked to, a line at a time, and answer with its seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any


class Child:
    """A script of this folder in a process of its own, which ends with the stack.

    Attributes:
        description: the line of JSON that it says of itself when it is ready.
    """

    def __init__(
        self, stack: ExitStack, script: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.process = stack.enter_context(process)
        self.description: dict[str, Any] = json.loads(self._line())

    def timer(self, request: object) -> Callable[[], float]:
        """Asks for something and returns its seconds."""

        def seconds() -> float:
            assert self.process.stdin is not None
            print(request, file=self.process.stdin, flush=True)
            return float(self._line())

        return seconds

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(self.process.wait(), self.process.args)
        return line


def serve(timers: Mapping[str, Callable[[], float]], description: Mapping[str, Any]) -> None:
    """What a child does: describes itself, and answers each line with the seconds of the timer of that name."""
    print(json.dumps(description), flush=True)
    for line in sys.stdin:
        print(timers[line.strip()](), flush=True)
