"""The two databases a journal can live in, and what differs between them.

`Database.open(address)` takes a path, `sqlite:///path` or `postgresql://user@host/name`. Everything above sees the
same four things: a connection to append with, connections to read with, statements in one style, and errors as those
of `journal.errors`.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from playhead.exceptions import ConfigurationError
from playhead.journal import forking, sql
from playhead.journal.errors import (
    CorruptRecord,
    JournalError,
    JournalFull,
    JournalReadOnly,
    JournalUnavailable,
    NewerDatabase,
    NotAJournal,
)

LOCK_TIMEOUT_S = 30.0
"""How long an append waits for other processes before JournalUnavailable."""

READ_CONNECTIONS_MAX = 8
"""Reads at the same time in one process; further ones wait."""

IDS_IN_STATEMENT_MAX = 256

POSTGRES = ("postgresql://", "postgres://", "postgresql+psycopg://")
SQLITE = "sqlite:///"

# What the database refuses in a statement is a defect of ours, not its state: sending it again will not help.
DEFECTS_SQLITE = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)

Row = Sequence[Any]


class Database(ABC):
    """One SQL database: how to reach it, lock it, and tell what went wrong."""

    engine: sa.Engine
    address: str
    make: bool
    """Whether a journal is made where there is none."""

    SELECT_TABLES: ClassVar[str]
    """The names of all tables."""
    SELECT_COLUMNS: ClassVar[str]
    """The names of a table's columns."""

    @staticmethod
    def open(address: str, *, make: bool = True) -> Database:
        """The database at an address; refuses what is no journal, or a newer one. Where there is none yet it is made,
        unless `make` is false: whoever only looks must not make one.
        """
        if address.startswith(POSTGRES):
            return PostgresDatabase(address, make)
        if re.match("[a-z][a-z0-9+.-]*://", address) and not address.startswith(SQLITE):
            raise NotAJournal(f"{address!r} is neither a path, nor sqlite:///path, nor postgresql://user@host/name.")
        return SqliteDatabase(address, make)

    def begin_append(self, cursor: Any) -> None:
        """Begin the transaction in which nobody else appends."""
        self.begin_locked(cursor, sql.APPEND_LOCK)

    @abstractmethod
    def begin_locked(self, cursor: Any, lock: int) -> None:
        """Begin a transaction that writes, alone among those with the same lock; on SQLite, alone among all."""

    @abstractmethod
    def relax(self, connection: Any) -> None:
        """Let commits of a driver connection return before they are on disk: the machine's power can undo the last."""

    @abstractmethod
    def at_once(self, connection: Any) -> AbstractContextManager[Any]:
        """Statements that need not wait for one another's results; the errors of all come out at its end."""

    @abstractmethod
    def rows_of(self, cursor: Any, template: str, ids: Sequence[bytes]) -> list[Row]:
        """Run a statement for many ids, which stand in it as `{ids}`."""

    @abstractmethod
    def statement(self, text: str) -> str:
        """A statement written with `?` in this database's style."""

    @abstractmethod
    def translate(self, error: BaseException) -> JournalError | None:
        """What a driver's error means; None if it is not one of the database's."""

    @abstractmethod
    def connect_writer(self) -> Any:
        """A driver connection of its own for the write thread, in autocommit mode."""

    @abstractmethod
    def notify(self, cursor: Any) -> None:
        """Tell other processes, with the commit, that there are new events."""

    @abstractmethod
    def watch(self, stop: threading.Event) -> Iterator[None]:
        """Yield whenever another process may have appended, until `stop` is set. Blocks between."""

    @abstractmethod
    def triggers(self) -> Sequence[str]:
        """Statements that make the journal's tables append-only."""

    @abstractmethod
    def adapt(self, metadata: sa.MetaData) -> None:
        """Say in this database's words what the tables say in SQLite's. To say it in both where tables are defined
        would load PostgreSQL's whole dialect in every process.
        """

    def create_tables(self, metadata: sa.MetaData) -> None:
        """Make those of the tables that do not exist yet, all or none, one process at a time."""
        if metadata.tables.keys() <= self.tables():
            return
        with self.reading() as connection:
            self.begin_append(connection.connection.cursor())
            self.adapt(metadata)
            metadata.create_all(connection)
            for trigger in self.triggers() if metadata is sql.metadata else ():
                connection.exec_driver_sql(trigger)
            connection.exec_driver_sql("COMMIT")

    def refuse_to_make(self) -> None:
        """Say that there is no journal, when none is to be made. Raises NotAJournal."""
        if not self.make:
            raise NotAJournal(
                f"There is no journal at {self.address}: a flow that runs makes one, or: "
                f"playhead server start --database {self.address}",
                database=self.address,
            )

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of a read written with `?`, straight from the driver; errors come out translated."""
        try:
            connection = self.engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(self.statement(text), values)
                return list(cursor.fetchall())
            except BaseException:
                # Whatever state it is in, nobody is given it again.
                connection.invalidate()
                raise
            finally:
                connection.close()
        except Exception as error:
            raise self.translated(error) from error

    def tables(self) -> set[str]:
        """The names of all tables, those of others included."""
        return {name for (name,) in self.rows(self.SELECT_TABLES)}

    def columns(self, table: str) -> list[str]:
        """The names of a table's columns, in order; none when there is no such table."""
        return [name for (name,) in self.rows(self.SELECT_COLUMNS, (table,))]

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for reads; errors come out translated."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except JournalError:
            raise
        except Exception as error:
            raise self.translated(error) from error

    def translated(self, error: BaseException) -> BaseException:
        """The error to raise for a driver's error: itself if it is not the database's."""
        if isinstance(error, sa.exc.TimeoutError):
            return JournalUnavailable(
                f"{READ_CONNECTIONS_MAX} reads of {self.address} have gone on for {LOCK_TIMEOUT_S:.0f} s: try again."
            )
        original = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
        return self.translate(original) or error

    def reopen(self) -> None:
        """Have idle connections opened anew. SQLite keeps the files of a database open for all of a process's
        connections, so what was read-only when it was opened stays so until the last one is closed.
        """
        self.engine.dispose()

    def close(self) -> None:
        """Give all pooled connections back."""
        self.engine.dispose()


