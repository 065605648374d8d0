"""A journal in an SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from playhead.journal import forking, sql
from playhead.journal.database import LOCK_TIMEOUT_S, READ_CONNECTIONS_MAX, Database, Row, newer
from playhead.journal.errors import (
    CorruptRecord,
    JournalError,
    JournalFull,
    JournalReadOnly,
    JournalUnavailable,
    NotAJournal,
)

IDS_IN_STATEMENT_MAX = 256

PREFIX = "sqlite:///"

# What the database refuses in a statement is a defect of ours, not its state: sending it again will not help.
DEFECTS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class SqliteDatabase(Database):
    """A journal in one file: WAL, synchronous=FULL, one writer at a time by BEGIN IMMEDIATE."""

    WATCH_INTERVAL_S = 0.02

    SELECT_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
    SELECT_COLUMNS = "SELECT name FROM pragma_table_info(?) ORDER BY cid"

    def __init__(self, address: str, make: bool = True) -> None:
        self.path = Path(address.removeprefix(PREFIX)).expanduser()
        self.address = str(self.path)
        self.make = make
        if self.address == ":memory:" or self.path.is_dir():
            raise NotAJournal(f"{self.address} is not a file: give the path of one.", path=self.path)
        forking.refuse_inherited(self.path)
        if not self.path.exists():
            self.refuse_to_make()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalReadOnly(
                f"The folder of {self.path} can not be made: {error.strerror}.", path=self.path
            ) from error
        self.engine = sa.create_engine(
            "sqlite+pysqlite://",
            creator=self._connect,
            poolclass=sa.QueuePool,
            pool_size=READ_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=LOCK_TIMEOUT_S,
        )
        self._check()
        forking.opened(self.path, self)

    def close(self) -> None:
        super().close()
        forking.closed(self.path, self)

    def _connect(self) -> sqlite3.Connection:
        # An archived copy: SQLite would want to write beside it, were it not told that nobody changes it. Where there
        # is a log, somebody may.
        log = self.path.with_name(self.path.name + "-wal")
        looking_at_a_copy = not self.make and not _writable(self.path.parent) and not log.exists()
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?immutable=1" if looking_at_a_copy else self.path,
            uri=looking_at_a_copy,
            timeout=LOCK_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _check(self) -> None:
        """Refuse what is no journal; make the file one if it is empty."""
        try:
            with closing(self.engine.raw_connection()) as connection:
                cursor = connection.cursor()
                # Tables first: another process may be making the journal, and it makes its tables last.
                tables = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                application = cursor.execute("PRAGMA application_id").fetchone()[0]
                version = cursor.execute("PRAGMA user_version").fetchone()[0]
                if application == 0 and tables == 0:
                    self.refuse_to_make()
                    cursor.execute("PRAGMA journal_mode=WAL")
                    cursor.execute(f"PRAGMA application_id={sql.APPLICATION_ID}")
                    cursor.execute(f"PRAGMA user_version={sql.JOURNAL_FORMAT}")
                elif application != sql.APPLICATION_ID:
                    raise NotAJournal(
                        f"{self.path} is an SQLite database, but not a Playhead journal: choose another path.",
                        path=self.path,
                    )
                elif version > sql.JOURNAL_FORMAT:
                    raise newer(str(self.path), version)
        except BaseException as error:
            self.engine.dispose()
            raise self.translated(error) from error

    def connect_writer(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise self.translated(error) from error

    def begin_locked(self, cursor: sqlite3.Cursor, lock: int) -> None:
        cursor.execute("BEGIN IMMEDIATE")

    def relax(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    def at_once(self, connection: Any) -> AbstractContextManager[Any]:
        return nullcontext()

    def rows_of(self, cursor: Any, template: str, ids: Sequence[bytes]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, len(ids), IDS_IN_STATEMENT_MAX):
            chunk = ids[start : start + IDS_IN_STATEMENT_MAX]
            # A power of two of places keeps the number of different statements small.
            places = 1 << (len(chunk) - 1).bit_length()
            padded = [*chunk, *([chunk[-1]] * (places - len(chunk)))]
            rows += cursor.execute(_with_places(template, places), padded).fetchall()
        return rows

    def statement(self, text: str) -> str:
        return text

    def notify(self, cursor: sqlite3.Cursor) -> None:
        """Nothing to do: others see `PRAGMA data_version` change."""

    def watch(self, stop: threading.Event) -> Iterator[None]:
        connection = self._connect()
        try:
            seen = None
            while not stop.is_set():
                version = connection.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    seen = version
                    yield
                stop.wait(self.WATCH_INTERVAL_S)
        finally:
            connection.close()

    def triggers(self) -> Sequence[str]:
        return sql.SQLITE_TRIGGERS

    def adapt(self, metadata: sa.MetaData) -> None:
        """Nothing to do: tables are defined in SQLite's words."""

    def translate(self, error: BaseException) -> JournalError | None:
        if not isinstance(error, sqlite3.Error) or isinstance(error, DEFECTS):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        where = {"path": self.path, "sqlite": getattr(error, "sqlite_errorname", "")}
        if code == sqlite3.SQLITE_NOTADB:
            return NotAJournal(f"{self.path} is not an SQLite database: choose another path.", **where)
        if code == sqlite3.SQLITE_CORRUPT:
            return CorruptRecord(f"{self.path} is damaged: {error}. Stop and look.", **where)
        if code == sqlite3.SQLITE_FULL:
            return JournalFull(f"No space left for {self.path}: nothing was recorded; free space, send again.", **where)
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or (
            code == sqlite3.SQLITE_CANTOPEN and (self.path.exists() or not _writable(self.path.parent))
        ):
            return JournalReadOnly(f"{self.path} can not be written: make it and its folder writable.", **where)
        if code == sqlite3.SQLITE_IOERR and "disk" in str(error).lower() and _no_space(self.path.parent):
            return JournalFull(f"No space left for {self.path}: nothing was recorded; free space, send again.", **where)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return JournalUnavailable(
                f"Another process has held {self.path} for {LOCK_TIMEOUT_S:.0f} s: send the request again.", **where
            )
        return JournalUnavailable(f"{self.path}: {error}", **where)


@lru_cache(maxsize=256)
def _with_places(template: str, places: int) -> str:
    return template.format(ids=", ".join("?" * places))


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _no_space(folder: Path) -> bool:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < 1 << 16
