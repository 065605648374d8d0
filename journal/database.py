"""What everything above sees of the database that a journal lives in: a connection to append with, connections to
read with, statements in one style, and errors as those of `journal.errors`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import sqlalchemy as sa

from playhead.journal import sql
from playhead.journal.errors import (
    JournalError,
    JournalUnavailable,
    NewerDatabase,
    NotAJournal,
)

LOCK_TIMEOUT_S = 30.0
"""How long an append waits for other processes before JournalUnavailable."""

READ_CONNECTIONS_MAX = 8
"""Reads at the same time in one process; further ones wait."""

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


def newer(where: str, version: int) -> NewerDatabase:
    """The refusal of a database that a newer version made."""
    return NewerDatabase(
        f"{where} has journal format {version}; this version of Playhead knows {sql.JOURNAL_FORMAT}: upgrade Playhead.",
        found=version,
        known=sql.JOURNAL_FORMAT,
    )
