"""Checking what requests hold, by hand: the first field at fault is named, nothing is read or recorded before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from playhead.exceptions import BadRequest, MalformedId, MissingField, TooLarge, UnknownEnumValue
from playhead.journal.encoding import SECOND_US, micros_of

IDS_MAX = 1_000
"""Values in one list of a filter."""

LIMIT_KEY_BYTES_MAX = 500
INPUT_KEY_BYTES_MAX = 500

CLOSE_TEXT_MAX = 100
"""Characters of a name that are compared with others, to tell which may have been meant."""

LOCK = "name:lock:"
"""How the key of a limit begins that is a lock: it has one slot and is not set by anybody."""

# Timestamps outside the years 1 … 9999 are no Timestamps.
SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799

# Durations of more than 10,000 years are no Durations.
DURATION_SECONDS_MAX = 315_576_000_000

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def id_bytes(text: str, field: str) -> bytes:
    """16 bytes of a required id."""
    if len(text) == 36 and _CANONICAL.fullmatch(text):
        return bytes.fromhex(text.replace("-", ""))
    if not text:
        raise MissingField("an id is required", field=field)
    raise MalformedId(f"{text[:60]!r} is not a canonical lower-case UUID string", field=field)


def limit_key(text: str, field: str) -> None:
    """Refuse what is not the key of a concurrency limit: "tag:etl", "deployment:<id>" or "name:database"."""
    if not text:
        raise MissingField("the key of a concurrency limit is required", field=field)
    kind, _, name = text.partition(":")
    if kind not in ("tag", "deployment", "name") or not name:
        raise BadRequest('must be "tag:…", "deployment:<id>" or "name:…"', field=field)
    if kind == "deployment":
        id_bytes(name, field)
    bounded_line(text, field, LIMIT_KEY_BYTES_MAX)


def limit_name(text: str, field: str) -> None:
    """Refuse what is not the name of a limit "name:…", by itself."""
    if not text:
        raise MissingField("the name of a limit is required", field=field)
    if text.startswith("name:"):
        raise BadRequest('is to be the name by itself: leave "name:" out', field=field)
    if text.startswith(("tag:", "deployment:")):
        raise BadRequest(
            "names no limit by name: a run takes slots of its tags and its deployment unasked", field=field
        )
    limit_key(f"name:{text}", field)


def optional_id(text: str, field: str) -> bytes | None:
    """16 bytes of an id, None when it is empty."""
    return id_bytes(text, field) if text else None


def ids_bytes(texts: Sequence[str], field: str) -> list[bytes]:
    """16 bytes each of a list of ids."""
    bounded_list(texts, field)
    return [id_bytes(text, f"{field}[{index}]") for index, text in enumerate(texts)]


def input_key(text: str, field: str) -> None:
    """Refuse what is not the key of a run's input: one line of printable characters."""
    if not text:
        raise MissingField("the key of an input is required", field=field)
    bounded_line(text, field, INPUT_KEY_BYTES_MAX)


def bounded_line(text: str, field: str, limit: int) -> None:
    """Refuse a text of more than `limit` bytes or of more than one line."""
    bounded_text(text, field, limit)
    if text and not text.isprintable():
        raise BadRequest("must be one line of printable characters", field=field)


def bounded_list(values: Sequence[object], field: str, limit: int = IDS_MAX) -> None:
    """Refuse a list that is too long."""
    if len(values) > limit:
        raise TooLarge(f"{len(values)} values, at most {limit}", field=field, limit=limit, actual=len(values))


def bounded_texts(texts: Sequence[str], field: str, limit: int = IDS_MAX) -> list[str]:
    """A list of texts to look up, which must not be too long. PostgreSQL's texts have no zero characters."""
    bounded_list(texts, field, limit)
    for index, text in enumerate(texts):
        without_zeros(text, f"{field}[{index}]")
    return list(texts)


def without_zeros(text: str, field: str) -> None:
    """Refuse a text that PostgreSQL could not hold."""
    if "\x00" in text:
        raise BadRequest("must not hold a zero character", field=field)


def bounded_text(text: str, field: str, limit: int) -> None:
    """Refuse a text of more than `limit` bytes."""
    # No character takes more than four bytes.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        actual = len(text.encode())
        raise TooLarge(f"{actual} bytes, at most {limit}", field=field, limit=limit, actual=actual)


def bounded_bytes(value: bytes, field: str, limit: int) -> None:
    """Refuse more than `limit` bytes."""
    if len(value) > limit:
        raise TooLarge(f"{len(value)} bytes, at most {limit}", field=field, limit=limit, actual=len(value))


def closest(text: str, known: Iterable[str]) -> str:
    """What may have been meant by a name that is not known: ": did you mean …?", or nothing."""
    from difflib import get_close_matches  # loads when somebody has slipped

    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(text[:CLOSE_TEXT_MAX].lower(), by_lower, cutoff=0.5)
    return f": did you mean {' or '.join(by_lower[name] for name in near)}?" if near else ""


def known_enum(value: int, known: Iterable[int], field: str) -> None:
    """Refuse a value that the enum does not have, and its zero."""
    if value == 0:
        raise UnknownEnumValue("a choice is required", field=field)
    if value not in known:
        raise UnknownEnumValue(f"{value} is not a known value", field=field)


def duration(span: Duration, field: str) -> int:
    """Microseconds of a Duration that is one."""
    one_sign = span.seconds * span.nanos >= 0
    if not (one_sign and abs(span.seconds) <= DURATION_SECONDS_MAX and abs(span.nanos) < 1_000 * SECOND_US):
        raise BadRequest("not a valid duration", field=field)
    return micros_of(span)


def micros(time: Timestamp, field: str) -> int:
    """Microseconds since the Unix epoch of a Timestamp that is one."""
    if not (SECONDS_MIN <= time.seconds <= SECONDS_MAX and 0 <= time.nanos < 1_000 * SECOND_US):
        raise BadRequest("not a valid timestamp", field=field)
    return micros_of(time)
