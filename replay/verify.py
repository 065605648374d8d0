"""Verification: everything that the journal promises about its events is computed again from the events themselves.

| promise                                   | how it is checked                                                        |
|-------------------------------------------|--------------------------------------------------------------------------|
| revisions are gapless from 1              | counted                                                                  |
| times never decrease along revisions      | compared                                                                 |
| a stream's events are gapless, in order   | each follows the version, and commits to the leaf, of the one before     |
| an event is as it was written             | its leaf hash is that of its columns and its payload (`journal.record`)  |
| nothing was changed with its leaf         | the leaf is in the nodes above it, as they are stored, and in the root   |
| nothing was rewritten as a whole          | the root is the one noted outside the database, when that is given       |
| the database refuses changes              | its triggers are there, on, and as they were made                        |

The line before the last is the one that a person with full access to the database can not get around, so keep a root
elsewhere: `playhead journal head` shows it. What is found wrong first is raised as CorruptRecord, with the revision.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from playhead.journal.append import StreamHead
from playhead.journal.errors import CorruptRecord
from playhead.journal.journal import Journal
from playhead.journal.lru import Lru
from playhead.journal.merkle import Node, Tree
from playhead.journal.record import NO_LEAF, Record, commitment_of, leaf_hash
from playhead.replay import sql

PAGE_EVENTS = 2_048

STREAMS_MAX = 50_000
"""Streams whose last version and leaf are kept in memory, about 20 MB; the others are read again when they go on."""

Progress = Callable[[int, int], None]
"""Called with (revision reached, revision aimed at)."""

ReadNodes = Callable[[int, int, int], list[bytes]]
"""Stored nodes of a level, from a position up to but without another."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A journal in which nothing is wrong: its last revision and the root over all events up to it."""

    revision: int
    root: bytes


class Events(Protocol):
    """Where events are read from: an open journal, or one behind a server."""

    @property
    def id(self) -> bytes:
        """The journal's id."""

    def pages(self, first: int, last: int, page: int) -> Iterator[list[Record]]:
        """All events of a range, both ends included, in order."""

    def before(self, stream: bytes, revision: int) -> Record | None:
        """The last event of a stream before a revision."""


def verify_journal(
    journal: Journal, expected: tuple[int, bytes] | None = None, progress: Progress | None = None
) -> Verified:
    """Verify an open journal up to its head as it is now, its stored tree included; writers may go on meanwhile.

    `expected` is a revision and the root that was noted for it. Raises CorruptRecord naming the first bad revision, or,
    where all are as they were written, the triggers that keep them so and are missing. Nothing is put right here: who
    took a trigger away may have changed more.
    """
    head = journal.head()[0]
    verified = verify(Opened(journal), head, nodes=journal.nodes, expected=expected, progress=progress)
    stray = sql.stray_node(journal.database)
    if stray is not None:
        level, position = stray
        raise CorruptRecord(
            f"Node ({level}, {position}) of the Merkle tree stands over events that the journal does not have: events "
            "were removed from its end, or the node was added.",
            revision=head + 1,
            level=level,
            position=position,
        )
    missing = sql.missing_triggers(journal.database)
    if missing:
        raise CorruptRecord(
            f"Revisions 1 … {head} are as they were written, but the database would let them be changed: triggers are "
            f"missing, off, or not as they were made: {', '.join(missing)}. Find out who did that; the statements that "
            "make them are in playhead.journal.sql.",
            triggers=" ".join(missing),
        )
    return verified


def verify(
    events: Events,
    head: int,
    *,
    nodes: ReadNodes | None = None,
    expected: tuple[int, bytes] | None = None,
    progress: Progress | None = None,
    streams_max: int = STREAMS_MAX,
) -> Verified:
    """Verify events 1 … `head` wherever they are read from; without `nodes`, not the tree as it is stored."""
    if expected is not None and expected[0] > head:
        raise CorruptRecord(
            f"Revision {expected[0]} was noted, but the journal ends at revision {head}: events were removed.",
            revision=head + 1,
        )
    chain = Chain(events, streams_max)
    for last in sorted({expected[0] if expected else 0, head}):
        for records in events.pages(chain.tree.size + 1, last, PAGE_EVENTS):
            start = chain.tree.size
            computed, fault = chain.extend(records)
            if nodes is not None:
                _compare_nodes(computed, nodes, start, chain.tree.size)
            if fault is not None:
                raise fault
            if progress is not None:
                progress(chain.tree.size, head)
        if chain.tree.size < last:
            raise _missing(chain.tree.size + 1)
        if expected is not None and last == expected[0] and chain.tree.root() != expected[1]:
            raise CorruptRecord(
                f"The root over revisions 1 … {last} is {chain.tree.root().hex()}, but {expected[1].hex()} was noted "
                "for it: events up to there were rewritten, or this is another journal.",
                revision=last,
            )
    return Verified(head, chain.tree.root())


