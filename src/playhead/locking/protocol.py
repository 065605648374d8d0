"""What a lock manager is."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable


class IsolationLevel(StrEnum):
    """What transactions, and runs that share a cached result, see of each other.

    READ_COMMITTED: what has been committed; two may compute the same key at the same time. SERIALIZABLE: one at a time,
    under the key's lock; the others wait, and find what it has committed.
    """

    READ_COMMITTED = "READ_COMMITTED"
    SERIALIZABLE = "SERIALIZABLE"


@runtime_checkable
class LockManager(Protocol):
    """Gives the lock of a key to one holder at a time. A holder is any text that nobody else uses.

    Who holds a lock and asks for it again has it. Times are in seconds; None: as long as it takes, or until it is
    released.
    """

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock, waiting for it at most `acquire_timeout`; False when it was not free in time.

        After `hold_timeout` it is free again, released or not.
        """

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The same, without blocking the event loop."""

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back. Raises ValueError when the holder does not hold it."""

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock."""

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether the holder holds the lock."""

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the lock is free, without taking it; False when it was not free within `timeout`."""

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
