"""A driver with virtual time, on a real journal whose clock is the same.

Sleeping moves the clock. A user function that returns `Takes(seconds, value)` takes that long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from playhead.client.embedded import EmbeddedClient
from playhead.client.interface import Client
from playhead.engine.execution.drivers import perform
from playhead.engine.execution.effects import Ask, AwaitState, AwaitTurn, CallUser, Effect, Loop, RunTimedOut, Sleep
from tests.stores import made

Result = TypeVar("Result")


@dataclass
class Takes:
    """The outcome of a user function, and the virtual seconds until it is there."""

    seconds: float
    value: Any = None


class VirtualTime:
    """A clock that moves when a loop sleeps. `slept_s` are the sleeps, in order."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000
        self.slept_s: list[float] = []

    def clock(self) -> int:
        """Microseconds since the epoch."""
        return self.now_us

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += round(seconds * 1_000_000)

    def drive(self, loop: Loop[Result], client: Client) -> Result:
        """Run a loop to its end."""
        try:
            effect = loop.send(None)
            while True:
                try:
                    outcome = self._perform(effect, client)
                except BaseException as error:
                    effect = loop.throw(error)
                else:
                    effect = loop.send(outcome)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _perform(self, effect: Effect, client: Client) -> Any:
        if isinstance(effect, Sleep):
            self.slept_s.append(effect.seconds)
            return self.advance(effect.seconds)
        if isinstance(effect, AwaitTurn):
            return self.advance(effect.seconds)
        if isinstance(effect, AwaitState):
            assert effect.seconds is not None, "nothing happens in virtual time while a loop waits"
            self.slept_s.append(effect.seconds)
            return self.advance(effect.seconds)
        if isinstance(effect, CallUser):
            outcome = effect.function(*effect.args, **effect.kwargs)
            if not isinstance(outcome, Takes):
                return outcome
            limit = effect.timeout_s
            self.advance(outcome.seconds if limit is None else min(limit, outcome.seconds))
            if limit is not None and outcome.seconds > limit:
                raise RunTimedOut(effect)
            return outcome.value
        assert isinstance(effect, Ask), "nothing else happens in these loops"
        return perform(effect, client)


@contextmanager
def virtual_journal(folder: Path) -> Iterator[tuple[VirtualTime, Client]]:
    """A journal with a clock of its own."""
    time = VirtualTime()
    client = EmbeddedClient(made(str(folder / "journal.db")), clock=time.clock, timers=False)
    try:
        yield time, client
    finally:
        client.close()
