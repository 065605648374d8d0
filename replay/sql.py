"""The SQL of going back: comparing views with their rebuilt twins, what the tree has too much, what changed a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from playhead.journal.database import Database
from playhead.journal.record import Record, record_of
from playhead.journal.sql import APPEND_ONLY, POSTGRES_TRIGGERS, SQLITE_TRIGGERS, events
from playhead.projector.sql import OPEN

# One statement, so that events and nodes are of the same moment. A node (level, position) is complete, and kept, as
# soon as the journal has (position + 1) x 2^level events.
SELECT_STRAY_NODE = """
    SELECT level, position FROM tree_nodes
    WHERE level < 1 OR position < 0 OR position >= (SELECT max(revision) FROM events) >> level
    ORDER BY level, position LIMIT 1
"""

# SQLite keeps a trigger's text from its name on, so one that was replaced is told from the one that belongs there.
SELECT_SQLITE_TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"

# Enabled, on its table, before each UPDATE, DELETE and TRUNCATE whatever it is of, and with the function that refuses.
SELECT_POSTGRES_TRIGGERS = """
    SELECT t.tgname, p.prosrc FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype = 58 AND t.tgqual IS NULL AND t.tgattr = ''
    AND t.tgrelid = to_regclass(replace(t.tgname, '_append_only', ''))
"""

REVISION_COLUMNS = ("valid_from", "created_revision", "revision")


def stray_node(database: Database) -> tuple[int, int] | None:
    """A node of the tree over events that the journal does not have; None when there is none."""
    rows = database.rows(SELECT_STRAY_NODE)
    return (rows[0][0], rows[0][1]) if rows else None


def missing_triggers(database: Database) -> list[str]:
    """The triggers that keep the journal's tables append-only and are not there, or not as they were made."""
    with database.reading() as connection:
        if database.engine.dialect.name == "sqlite":
            made = {text.replace("IF NOT EXISTS ", "") for text in SQLITE_TRIGGERS}
            wanted = {text.split()[2]: text for text in made}
            found = connection.exec_driver_sql(SELECT_SQLITE_TRIGGERS).all()
        else:
            function = POSTGRES_TRIGGERS[0].split("$$")[1]
            wanted = {f"{table}_append_only": function for table in APPEND_ONLY}
            found = connection.exec_driver_sql(SELECT_POSTGRES_TRIGGERS).all()
    there = {name for name, text in found if wanted.get(name) == text}
    return sorted(wanted.keys() - there)


def last_changes(database: Database, versions: sa.Table, run_id: bytes, at: int, limit: int) -> list[Record]:
    """The last events up to a revision that changed a run, last first."""
    query = (
        sa.select(events)
        .select_from(events.join(versions, versions.c.valid_from == events.c.revision))
        .where(versions.c.run_id == run_id, versions.c.valid_from <= at)
        .order_by(versions.c.valid_from.desc())
        .limit(limit)
    )
    with database.reading() as connection:
        return [record_of(row) for row in connection.execute(query)]


def changes_before(database: Database, versions: sa.Table, run_id: bytes, revision: int) -> int:
    """How many events before a revision changed a run."""
    query = (
        sa.select(sa.func.count())
        .select_from(versions)
        .where(versions.c.run_id == run_id, versions.c.valid_from < revision)
    )
    with database.reading() as connection:
        return int(connection.execute(query).scalar_one())


def missing_in(present: sa.Table, absent: sa.Table, at: int, limit: int) -> sa.Select[Any]:
    """Rows of `present` of whose key `absent` has none: of revisions up to `at`, or that the journal does not have."""
    on = _same_key(present, absent)
    return (
        _ordered(present)
        .select_from(present.outerjoin(absent, on))
        .where(absent.c[_keys(absent)[0]].is_(None), sa.not_(_came_after(revision_of(present), at)))
        .limit(limit)
    )


def differing(live: sa.Table, rebuilt: sa.Table, at: int, limit: int) -> sa.Select[Any]:
    """Rows of both that have the same key and differ in anything else: first the live columns, then the rebuilt."""
    pairs = [(as_of(column, at), rebuilt.c[column.name]) for column in live.columns if column.name not in _keys(live)]
    columns = [*(as_of(column, at) for column in live.columns), *rebuilt.columns]
    return (
        sa.select(*(column.label(f"c{index}") for index, column in enumerate(columns)))
        .select_from(live.join(rebuilt, _same_key(live, rebuilt)))
        .where(sa.or_(*(mine.is_distinct_from(theirs) for mine, theirs in pairs)))
        .order_by(*(live.c[key] for key in _keys(live)))
        .limit(limit)
    )


def as_of(column: sa.Column[Any], at: int) -> sa.ColumnElement[Any]:
    """A column as it was at a revision: what an event has closed later was open then."""
    if column.name != "valid_to":
        return column
    return sa.case((_came_after(column, at), OPEN), else_=column)


def revision_of(table: sa.Table) -> sa.Column[Any]:
    """The column that says which event made a row."""
    return table.c[next(name for name in REVISION_COLUMNS if name in table.c)]


def _came_after(revision: sa.Column[Any], at: int) -> sa.ColumnElement[bool]:
    """Whether an event after `at` did it: one that the journal has, in the moment in which the statement reads."""
    head = sa.select(sa.func.max(events.c.revision)).scalar_subquery()
    return sa.and_(revision > at, revision <= head)


def _ordered(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(*(table.c[key] for key in _keys(table)))


def _same_key(one: sa.Table, other: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(one.c[key] == other.c[key] for key in _keys(one)))


def _keys(table: sa.Table) -> Sequence[str]:
    return [column.name for column in table.primary_key.columns]
