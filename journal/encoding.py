"""Ids and times between the wire (canonical UUID text, Timestamp) and the database (16 bytes, microseconds)."""

from __future__ import annotations

from hashlib import sha256

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

SECOND_US = 1_000_000


def bytes_of(text: str) -> bytes:
    """16 bytes of a canonical UUID string."""
    return bytes.fromhex(text.replace("-", ""))


def text_of(id_bytes: bytes) -> str:
    """Canonical UUID string of 16 bytes."""
    text = id_bytes.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_from(*parts: bytes) -> bytes:
    """16 bytes of the UUID, version 8, made of these parts: the head of their SHA-256, zero bytes between."""
    digest = sha256(b"\x00".join(parts)).digest()
    return digest[:6] + bytes((0x80 | digest[6] & 0x0F, digest[7], 0x80 | digest[8] & 0x3F)) + digest[9:16]


def micros_of(time: Timestamp | Duration) -> int:
    """Microseconds (since the Unix epoch), rounded down."""
    return time.seconds * SECOND_US + time.nanos // 1_000


def stamp(time: Timestamp, micros: int) -> None:
    """Set a Timestamp within a message to microseconds since the Unix epoch."""
    time.seconds, time.nanos = micros // SECOND_US, micros % SECOND_US * 1_000


def timestamp(micros: int) -> Timestamp:
    """A Timestamp of microseconds since the Unix epoch."""
    return Timestamp(seconds=micros // SECOND_US, nanos=micros % SECOND_US * 1_000)
