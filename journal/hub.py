"""Telling readers that there is more to read.

A reader keeps the revision it has seen and nothing else, so a slow one holds nothing here: it is told that the head
moved, and reads the events from the journal when it is ready.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from playhead.exceptions import DeadlinePassed, ShuttingDown

Message = TypeVar("Message")

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Awaits a blocking function in a thread."""


class Beyond:
    """What a stream yields in place of a message: nothing more until the head is beyond `revision`, and there is an
    event of `stream` (None: of any) that is one of `kinds` (empty: any).
    """

    __slots__ = ("kinds", "revision", "stream")

    def __init__(self, revision: int, stream: bytes | None = None, kinds: Sequence[str] = ()) -> None:
        self.revision = revision
        self.stream = stream
        self.kinds = frozenset(kinds)


class Hub:
    """The head as this process knows it, and those who wait for it to move.

    `on_first_wait` is called once, before the first wait: it starts watching what other processes append.
    """

    def __init__(self, revision: int, on_first_wait: Callable[[], None]) -> None:
        self.revision = revision
        self._moved = threading.Condition()
        self._loops: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}
        self._on_first_wait: Callable[[], None] | None = on_first_wait
        self._closed = False

    def publish(self, revision: int) -> None:
        """The head is at least `revision`. Any thread."""
        with self._moved:
            if revision <= self.revision:
                return
            self.revision = revision
            self._wake()

    def close(self) -> None:
        """Wake everybody for the last time: they get ShuttingDown."""
        with self._moved:
            self._closed = True
            self._wake()

    def wait(self, after: int, timeout_s: float | None = None) -> bool:
        """Block until the head is beyond `after`; False when that took longer than `timeout_s`."""
        self._start()
        with self._moved:
            reached = self._moved.wait_for(lambda: self._closed or self.revision > after, timeout_s)
        self.check()
        return reached

    async def wait_async(self, after: int) -> None:
        """Return once the head is beyond `after`. Cancellation leaves nothing behind."""
        self._start()
        loop = asyncio.get_running_loop()
        while True:
            with self._moved:
                if self._closed or self.revision > after:
                    break
                moved = self._loops.get(loop)
                if moved is None:
                    moved = self._loops[loop] = asyncio.Event()
            await moved.wait()
        self.check()

    def _wake(self) -> None:
        self._moved.notify_all()
        loops, self._loops = self._loops, {}
        for loop, moved in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(moved.set)

    def _start(self) -> None:
        # Inside the lock: whatever was started was started before `close`, and nothing is started after it.
        with self._moved:
            start, self._on_first_wait = self._on_first_wait, None
            if start is not None and not self._closed:
                start()

    def check(self) -> None:
        """Raises ShuttingDown once it is closed."""
        if self._closed:
            raise ShuttingDown("The journal is being closed: resume elsewhere from the last revision seen.")


def blocking(stream: Iterator[Message | Beyond], hub: Hub, timeout_s: float | None = None) -> Iterator[Message]:
    """A stream for the caller's thread, which blocks where there is nothing yet. Raises DeadlinePassed after
    `timeout_s`.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    for message in stream:
        if not isinstance(message, Beyond):
            yield message
        elif not hub.wait(message.revision, None if end is None else max(end - time.monotonic(), 0.0)):
            raise DeadlinePassed(f"The stream was listened to for {timeout_s:g} s.")


async def unblocking(stream: Iterator[Message | Beyond], hub: Hub, read: InThread) -> AsyncIterator[Message]:
    """A stream for an event loop."""
    while True:
        message = await read(lambda: next(stream, None))
        if message is None:
            return
        if isinstance(message, Beyond):
            await hub.wait_async(message.revision)
        else:
            yield message
