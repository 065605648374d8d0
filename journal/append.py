"""The transaction in which events are appended: numbered, hashed, gathered, then written at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from playhead import v1
from playhead.journal import sql
from playhead.journal.database import Database, Row
from playhead.journal.lru import Lru
from playhead.journal.merkle import Node, Tree
from playhead.journal.record import NO_LEAF, Caller, Record, commitment_of, leaf_hash, row_of

StreamHead = tuple[int, bytes]
"""Version and leaf of a stream's last event."""


class Append:
    """One append transaction, open from the moment nobody else can append until its commit.

    `now` is the recorded clock: microseconds since the Unix epoch, the same for all events of the transaction and never
    before the last one. `revision` is that of the last event so far.
    """

    def __init__(
        self,
        database: Database,
        cursor: Any,
        journal_id: bytes,
        revision: int,
        now: int,
        tree: Tree,
        heads: Lru[bytes, StreamHead],
    ) -> None:
        self.database = database
        self.journal_id = journal_id
        self.revision = revision
        self.now = now
        self.records: list[Record] = []
        self.nodes: list[Node] = []
        self.changed = False
        self._cursor = cursor
        self._salts: list[bytes] = []
        self._salts_at_once = 1
        self._tree = tree
        self._heads = heads

    def append(
        self,
        stream: bytes,
        kind: str,
        event: v1.Event,
        caller: Caller,
        request_id: bytes | None = None,
        request_seq: int = 0,
    ) -> Record:
        """Add an event to a stream; it gets the next revision and the stream's next version."""
        version, previous_leaf = self._head(stream)
        salt = self._salt()
        # Maps in the order of their keys: whoever reads the event can make the same bytes, and so the leaf, again.
        payload = event.SerializeToString(deterministic=True)
        self.revision += 1
        record = Record(
            self.revision,
            stream,
            version + 1,
            kind,
            self.now,
            caller.actor,
            request_id,
            request_seq,
            payload,
            salt,
            b"",
        )
        leaf = record.leaf = leaf_hash(self.journal_id, previous_leaf, record, commitment_of(salt, payload))
        self._heads.put(stream, (version + 1, leaf))
        self.nodes += self._tree.append(leaf)
        self.records.append(record)
        return record

    def version(self, stream: bytes) -> int:
        """The version of a stream's last event; 0 when it has none."""
        return self._head(stream)[0]

    def load_heads(self, streams: Iterable[bytes]) -> None:
        """Read the heads of many streams at once, so that `append` and `version` need not."""
        missing = [stream for stream in set(streams) if self._heads.get(stream) is None]
        if not missing:
            return
        for stream in missing:
            self._heads.put(stream, (0, NO_LEAF))
        for stream, version, leaf in self.rows_of(sql.SELECT_STREAM_HEADS, missing):
            self._heads.put(bytes(stream), (version, bytes(leaf)))

    def rows_of(self, template: str, ids: Sequence[bytes]) -> list[Row]:
        """Rows of a statement that has `IN ({ids})`."""
        return self.database.rows_of(self._cursor, template, ids)

    def rows(self, text: str, values: Sequence[Any]) -> list[Row]:
        """Rows of a statement written with `?`."""
        rows: list[Row] = self._cursor.execute(self.database.statement(text), values).fetchall()
        return rows

    def write(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of the rows. They become durable with the commit."""
        if rows:
            self.changed = True
            statement = self.database.statement(text)
            if len(rows) == 1:
                self._cursor.execute(statement, rows[0])
            else:
                self._cursor.executemany(statement, rows)

    def write_events(self) -> None:
        """Write what was appended: the events and the nodes they completed."""
        self.write(
            sql.INSERT_EVENT,
            [row_of(record) for record in self.records],
        )
        self.write(sql.INSERT_NODE, self.nodes)

    def _head(self, stream: bytes) -> StreamHead:
        head = self._heads.get(stream)
        if head is None:
            self.load_heads([stream])
            head = self._heads.get(stream)
            assert head is not None
        return head

    def _salt(self) -> bytes:
        """16 bytes of chance, drawn for more and more events at once: it is the system's, and each draw costs."""
        if not self._salts:
            chance = os.urandom(16 * self._salts_at_once)
            self._salts = [chance[start : start + 16] for start in range(0, len(chance), 16)]
            self._salts_at_once = min(2 * self._salts_at_once, 256)
        return self._salts.pop()
