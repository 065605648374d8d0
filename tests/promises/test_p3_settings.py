"""P3: what makes a commit durable is set on the connections that append, whatever the database's defaults are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from playhead.client.embedded import EmbeddedClient
from playhead.journal.postgres import PostgresDatabase
from playhead.journal.sqlite import SqliteDatabase
from tests.processes.load import Load

FULL = 2


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections made to append with, as they are made."""
    made: list[Any] = []
    for kind in (SqliteDatabase, PostgresDatabase):
        monkeypatch.setattr(kind, "connect_writer", noting(kind.connect_writer, made))
    return made


def test_sqlite_commits_are_synced_to_a_log(sqlite_store: str, writers: list[Any]) -> None:
    with closing(EmbeddedClient(sqlite_store, timers=False)) as client:
        append(client)
        assert writers[-1].total_changes > 0
        assert writers[-1].execute("PRAGMA synchronous").fetchone() == (FULL,)
        assert writers[-1].execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_postgresql_commits_are_synced_even_where_that_is_off_by_default(
    postgres_store: str, writers: list[Any]
) -> None:
    with psycopg.connect(postgres_store, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
    with closing(EmbeddedClient(postgres_store, timers=False)) as client:
        append(client)
        assert writers[-1].execute("SHOW synchronous_commit").fetchone() == ("on",)


def append(client: EmbeddedClient) -> None:
    """Have something appended."""
    for method, request in Load(1).opening():
        client.unary(method, request)


def noting(connect: Callable[[Any], Any], made: list[Any]) -> Callable[[Any], Any]:
    """The same function, with what it makes kept."""

    def noted(database: Any) -> Any:
        made.append(connect(database))
        return made[-1]

    return noted
