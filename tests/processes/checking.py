"""What must hold for a journal whatever happened to its processes."""

from __future__ import annotations

from collections import Counter

from playhead.journal.journal import Journal
from playhead.journal.merkle import Tree
from playhead.journal.opening import open_database
from playhead.journal.record import NO_LEAF, Record, commitment_of, leaf_hash
from playhead.projector.building import build, drop, fresh_prefix
from playhead.projector.reads import all_rows
from playhead.projector.sql import made_of
from playhead.replay.verify import verify_journal


def check_journal(address: str) -> list[Record]:
    """Check everything there is to check about the journal at an address; all its events. What `verify_journal` does is
    done here a second time, by other code.
    """
    journal = Journal(open_database(address))
    try:
        records = [record for page in journal.pages(1, journal.head()[0]) for record in page]
        check_leaves(journal, records)
        check_requests(records)
        check_views(journal)
        assert verify_journal(journal).revision == len(records)
        return records
    finally:
        journal.close()


def check_leaves(journal: Journal, records: list[Record]) -> None:
    """Revisions are gapless from 1, times never decrease, every stream is a chain, and the kept tree is that of the
    leaves.
    """
    tree, heads, now = Tree(), dict[bytes, tuple[int, bytes]](), 0
    nodes: dict[int, list[bytes]] = {}
    for index, record in enumerate(records):
        version, previous = heads.get(record.stream, (0, NO_LEAF))
        assert (record.revision, record.stream_version) == (index + 1, version + 1)
        assert record.recorded_at >= now
        assert record.salt is not None
        assert record.payload is not None
        assert record.leaf == leaf_hash(journal.id, previous, record, commitment_of(record.salt, record.payload))
        for _, level, _, node in tree.append(record.leaf):
            nodes.setdefault(level, []).append(node)
        heads[record.stream], now = (record.stream_version, record.leaf), record.recorded_at
    assert journal.root(len(records)) == tree.root()
    for level in range(1, len(records).bit_length() + 1):
        assert journal.nodes(level, 0, len(records)) == nodes.get(level, [])


def check_requests(records: list[Record]) -> None:
    """A request was decided once: at most one event for each of its parts, numbered from 0."""
    sequences: dict[bytes, list[int]] = {}
    for record in records:
        if record.request_id is not None:
            sequences.setdefault(record.request_id, []).append(record.request_seq)
    assert [seqs for seqs in sequences.values() if seqs != list(range(len(seqs)))] == []
    decided = Counter((record.request_id, record.stream) for record in records if record.kind == "state_proposed")
    assert {request: times for request, times in decided.items() if times > 1} == {}


def check_views(journal: Journal) -> None:
    """The live views are what folding the journal again makes."""
    prefix = fresh_prefix()
    build(journal, prefix)
    try:
        for live, built in zip(made_of().all, made_of(prefix).all, strict=True):
            assert list(all_rows(journal.database, live)) == list(all_rows(journal.database, built)), live.name
    finally:
        drop(journal, prefix)
