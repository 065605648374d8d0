"""The write path: one writer at a time, many commands in one transaction, one fsync.

The write thread takes all the commands that wait, up to a bound, and does in ONE transaction: begin so that nobody
else can append; take up what other processes appended; for each command in order either find the answer recorded for
its request id or let the handler decide it; write events, tree nodes and view changes; commit. Only then are the
futures resolved and the readers told. If anything fails, the transaction is rolled back, all caches are dropped and
the futures fail with a typed error. A caller that would only wait for the thread takes its place when it is idle.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from playhead.exceptions import InternalDefect, PlayheadError, QueueFull, ShuttingDown
from playhead.journal import sql
from playhead.journal.append import Append, StreamHead
from playhead.journal.database import Database
from playhead.journal.errors import CorruptRecord, JournalError
from playhead.journal.hub import Hub
from playhead.journal.jobs import BATCH_COMMANDS_MAX, C, Command, Finish, Job, only
from playhead.journal.lru import Lru
from playhead.journal.merkle import Tree
from playhead.journal.record import Record, record_of

QUEUE_JOBS_MAX = 4_096
"""Jobs that may wait for the writer; one more is refused with QueueFull."""

STREAM_HEADS_MAX = 20_000
"""Streams whose last version and leaf are kept in memory."""

CATCH_UP_PAGE = 1_000

logger = logging.getLogger("playhead.journal")


C_contra = TypeVar("C_contra", bound=Command, contravariant=True)


class Handler(Protocol[C_contra]):
    """Turns commands into events. Called on the write thread only, inside the append transaction."""

    def prepare(self, append: Append, commands: Sequence[C_contra]) -> None:
        """Read what deciding these commands will need, in as few statements as possible."""

    def decide(self, append: Append, command: C_contra) -> object:
        """Append the command's events and answer it. A PlayheadError answers this command alone: append nothing before
        it.
        """

    def answer(self, append: Append, command: C_contra, records: list[Record]) -> object:
        """The answer to a command that was recorded before as these events."""

    def flush(self, append: Append) -> None:
        """Write the view changes of `append.records`."""

    def catch_up(self, records: list[Record]) -> None:
        """Others appended these events: forget what they made stale."""

    def reset(self) -> None:
        """Forget everything that is not in the database."""


class Writer(Generic[C]):
    """What appends in this process: a thread, or in its place a caller that waits, one at a time.

    `clock` gives microseconds since the Unix epoch.
    """

    def __init__(
        self,
        database: Database,
        journal_id: bytes,
        handler: Handler[C],
        hub: Hub,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._database = database
        self._journal_id = journal_id
        self._handler = handler
        self._hub = hub
        self._clock = clock
        self._jobs: queue.SimpleQueue[Job[C] | None] = queue.SimpleQueue()  # None ends the thread
        self._connection: Any = None
        self._head = 0
        self._tree: Tree | None = None
        self._heads: Lru[bytes, StreamHead] = Lru(STREAM_HEADS_MAX)
        # No request id on record is higher: a higher one is new, without a look. None: not known.
        self._newest_request: bytes | None = None
        self._draining = False
        self._submitting = threading.Lock()
        # Held by whoever writes: the thread, or a caller in its place. `_busy` says, as a hint, which thread that is.
        self._turn = threading.Lock()
        self._busy = 0
        # What is in memory may differ from what is on disk, as after a transaction that did not end well.
        self._unsettled = False
        # Started by the first to `submit`: callers that wait do without.
        self._thread: threading.Thread | None = None

    def submit(self, commands: Sequence[C], finish: Finish = only) -> Future[Any]:
        """Queue commands; the future is resolved once they are durable, with what `finish` makes of their outcomes.

        Raises QueueFull at the bound and ShuttingDown after `drain`.
        """
        future: Future[Any] = Future()
        self.enqueue(Job(commands, finish, future))
        return future

    def enqueue(self, job: Job[C]) -> None:
        """Queue a job; its future is resolved as that of `submit`. Raises as `submit`."""
        # Under the lock nothing can come to stand behind the mark of `drain`, where nobody would answer it.
        with self._submitting:
            if self._draining:
                raise _closing()
            if self._jobs.qsize() >= QUEUE_JOBS_MAX:
                raise QueueFull(
                    f"{QUEUE_JOBS_MAX} requests wait for the writer: back off, send the same request again.",
                    limit=QUEUE_JOBS_MAX,
                )
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="playhead-writer", daemon=True)
                self._thread.start()

    def call(self, commands: Sequence[C], finish: Finish = only) -> Any:
        """As `submit`, and wait for the result.

        When nobody else writes, the caller's thread does what the write thread would do, which spares two changes of
        thread. An exception raised into it by a signal's handler rolls back the transaction it met, and nothing else.
        """
        if self._busy == threading.get_ident():
            raise InternalDefect("A command was sent from within the decision of another, which would wait for itself.")
        if self._busy or not self._jobs.empty():
            return self.submit(commands, finish).result()
        job = Job(commands, finish)
        self.perform([job])
        return job.result()

    def perform(self, jobs: Sequence[Job[C]]) -> None:
        """Do jobs in the caller's thread, when its turn has come: for a thread that brings the commands of many.

        The jobs are settled when this returns, whatever went wrong. Raises ShuttingDown after `drain`.
        """
        batch: list[Job[C]] = []
        count = 0
        for job in jobs:
            batch.append(job)
            count += len(job.commands)
            if count >= BATCH_COMMANDS_MAX:
                self._perform(batch)
                batch, count = [], 0
        if batch:
            self._perform(batch)

    def _perform(self, batch: list[Job[C]]) -> None:
        with self._turn:
            if self._draining:
                raise _closing()
            self._commit_in_turn(batch)

    def drain(self) -> None:
        """Refuse further commands, finish those that wait, end the thread. Safe to call twice."""
        with self._submitting:
            if not self._draining:
                self._draining = True
                self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
        with self._turn:
            self._disconnect()

    def _run(self) -> None:
        job = self._jobs.get()
        while job is not None:
            batch: list[Job[C]] = []
            count = 0
            while job is not None:
                batch.append(job)
                count += len(job.commands)
                if count >= BATCH_COMMANDS_MAX:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            with self._turn:
                self._commit_in_turn(batch)
            if job is not None:
                job = self._jobs.get()

    def _commit_in_turn(self, batch: list[Job[C]]) -> None:
        self._busy = threading.get_ident()
        try:
            self._commit(batch)
        finally:
            self._busy = 0
            if self._unsettled:
                self._forget()

    def _commit(self, batch: list[Job[C]]) -> None:
        try:
            revision = self._attempt(batch)
        except Exception as error:
            self._forget()
            translated = self._database.translated(error)
            if isinstance(translated, JournalError):
                self._resolve(batch, translated)
            else:
                self._isolate(batch, error)
            return
        if revision:
            self._hub.publish(revision)
        self._resolve(batch)

    def _isolate(self, batch: list[Job[C]], error: Exception) -> None:
        """A defect in one command must not fail its neighbours: try each of them alone."""
        commands = [(job, command) for job in batch for command in job.commands]
        if len(commands) == 1:
            logger.error("A command failed in the write thread; nothing of it was recorded.", exc_info=error)
            defect = InternalDefect(f"{type(error).__name__}: {error}. Nothing was recorded.")
            defect.__cause__ = error
            batch[0].outcomes = [defect]
            self._resolve(batch)
            return
        for job in batch:
            job.outcomes = []
        for job, command in commands:
            alone = Job([command])
            self._commit([alone])
            job.outcomes.append(alone.answer if alone.error is None else alone.error)
        self._resolve(batch)

    def _attempt(self, batch: list[Job[C]]) -> int:
        """Decide and write a batch in one transaction; the new head, or 0 when nothing was appended."""
        if self._unsettled:
            self._forget()
        self._unsettled = True
        if self._connection is None:
            self._database.reopen()
            self._connection = self._database.connect_writer()
        cursor = self._connection.cursor()
        try:
            self._database.begin_append(cursor)
            append = self._begin(cursor)
            self._decide(append, batch)
            with self._database.at_once(self._connection):
                if append.records:
                    append.write_events()
                    self._handler.flush(append)
                    self._database.notify(cursor)
                cursor.execute("COMMIT" if append.changed else "ROLLBACK")
        finally:
            cursor.close()
        self._head = append.revision
        self._unsettled = False
        return append.revision if append.records else 0

    def _begin(self, cursor: Any) -> Append:
        statement = self._database.statement
        head, recorded_at = cursor.execute(statement(sql.SELECT_HEAD)).fetchone() or (0, 0)
        if head != self._head:
            self._catch_up(cursor, head)
        if self._tree is None:
            self._tree = read_tree(cursor, self._database, head)
        if self._newest_request is None:
            row = cursor.execute(statement(sql.SELECT_NEWEST_REQUEST)).fetchone()
            self._newest_request = bytes(row[0]) if row else b""
        now = max(self._clock(), recorded_at)
        return Append(self._database, cursor, self._journal_id, head, now, self._tree, self._heads)

    def _catch_up(self, cursor: Any, head: int) -> None:
        """Take up what other processes appended since this one did."""
        tree, newest = self._tree, self._newest_request
        self._tree = self._newest_request = None
        if self._head == 0:
            # Nothing is known yet that could be out of date.
            return
        if head - self._head > STREAM_HEADS_MAX or head < self._head:
            self._handler.reset()
            self._heads.clear()
            return
        assert tree is not None, "known where a head is"
        assert newest is not None, "known where a head is"
        statement = self._database.statement(sql.SELECT_RANGE)
        while self._head < head:
            rows = cursor.execute(statement, (self._head + 1, head, CATCH_UP_PAGE)).fetchall()
            records = [record_of(row) for row in rows]
            for record in records:
                self._heads.put(record.stream, (record.stream_version, record.leaf))
                tree.append(record.leaf)
                newest = max(newest, record.request_id or b"")
            self._handler.catch_up(records)
            self._head = records[-1].revision
        self._tree, self._newest_request = tree, newest

    def _decide(self, append: Append, batch: list[Job[C]]) -> None:
        commands = [command for job in batch for command in job.commands]
        recorded = self._recorded(append, commands)
        self._handler.prepare(append, commands)
        for job in batch:
            for command in job.commands:
                request_id = command.request_id
                before = len(append.records)
                try:
                    known = recorded.get(request_id) if request_id is not None else None
                    if known:
                        outcome = self._handler.answer(append, command, known)
                    else:
                        outcome = self._handler.decide(append, command)
                except PlayheadError as error:
                    assert len(append.records) == before, "a command failed after it had appended"
                    outcome = error
                job.outcomes.append(outcome)
                if request_id is not None and len(append.records) > before:
                    recorded[request_id] = append.records[before:]

    def _recorded(self, append: Append, commands: Sequence[C]) -> dict[bytes, list[Record]]:
        """The events of those commands that were recorded before, by request id."""
        ids = [command.request_id for command in commands if command.request_id is not None]
        recorded: dict[bytes, list[Record]] = {}
        newest = self._newest_request
        assert newest is not None, "read where the transaction began"
        if ids:
            self._newest_request = max(newest, *ids)
        if sought := [request_id for request_id in ids if request_id <= newest]:
            for row in append.rows_of(sql.SELECT_REQUESTS, sought):
                record = record_of(row)
                assert record.request_id is not None
                recorded.setdefault(bytes(record.request_id), []).append(record)
        return recorded

    def _resolve(self, batch: list[Job[C]], error: BaseException | None = None) -> None:
        """Hand outcomes, or one error for all, to those who wait."""
        for job in batch:
            job.settle(error)

    def _forget(self) -> None:
        """What is in memory may be ahead of what is on disk: begin again from there."""
        self._disconnect()
        self._head = 0
        self._tree = None
        self._newest_request = None
        self._heads.clear()
        self._handler.reset()
        self._unsettled = False

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                # Closing rolls an open transaction back.
                connection.close()
            except Exception:
                logger.warning("The writer's connection could not be closed; a new one is made.", exc_info=True)


def _closing() -> ShuttingDown:
    return ShuttingDown("The journal is being closed: send the same request elsewhere or later.")


def read_tree(cursor: Any, database: Database, size: int) -> Tree:
    """The tree over the first `size` events, from its kept nodes."""

    def node(level: int, position: int) -> bytes:
        text, number = sql.select_node(level, position)
        row = cursor.execute(database.statement(text), (number,)).fetchone()
        if row is None:
            raise CorruptRecord(
                f"Node ({level}, {position}) of the Merkle tree is missing: run `journal verify`.",
                revision=(position + 1) << level,
            )
        return bytes(row[0])

    return Tree.at(size, node)
