"""Driving `crash_main`: a process that dies at a chosen moment, and what it had answered by then."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType

from playhead.client.embedded import EmbeddedClient
from tests.processes.crash_main import commands
from tests.processes.serving import ROOT


@dataclass(frozen=True)
class Death:
    """How far a child came with the commands of a seed: `answers` are those it gave."""

    seed: int
    killed: bool
    answers: list[bytes]
    statements: int
    log_bytes: int


class Dying:
    """The process that lets its children die."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.crash_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def work(self, database: str, seed: int, **moment: int) -> Death:
        """Let a child do the commands until the moment; without one, to their end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"database": database, "seed": seed, **moment}), file=self._process.stdin, flush=True)
        said = json.loads(self._process.stdout.readline())
        answers = [bytes.fromhex(answer) for answer in said.pop("answers")]
        return Death(seed, answers=answers, **said)

    def __enter__(self) -> Dying:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def go_on_after(database: str, death: Death) -> None:
    """Another process does the same: what was answered is answered the same, the rest is done now."""
    client = EmbeddedClient(database, timers=False)
    again = [client.unary(method, request) for method, request in commands(death.seed)]
    client.close()
    answers = [answer.SerializeToString(deterministic=True) for answer in again]
    assert answers[: len(death.answers)] == death.answers
