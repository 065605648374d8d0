"""SQLite files in forked processes.

SQLite keeps its locks per process and a note of them in memory. A forked child inherits the note, not the locks: what
it opens anew it believes to have locked already, and its commits can vanish when the parent closes the file. So a child
is refused the files that were open at the fork; PostgreSQL connections are no such danger.
"""

from __future__ import annotations

import os
from pathlib import Path

from playhead.journal.errors import JournalUnavailable

_open: set[tuple[int, Path, int]] = set()


def refuse_inherited(path: Path) -> None:
    """Raise JournalUnavailable if the file was open in the process that this one was forked from, and may still be."""
    here, file = os.getpid(), path.resolve()
    if any(opened == file and process != here for process, opened, _ in _open):
        raise JournalUnavailable(
            f"{path} was open when this process was forked, and SQLite's locks do not hold across a fork: "
            "start worker processes with the method 'spawn', or close the client before forking.",
            path=path,
        )


def opened(path: Path, by: object) -> None:
    """Note that an object of this process has the file open."""
    _open.add((os.getpid(), path.resolve(), id(by)))


def closed(path: Path, by: object) -> None:
    """Note that it has not any more. Safe to call twice."""
    _open.discard((os.getpid(), path.resolve(), id(by)))
