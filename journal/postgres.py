"""A journal in a PostgreSQL database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from playhead.exceptions import ConfigurationError
from playhead.journal import sql
from playhead.journal.database import LOCK_TIMEOUT_S, READ_CONNECTIONS_MAX, Database, Row
from playhead.journal.errors import JournalError, JournalFull, JournalReadOnly, JournalUnavailable, NotAJournal

PREFIXES = ("postgresql://", "postgres://", "postgresql+psycopg://")


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


@lru_cache(maxsize=1024)
def _with_percents(text: str) -> str:
    return text.replace("?", "%s")
