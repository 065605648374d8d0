"""Locks between the threads and tasks of one process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from playhead.engine.execution.ids import new_id
from playhead.timer import Alarm, call_later


@dataclass(slots=True)
class _Claim:
    """Somebody who wants a lock, or has it: then `granted` is done."""

    holder: str
    hold_s: float | None
    granted: Future[None] = field(default_factory=Future)
    alarm: Alarm | None = None


class MemoryLockManager:
    """Gives locks in the order in which they were asked for. However often it is made, a process has one.

    See `playhead.locking.protocol.LockManager`. A copy that was unpickled in another process is that process's own.
    """

    _only: MemoryLockManager | None = None

    _changing: threading.Lock
    _claims: dict[str, deque[_Claim]]

    def __new__(cls) -> Self:
        if cls._only is None:
            cls._only = super().__new__(cls)
            cls._only._changing = threading.Lock()
            # The first of each line has the lock.
            cls._only._claims = {}
        assert isinstance(cls._only, cls)
        return cls._only

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock, waiting in line for it."""
        claim = self._stand_in_line(key, holder, hold_timeout)
        try:
            concurrent.futures.wait([claim.granted], acquire_timeout)
        except BaseException:  # of whoever interrupts the thread
            self._withdraw(key, claim)
            raise
        return self._settle(key, claim)

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The same, without blocking the event loop."""
        claim = self._stand_in_line(key, holder, hold_timeout)
        try:
            await asyncio.wait([asyncio.wrap_future(claim.granted)], timeout=acquire_timeout)
        except asyncio.CancelledError:
            self._withdraw(key, claim)
            raise
        return self._settle(key, claim)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back; the next in line has it then."""
        with self._changing:
            line = self._claims.get(key)
            if line is None or line[0].holder != holder:
                raise ValueError(f"The lock of {key!r} is not held by {holder!r}.")
            self._leave(key, line[0])

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock."""
        return key in self._claims

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether the holder holds the lock."""
        with self._changing:
            line = self._claims.get(key)
            return line is not None and line[0].holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until it is one's turn, and let it pass."""
        turn = new_id()
        free = self.acquire_lock(key, turn, timeout)
        if free:
            self.release_lock(key, turn)
        return free

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
        turn = new_id()
        free = await self.aacquire_lock(key, turn, timeout)
        if free:
            self.release_lock(key, turn)
        return free

    def _stand_in_line(self, key: str, holder: str, hold_s: float | None) -> _Claim:
        with self._changing:
            line = self._claims.setdefault(key, deque())
            if line and line[0].holder == holder:
                return line[0]
            claim = _Claim(holder, hold_s)
            line.append(claim)
            if len(line) == 1:
                self._grant(key, claim)
            return claim

    def _settle(self, key: str, claim: _Claim) -> bool:
        """Whether a claim was granted; one that was not leaves the line."""
        if not claim.granted.done():
            self._withdraw(key, claim)
        return claim.granted.done()

    def _withdraw(self, key: str, claim: _Claim) -> None:
        with self._changing:
            if not claim.granted.done():
                self._leave(key, claim)

    def _leave(self, key: str, claim: _Claim) -> None:
        line = self._claims[key]
        first = line[0] is claim
        line.remove(claim)
        if claim.alarm is not None:
            claim.alarm.cancel()
        if not line:
            del self._claims[key]
        elif first:
            self._grant(key, line[0])

    def _grant(self, key: str, claim: _Claim) -> None:
        claim.granted.set_result(None)
        if claim.hold_s is not None:
            claim.alarm = call_later(claim.hold_s, lambda: self._expire(key, claim))

    def _expire(self, key: str, claim: _Claim) -> None:
        with self._changing:
            line = self._claims.get(key)
            if line is not None and line[0] is claim:
                self._leave(key, claim)
