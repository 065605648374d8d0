"""A server as tests start it: `python -m tests.processes.server_main DATABASE [ROOM]`.

Prints its address once it takes calls. `ROOM` is a file that holds how many pages the SQLite database may have when it
is appended to: a disk whose size the test decides.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from pathlib import Path

from playhead.grpc_server import run
from playhead.journal.sqlite import SqliteDatabase


def confine(room: Path) -> None:
    """Let SQLite itself refuse what does not fit."""
    begin = SqliteDatabase.begin_append

    def begin_confined(self: SqliteDatabase, cursor: sqlite3.Cursor) -> None:
        cursor.execute(f"PRAGMA max_page_count={int(room.read_text())}").fetchall()
        begin(self, cursor)

    SqliteDatabase.begin_append = begin_confined  # type: ignore[method-assign] # this process serves one test


def main(database: str, room: str = "") -> None:
    """Serve until told to end."""
    logging.basicConfig(level=logging.INFO)
    if room:
        confine(Path(room))
    run("127.0.0.1", 0, None, database, on_ready=lambda address: print(address, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
