"""A bounded cache that forgets what was not written for longest."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Lru(dict[Key, Value]):
    """A dict of about `bound` entries. `put` counts as a use, reading does not: reads are the hot path, and what is
    worked on is written. When there are too many, the eighth that was not written for longest goes at once.
    """

    __slots__ = ("_bound",)

    def __init__(self, bound: int) -> None:
        super().__init__()
        self._bound = bound

    def put(self, key: Key, value: Value) -> None:
        """Add or replace an entry."""
        self.pop(key, None)
        self[key] = value
        if len(self) > self._bound:
            for old in list(self)[: max(1, self._bound // 8)]:
                del self[old]

    def drop(self, key: Key) -> None:
        """Forget an entry, if it is there."""
        self.pop(key, None)
