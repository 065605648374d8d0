"""A clock that moves when it is told to."""

from __future__ import annotations

START_US = 1_700_000_000_000_000


class ManualClock:
    """Microseconds since the Unix epoch; call it for the time, `advance` it, or set `now_us`, backwards too."""

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def advance(self, micros: int) -> None:
        """Move on."""
        self.now_us += micros
