"""Many followers in one event loop: who is to read again is found by one look for all of them.

Each commit moves the head, and most followers wait for the events of one run. If each of them read whenever the head
moves, a few hundred would keep the database busy with reads that find nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

from playhead.exceptions import ShuttingDown
from playhead.journal.following import CHECKPOINT_EVERY
from playhead.journal.hub import Beyond, InThread, Message
from playhead.journal.journal import Journal

logger = logging.getLogger("playhead.journal")


class _Follower:
    """Who waits for events of `stream` (None: any) and of `kinds` (empty: any). `changed` is set when there are."""

    def __init__(self, beyond: Beyond) -> None:
        self.stream = beyond.stream
        self.kinds = beyond.kinds
        self.changed = asyncio.Event()


class Changes:
    """The followers of a journal in an event loop. `read` awaits a blocking function in a thread."""

    def __init__(self, journal: Journal, read: InThread) -> None:
        self._journal = journal
        self._hub = journal.hub
        self._read = read
        self._followers: dict[bytes | None, set[_Follower]] = {}
        self._looking: asyncio.Task[None] | None = None
        # Up to which revision followers were told, and up to which all of them were.
        self._seen = self._told_all = 0

    async def unblocking(self, stream: Iterator[Message | Beyond]) -> AsyncIterator[Message]:
        """A stream that yields `Beyond` where it would block, for the event loop."""
        follower: _Follower | None = None
        try:
            while True:
                message = await self._read(lambda: next(stream, None))
                if message is None:
                    return
                if not isinstance(message, Beyond):
                    yield message
                    continue
                if follower is None:
                    follower = self._joined(message)
                await follower.changed.wait()
                self._hub.check()
                # Before it reads: what comes while it does makes it read again.
                follower.changed.clear()
        finally:
            if follower is not None:
                self._leave(follower)

    def _joined(self, beyond: Beyond) -> _Follower:
        follower = _Follower(beyond)
        self._followers.setdefault(follower.stream, set()).add(follower)
        if self._looking is None or self._looking.done():  # done: the journal is closed, as each is to be told
            self._seen = self._told_all = self._hub.revision
            self._looking = asyncio.create_task(self._look())
        if self._seen > beyond.revision:
            # What came since it read, others were told of.
            follower.changed.set()
        return follower

    def _leave(self, follower: _Follower) -> None:
        others = self._followers[follower.stream]
        others.discard(follower)
        if not others:
            del self._followers[follower.stream]
        if not self._followers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        """Tell followers of what they follow, and all of them now and then of how far the journal has got."""
        try:
            while True:
                await self._hub.wait_async(self._seen)
                head, seen = self._hub.revision, self._seen
                told = None if head - self._told_all >= CHECKPOINT_EVERY else await self._of_change(seen, head)
                self._seen = head
                if told is None:
                    self._told_all = head
                    told = self._all()
                for follower in told:
                    follower.changed.set()
        except ShuttingDown:
            for follower in self._all():
                follower.changed.set()

    async def _of_change(self, seen: int, head: int) -> list[_Follower] | None:
        """Whom the events of revisions seen + 1 … head concern; None when that could not be found out."""
        try:
            changed = await self._read(lambda: self._journal.changed(seen, head))
        except Exception as error:
            # They read for themselves, and those that can not say so.
            logger.warning("Who is to be told of new events could not be read, all are: %s", error)
            return None
        return [
            follower
            for stream, kind in changed
            for key in (stream, None)
            for follower in self._followers.get(key, ())
            if not follower.kinds or kind in follower.kinds
        ]

    def _all(self) -> list[_Follower]:
        return [follower for followers in self._followers.values() for follower in followers]
