"""P6: fold(events[:r]) == the views as of r, for every r, every view, both stores; a rebuild equals the live views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from playhead.engine.orchestration.orchestrator import Orchestrator
from playhead.journal.errors import CorruptRecord
from playhead.projector.building import build, drop, fold_into, fresh_prefix, swap_in
from playhead.projector.reads import all_rows
from playhead.projector.sql import OPEN, made_of
from tests.histories import Life, over_histories
from tests.stores import NewStore

Rows = dict[str, list[tuple[Any, ...]]]


def test_p6_folding_the_first_r_events_gives_the_views_as_of_r(new_store: NewStore) -> None:
    over_histories(new_store, check_every_revision)


def check_every_revision(life: Life) -> None:
    """Fold the events one by one into fresh tables, and compare after each."""
    journal, prefix = life.orchestrator.journal, fresh_prefix()
    live = live_rows(life.orchestrator)
    tables = made_of(prefix)
    with unsaved(life.orchestrator) as (connection, cursor):
        journal.database.adapt(tables.metadata)
        tables.metadata.create_all(connection)
        for record in life.records():
            fold_into(prefix, [record], journal, cursor)
            folded = {table.name.removeprefix(prefix): rows_of(connection, table) for table in tables.all}
            assert folded == as_of(live, record.revision)


def test_p6_a_rebuild_beside_the_live_views_equals_them_and_takes_their_place(new_store: NewStore) -> None:
    def check(life: Life) -> None:
        journal, prefix = life.orchestrator.journal, fresh_prefix()
        live = live_rows(life.orchestrator)
        told: list[tuple[int, int]] = []
        reached = build(journal, prefix, progress=lambda *progress: told.append(progress))
        assert told[-1] == (reached, life.head())
        built = made_of(prefix).all
        assert {table.name.removeprefix(prefix): list(all_rows(journal.database, table)) for table in built} == live
        assert swap_in(journal, prefix, reached)
        assert live_rows(life.orchestrator) == live

    over_histories(new_store, check, examples=5)


def test_p6_what_is_appended_during_a_rebuild_is_in_the_rebuilt_views(new_store: NewStore) -> None:
    def check(life: Life) -> None:
        half, prefix = max(1, life.head() // 2), fresh_prefix()
        live = live_rows(life.orchestrator)
        assert build(life.orchestrator.journal, prefix, at=half) == half
        assert swap_in(life.orchestrator.journal, prefix, half)
        assert live_rows(life.orchestrator) == live
        life.send(*life.sent[-1][:3])
        life.settle()
        life.reopen()
        assert live_rows(life.orchestrator) == live

    over_histories(new_store, check, examples=5)


def test_p6_a_rebuild_that_fails_leaves_the_live_views_and_nothing_else(store: str) -> None:
    with Life(store) as life:
        live, prefix = live_rows(life.orchestrator), fresh_prefix()
        with pytest.raises(CorruptRecord):
            build(life.orchestrator.journal, prefix, at=life.head() + 1)
        drop(life.orchestrator.journal, prefix)
        assert live_rows(life.orchestrator) == live
        with life.orchestrator.journal.database.reading() as connection:
            assert not [name for name in sa.inspect(connection).get_table_names() if name.startswith("rebuild_")]


def live_rows(orchestrator: Orchestrator) -> Rows:
    """All rows of the live views."""
    return {table.name: list(all_rows(orchestrator.journal.database, table)) for table in made_of().all}


def as_of(live: Rows, revision: int) -> Rows:
    """The rows as they were: what came later left out, what was closed later open."""
    then: Rows = {}
    for table in made_of().all:
        columns = [column.name for column in table.columns]
        since = columns.index(next(name for name in ("valid_from", "created_revision", "revision") if name in columns))
        rows = [list(row) for row in live[table.name] if row[since] <= revision]
        if "valid_to" in columns:
            until = columns.index("valid_to")
            for row in rows:
                row[until] = row[until] if row[until] <= revision else OPEN
        then[table.name] = [tuple(row) for row in rows]
    return then


def rows_of(connection: sa.Connection, table: sa.Table) -> list[tuple[Any, ...]]:
    """All rows of a table in the order of its key."""
    return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


@contextmanager
def unsaved(orchestrator: Orchestrator) -> Iterator[tuple[sa.Connection, Any]]:
    """A connection and its cursor in a transaction that is rolled back."""
    with orchestrator.journal.database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        yield connection, connection.connection.cursor()
        connection.exec_driver_sql("ROLLBACK")
