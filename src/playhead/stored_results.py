"""Values that are stored with states: read when they are asked for, and compared with what was stored."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import deque
from typing import Any

from playhead import v1
from playhead.exceptions import CorruptResult, MissingResult
from playhead.serializers import loads
from playhead.states import Retrievable
from playhead.storage import fetch

VALUES_BYTES_MAX = 32 << 20
"""Values that were stored and are held in memory too, in bytes as stored; those beyond are read when asked for."""

RESULT_BYTES = 1_024
"""What a result that is held counts for beside its value."""

_UNREAD = object()
_REMEDY = "Put the file back, or run the flow run again: what made the result then runs again too."


class StoredResult(Retrievable):
    """A value stored with a state. `get()` reads it, once while there is room for it; with `keep` False, each time."""

    __slots__ = ("__weakref__", "_keep", "_value", "message")

    def __init__(self, message: v1.Result, value: object = _UNREAD, keep: bool = True) -> None:
        self.message = message
        self._keep = keep
        self._value = value if keep else _UNREAD
        if self._value is not _UNREAD:
            _in_memory.add(self)

    def get(self) -> Any:
        """The value. Raises `CorruptResult` when it is not what was stored."""
        if (held := self._value) is not _UNREAD:
            return held
        value = loads(read_bytes(self.message), self.message.media_type)
        if self._keep:
            self._value = value
            _in_memory.add(self)
        return value

    def forget(self) -> None:
        """Read it anew the next time."""
        self._value = _UNREAD

    def __reduce__(self) -> tuple[Any, ...]:
        return (_from_bytes, (self.message.SerializeToString(),))

    def __repr__(self) -> str:
        if (held := self._value) is not _UNREAD:
            return repr(held)
        return f"<stored {self.message.media_type}, {self.message.size_bytes} bytes>"


class _InMemory:
    """The stored results that hold their values too, up to `VALUES_BYTES_MAX`: the oldest make room."""

    def __init__(self) -> None:
        self._results: deque[tuple[weakref.ref[StoredResult], int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, result: StoredResult) -> None:
        """A result holds its value from now on."""
        size = result.message.size_bytes + RESULT_BYTES
        with self._lock:
            self._results.append((weakref.ref(result), size))
            self._bytes += size
            # Those that nobody has any more go first, and with no limit: what comes last is there.
            while (oldest := self._results[0][0]()) is None or (
                self._bytes > VALUES_BYTES_MAX and oldest is not result
            ):
                self._bytes -= self._results.popleft()[1]
                if oldest is not None:
                    oldest.forget()


_in_memory = _InMemory()


def read_bytes(result: v1.Result) -> bytes:
    """The bytes of a stored value. Raises `CorruptResult` when they are gone or not those that were stored."""
    if result.HasField("inline"):
        return result.inline
    if not result.HasField("reference"):
        raise MissingResult("The result was not persisted and is no longer available.")
    url = result.reference.url
    try:
        data = fetch(url)
    except FileNotFoundError as error:
        raise CorruptResult(f"The result stored at {url} is gone. {_REMEDY}") from error
    if hashlib.sha256(data).digest() != result.reference.sha256:
        raise CorruptResult(
            f"The result stored at {url} was altered or cut short: {len(data)} bytes do not have the digest of the "
            f"{result.size_bytes} bytes that were stored. {_REMEDY}"
        )
    return data


def _from_bytes(data: bytes) -> StoredResult:
    return StoredResult(v1.Result.FromString(data))
