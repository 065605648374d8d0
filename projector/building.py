"""Making the tables of the views: by folding the journal into fresh ones, which then take the place of the live ones.

A rebuild is written beside the live tables, under a prefix of its own, while the live ones serve on. When it has
caught up, the last events are folded and the tables swapped inside one append transaction, so no reader sees a
half-built view.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from playhead.journal import sql as journal_sql
from playhead.journal.errors import CorruptRecord, NewerDatabase, NotAJournal
from playhead.journal.journal import Journal
from playhead.journal.payload import event_of
from playhead.journal.record import Record, record_of
from playhead.projector.fold import VIEWS_VERSION, Fold
from playhead.projector.sql import made_of, views

BATCH_EVENTS = 2_000
REBUILD_PREFIX = "rebuild_"
SELECT_VERSION = f"SELECT version FROM {views.name}"

Progress = Callable[[int, int], None]
"""Called with (revision reached, revision aimed at)."""


def open_views(journal: Journal) -> None:
    """Make the live tables if they are missing, rebuild them if an older version made them, refuse those of a newer
    one.
    """
    version = _version(journal)
    if version is not None and version > VIEWS_VERSION:
        raise NewerDatabase(
            f"{journal.database.address} has views of version {version}; "
            f"this version of Playhead knows {VIEWS_VERSION}: upgrade Playhead.",
            found=version,
            known=VIEWS_VERSION,
        )
    if version is None:
        _refuse_strangers(journal)
    if version != VIEWS_VERSION:
        prefix = fresh_prefix()
        swap_in(journal, prefix, build(journal, prefix), unless_version=VIEWS_VERSION)


def fresh_prefix() -> str:
    """A prefix that no other tables have."""
    return f"{REBUILD_PREFIX}{secrets.token_hex(4)}_"


def build(journal: Journal, prefix: str, at: int | None = None, progress: Progress | None = None) -> int:
    """Fold events 1 … `at` (None: the head) into fresh tables under `prefix`; the revision reached.

    On any failure the tables are dropped again. Raises CorruptRecord where an event is missing or can not be read.
    """
    head = journal.head()[0] if at is None else at
    try:
        with _locked(journal) as cursor:
            for statement in _definitions(journal, prefix):
                cursor.execute(statement)
        reached = 0
        for records in journal.pages(1, head, BATCH_EVENTS):
            if records[0].revision != reached + 1:
                break
            with _locked(journal) as cursor:
                fold_into(prefix, records, journal, cursor)
            reached = records[-1].revision
            if progress is not None:
                progress(reached, head)
        if reached < head:
            raise CorruptRecord(f"Revision {reached + 1} is missing.", revision=reached + 1)
    except BaseException:
        drop(journal, prefix)
        raise
    return head


def swap_in(journal: Journal, prefix: str, reached: int, unless_version: int | None = None) -> bool:
    """Fold what came after `reached` and put the tables under `prefix` in place of the live ones, all at once.

    False, and the tables dropped, when another process has brought the live ones to `unless_version` meanwhile.
    """
    statement = journal.database.statement
    live, built = made_of(), made_of(prefix)
    with _locked(journal) as cursor:
        swap = unless_version is None or _version(journal) != unless_version
        if swap:
            head = cursor.execute(journal_sql.SELECT_HEAD).fetchone()[0]
            while reached < head:
                rows = cursor.execute(statement(journal_sql.SELECT_RANGE), (reached + 1, head, BATCH_EVENTS)).fetchall()
                records = [record_of(row) for row in rows]
                fold_into(prefix, records, journal, cursor)
                reached = records[-1].revision
            for old, new in zip(live.all, built.all, strict=True):
                cursor.execute(f"DROP TABLE IF EXISTS {old.name}")
                cursor.execute(f"ALTER TABLE {new.name} RENAME TO {old.name}")
            cursor.execute(_create(journal, views, if_not_exists=True))
            cursor.execute("DELETE FROM views")
            cursor.execute(statement("INSERT INTO views (name, version) VALUES (?, ?)"), ("runs", VIEWS_VERSION))
    if not swap:
        drop(journal, prefix)
    return swap


def drop(journal: Journal, prefix: str) -> None:
    """Drop the tables under a prefix."""
    with _locked(journal) as cursor:
        for table in reversed(made_of(prefix).all):
            cursor.execute(f"DROP TABLE IF EXISTS {table.name}")


def fold_into(prefix: str, records: Sequence[Record], journal: Journal, cursor: Any) -> None:
    """Fold records into the tables under a prefix."""
    fold = Fold(prefix)
    for record in records:
        fold.apply(record, event_of(record))

    def write(text: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            cursor.executemany(journal.database.statement(text), rows)

    fold.flush(write)


@contextmanager
def _locked(journal: Journal) -> Iterator[Any]:
    """A cursor inside a transaction of its own in which nobody else appends."""
    database = journal.database
    connection = database.connect_writer()
    try:
        cursor = connection.cursor()
        database.begin_append(cursor)
        yield cursor
        cursor.execute("COMMIT")
    except Exception as error:
        raise database.translated(error) from error
    finally:
        # Closing rolls an open transaction back.
        connection.close()


def _definitions(journal: Journal, prefix: str) -> Iterator[str]:
    dialect = journal.database.engine.dialect
    journal.database.adapt(made_of(prefix).metadata)
    for table in made_of(prefix).all:
        yield _create(journal, table)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))


def _create(journal: Journal, table: sa.Table, if_not_exists: bool = False) -> str:
    return str(CreateTable(table, if_not_exists=if_not_exists).compile(dialect=journal.database.engine.dialect))


def _refuse_strangers(journal: Journal) -> None:
    """Tables under our names that we have not made are not ours to replace."""
    taken = {table.name for table in made_of().all} & journal.database.tables()
    # Another process may have made them a moment ago, all at once.
    if taken and _version(journal) is None:
        raise NotAJournal(f"{journal.database.address} holds other tables under our names: {sorted(taken)}.")


def _version(journal: Journal) -> int | None:
    if views.name not in journal.database.tables():
        return None
    rows = journal.database.rows(SELECT_VERSION)
    return rows[0][0] if rows else None
