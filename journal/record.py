"""One event as the journal keeps it, and the bytes that its leaf commits to.

The leaf bytes are frozen: a journal written by any release verifies under every later one. All integers are big-endian.

| field            | bytes                                                        |
|------------------|--------------------------------------------------------------|
| format           | 1: `LEAF_FORMAT`                                             |
| journal id       | 16                                                           |
| revision         | 8                                                            |
| stream           | 16                                                           |
| stream version   | 8                                                            |
| previous leaf    | 32: leaf hash of the stream's previous event, zeros if first |
| kind             | 2 length, then UTF-8                                         |
| recorded at      | 8: microseconds since the Unix epoch, signed                 |
| actor            | 2 length, then UTF-8                                         |
| request id       | 1 length (0 or 16), then the bytes                           |
| request sequence | 4                                                            |
| commitment       | 32: SHA-256(salt || payload)                                 |

The leaf hash is that of RFC 6962, section 2.1: SHA-256(0x00 || leaf bytes). The payload enters as a salted commitment,
so that payload and salt can be destroyed while every proof stays valid.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

LEAF_FORMAT = 1
NO_LEAF = bytes(32)

_FIXED = struct.Struct(">cB16sQ16sQ32sH")
_MIDDLE = struct.Struct(">qH")
_TAIL = struct.Struct(">I32s")


@dataclass(slots=True)
class Record:
    """One event. Ids are 16 bytes, `recorded_at` microseconds since the Unix epoch in UTC.

    `payload` is a serialized `playhead.v1.Event`; it and `salt` are None once the event was redacted. `request_id` is
    None for what no client asked for.
    """

    revision: int
    stream: bytes
    stream_version: int
    kind: str
    recorded_at: int
    actor: str
    request_id: bytes | None
    request_seq: int
    payload: bytes | None
    salt: bytes | None
    leaf: bytes


row_of = attrgetter(*Record.__slots__)
"""The row of the events table for a record."""


def record_of(row: Sequence[Any]) -> Record:
    """The record of a row of the events table."""
    return Record(*row)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `actor` is who, as far as this side could tell; `client` their software; `traceparent` W3C's."""

    actor: str
    client: str = ""
    traceparent: str = ""


def leaf_hash(journal_id: bytes, previous_leaf: bytes, record: Record, commitment: bytes) -> bytes:
    """The RFC 6962 leaf hash of a record, whose own `leaf` is not read."""
    kind = record.kind.encode()
    actor = record.actor.encode()
    request_id = record.request_id or b""
    return sha256(
        b"".join(
            (
                _FIXED.pack(
                    b"\x00",
                    LEAF_FORMAT,
                    journal_id,
                    record.revision,
                    record.stream,
                    record.stream_version,
                    previous_leaf,
                    len(kind),
                ),
                kind,
                _MIDDLE.pack(record.recorded_at, len(actor)),
                actor,
                bytes((len(request_id),)),
                request_id,
                _TAIL.pack(record.request_seq, commitment),
            )
        )
    ).digest()


def commitment_of(salt: bytes, payload: bytes) -> bytes:
    """What a leaf says of a payload: SHA-256(salt || payload)."""
    return sha256(salt + payload).digest()
