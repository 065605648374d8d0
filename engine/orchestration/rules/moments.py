"""Arithmetic on recorded times, in whole microseconds as the journal keeps them."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

SECOND_US = 1_000_000
LAST_MOMENT_US = 253_402_300_799 * SECOND_US
"""9999-12-31T23:59:59Z, the last whole second a Timestamp may hold."""


def micros(moment: Timestamp) -> int:
    """Microseconds since 1970 UTC; 0 for an unset time, which therefore counts as long past."""
    return moment.seconds * SECOND_US + moment.nanos // 1000


def later(moment: Timestamp, delay_s: float) -> Timestamp:
    """The moment `delay_s` seconds on, at most the last one there is."""
    room_us = LAST_MOMENT_US - micros(moment)
    delay_us = round(min(delay_s * SECOND_US, room_us))
    seconds, rest_us = divmod(micros(moment) + delay_us, SECOND_US)
    return Timestamp(seconds=seconds, nanos=rest_us * 1000)


def nearest_seconds_until(due: Timestamp, now: Timestamp) -> int:
    """Whole seconds from now to `due`, rounded to the nearest, so that less than half a second counts as due."""
    return (micros(due) - micros(now) + SECOND_US // 2) // SECOND_US


def full_seconds_until(due: Timestamp, now: Timestamp) -> int:
    """Whole seconds from now to `due`, rounded up: after them it has certainly passed."""
    return -((micros(now) - micros(due)) // SECOND_US)
