"""What a logger says, for tests that wait for it."""

from __future__ import annotations

import logging
from queue import SimpleQueue


class Heard(logging.Handler):
    """What a logger says, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.said: SimpleQueue[str] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what is said."""
        self.said.put(record.getMessage())
