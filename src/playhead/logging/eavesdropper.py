"""Listening in on a logger."""

from __future__ import annotations

import logging
from typing import Self

from playhead.logging.loggers import ConsoleFormatter


class LogEavesdropper(logging.Handler):
    """Collects the records that reach a logger inside `with`.

    `eavesdrop_on` is the logger or its name. `text()` gives the messages as lines, `get_logs()` the records.
    """

    def __init__(self, eavesdrop_on: str | logging.Logger, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._target = logging.getLogger(eavesdrop_on) if isinstance(eavesdrop_on, str) else eavesdrop_on
        self._records: list[logging.LogRecord] = []
        self.setFormatter(ConsoleFormatter("%(message)s"))

    def __enter__(self) -> Self:
        self._target.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._target.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record. Called by logging."""
        self._records.append(record)

    def get_logs(self) -> list[logging.LogRecord]:
        """The records so far."""
        return list(self._records)

    def text(self) -> str:
        """The messages so far, one a line."""
        return "\n".join(record.getMessage() for record in self._records)
