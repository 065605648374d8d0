"""An open journal: its identity, its head, its events, and word of new ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa
import uuid_utils

from playhead import v1
from playhead.journal import sql
from playhead.journal.append import Append
from playhead.journal.database import Database, newer
from playhead.journal.errors import CorruptRecord, JournalError, NotAJournal
from playhead.journal.hub import Hub
from playhead.journal.lru import Lru
from playhead.journal.merkle import Tree, node_number
from playhead.journal.record import Caller, Record, record_of

PAGE_EVENTS_MAX = 500
"""Events read at once by the streams."""

Clock = Callable[[], int]

logger = logging.getLogger("playhead.journal")


def system_clock() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


class Journal:
    """A journal in a database: made on first opening, then only ever appended to.

    Reading is safe from any thread and any process. Appending is the `Writer`'s.
    """

    def __init__(self, database: Database, clock: Clock = system_clock) -> None:
        self.database = database
        self.clock = clock
        self.id = self._found()
        self.hub = Hub(self.head()[0], self._watch)
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def head(self) -> tuple[int, int]:
        """The last revision and when it was recorded, in microseconds since the Unix epoch."""
        rows = self.database.rows(sql.SELECT_HEAD)
        if not rows:
            raise CorruptRecord("Revision 1 is missing: the journal's events were removed.", revision=1)
        return rows[0][0], rows[0][1]

    def root(self, size: int) -> bytes:
        """The Merkle root over the first `size` events."""
        with self.database.reading() as connection:
            return Tree.at(size, lambda level, position: self._node(connection, level, position)).root()

    def revision_at(self, time_us: int) -> int:
        """The last revision recorded at or before a time; 0 when there is none. Never decreasing times make it a
        bisection.
        """
        low, high = 0, self.head()[0]
        statement = self.database.statement(sql.SELECT_RECORDED_AT)
        with self.database.reading() as connection:
            while low < high:
                middle = (low + high + 1) // 2
                recorded_at = connection.exec_driver_sql(statement, (middle,)).scalar_one_or_none()
                if recorded_at is None:
                    raise CorruptRecord(f"Revision {middle} is missing.", revision=middle)
                if recorded_at <= time_us:
                    low = middle
                else:
                    high = middle - 1
        return low

    def read(
        self,
        first: int,
        last: int,
        *,
        stream: bytes | None = None,
        kinds: list[str] | None = None,
        backwards: bool = False,
        limit: int = PAGE_EVENTS_MAX,
    ) -> list[Record]:
        """Events of revisions first … last, both included, in order, or last first when `backwards`."""
        query = sql.select_events(
            first=first, last=last, stream=stream, kinds=kinds or [], backwards=backwards, limit=limit
        )
        with self.database.reading() as connection:
            return [record_of(row) for row in connection.execute(query)]

    def changed(self, after: int, last: int) -> list[tuple[bytes, str]]:
        """Which streams got events of which kinds in revisions after + 1 … last."""
        return [(bytes(stream), kind) for stream, kind in self.database.rows(sql.SELECT_CHANGED, (after, last))]

    def pages(self, first: int, last: int, page: int = PAGE_EVENTS_MAX) -> Iterator[list[Record]]:
        """All events of a range, page by page, through the driver: for folding, which reads everything."""
        while first <= last:
            rows = self.database.rows(sql.SELECT_RANGE, (first, last, page))
            if not rows:
                return
            yield [record_of(row) for row in rows]
            first = rows[-1][0] + 1

    def nodes(self, level: int, first: int, last: int) -> list[bytes]:
        """Kept nodes of a level at positions first … last - 1."""
        numbers = node_number(level, first), node_number(level, last - 1)
        return [bytes(row[0]) for row in self.database.rows(sql.SELECT_NODES, (*numbers, level))]

    def close(self) -> None:
        """End all subscriptions and give the connections back. The writer must have been drained."""
        self._stop.set()
        self.hub.close()
        if self._watcher is not None:
            self._watcher.join()
        self.database.close()

    def _node(self, connection: sa.Connection, level: int, position: int) -> bytes:
        text, number = sql.select_node(level, position)
        node = connection.exec_driver_sql(self.database.statement(text), (number,)).scalar_one_or_none()
        if node is None:
            raise CorruptRecord(
                f"Node ({level}, {position}) of the Merkle tree is missing.", revision=(position + 1) << level
            )
        return bytes(node)

    def _found(self) -> bytes:
        """The journal's id. In a new database: make the tables and append the first event."""
        database = self.database
        known = self._known()
        if known is not None:
            return known
        database.refuse_to_make()
        database.create_tables(sql.metadata)
        connection = database.connect_writer()
        cursor = connection.cursor()
        try:
            database.begin_append(cursor)
            known = self._known()
            if known is None:
                known = uuid_utils.uuid7().bytes
                append = Append(database, cursor, known, 0, self.clock(), Tree(), Lru(8))
                append.write(sql.INSERT_JOURNAL, [(known, sql.JOURNAL_FORMAT)])
                append.append(known, "journal_created", _created(known), Caller("playhead"))
                append.write_events()
            cursor.execute("COMMIT")
            return known
        except JournalError:
            raise
        except Exception as error:
            raise database.translated(error) from error
        finally:
            connection.close()

    def _known(self) -> bytes | None:
        """The id in the journal's own table; None when there is no such table or no row yet."""
        tables = sql.metadata.tables
        if not tables.keys() & self.database.tables():
            return None
        if any(set(table.columns.keys()) != set(self.database.columns(name)) for name, table in tables.items()):
            raise NotAJournal(f"{self.database.address} holds other tables under a journal's names.")
        rows = self.database.rows(sql.SELECT_JOURNAL)
        if not rows:
            return None
        journal_id, version = rows[0]
        if version > sql.JOURNAL_FORMAT:
            raise newer(self.database.address, version)
        return bytes(journal_id)

    def _watch(self) -> None:
        """Follow what other processes append, from the first wait on."""
        watcher = threading.Thread(target=self._follow, name="playhead-watcher", daemon=True)
        watcher.start()
        self._watcher = watcher  # not before: an interrupt may come in between, and `close` joins what it finds

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                for _ in self.database.watch(self._stop):
                    self.hub.publish(self.head()[0])
            except Exception as error:
                # The database went away: readers wait on, and are told when it is back.
                logger.warning("Watching the database failed, trying again: %s", self.database.translated(error))
                self._stop.wait(1.0)


def _created(journal_id: bytes) -> v1.Event:
    return v1.Event(
        journal_created=v1.JournalCreated(journal_id=str(uuid_utils.UUID(bytes=journal_id)), created_with="playhead")
    )
