"""Which database an address means."""

from __future__ import annotations

import re

from playhead.journal import postgres, sqlite
from playhead.journal.database import Database
from playhead.journal.errors import NotAJournal


def open_database(address: str, *, make: bool = True) -> Database:
    """The database at an address: a path, `sqlite:///path` or `postgresql://user@host/name`.

    Refuses what is no journal, or a newer one. Where there is none yet it is made, unless `make` is false: whoever only
    looks must not make one.
    """
    if address.startswith(postgres.PREFIXES):
        return postgres.PostgresDatabase(address, make)
    if re.match("[a-z][a-z0-9+.-]*://", address) and not address.startswith(sqlite.PREFIX):
        raise NotAJournal(f"{address!r} is neither a path, nor sqlite:///path, nor postgresql://user@host/name.")
    return sqlite.SqliteDatabase(address, make)
