"""The event inside a record."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from playhead import v1
from playhead.journal.errors import CorruptRecord
from playhead.journal.record import Record


def event_of(record: Record) -> v1.Event:
    """The event that a record holds. Raises CorruptRecord when its payload is gone or can not be read."""
    if record.payload is None:
        raise CorruptRecord(f"Revision {record.revision} has no payload.", revision=record.revision)
    try:
        return v1.Event.FromString(record.payload)
    except DecodeError as error:
        raise CorruptRecord(
            f"The payload of revision {record.revision} can not be read: {error}.", revision=record.revision
        ) from error
