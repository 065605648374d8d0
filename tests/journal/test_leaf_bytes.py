"""The bytes a leaf commits to are frozen. Should a test here fail, mend the code: the bytes can not be changed."""

from __future__ import annotations

import dataclasses
from hashlib import sha256
from typing import Any

import pytest

from playhead.journal.record import NO_LEAF, Record, commitment_of, leaf_hash
from tests.journal.notes import Note, OpenNotes, new_id

JOURNAL_ID = bytes.fromhex("018f0000000070008000000000000001")
RECORD = Record(
    revision=258,
    stream=bytes.fromhex("018f0000000070008000000000000002"),
    stream_version=3,
    kind="state_proposed",
    recorded_at=1_700_000_000_123_456,
    actor="ürsula@host pid 7",
    request_id=bytes.fromhex("018f0000000070008000000000000003"),
    request_seq=1,
    payload=b"payload",
    salt=bytes(range(16)),
    leaf=b"",
)
PREVIOUS = bytes(range(32, 64))

# Field by field, as the table in journal/record.py has them.
LEAF_BYTES = bytes.fromhex(
    "01"  # format
    "018f0000000070008000000000000001"  # journal id
    "0000000000000102"  # revision
    "018f0000000070008000000000000002"  # stream
    "0000000000000003"  # stream version
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"  # previous leaf
    "000e73746174655f70726f706f736564"  # kind
    "00060a2418202240"  # recorded at
    "0012c3bc7273756c6140686f7374207069642037"  # actor
    "10018f0000000070008000000000000003"  # request id
    "00000001"  # request sequence
    "97053b5342a1f322b5f89f151d626b6133fd9198d66cd9a8f70be062fa280ca7"  # commitment
)
LEAF_HASH = "b30b485ca3f4d782338a9575b90d1fc33ece4ecc38fe1932424e69f4ca84236c"
LEAF_HASH_BARE = "e3b5b04a4219c59e0f77e7a429a274b55fec9c25449e8515f408ad7017a9b0ef"


def leaf_of(record: Record, previous: bytes = PREVIOUS, journal_id: bytes = JOURNAL_ID) -> bytes:
    """The leaf of a record that has its payload."""
    assert record.salt is not None
    assert record.payload is not None
    return leaf_hash(journal_id, previous, record, commitment_of(record.salt, record.payload))


def test_the_bytes_of_a_leaf_are_what_they_were_in_the_first_release() -> None:
    assert leaf_of(RECORD) == sha256(b"\x00" + LEAF_BYTES).digest()
    assert leaf_of(RECORD).hex() == LEAF_HASH


def test_an_event_nobody_asked_for_has_an_empty_request_id_in_its_leaf() -> None:
    bare = dataclasses.replace(RECORD, request_id=None, actor="", stream_version=1, recorded_at=-1)
    assert leaf_of(bare, NO_LEAF).hex() == LEAF_HASH_BARE


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Record) if f.name != "leaf"])
def test_every_field_of_a_record_is_in_its_leaf(field: str) -> None:
    value: Any = getattr(RECORD, field)
    other: Any = value + 1 if isinstance(value, int) else value[:-1] + (b"!" if isinstance(value, bytes) else "!")
    assert leaf_of(dataclasses.replace(RECORD, **{field: other})) != leaf_of(RECORD)


def test_the_journal_and_the_streams_previous_event_are_in_a_leaf() -> None:
    assert len({leaf_of(RECORD), leaf_of(RECORD, NO_LEAF), leaf_of(RECORD, journal_id=NO_LEAF[:16])}) == 3


def test_a_leaf_says_nothing_of_the_payload_without_its_salt() -> None:
    payload, one, two = b"secret", bytes(16), bytes([1] * 16)
    assert commitment_of(one, payload) == sha256(one + payload).digest()
    assert commitment_of(one, payload) != commitment_of(two, payload)


def test_what_is_appended_has_the_leaf_of_its_row_and_the_one_before_it_in_its_stream(store: str) -> None:
    streams = [new_id(), new_id()]
    with OpenNotes(store) as notes:
        notes.submit(*(Note(f"note {number}", streams[number % 2], new_id()) for number in range(9)))
        notes.write("last")
        previous: dict[bytes, bytes] = {}
        salts = set()
        for record in notes.all():
            assert record.leaf == leaf_of(record, previous.get(record.stream, NO_LEAF), notes.journal.id)
            previous[record.stream] = record.leaf
            salts.add(record.salt)
        assert len(salts) == notes.journal.head()[0]
        assert {len(salt or b"") for salt in salts} == {16}
