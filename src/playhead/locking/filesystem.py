"""Locks between the processes that share a folder: a file per lock, JSON, with its holder."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

LOOK_AGAIN_S = 0.05
NAME_LENGTH_MAX = 200


@dataclass(frozen=True)
class _Held:
    """What a lock file says. `until` is None when the lock is held until it is released."""

    key: str
    holder: str
    until: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether it was held for as long as it may be."""
        return self.until is not None and self.until <= datetime.now(UTC)


class FileSystemLockManager:
    """Gives locks to whoever looks first once they are free: who waits looks every 50 ms.

    See `playhead.locking.protocol.LockManager`. A lock whose holder died stays locked, unless it has a `hold_timeout`
    or somebody releases it in the holder's name. Needs a file system that has `flock`.
    """

    def __init__(self, lock_files_directory: Path | str) -> None:
        self.lock_files_directory = Path(lock_files_directory).expanduser().resolve()

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock, looking until it is free."""
        end = _end(acquire_timeout)
        while not self._take(key, holder, hold_timeout):
            if time.monotonic() >= end:
                return False
            time.sleep(LOOK_AGAIN_S)
        return True

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The same, without blocking the event loop."""
        end = _end(acquire_timeout)
        while not self._take(key, holder, hold_timeout):
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(LOOK_AGAIN_S)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back."""
        with self._alone():
            held = self._read(key)
            if held is None or held.holder != holder:
                raise ValueError(f"The lock of {key!r} is not held by {holder!r}.")
            self._path(key).unlink()

    def is_locked(self, key: str) -> bool:
        """Whether anybody holds the lock."""
        return self._read(key) is not None

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether the holder holds the lock."""
        held = self._read(key)
        return held is not None and held.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Look until the lock is free."""
        end = _end(timeout)
        while self.is_locked(key):
            if time.monotonic() >= end:
                return False
            time.sleep(LOOK_AGAIN_S)
        return True

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The same, without blocking the event loop."""
        end = _end(timeout)
        while self.is_locked(key):
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(LOOK_AGAIN_S)
        return True

    def _take(self, key: str, holder: str, hold_s: float | None) -> bool:
        with self._alone():
            held = self._read(key)
            if held is not None:
                return held.holder == holder
            until = None if hold_s is None else (datetime.now(UTC) + timedelta(seconds=hold_s)).isoformat()
            path = self._path(key)
            # Who reads without the guard finds the whole of it, or nothing.
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps({"key": key, "holder": holder, "until": until}))
            os.replace(draft, path)
            return True

    def _read(self, key: str) -> _Held | None:
        """Who holds a lock; None: nobody, or somebody whose time is over."""
        try:
            said = json.loads(self._path(key).read_text())
        except FileNotFoundError:
            return None
        until = datetime.fromisoformat(said["until"]) if said["until"] else None
        held = _Held(said["key"], said["holder"], until)
        return None if held.is_over else held

    def _path(self, key: str) -> Path:
        name = quote(key, safe="")
        if len(name) > NAME_LENGTH_MAX:
            name = sha256(key.encode(errors="surrogatepass")).hexdigest()
        return self.lock_files_directory / f"{name}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody else looks at a lock of this folder and changes it."""
        self.lock_files_directory.mkdir(parents=True, exist_ok=True)
        with (self.lock_files_directory / ".guard").open("a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield


def _end(timeout: float | None) -> float:
    """When to stop looking, by the monotonic clock."""
    return float("inf") if timeout is None else time.monotonic() + timeout
