"""The verification finds whatever was changed, and names the first revision at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from playhead import v1
from playhead.client.interface import READ_EVENTS
from playhead.journal import sql
from playhead.journal.errors import CorruptRecord
from playhead.journal.journal import Journal
from playhead.journal.opening import open_database
from playhead.journal.record import Record
from playhead.replay.verify import Opened, Verified, verify, verify_journal
from playhead.replay.wire import record_of_event
from tests.replay.history import History
from tests.replay.tampering import Tampering

Change = Callable[[Tampering], None]

# What is done to the journal, and the first revision that is wrong then.
CHANGES: dict[str, tuple[int, Change]] = {
    "a payload altered": (9, lambda t: t.run("UPDATE events SET payload = ? WHERE revision = 9", b"\x0a\x01x")),
    "a payload destroyed": (9, lambda t: t.run("UPDATE events SET payload = NULL, salt = NULL WHERE revision = 9")),
    "a salt altered": (9, lambda t: t.run("UPDATE events SET salt = ? WHERE revision = 9", bytes(16))),
    "a leaf altered": (9, lambda t: t.run("UPDATE events SET leaf = ? WHERE revision = 9", bytes(32))),
    "a time altered": (9, lambda t: t.run("UPDATE events SET recorded_at = recorded_at + 1 WHERE revision = 9")),
    "an actor altered": (9, lambda t: t.run("UPDATE events SET actor = 'nobody' WHERE revision = 9")),
    "a kind altered": (9, lambda t: t.run("UPDATE events SET kind = 'run_updated' WHERE revision = 9")),
    "a request id altered": (9, lambda t: t.run("UPDATE events SET request_id = ? WHERE revision = 9", bytes(16))),
    "an empty request id": (1, lambda t: t.run("UPDATE events SET request_id = ? WHERE revision = 1", b"")),
    "a stream altered": (9, lambda t: t.run("UPDATE events SET stream = ? WHERE revision = 9", bytes(16))),
    "a stream of another size": (
        2,
        lambda t: t.run("UPDATE events SET stream = ? WHERE revision = 2", _stream(t, 2) + b"\x00"),
    ),
    "an event deleted": (9, lambda t: t.run("DELETE FROM events WHERE revision = 9")),
    "the first event deleted": (1, lambda t: t.run("DELETE FROM events WHERE revision = 1")),
    "two events swapped": (8, lambda t: _swap(t, 8, 11)),
    "a tree node altered": (6, lambda t: t.run(_SET_NODE, bytes(32), 1, 2)),
    "a higher tree node altered": (16, lambda t: t.run(_SET_NODE, bytes(32), 4, 0)),
    "a tree node deleted": (8, lambda t: t.run("DELETE FROM tree_nodes WHERE level = 2 AND position = 1")),
    "a node and a later payload altered": (4, lambda t: _alter_a_node_and_a_later_payload(t)),
    "the journal's id altered": (1, lambda t: t.run("UPDATE journal SET id = ?", bytes(16))),
    "the end cut off": (18, lambda t: t.run("DELETE FROM events WHERE revision >= 18")),
    "a node added": (20, lambda t: t.run(sql.INSERT_NODE, 511, 7, 3, bytes(32))),
}

_SET_NODE = "UPDATE tree_nodes SET hash = ? WHERE level = ? AND position = ?"

# What only somebody does who knows the format and makes leaves and nodes fit again.
FORGERIES: dict[str, tuple[int, Callable[[Record], None]]] = {
    "a time before the last": (
        9,
        lambda r: setattr(r, "recorded_at", r.recorded_at - (10**9 if r.revision == 9 else 0)),
    ),
    "a stream with a gap": (9, lambda r: setattr(r, "stream_version", r.stream_version + 5 * (r.revision == 9))),
}


@pytest.fixture
def tampering(history: History) -> Iterator[Tampering]:
    """All rights on a journal that nobody else has open."""
    history.client.close()
    journal = Journal(open_database(history.address))
    yield Tampering.with_journal(journal)
    journal.close()


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_bad_revision_is_named(tampering: Tampering, history: History, name: str) -> None:
    revision, change = CHANGES[name]
    change(tampering)
    assert fault(history.address).facts["revision"] == str(revision)


@pytest.mark.parametrize("name", FORGERIES)
def test_what_contradicts_itself_is_named_though_every_leaf_fits(
    tampering: Tampering, history: History, name: str
) -> None:
    revision, change = FORGERIES[name]
    tampering.forge(change)
    assert fault(history.address).facts["revision"] == str(revision)


def test_a_journal_that_was_rewritten_as_a_whole_is_found_by_a_root_noted_before(
    tampering: Tampering, history: History
) -> None:
    noted = 14, tampering.journal.root(14)
    tampering.forge(lambda record: setattr(record, "payload", _without_client(record)))
    tampering.put_back()
    assert verified(history.address).revision == 19
    assert fault(history.address, noted).facts["revision"] == "14"


def test_an_end_that_was_cut_off_is_found_by_a_root_noted_before(tampering: Tampering, history: History) -> None:
    noted = 19, tampering.journal.root(19)
    tampering.run("DELETE FROM events WHERE revision = 19")
    tampering.put_back()
    assert verified(history.address).revision == 18
    assert fault(history.address, noted).facts["revision"] == "19"


# What is done to what keeps the journal append-only, on either database, and what is missing then.
UNGUARDED: dict[str, tuple[str, str]] = {
    "put aside": ("DROP TRIGGER events_no_delete", "DROP TRIGGER events_append_only ON events"),
    "made to do nothing": (
        "DROP TRIGGER events_no_delete; CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT 1; END",
        "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE OR "
        "REPLACE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events EXECUTE FUNCTION f()",
    ),
    "made to look away": (
        "DROP TRIGGER events_no_delete; CREATE TRIGGER events_no_delete BEFORE DELETE ON events WHEN OLD.revision > 9 "
        "BEGIN SELECT RAISE(ABORT, 'events is append-only'); END",
        "CREATE OR REPLACE TRIGGER events_append_only BEFORE UPDATE OR TRUNCATE ON events "
        "EXECUTE FUNCTION playhead_append_only()",
    ),
    "put elsewhere": (
        "DROP TRIGGER events_no_delete; CREATE TRIGGER events_no_delete BEFORE DELETE ON leases "
        "BEGIN SELECT RAISE(ABORT, 'events is append-only'); END",
        "DROP TRIGGER events_append_only ON events; CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR "
        "TRUNCATE ON leases EXECUTE FUNCTION playhead_append_only()",
    ),
    "switched off": ("DROP TRIGGER events_no_delete", "ALTER TABLE events DISABLE TRIGGER events_append_only"),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_a_journal_that_could_be_changed_is_found_though_nothing_was(history: History, name: str) -> None:
    history.client.close()
    journal = Journal(open_database(history.address))
    on_sqlite, on_postgres = UNGUARDED[name]
    sqlite = journal.database.engine.dialect.name == "sqlite"
    connection = journal.database.connect_writer()
    connection.executescript(on_sqlite) if sqlite else connection.execute(on_postgres)
    connection.close()
    journal.close()
    found = fault(history.address)
    assert found.facts == {"triggers": "events_no_delete" if sqlite else "events_append_only"}
    assert "Revisions 1 … 19 are as they were written, but" in str(found)
    assert found.facts["triggers"] in str(found)


def test_a_journal_as_it_was_written_is_verified_with_its_root(history: History) -> None:
    reached: list[tuple[int, int]] = []
    found = verify_journal(history.journal, (14, history.journal.root(14)), lambda *at: reached.append(at))
    assert (found.revision, found.root) == (history.head(), history.journal.root(history.head()))
    assert reached[-1] == (found.revision, found.revision)


def test_streams_that_memory_has_no_room_for_are_read_again(history: History) -> None:
    found = verify(Opened(history.journal), history.head(), streams_max=1)
    assert found.root == history.journal.root(history.head())


def test_events_appended_meanwhile_do_no_harm(history: History) -> None:
    head = history.head()
    found = verify_journal(history.journal, progress=lambda *_: history.rename(history.flow_run("late"), "later"))
    assert found.revision == head
    assert history.head() > head


def test_events_from_the_wire_verify_like_those_on_disk(history: History) -> None:
    stream = history.client.stream(READ_EVENTS, v1.ReadEventsRequest())
    records = [record_of_event(event) for response in stream for event in response.events]
    assert records == [record for page in history.journal.pages(1, history.head()) for record in page]


def verified(address: str, expected: tuple[int, bytes] | None = None) -> Verified:
    """What verification finds in the journal at an address, opened for it alone."""
    journal = Journal(open_database(address))
    try:
        return verify_journal(journal, expected)
    finally:
        journal.close()


def fault(address: str, expected: tuple[int, bytes] | None = None) -> CorruptRecord:
    """What verification raises."""
    with pytest.raises(CorruptRecord) as raised:
        verified(address, expected)
    return raised.value


def _stream(tampering: Tampering, revision: int) -> bytes:
    return tampering.journal.read(revision, revision)[0].stream


def _swap(tampering: Tampering, one: int, other: int) -> None:
    for before, after in ((one, -1), (other, one), (-1, other)):
        tampering.run("UPDATE events SET revision = ? WHERE revision = ?", after, before)


def _alter_a_node_and_a_later_payload(tampering: Tampering) -> None:
    tampering.run(_SET_NODE, bytes(32), 1, 1)
    tampering.run("UPDATE events SET payload = ? WHERE revision = 9", b"")


def _without_client(record: Record) -> bytes:
    event = v1.Event.FromString(record.payload or b"")
    event.client = "somebody else"
    return event.SerializeToString(deterministic=True)
