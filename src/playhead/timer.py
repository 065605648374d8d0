"""One thread per process that calls things later: lease renewals, wake-ups of delayed retries, timeouts in worker
threads.

It starts with the first call that is scheduled, and ends with the process. Functions must be quick and must not block.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("playhead.engine")


class Alarm:
    """A call to come. `cancel()` takes it back."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Do not call. No effect when the call has been made."""
        self.function = None


class Timer:
    """Calls functions when they are due, in its own daemon thread."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def call_later(self, seconds: float, function: Callable[[], None]) -> Alarm:
        """Call `function()` after so many seconds."""
        alarm = Alarm(function)
        due = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._due, (due, next(self._order), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="playhead-timer", daemon=True)
                self._thread.start()
            elif self._due[0][2] is alarm:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                alarm = heapq.heappop(self._due)[2]
            function = alarm.function
            if function is not None:
                try:
                    function()
                except Exception:
                    logger.exception("A scheduled call failed")


_timers: dict[int, Timer] = {}


def call_later(seconds: float, function: Callable[[], None]) -> Alarm:
    """Call `function()` in this process's timer thread after so many seconds."""
    process = os.getpid()
    timer = _timers.get(process) or _timers.setdefault(process, Timer())
    return timer.call_later(seconds, function)