class Chain:
    """What has been verified so far: the tree over it and the last event of each stream."""

    def __init__(self, events: Events, streams_max: int = STREAMS_MAX) -> None:
        self.tree = Tree()
        self._events = events
        self._journal_id = events.id
        self._heads: Lru[bytes, StreamHead] = Lru(streams_max)
        self._recorded_at = -(2**63)

    def extend(self, records: list[Record]) -> tuple[list[Node], CorruptRecord | None]:
        """Verify the next events; the tree nodes that they complete, up to the first event that is wrong, and it."""
        nodes: list[Node] = []
        append = self.tree.append
        for record in records:
            fault = self._fault(record)
            if fault is not None:
                return nodes, fault
            nodes += append(record.leaf)
        return nodes, None

    def _fault(self, record: Record) -> CorruptRecord | None:
        revision = self.tree.size + 1
        if record.revision != revision:
            return _missing(revision)
        if record.payload is None or record.salt is None:
            return _wrong(revision, "has no payload any more")
        try:
            version, previous_leaf = self._before(record)
            if record.stream_version != version + 1:
                return _wrong(revision, f"is version {record.stream_version} of its stream, but follows {version}")
            computed = leaf_hash(self._journal_id, previous_leaf, record, commitment_of(record.salt, record.payload))
        except (TypeError, ValueError, AttributeError, struct.error):
            return _wrong(revision, "has a column of the wrong type or size")
        if computed != record.leaf:
            return _wrong(revision, "does not match its leaf: one of its columns, its payload or the leaf was changed")
        if record.recorded_at < self._recorded_at:
            return _wrong(revision, "was recorded before the one before it")
        if len(record.stream) != 16 or len(record.request_id or NO_LEAF[:16]) != 16 or record.request_id == b"":
            return _wrong(revision, "has an id that is not 16 bytes")
        self._recorded_at = record.recorded_at
        self._heads.put(record.stream, (record.stream_version, computed))
        return None

    def _before(self, record: Record) -> StreamHead:
        """Version and leaf of the event before this one in its stream."""
        head = self._heads.get(record.stream)
        if head is not None:
            return head
        # The first event of a stream needs no look: the database holds no two events of the same version.
        before = self._events.before(record.stream, record.revision) if record.stream_version != 1 else None
        return (0, NO_LEAF) if before is None else (before.stream_version, before.leaf)


class Opened:
    """The events of an open journal."""

    def __init__(self, journal: Journal) -> None:
        self.id = journal.id
        self.pages = journal.pages
        self._journal = journal

    def before(self, stream: bytes, revision: int) -> Record | None:
        """The last event of a stream before a revision."""
        return next(iter(self._journal.read(1, revision - 1, stream=stream, backwards=True, limit=1)), None)


def _compare_nodes(computed: list[Node], read: ReadNodes, start: int, end: int) -> None:
    """Compare the nodes that events `start` + 1 … `end` complete with the stored ones; the earliest fault is raised."""
    levels: dict[int, list[bytes]] = {}
    for _, level, _, node in computed:
        levels.setdefault(level, []).append(node)
    faults = [
        ((first + index + 1) << level, level, first + index)
        for level, nodes in levels.items()
        for first, last in [(start >> level, end >> level)]
        for index, (mine, stored) in enumerate(zip_longest(nodes, read(level, first, last)))
        if mine != stored
    ]
    if faults:
        revision, level, position = min(faults)
        raise CorruptRecord(
            f"Node ({level}, {position}) of the Merkle tree, completed by revision {revision}, is not the one that the "
            "leaves below it give: it was changed or removed.",
            revision=revision,
            level=level,
            position=position,
        )


def _missing(revision: int) -> CorruptRecord:
    return CorruptRecord(f"Revision {revision} is missing.", revision=revision)


def _wrong(revision: int, what: str) -> CorruptRecord:
    return CorruptRecord(f"Revision {revision} {what}.", revision=revision)
