"""Events as they come over the wire, back to records."""

from __future__ import annotations

from playhead import v1
from playhead.journal.encoding import bytes_of, micros_of
from playhead.journal.record import Record


def record_of_event(event: v1.JournalEvent) -> Record:
    """The record behind an event.

    Its payload is serialized as the journal serializes payloads, so that its leaf can be computed. That gives the
    recorded bytes as long as this version knows every field that the recording one wrote.
    """
    return Record(
        revision=event.revision,
        stream=bytes_of(event.stream),
        stream_version=event.stream_version,
        kind=event.kind,
        recorded_at=micros_of(event.recorded_at),
        actor=event.actor,
        request_id=bytes_of(event.request_id) if event.request_id else None,
        request_seq=event.request_seq,
        payload=event.event.SerializeToString(deterministic=True) if event.HasField("event") else None,
        salt=event.salt or None,
        leaf=event.leaf_hash,
    )
