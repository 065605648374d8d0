"""The database itself refuses to change what was appended."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.journal.notes import OpenNotes

TABLES = ("events", "tree_nodes", "journal")
CHANGES = {
    "events": "UPDATE events SET payload = NULL WHERE revision = 2",
    "tree_nodes": "UPDATE tree_nodes SET level = 9",
    "journal": "UPDATE journal SET format = 2",
}


def refuses(notes: OpenNotes, statement: str) -> None:
    """The statement fails, and nothing is different afterwards."""
    before, root = notes.all(), notes.journal.root(4)
    with notes.journal.database.engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="append-only"):
        connection.exec_driver_sql(statement)
    assert (notes.all(), notes.journal.root(4)) == (before, root)


@pytest.mark.parametrize("table", TABLES)
def test_a_recorded_row_can_not_be_changed_or_deleted(store: str, table: str) -> None:
    with OpenNotes(store) as notes:
        notes.write("a", "b", "c")
        refuses(notes, CHANGES[table])
        refuses(notes, f"DELETE FROM {table}")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_can_not_be_emptied(postgres_store: str, table: str) -> None:
    with OpenNotes(postgres_store) as notes:
        notes.write("a", "b", "c")
        refuses(notes, f"TRUNCATE {table}")


def test_a_row_can_not_be_replaced(sqlite_store: str) -> None:
    with OpenNotes(sqlite_store) as notes:
        notes.write("a", "b", "c")
        refuses(notes, "REPLACE INTO events SELECT * FROM events WHERE revision = 2")
        columns = "stream, stream_version, kind, recorded_at, actor, request_id, request_seq, payload, salt, leaf"
        refuses(notes, f"REPLACE INTO events SELECT 5, {columns} FROM events WHERE revision = 2")
        refuses(notes, "REPLACE INTO tree_nodes SELECT * FROM tree_nodes")
        refuses(notes, "REPLACE INTO journal SELECT id, 2 FROM journal")
        refuses(notes, "UPDATE OR REPLACE events SET revision = 3 WHERE revision = 2")


def test_a_revision_can_not_be_taken_twice(store: str) -> None:
    with OpenNotes(store) as notes:
        notes.write("a", "b", "c")
        again = "INSERT INTO events SELECT * FROM events WHERE revision = 2"
        with notes.journal.database.engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
            connection.exec_driver_sql(again)
