"""A bounded cache that forgets what was not used for longest."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """At most `bound` entries. When one more comes, the eighth that was not used for longest goes at once."""

    __slots__ = ("_bound", "_entries")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._entries: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """The entry, which counts as a use of it; None when there is none."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._entries[key] = entry
        return entry

    def put(self, key: Key, value: Value) -> None:
        """Add or replace an entry."""
        entries = self._entries
        entries.pop(key, None)
        entries[key] = value
        if len(entries) > self._bound:
            for old in list(entries)[: max(1, self._bound // 8)]:
                del entries[old]

    def drop(self, key: Key) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