class SqliteDatabase(Database):
    """A journal in one file: WAL, synchronous=FULL, one writer at a time by BEGIN IMMEDIATE."""

    WATCH_INTERVAL_S = 0.02

    SELECT_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
    SELECT_COLUMNS = "SELECT name FROM pragma_table_info(?) ORDER BY cid"

    def __init__(self, address: str, make: bool = True) -> None:
        self.path = Path(address.removeprefix(SQLITE)).expanduser()
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
        connection = sqlite3.connect(
            self.path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
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
        if not isinstance(error, sqlite3.Error) or isinstance(error, DEFECTS_SQLITE):
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


class PostgresDatabase(Database):
    """A journal in a PostgreSQL database: synchronous_commit=on, one writer at a time by an advisory lock."""

    WATCH_TIMEOUT_S = 0.1
    """How long a watch takes to see that it should stop; notifications wake it at once."""

    SELECT_TABLES = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid)"
    SELECT_COLUMNS = """
        SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
    """

    def __init__(self, address: str, make: bool = True) -> None:
        self.make = make
        try:
            import psycopg  # noqa: F401 - the engine below loads it too, but says less when it is missing
        except ImportError as error:
            raise ConfigurationError(
                f"PostgreSQL needs psycopg ({error}): pip install 'playhead[postgres]'; in a clone: "
                "pip install -e '.[postgres]'"
            ) from error
        url = sa.make_url(address).set(drivername="postgresql+psycopg")
        self.address = url.set(drivername="postgresql").render_as_string(hide_password=True)
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.engine = sa.create_engine(
            url,
            pool_size=READ_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=LOCK_TIMEOUT_S,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
        )

    def adapt(self, metadata: sa.MetaData) -> None:
        for table in metadata.tables.values():
            if "fillfactor" in table.info:
                table.dialect_options["postgresql"]["with"] = {"fillfactor": str(table.info["fillfactor"])}
            for index in table.indexes:
                index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]

    def connect_writer(self) -> Any:
        import psycopg

        try:
            connection = psycopg.connect(self._conninfo, autocommit=True)
            connection.execute("SET synchronous_commit = on")
            connection.execute(f"SET lock_timeout = '{int(LOCK_TIMEOUT_S)}s'")
        except psycopg.Error as error:
            raise self.translated(error) from error
        connection.prepare_threshold = 2
        return connection

    def begin_locked(self, cursor: Any, lock: int) -> None:
        cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock})")

    def relax(self, connection: Any) -> None:
        connection.execute("SET synchronous_commit = off")

    def at_once(self, connection: Any) -> AbstractContextManager[Any]:
        """One round trip for all of them."""
        pipeline: AbstractContextManager[Any] = connection.pipeline()
        return pipeline

    def rows_of(self, cursor: Any, template: str, ids: Sequence[bytes]) -> list[Row]:
        text = self.statement(template.replace("IN ({ids})", "= ANY(?)"))
        rows: list[Row] = cursor.execute(text, [list(ids)]).fetchall()
        return rows

    def statement(self, text: str) -> str:
        return _with_percents(text)

    def notify(self, cursor: Any) -> None:
        cursor.execute(f"NOTIFY {sql.CHANNEL}")

    def watch(self, stop: threading.Event) -> Iterator[None]:
        import psycopg

        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(f"LISTEN {sql.CHANNEL}")
            yield
            while not stop.is_set():
                for _ in connection.notifies(timeout=self.WATCH_TIMEOUT_S, stop_after=1):
                    yield

    def triggers(self) -> Sequence[str]:
        return sql.POSTGRES_TRIGGERS

    def translate(self, error: BaseException) -> JournalError | None:
        import psycopg

        # As for SQLite: defects of ours.
        defects = (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)
        denied = psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidCatalogName
        if not isinstance(error, psycopg.Error) or (isinstance(error, defects) and not isinstance(error, denied)):
            return None
        where = {"database": self.address, "sqlstate": error.sqlstate or ""}
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if error.sqlstate in ("53100", "53200"):
            return JournalFull(f"{self.address}: {text}: nothing was recorded; free space, send again.", **where)
        if error.sqlstate in ("25006", "42501"):
            return JournalReadOnly(f"{self.address} can not be written: {text}.", **where)
        # What goes wrong while connecting comes without a code.
        refused = error.sqlstate is None and ("does not exist" in text or "authentication failed" in text)
        if refused or error.sqlstate in ("3D000", "28P01", "28000"):
            return NotAJournal(f"{self.address}: {text}.", **where)
        return JournalUnavailable(f"{self.address}: {text}.", **where)


def newer(where: str, version: int) -> NewerDatabase:
    """The refusal of a database that a newer version made."""
    return NewerDatabase(
        f"{where} has journal format {version}; this version of Playhead knows {sql.JOURNAL_FORMAT}: upgrade Playhead.",
        found=version,
        known=sql.JOURNAL_FORMAT,
    )


@lru_cache(maxsize=1024)
def _with_percents(text: str) -> str:
    return text.replace("?", "%s")


@lru_cache(maxsize=256)
def _with_places(template: str, places: int) -> str:
    return template.format(ids=", ".join("?" * places))


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _no_space(folder: Path) -> bool:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < 1 << 16
