"""A database opened for reading: a journal, its views and its logs, for threads and for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from playhead import v1
from playhead.engine.orchestration import sql
from playhead.engine.orchestration.handler import RESUME_NEEDS_PAUSE
from playhead.engine.orchestration.installed import chosen_policy
from playhead.engine.orchestration.policy import Policy
from playhead.exceptions import QueueFull
from playhead.journal.changes import Changes
from playhead.journal.database import READ_CONNECTIONS_MAX
from playhead.journal.encoding import text_of
from playhead.journal.hub import unblocking
from playhead.journal.journal import Clock, Journal, system_clock
from playhead.journal.opening import open_database
from playhead.journal.service import JournalService
from playhead.logs.service import LogsService
from playhead.projector.audit import AuditService
from playhead.projector.building import open_views
from playhead.projector.inputs import InputsService
from playhead.projector.service import RunsService

READS_MAX = 4_096
"""Reads of an event loop that may wait, for a thread or for their min_revision."""

Answer = TypeVar("Answer")


class Reader:
    """A journal and what is read of it: `runs`, `events`, `inputs`, `audit` and `logs` are services of the contract.

    Commands are the `Orchestrator`'s, in this process or another; any number of both may have the same database open.
    Log records, which are no events, are stored here too. Close it, or use it as a context manager.
    """

    def __init__(self, journal: Journal, policy: Policy) -> None:
        self.journal = journal
        self.journal_id = text_of(journal.id)
        self.runs = RunsService(journal)
        self.events = JournalService(journal)
        self.inputs = InputsService(journal)
        rules = {rule.name for rules in policy.lists().values() for rule in rules}
        self.audit = AuditService(journal, frozenset({*rules, RESUME_NEEDS_PAUSE}))
        self.logs = LogsService(journal)
        self._changes = Changes(journal, self._in_thread)
        self._reads = 0
        self._readers: ThreadPoolExecutor | None = None
        self._log_writer: ThreadPoolExecutor | None = None

    @classmethod
    def open(
        cls,
        database: str,
        *,
        policy: Policy | None = None,
        clock: Clock = system_clock,
        make: bool = True,
        **options: object,
    ) -> Self:
        """Open a database: a path, `sqlite:///path` or `postgresql://…`.

        `policy` defaults to the one that PLAYHEAD_POLICY names, then to the core policy. `clock` gives microseconds
        since the Unix epoch. `make=False` refuses a database without a journal. Further options are those of the class.
        Raises the errors of `journal.errors`.
        """
        journal = Journal(open_database(database, make=make), clock)
        try:
            open_views(journal)
            journal.database.create_tables(sql.metadata)
            return cls(journal, policy or chosen_policy(), **options)
        except BaseException:
            journal.close()
            raise

    async def read(self, function: Callable[[v1.ReadAt], Answer], request: object) -> Answer:
        """Answer a blocking read from an event loop: wait for min_revision without a thread, then read in one.

        Raises QueueFull when READS_MAX of them wait.
        """
        if self._reads >= READS_MAX:
            raise QueueFull(f"{READS_MAX} reads wait: back off, send the same request again.", limit=READS_MAX)
        self._reads += 1
        try:
            read_at = getattr(request, "read_at", None)
            if read_at is not None and read_at.min_revision > self.journal.hub.revision:
                await self._reached(read_at.min_revision)
            return await self._in_thread(lambda: function(request))  # type: ignore[arg-type] # the function's own
        finally:
            self._reads -= 1

    async def watch_run(self, request: v1.WatchRunRequest) -> AsyncIterator[v1.WatchRunResponse]:
        """A run after each change, from an event loop."""
        stream = await self._in_thread(lambda: self.runs.watching(request))
        async for response in self._changes.unblocking(stream):
            yield response

    async def watch_events(self, request: v1.WatchEventsRequest) -> AsyncIterator[v1.WatchEventsResponse]:
        """Events as they are recorded, from an event loop."""
        stream = await self._in_thread(lambda: self.events.watching(request))
        async for response in self._changes.unblocking(stream):
            yield response

    async def receive_inputs(self, request: v1.ReceiveInputsRequest) -> AsyncIterator[v1.ReceiveInputsResponse]:
        """Inputs of a flow run as they are sent, from an event loop."""
        stream = await self._in_thread(lambda: self.inputs.receiving(request))
        async for response in self._changes.unblocking(stream):
            yield response

    async def read_events(self, request: v1.ReadEventsRequest) -> AsyncIterator[v1.ReadEventsResponse]:
        """Events that exist, from an event loop."""
        stream = await self._in_thread(lambda: self.events.read_events(request))
        while (response := await self._in_thread(lambda: next(stream, None))) is not None:
            yield response

    async def write_logs(self, request: v1.WriteLogsRequest) -> v1.WriteLogsResponse:
        """Store log records, from an event loop: one batch after the other, so that no reads wait for writers."""
        if self._log_writer is None:
            self._log_writer = ThreadPoolExecutor(1, "playhead-log-writer")
        return await asyncio.get_running_loop().run_in_executor(self._log_writer, lambda: self.logs.write_logs(request))

    async def follow_logs(self, request: v1.FollowLogsRequest) -> AsyncIterator[v1.FollowLogsResponse]:
        """Log records as they are stored, from an event loop."""
        stream = self.logs.following(request)
        async for response in unblocking(stream, self.logs.hub, self._in_thread):
            yield response

    def close(self) -> None:
        """End all streams, release the database. Safe to call twice."""
        if self._log_writer is not None:
            self._log_writer.shutdown()
        self.logs.close()
        self.journal.close()
        if self._readers is not None:
            self._readers.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def _reached(self, revision: int) -> None:
        head = await self._in_thread(self.journal.head)
        self.journal.hub.publish(head[0])
        await self.journal.hub.wait_async(revision - 1)

    async def _in_thread(self, function: Callable[[], Answer]) -> Answer:
        if self._readers is None:
            self._readers = ThreadPoolExecutor(READ_CONNECTIONS_MAX, "playhead-reader")
        return await asyncio.get_running_loop().run_in_executor(self._readers, function)
