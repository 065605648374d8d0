"""Who calls, as the journal notes it.

The actor is first what this side saw, the peer's address without its port ("ipv4:127.0.0.1", "unix"), then in
parentheses what the caller says of itself in the metadata "playhead-actor", percent-encoded: "unix (ann@build-7)". The
first part is evidence, the second a claim. The client is the metadata "playhead-client" or the first product of the
user agent. Metadata "traceparent" is noted when it is one of W3C's Trace Context, and else ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from playhead.journal.record import Caller

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

CALLERS_MAX = 1_000  # kept, so that the calls of one client share one object
CLAIM_CHARS_MAX = 200
CLIENT_CHARS_MAX = 100
TRACEPARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Of a version after 00 the first four fields, which more may follow."""


def caller_of(context: ServicerContext[Any, Any]) -> Caller:
    """The caller behind a call."""
    return _caller(context.peer(), context.invocation_metadata())


@lru_cache(CALLERS_MAX)
def _caller(peer: str, metadata: tuple[tuple[str, str | bytes], ...]) -> Caller:
    said = {key: value for key, value in metadata if isinstance(value, str)}
    claim = _printable(unquote(said.get("playhead-actor", "")), CLAIM_CHARS_MAX)
    seen = _address(peer)
    client = said.get("playhead-client") or said.get("user-agent", "").partition(" ")[0]
    return Caller(
        actor=f"{seen} ({claim})" if claim else seen,
        client=_printable(client, CLIENT_CHARS_MAX),
        traceparent=_traceparent(said.get("traceparent", "")),
    )


def _traceparent(text: str) -> str:
    """The trace that a call is part of; empty when the text names none."""
    found = TRACEPARENT.match(text)
    if found is None:
        return ""
    more = text[found.end() :]
    return found[0] if not more or (more.startswith("-") and not text.startswith("00")) else ""


def _address(peer: str) -> str:
    """ "ipv4:127.0.0.1:50000" -> "ipv4:127.0.0.1", "ipv6:%5B::1%5D:50000" -> "ipv6:[::1]", "unix:…" -> "unix"."""
    kind, _, rest = peer.partition(":")
    return f"{kind}:{unquote(rest).rpartition(':')[0]}" if kind in ("ipv4", "ipv6") else kind.partition("-")[0]


def _printable(text: str, chars_max: int) -> str:
    return "".join(char for char in text[:chars_max] if char.isprintable())
