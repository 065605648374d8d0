"""How the process that takes calls and the one that writes talk: frames on a socket between them.

A frame of the edge is a command: a number for its answer, which method, who calls, and the request as it came. A frame
of the writer is an answer: the number of the command, its outcome, and the bytes of the response or of the
google.rpc.Status; or, with number 0, how far the journal has got.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from playhead.journal.record import Caller

_HEAD = struct.Struct("<IIBH")  # bytes of caller and body, number, what, bytes of the caller

RESPONSE, STATUS, HEAD = range(3)
"""What an answer is. The body of HEAD is a revision, 8 bytes, little-endian."""

CALLERS_MAX = 1_000  # whose bytes are kept


class Frame(NamedTuple):
    """One frame; `what` is a command's place in `writing.COMMANDS`, or an outcome."""

    number: int
    what: int
    caller: bytes
    body: bytes


def packed(number: int, what: int, body: bytes, caller: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return b"".join((_HEAD.pack(len(caller) + len(body), number, what, len(caller)), caller, body))


class Frames:
    """The frames of a stream of bytes."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def of(self, data: bytes | bytearray) -> Iterator[Frame]:
        """Those that are whole once `data` has come."""
        begun = self._begun
        begun += data
        start = 0
        while len(begun) - start >= _HEAD.size:
            size, number, what, caller_size = _HEAD.unpack_from(begun, start)
            caller = start + _HEAD.size
            body, end = caller + caller_size, caller + size
            if end > len(begun):
                break
            yield Frame(number, what, bytes(begun[caller:body]), bytes(begun[body:end]))
            start = end
        del begun[:start]


@lru_cache(CALLERS_MAX)
def packed_caller(caller: Caller) -> bytes:
    """A caller as bytes."""
    return json.dumps((caller.actor, caller.client, caller.traceparent)).encode()


@lru_cache(CALLERS_MAX)
def caller_from(data: bytes) -> Caller:
    """The caller that these bytes are."""
    return Caller(*json.loads(data))
